import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

from malmoi.corpus.folder import ReadReport, identity, read_folder
from malmoi.corpus.readers import all_readers
from malmoi.corpus.readers.text import PART_CHARS
from malmoi.errors import DataError
from malmoi.files import sha256_of


def write(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def rows(*values: object) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def page(tmp_path: Path, html: str) -> str:
    (document,) = read_folder(write(tmp_path / "page.html", html))
    return document.text


def test_every_kind_is_read_in_the_order_of_names(tmp_path):
    write(tmp_path / "b.md", "# 제목\n\n본문이다.")
    write(tmp_path / "a" / "z.txt", "first\r\n")
    write(tmp_path / "c.jsonl", rows({"text": "one"}, {"text": "two"}))
    write(tmp_path / "d.JSONL.gz", gzip.compress(rows({"text": "three"}).encode()))
    write(tmp_path / "e.HTM", "<p>four</p>")
    write(tmp_path / "f.odd", b"?")
    write(tmp_path / ".hidden.txt", "no")
    write(tmp_path / ".git" / "x.txt", "no")
    report = ReadReport()
    found = [(document.source, document.text) for document in read_folder(tmp_path, report=report)]
    assert found == [
        ("a/z.txt", "first\r\n"),
        ("b.md", "# 제목\n\n본문이다."),
        ("c.jsonl", "one"),
        ("c.jsonl", "two"),
        ("d.JSONL.gz", "three"),
        ("e.HTM", "four"),
    ]
    assert (report.n_files, report.n_documents) == (5, 6)
    assert report.skipped == {"not a format that is read (.odd)": 1}


def test_one_file_is_read_as_well(tmp_path):
    (document,) = read_folder(write(tmp_path / "a.txt", "안녕하세요"))
    assert (document.source, document.text, document.origin) == ("a.txt", "안녕하세요", "unknown")


def test_rows_bring_text_title_source_license_and_origin(tmp_path):
    facts = {"license": "CC0-1.0", "source": "https://example.org/a", "origin": "human"}
    turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    path = write(
        tmp_path / "x.jsonl",
        rows(
            {"text": "body", "title": "Head", **facts},
            {"text": "Head and body", "title": "Head", "licence": "MIT"},
            {"content": "source code", "license": None},
            {"messages": turns},
            {"prompt": "Why?", "response": "Because."},
        ),
    )
    first, second, third, fourth, fifth = read_folder(path)
    assert (first.text, first.source) == ("Head\n\nbody", "https://example.org/a")
    assert (first.license, first.origin) == ("CC0-1.0", "human")
    assert (second.text, second.source, second.license) == ("Head and body", "x.jsonl#Head", "MIT")
    assert (third.text, third.license, third.origin) == ("source code", "unknown", "unknown")
    assert (fourth.text, fifth.text) == ("Hi.\n\nHello.", "Why?\n\nBecause.")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"text": "cut', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('["text"]', "a row is an object, this is a list"),
        ('{"body": "b"}', 'no text; a row needs "text"'),
        ('{"text": 5}', "no text"),
        ('{"messages": [{"role": "user"}]}', "no text"),
        ('{"messages": 7}', "no text"),
        ('{"text": "a", "origin": "robot"}', 'origin "robot"'),
        ('{"text": "a", "title": 7}', '"title" is a int'),
        ('{"text": "half \\ud83d"}', "half a character"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line_or_counted(tmp_path, line, what):
    path = write(tmp_path / "x.jsonl", rows({"text": "good"}) + line + "\n\n" + rows({"text": "fine"}))
    with pytest.raises(DataError) as caught:
        list(read_folder(path))
    assert str(caught.value).startswith(f"{path}:2: ") and what in str(caught.value)
    assert "\n" not in str(caught.value)
    report = ReadReport()
    assert [document.text for document in read_folder(path, "skip", report)] == ["good", "fine"]
    assert report.skipped.total() == 1 and report.examples == [str(caught.value)]


@pytest.mark.parametrize("name", ["x.txt", "x.html"])
def test_what_is_not_utf8_is_named_by_its_byte(tmp_path, name):
    path = write(tmp_path / name, b"a" * 200_001 + "가".encode() + b"\xff and more")
    write(tmp_path / "good.txt", "good")
    with pytest.raises(DataError) as caught:
        list(read_folder(path))
    assert str(caught.value).startswith(f"{path}: not UTF-8 at byte 200004 (0xff); pass --encoding NAME ")
    assert f"convert it: iconv -f ENCODING -t UTF-8 {path} > " in str(caught.value)
    report = ReadReport()
    assert "good" in [document.text for document in read_folder(tmp_path, "skip", report)]
    assert report.skipped == {"not UTF-8": 1}


@pytest.mark.parametrize(("data", "at"), [("가".encode()[:2], 0), (b"ab\xea", 2), ("\ufeff".encode() + b"\xff", 3)])
def test_a_character_cut_short_at_the_end_is_not_utf8(tmp_path, data, at):
    with pytest.raises(DataError, match=f"at byte {at} "):
        list(read_folder(write(tmp_path / "x.txt", data)))


def test_a_row_that_is_not_utf8_is_skipped_alone(tmp_path):
    good = rows({"text": "가"}).encode()
    path = write(tmp_path / "x.jsonl", good + b'{"text": "\xff"}\n' + good)
    with pytest.raises(DataError, match=rf"x.jsonl:2: not UTF-8 at byte {len(good) + 10} \(0xff\)"):
        list(read_folder(path))
    assert [document.text for document in read_folder(path, "skip")] == ["가", "가"]


def test_byte_order_marks_are_no_text(tmp_path):
    write(tmp_path / "a.txt", b"\xef\xbb\xbftext")
    write(tmp_path / "b.jsonl", b'\xef\xbb\xbf{"text": "row"}\n')
    write(tmp_path / "c.html", b"\xef\xbb\xbf<p>page</p>")
    assert [document.text for document in read_folder(tmp_path)] == ["text", "row", "page"]


@pytest.mark.parametrize("damage", [lambda d: d[:-20], lambda d: b"plain", lambda d: d[:30] + b"\0\0\0\0" + d[34:]])
def test_a_damaged_gzip_is_one_clear_line(tmp_path, damage):
    data = gzip.compress(rows(*({"text": f"row {i} {os.urandom(20).hex()}"} for i in range(500))).encode())
    path = write(tmp_path / "x.jsonl.gz", damage(data))
    with pytest.raises(DataError, match=r"x\.jsonl\.gz: cut short or damaged .*; copy or download it again") as caught:
        list(read_folder(path))
    assert "\n" not in str(caught.value)
    write(tmp_path / "y.txt", "still read")
    report = ReadReport()
    assert list(read_folder(tmp_path, "skip", report))[-1].text == "still read"
    assert report.skipped["damaged gzip"] == 1


def test_nothing_to_read_says_what_is_read(tmp_path):
    for prepare in (lambda: None, lambda: write(tmp_path / "a.odd", "x"), lambda: write(tmp_path / "b.txt", " \n")):
        prepare()
        with pytest.raises(DataError) as caught:
            list(read_folder(tmp_path))
        assert str(tmp_path) in str(caught.value) and " ".join(all_readers()) in str(caught.value)
    with pytest.raises(DataError, match="nothing to read"):
        read_folder(tmp_path / "a.odd")
    with pytest.raises(DataError, match="no such file or folder"):
        read_folder(tmp_path / "missing")


def test_blank_texts_are_counted_and_passed_over(tmp_path):
    path = write(tmp_path / "x.jsonl", rows({"text": " \n", "title": "Head"}, {"text": "b"}))
    report = ReadReport()
    assert [document.text for document in read_folder(path, report=report)] == ["b"]
    assert report.skipped == {"no text in it": 1}


def test_links_in_a_circle_end_and_linked_files_are_read_once(tmp_path):
    write(tmp_path / "real" / "a.txt", "a")
    write(tmp_path / "elsewhere.txt", "b")
    (tmp_path / "real" / "again").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "other").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "linked.txt").symlink_to(tmp_path / "elsewhere.txt")
    assert sorted(document.text for document in read_folder(tmp_path)) == ["a", "b", "b"]
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read"):
        list(read_folder(tmp_path))
    report = ReadReport()
    assert len(list(read_folder(tmp_path, "skip", report))) == 3
    assert report.skipped == {"cannot be opened": 1}


def test_a_pipe_does_not_hang(tmp_path):
    write(tmp_path / "a.txt", "a")
    os.mkfifo(tmp_path / "b.txt")
    report = ReadReport()
    assert len(list(read_folder(tmp_path, report=report))) == 1
    assert report.skipped == {"not a regular file": 1}


def test_long_text_is_cut_at_blank_lines_and_nothing_is_lost(tmp_path):
    paragraphs = [f"Paragraph {i}. " + "말 모 이 " * 60 for i in range(400)]
    for newline in ("\n", "\r\n"):
        text = (2 * newline).join(paragraphs)
        parts = [document.text for document in read_folder(write(tmp_path / "x.txt", text))]
        assert "".join(parts) == text
        assert len(parts) > 5 and max(map(len, parts)) <= PART_CHARS
        assert all(part.lstrip().startswith("Paragraph") for part in parts)
        longer = [document.text for document in read_folder(write(tmp_path / "x.txt", text + "\n\nmore"))]
        assert longer[: len(parts) - 1] == parts[:-1]
    unbroken = "가" * (3 * PART_CHARS + 1)
    parts = [document.text for document in read_folder(write(tmp_path / "x.txt", unbroken))]
    assert "".join(parts) == unbroken and len(parts) == 4


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_part_of_a_long_text_knows_its_line(tmp_path, newline):
    lines = [f"{n} " + "말 모 이 " * (n % 90) for n in range(1, 2000)]
    parts = list(read_folder(write(tmp_path / "x.txt", newline.join(lines))))
    assert len(parts) > 5 and parts[0].line == 1
    for part in parts:
        text = part.text.replace("\r\n", "\n").replace("\r", "\n")
        following = text.partition("\n")[2].partition("\n")[0]
        assert not following or lines[part.line] == following


def test_rows_are_read_one_by_one(tmp_path):
    path = write(tmp_path / "x.jsonl", rows({"text": "first"}) + "broken\n")
    stream = read_folder(path)
    assert next(stream).text == "first"
    with pytest.raises(DataError):
        next(stream)


def test_a_page_keeps_prose_and_drops_furniture(tmp_path):
    html = """<!doctype html><html><head><title>Site</title><style>p {color: red}</style>
    <script>if (a < b) { document.write("<p>no</p>") }</script></head><body>
    <header><h1>Banner</h1></header><nav><ul><li><a href=/>Home</a></li></ul></nav>
    <main><h1>Malmoi</h1><p>The first   dictionary
    of <b>Korean</b> &amp; its words: &#47568;&#xBAA8;&#xc774;.<p>Second paragraph<br>on two lines
    <ul><li>one<li>two &lt;tag&gt;</ul><pre>  def f():\n      return 1</pre>
    <ul><li><a href=/a>a menu</a> <li><a href=/b>of links</a></ul>
    <div>short</div><div>A division that is long enough to be a sentence of its own.</div></main>
    <aside><p>Read also</p></aside><footer><p>(c) nobody</p></footer></body></html>"""
    assert page(tmp_path, html) == (
        "# Malmoi\n\nThe first dictionary of Korean & its words: 말모이.\n\nSecond paragraph\non two lines\n\n"
        "- one\n- two <tag>\n\n  def f():\n      return 1\n\n"
        "A division that is long enough to be a sentence of its own."
    )


def test_pages_out_of_the_ordinary(tmp_path):
    assert page(tmp_path, "<html><head><title>t</title><p>an omitted tag") == "an omitted tag"
    assert page(tmp_path, "short") == "short"
    assert page(tmp_path, "<nav><a href=/>only a menu</a></nav>") == "only a menu"
    assert page(tmp_path, "</div></p><p>stray</b> ends</p></nav>") == "stray ends"
    assert page(tmp_path, "<p>한국어와 <em>日本語</em></p>") == "한국어와 日本語"
    with pytest.raises(DataError, match="no text"):
        page(tmp_path, "<script>alert(1)</script>")


def test_a_page_nested_without_end_takes_no_longer(tmp_path):
    assert page(tmp_path, "<div>" * 30_000 + "<p>deep</p>" + "</section>" * 30_000).endswith("deep")
    assert page(tmp_path, "<nav>" * 30_000 + "<p>deep</p>") == "deep"


def test_a_malformed_declaration_does_not_stop_the_others(tmp_path):
    write(tmp_path / "a.html", "<p>page</p><![unknown[x]]>")
    write(tmp_path / "b.txt", "text")
    assert [document.text for document in read_folder(tmp_path, "skip")][-1] == "text"


def test_the_identity_is_that_of_what_is_read(tmp_path: Path) -> None:
    texts, linked = tmp_path / "texts", tmp_path / "linked"
    texts.mkdir(), linked.mkdir()
    (texts / "a.txt").write_text("One.")
    (linked / "b.txt").write_text("Two.")
    (texts / "more").symlink_to(linked)
    first = identity(texts)
    (texts / ".DS_Store").write_text("x")
    (texts / "paper.odd").write_text("x")
    assert identity(texts) == first
    (linked / "b.txt").write_text("Three.")
    second = identity(texts)
    assert second != first
    (linked / "b.txt").rename(linked / "c.txt")
    assert identity(texts) not in (first, second)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("말모이 words".encode(encoding))
    assert [document.text for document in read_folder(tmp_path)] == ["말모이 words"]


def test_korean_of_older_windows_is_named_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("말모이는 우리말 사전이다.".encode("cp949"))
    with pytest.raises(DataError, match=r"not UTF-8 at byte 0 .*looks like CP949; pass --encoding cp949 ") as caught:
        list(read_folder(tmp_path))
    assert "\n" not in str(caught.value)
    # The command, as it is printed, mends the file.
    command = str(caught.value).partition("convert it: ")[2].partition("; --errors")[0]
    subprocess.run(["bash", "-c", command], check=True)
    assert [document.text for document in read_folder(tmp_path)] == ["말모이는 우리말 사전이다."]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.markdown", "a.html", "a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("encoding", ["cp949", "euc_kr", "shift_jis", "latin-1", "utf-16-le"])
def test_an_encoding_is_for_files_that_have_no_mark_and_are_not_utf8(tmp_path: Path, name: str, encoding: str) -> None:
    text = {"shift_jis": "これは本です。", "latin-1": "Le café est là."}.get(encoding, "말모이는 사전이다.")
    rows = f'{{"text": "{text}"}}\n' if ".jsonl" in name else text
    data = rows.encode(encoding)
    write(tmp_path / name, gzip.compress(data) if name.endswith(".gz") else data)
    report = ReadReport()
    assert [document.text for document in read_folder(tmp_path, report=report, encoding=encoding)] == [text]
    assert +report.converted == {encoding: 1}
    write(tmp_path / name, gzip.compress(rows.encode("utf-16")) if name.endswith(".gz") else rows.encode("utf-16"))
    assert [document.text for document in read_folder(tmp_path, encoding=encoding)] == [text]
    if encoding != "utf-16-le":
        write(tmp_path / name, gzip.compress(rows.encode()) if name.endswith(".gz") else rows.encode())
        assert [document.text for document in read_folder(tmp_path, encoding=encoding)] == [text]


def test_what_the_named_encoding_cannot_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "말모이".encode("cp949") + b"\xff")
    with pytest.raises(DataError, match=r"a\.txt: not cp949 at byte 6; name another encoding, or copy it again"):
        list(read_folder(tmp_path, encoding="cp949"))
    write(tmp_path / "b.txt", "good")
    report = ReadReport()
    assert [document.text for document in read_folder(tmp_path, "skip", report, "cp949")] == ["good"]
    assert report.skipped == {"not cp949": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.txt", "a.html", "a.jsonl"])
def test_a_marked_file_that_is_cut_says_so(tmp_path: Path, name: str, encoding: str) -> None:
    write(tmp_path / name, '{"text": "말모이"}'.encode(encoding)[:-1])
    with pytest.raises(DataError, match=f"begins with the mark of {encoding} and ends in the middle of a character"):
        list(read_folder(tmp_path))


def test_names_that_are_not_utf8_are_read_and_named(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    try:
        Path(os.fsdecode(folder + b"/\xc7\xd1.txt")).write_text("Good text.")
        Path(os.fsdecode(folder + b"/\xc7\xd2.txt")).write_text("More text.")
    except OSError:
        pytest.skip("this disk takes names in UTF-8 alone")
    found = [(document.source, document.text) for document in read_folder(tmp_path)]
    assert found == [(r"\xc7\xd1.txt", "Good text."), (r"\xc7\xd2.txt", "More text.")]
    path = Path(os.fsdecode(folder + b"/\xc7\xd1.txt"))
    path.write_bytes(b"\xff")
    with pytest.raises(DataError) as caught:
        list(read_folder(tmp_path))
    assert str(caught.value).encode().startswith(folder + b"/\\xc7\\xd1.txt: not UTF-8 at byte 0")
    path.write_bytes("말모이는 사전이다.".encode("cp949"))
    with pytest.raises(DataError) as caught:
        list(read_folder(tmp_path))
    command = str(caught.value).partition("convert it: ")[2].partition("; --errors")[0]
    subprocess.run(["bash", "-c", command.encode()], check=True)
    assert path.read_text(encoding="utf-8") == "말모이는 사전이다."


def test_a_page_of_scripts_alone_is_said_to_hold_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<script>x = 1</script>")
    (tmp_path / "b.txt").write_text("\u200b\n")
    with pytest.raises(DataError, match=r"no text in it \(2 no text in it\)"):
        list(read_folder(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_rows_with_the_mark_of_another_encoding_are_converted(tmp_path: Path, encoding: str, name: str) -> None:
    data = '{"text": "첫째\u2028줄"}\n{"text": "둘째"}\n'.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert [document.text for document in read_folder(tmp_path)] == ["첫째\u2028줄", "둘째"]
    (tmp_path / name).write_bytes(gzip.compress(data[:-1]) if name.endswith(".gz") else data[:-1])
    with pytest.raises(DataError, match="ends in the middle of a character"):
        list(read_folder(tmp_path))


def test_identity_asks_for_the_hash_of_each_file_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    asked: list[Path] = []

    def of_file(path: Path) -> str:
        asked.append(path)
        return sha256_of(path)

    assert identity(tmp_path, of_file) == identity(tmp_path)
    assert asked == [tmp_path / "a.txt"]
