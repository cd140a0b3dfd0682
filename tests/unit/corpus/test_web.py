"""The web's archives to text: records of damaged archives, pages, languages, copies, personal data, whole builds."""

import gzip
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.corpus.build import build
from malmoi.corpus.built import open_built, pages_of, remove, trace
from malmoi.corpus.folder import read_folder
from malmoi.corpus.form import Settings
from malmoi.corpus.sources import find_sources
from malmoi.corpus.steps import near, quality
from malmoi.corpus.steps.archive import Passed, Record, read_archive
from malmoi.corpus.steps.contamination import EvaluationSets
from malmoi.corpus.steps.extract import Extracted, decode, extract, reserved_by
from malmoi.corpus.steps.language import language_of
from malmoi.errors import DataError, UserError

pytest.importorskip("fastwarc", reason="pip install 'malmoi[corpus]'")

WORDS = (
    "The harbour of the small town was quiet in the morning, and the boats that had come in during the night were "
    "waiting for the tide. A woman who sold bread on the quay had opened her shop before the sun was up, because the "
    "men would be hungry when they had brought in their nets. She told them what she had heard about the storm."
)
KOREAN = (
    "작은 마을의 항구는 아침에 조용했고, 밤사이에 들어온 배들은 물때를 기다리고 있었다. "
    "부두에서 빵을 파는 사람은 해가 뜨기 전에 가게를 열었는데, 그물을 걷은 사람들이 배가 고플 것이기 때문이었다. "
    "그는 폭풍에 대해 들은 이야기를 사람들에게 들려주었다."
)


def prose(number: int, korean: bool = False) -> str:
    """Paragraphs that no other page has."""
    rng = random.Random(number)
    sentences = (KOREAN if korean else WORDS).split(". ")
    lines = [
        " ".join(" ".join(rng.sample(one.split(), len(one.split()))) + f" {number * 1000 + n}." for one in sentences)
        for n in range(5)
    ]
    return "\n".join([*lines, KOREAN if korean else WORDS])


def page_of(text: str, head: str = "") -> bytes:
    paragraphs = "".join(f"<p>{line}</p>" for line in text.split("\n"))
    menu = "<nav><ul><li><a href='/'>Home</a></li></ul></nav>"
    head = f"<head>{head}<title>Harbour</title></head>"
    return f"<html>{head}<body>{menu}<article>{paragraphs}</article></body></html>".encode()


def record_of(
    url: str, body: bytes, headers: str = "", status: str = "200 OK", kind: str = "text/html; charset=utf-8"
) -> bytes:
    http = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}\r\n".encode() + body
    about = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-01-02T03:04:05Z\r\n"
        f"WARC-Record-ID: <urn:uuid:{random.Random(url).getrandbits(64):x}>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return about.encode() + http + b"\r\n\r\n"


def records(n: int, host: str = "example.org") -> list[bytes]:
    return [record_of(f"https://{host}/{i}", page_of(prose(i, korean=i % 2 == 1))) for i in range(n)]


def zipped(parts: list[bytes]) -> bytes:
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


def urls_in(path: Path) -> list[str]:
    return [found.url for found in read_archive(path) if isinstance(found, Record)]


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_a_damage_costs_only_what_is_damaged(tmp_path: Path, name: str) -> None:
    parts = records(6)
    parts = [gzip.compress(part, mtime=0) for part in parts] if name.endswith(".gz") else parts
    broken = bytearray(parts[2])
    broken[: len(broken) // 3] = bytes(len(broken) // 3)
    path = tmp_path / name
    path.write_bytes(b"".join([*parts[:2], bytes(broken), *parts[3:]]))
    found = list(read_archive(path))
    assert [one.url[-1] for one in found if isinstance(one, Record)] == ["0", "1", "3", "4", "5"]
    assert any(isinstance(one, Passed) and one.reason == "damaged" for one in found)


def test_an_archive_that_ends_in_the_middle_says_so(tmp_path: Path) -> None:
    whole = b"".join(records(3))
    (tmp_path / "a.warc").write_bytes(whole[:-500])
    found = list(read_archive(tmp_path / "a.warc"))
    assert [one.reason for one in found if isinstance(one, Passed)] == ["cut short"]
    assert len(urls_in(tmp_path / "a.warc")) == 2


def arc_records(n: int) -> list[bytes]:
    about = b"1 0 Somebody\nURL IP-address Archive-date Content-type Archive-length\n"
    parts = [b"filedesc://a.arc 0.0.0.0 20260102030405 text/plain %d\n" % len(about) + about + b"\n"]
    for i in range(n):
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page_of(prose(i))
        head = f"https://example.org/{i} 192.0.2.7 20260102030405 text/html {len(http)}\n"
        parts.append(head.encode() + http + b"\n")
    return parts


@pytest.mark.parametrize("name", ["a.arc", "a.arc.gz"])
def test_a_damage_of_an_arc_file_costs_only_what_is_damaged(tmp_path: Path, name: str) -> None:
    parts = arc_records(6)
    whole = tmp_path / f"whole-{name}"
    zip_ = (lambda part: gzip.compress(part, mtime=0)) if name.endswith(".gz") else (lambda part: part)
    whole.write_bytes(b"".join(map(zip_, parts)))
    records_of = {one.url: one.body for one in read_archive(whole) if isinstance(one, Record)}
    assert len(records_of) == 6
    for at, keep in ((3, "01345"), (0, "012345")):  # the head of a page, and that of the file
        broken = list(map(zip_, parts))
        third = len(broken[at]) // 3
        broken[at] = bytes(third) + broken[at][third:]
        path = tmp_path / name
        path.write_bytes(b"".join(broken))
        found = list(read_archive(path))
        assert "".join(one.url[-1] for one in found if isinstance(one, Record)) == keep
        assert all(records_of[one.url] == one.body for one in found if isinstance(one, Record))
        assert any(isinstance(one, Passed) and one.reason == "damaged" for one in found)


def test_a_wrong_length_in_an_arc_file_does_not_take_the_next_pages(tmp_path: Path) -> None:
    parts = arc_records(4)
    length = parts[2].split(b"\n", 1)[0].rsplit(b" ", 1)[1]
    parts[2] = parts[2].replace(b" " + length + b"\n", b" %d\n" % (int(length) + 3000), 1)
    (tmp_path / "a.arc").write_bytes(b"".join(parts))
    assert [url[-1] for url in urls_in(tmp_path / "a.arc")] == ["0", "2", "3"]
    (tmp_path / "a.arc").write_bytes(b"".join(arc_records(2))[:-500])
    assert [one.reason for one in read_archive(tmp_path / "a.arc") if isinstance(one, Passed)][-1] == "cut short"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["cut", "flip", "delete", "insert"]), st.booleans(), st.booleans())
def test_no_mutation_stops_the_reader(
    tmp_path_factory: pytest.TempPathFactory, seed: int, how: str, zip_: bool, arc: bool
) -> None:
    rng = random.Random(seed)
    parts = arc_records(4) if arc else records(4)
    data = bytearray(zipped(parts) if zip_ else b"".join(parts))
    at = rng.randrange(len(data))
    if how == "cut":
        del data[at:]
    elif how == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif how == "delete":
        del data[at : at + rng.randrange(1, 300)]
    else:
        data[at:at] = rng.randbytes(rng.randrange(1, 300))
    path = tmp_path_factory.mktemp("mutated") / ("a.arc.gz" if arc else "a.warc.gz")
    path.write_bytes(bytes(data))
    found = [one.url for one in read_archive(path) if isinstance(one, Record)]
    assert len(found) <= 4 and len(set(found)) == len(found)


def test_what_is_no_page_is_passed_over_with_its_reason(tmp_path: Path) -> None:
    gone = record_of("https://example.org/gone", b"x", status="404 Not Found")
    picture = record_of("https://example.org/p", b"x", kind="image/png")
    empty = record_of("https://example.org/e", b"")
    (tmp_path / "a.warc").write_bytes(gone + picture + empty + records(1)[0])
    (tmp_path / "b.warc").write_bytes(b"<html>not an archive</html>")
    reasons = [one.reason for one in read_archive(tmp_path / "a.warc") if isinstance(one, Passed)]
    assert reasons == ["status 404", "not a page (image/png)", "empty"]
    assert [one.reason for one in read_archive(tmp_path / "b.warc") if isinstance(one, Passed)] == ["not a web archive"]


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"<html><script>" + b"var a = 1;" * 9999 + b"</script></html>", "text/html", "extract: too little text"),
        (b"<html>" + b"<a href=x>y</a>" * 20_001 + b"</html>", "text/html", "extract: more than 20,000 links"),
        (b"<urlset>" + b"<url><loc>x</loc></url>" * 99 + b"</urlset>", "application/xml",
         "read: not a page (application/xml)"),
        (b" " * (5 << 20) + b"x", "text/html", "extract: a page larger than 4 MB"),
    ],
)  # fmt: skip
def test_what_has_no_text_is_counted_with_its_reason(tmp_path: Path, body: bytes, kind: str, reason: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.warc").write_bytes(record_of("https://example.org/odd", body, kind=kind) + records(1)[0])
    made = build([str(tmp_path / "in")], tmp_path / "out", Settings(), say=lambda line: None)
    step, _, why = reason.partition(": ")
    assert made["dropped"] == {step: {why: 1}} and made["n_kept"] == 1


def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.txt").write_text(prose(1))
    (tmp_path / "in" / "a.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "in" / "b.txt").write_text(prose(2))
    (tmp_path / "in" / "c.txt").symlink_to("b.txt")
    sources, passed = find_sources([str(tmp_path / "in")])
    assert [one.name for one in sources] == ["b.txt", "c.txt"] and passed == {"link that leads out of its folder": 1}


def test_gzip_in_gzip_headers_in_latin_1_and_a_bomb_do_not_stop_a_reader(tmp_path: Path) -> None:
    (tmp_path / "twice.warc.gz").write_bytes(gzip.compress(zipped(records(2))))
    reasons = {one.reason for one in read_archive(tmp_path / "twice.warc.gz") if isinstance(one, Passed)}
    assert len(urls_in(tmp_path / "twice.warc.gz")) == 2 or reasons & {"damaged", "not a web archive"}
    (tmp_path / "latin.warc").write_bytes(records(1)[0].replace(b"WARC-Date", b"X-Name: caf\xe9\r\nWARC-Date"))
    assert len(urls_in(tmp_path / "latin.warc")) == 1
    bomb = record_of("https://example.org/bomb", gzip.compress(bytes(64 << 20)), headers="Content-Encoding: gzip\r\n")
    (tmp_path / "bomb.warc").write_bytes(bomb + records(1)[0])
    first, second = read_archive(tmp_path / "bomb.warc")
    assert isinstance(first, Passed) and first.reason == "larger than 32 MB" and isinstance(second, Record)


def test_the_main_text_comes_without_menus_and_in_its_letters() -> None:
    html = page_of(prose(1, korean=True), '<meta charset="euc-kr">').decode()
    body = html.encode("cp949")
    found = extract(Record("https://example.org/1", 0, body, charset="utf-8"))  # a wrong declaration
    assert isinstance(found, Extracted) and "물때를 기다리고 있었다" in found.text
    assert "Home" not in found.text and found.title == "Harbour" and found.charset == "cp949"
    assert decode("녹차".encode(), "euc-kr") == ("녹차", "utf-8")


def test_owners_who_reserve_their_pages_are_heard() -> None:
    assert reserved_by({"x-robots-tag": "noindex, noai"}) and reserved_by({"tdm-reservation": "1"})
    assert reserved_by({}, '<meta name="robots" content="noai, noimageai">')
    assert reserved_by({}, "<meta name='tdm-reservation' content='1'>")
    assert not reserved_by({"x-robots-tag": "noindex", "tdm-reservation": "0"}, '<meta name="robots" content="all">')
    body = page_of(prose(2), '<meta name="robots" content="noai">')
    assert extract(Record("", 0, body)) == "reserved by its owner: noai in the page"
    assert isinstance(extract(Record("", 0, body), honour=False), Extracted)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (WORDS, "en"), (KOREAN, "ko"), ("Python의 list는 append로 값을 더한다. really simple", "ko"),
        ("今日は天気がいいです。", "ja"), ("今天天气很好，我们去公园散步。", "zh"),
        ("Das Wetter ist heute sehr schön, wir gehen spazieren.", "de"), ("123 456", "unknown"),
        ("Hello.", "en"), ("I love pizza too!", "en"), ("Vertel me je naam.", "nl"), ("Me encanta leer.", "es"),
        ("나는 understanding 봐", "ko"), ("The word 나무 means a tree in Korean.", "en"),
        ("I love 말모이 so much", "en"), ("회의를 Monday로 reschedule 했어요", "ko"), ("iPhone 15 Pro 리뷰", "ko"),
        (
            "The Post Office (Russian: Почтовое отделение города Новгорода, Почта) is one of the oldest buildings of "
            "the town, and was built by two brothers from Kiev with the money of their father.", "en",
        ),
        (
            'Schloss Altenburg (also called "Haus am Alten Markt" or Herrenhaus der Familie von Altenburg) in the '
            "Altenburger Land near Unterneukirchen is one of the oldest houses of the region, and was the seat of the "
            "family.", "en",
        ),
        (
            "Das Schloss der Familie ist eines der ältesten Häuser der Region und wurde, wie man sagt, von zwei "
            "Brüdern mit dem Geld ihres Vaters gebaut, the house of the rising sun, so nannten es die Leute.", "de",
        ),
        ("韓国語で「안녕하세요」は「こんにちは」という意味です。", "ja"), ("大韓民國은 나라이다.", "ko"),
    ],
)  # fmt: skip
def test_languages(text: str, language: str) -> None:
    assert language_of(text)[0] == language


def test_prose_is_told_from_menus() -> None:
    menu = "HOME | ABOUT | CONTACT\nLogin 2023-10-11 12:30\n>> Next << Prev\n© 2024\n" * 20
    assert quality.score(prose(1)) > 0.7 > 0.45 > quality.score(menu)
    assert quality.score(prose(1, korean=True), "ko") > 0.7
    for language, text in (("en", prose(3)), ("ko", prose(3, korean=True))):
        assert quality.first_broken(text, language, tuple(quality.RULES)) == ""
    assert quality.first_broken(menu, "en", ("repetition",)).startswith("Gopher")


def test_copies_are_found_whatever_their_spaces_and_the_first_is_kept() -> None:
    first, other = prose(1, korean=True), prose(2, korean=True)
    spaced, edited = first.replace(" ", ""), first.replace("항구", "포구")
    texts = [first, other, spaced, edited]
    found = near.copies(near.bands(near.signatures(texts)).T, texts.__getitem__, 0.5)
    assert found == {2: 0, 3: 0}
    assert near.jaccard(near.shingles(first), near.shingles(spaced)) == 1
    assert len(near.shingles("")) == 0 and near.copies(near.bands(near.signatures([])).T, texts.__getitem__, 0.5) == {}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=25, max_size=25), min_size=2, max_size=12))
def test_every_pair_that_shares_a_band_is_linked(rows: list[list[int]]) -> None:
    hashed = np.array(rows, np.uint64)
    linked = list(range(len(rows)))
    for a, b in near.candidates(hashed.T).tolist():
        assert a < b and (hashed[a] == hashed[b]).any()
        new, old = linked[a], linked[b]
        linked = [new if one == old else one for one in linked]
    for a in range(len(rows)):
        for b in range(a):
            assert not (hashed[a] == hashed[b]).any() or linked[a] == linked[b]


def test_text_of_evaluation_sets_is_found(tmp_path: Path) -> None:
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"question": WORDS, "choices": [{"text": KOREAN}]}) + "\n")
    sets = EvaluationSets.read([tmp_path / "quiz.jsonl"])
    assert sets.found_in("Before. " + WORDS[40:200]) == "quiz.jsonl" == sets.found_in(KOREAN.replace(" ", "  "))
    assert sets.found_in("The harbour of the small town was quiet, as always.") == ""


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two archives with 16 pages, a copy with other spaces, a reserved page, and a folder of notes."""
    folder = tmp_path_factory.mktemp("crawl")
    copy = record_of("https://copy.example.com/1", page_of(prose(1, korean=True).replace(" 물때", "물때")))
    reserved = record_of("https://example.org/no", page_of(prose(99)), headers="TDM-Reservation: 1\r\n")
    (folder / "one.warc.gz").write_bytes(zipped(records(8)))
    (folder / "two.warc").write_bytes(b"".join([*records(16)[8:], copy, reserved]))
    (folder / "note.md").write_text(f"{prose(50)}\nWrite to me: ann@example.org\n")
    return folder


def test_a_build_keeps_and_counts_every_page(crawl: Path, tmp_path: Path) -> None:
    made = build([str(crawl)], tmp_path / "out", Settings(), say=lambda line: None)
    assert made["n_read"] == 19 == made["n_kept"] + 2
    assert made["dropped"] == {"extract": {"reserved by its owner: tdm-reservation in its HTTP header": 1},
                               "near": {"a near copy of another page": 1}}  # fmt: skip
    assert made["languages"] == {"ko": 8, "en": 9} or made["languages"] == {"en": 9, "ko": 8}
    kept = list(pages_of(tmp_path / "out"))
    assert any("<EMAIL>" in page.text for page in kept) and made["masked"] == {"e-mail": 1}
    found = trace(tmp_path / "out", kept[3].id)
    assert found["kept"] and found["metadata"]["url"] == kept[3].metadata["url"] and found["text"] == kept[3].text
    original = trace(tmp_path / "out", "https://example.org/1")
    assert trace(tmp_path / "out", "https://copy.example.com/1")["copy_of"] == original["id"]
    with pytest.raises(DataError, match="no page of this id or address"):
        trace(tmp_path / "out", "https://example.org/other")
    with pytest.raises(UserError, match="out: is a corpus; the id or the address comes first"):
        trace(Path(kept[3].id), str(tmp_path / "out"))
    documents = list(read_folder(tmp_path / "out" / "data"))
    assert [one.id for one in documents] == [page.id for page in kept]
    assert documents[0].source == kept[0].metadata["url"] or kept[0].metadata["url"] == ""


def same_files(a: Path, b: Path) -> bool:
    names = {path.relative_to(a) for path in a.rglob("*") if path.is_file()} - {Path("times.json")}
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in names)


def test_the_bytes_depend_on_neither_processes_nor_a_kill(
    crawl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("malmoi.corpus.sources.PART_FILES", 1)
    a, b, c = (tmp_path / name for name in "abc")
    build([str(crawl)], a, Settings(), n_workers=1, say=lambda line: None)
    build([str(crawl)], b, Settings(), n_workers=2, say=lambda line: None)
    assert same_files(a, b)

    def killed(number: int, *rest: object) -> None:
        if number == 1:
            raise KeyboardInterrupt
        read_part(number, *rest)  # type: ignore[arg-type]

    from malmoi.corpus.part import read_part

    with monkeypatch.context() as patched:
        patched.setattr("malmoi.corpus.build.read_part", killed)
        with pytest.raises(KeyboardInterrupt):
            build([str(crawl)], c, Settings(), say=lambda line: None)
    with pytest.raises(DataError, match="not finished"):
        open_built(c)
    before = (c / "parts" / "00000.jsonl").stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr("malmoi.corpus.build.shutil.rmtree", lambda *args, **more: None)
        build([str(crawl)], c, Settings(), say=lambda line: None)
    assert (c / "parts" / "00000.jsonl").stat().st_mtime_ns == before
    assert same_files(a, c)


def test_another_build_into_the_same_folder_is_refused(crawl: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build([str(crawl / "note.md")], out, Settings(), say=lambda line: None)
    said: list[str] = []
    build([str(crawl / "note.md")], out, Settings(), say=said.append)
    assert "built already" in said[0]
    with pytest.raises(UserError, match="other sources or settings"):
        build([str(crawl / "note.md")], out, Settings(min_score=0.9), say=lambda line: None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(UserError, match="something else"):
        build([str(crawl / "note.md")], tmp_path / "full", Settings(), say=lambda line: None)
    with pytest.raises(DataError, match="no such file; evaluation_sets"):
        how = Settings(evaluation_sets=("missing.jsonl",))
        build([str(crawl / "note.md")], tmp_path / "sets", how, say=lambda line: None)
    assert not (tmp_path / "sets").exists()


def test_a_build_that_keeps_nothing_says_why_and_leaves_the_folder_free(crawl: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"no page is left of 1 records \(1 × language: .*\); give more pages"):
        build([str(crawl / "note.md")], out, Settings(languages=("fr",)), say=lambda line: None)
    assert not list(out.iterdir())
    (crawl / "page.warc.gz").write_bytes(gzip.compress(b"<html>no archive</html>"))
    with pytest.raises(DataError, match=r"0 records \(1 × damaged, or not what its name says: page.warc.gz\)"):
        build([str(crawl / "page.warc.gz")], out, Settings(), say=lambda line: None)
    assert build([str(crawl / "note.md")], out, Settings(), say=lambda line: None)["n_kept"] == 1
    result = CliRunner().invoke(app, ["corpus", "build", str(crawl), "--out", str(crawl / "note.md")])
    assert result.exit_code == 2 and "is a file; a corpus is a folder" in result.output


def test_a_build_of_the_command_line_does_not_load_pytorch(crawl: Path, tmp_path: Path) -> None:
    # It would take seconds and hundreds of megabytes, in each of its processes.
    code = (
        "import sys; from malmoi.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    words = ["corpus", "build", str(crawl), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_domain_is_removed_in_the_next_version(crawl: Path, tmp_path: Path) -> None:
    build([str(crawl)], tmp_path / "out", Settings(), say=lambda line: None)
    made = remove(tmp_path / "out", tmp_path / "next", domains=["example.org"])
    of_domain = {"example.org", "copy.example.com"}
    old = [row["url"] for rows in open_built(tmp_path / "out")["kept_samples"].values() for row in rows]
    assert any("example.org" in url for url in old)
    samples = [row for name in ("samples", "kept_samples") for rows in made[name].values() for row in rows]
    assert {row["url"].split("/")[2] for row in samples if "://" in row["url"]} <= of_domain - {"example.org"}
    assert made["n_kept"] == 1 and made["dropped"]["remove"] == {"removed: example.org": 16}
    assert [page.metadata["archive"] for page in pages_of(tmp_path / "next")] == ["note.md"]
    assert not trace(tmp_path / "next", "https://example.org/0")["kept"]
    assert open_built(tmp_path / "out")["n_kept"] == 17
    with pytest.raises(DataError, match="no page of"):
        remove(tmp_path / "out", tmp_path / "other", domains=["example.net"])
    assert not (tmp_path / "other").exists()


def test_sets_and_rows_of_other_tools_are_read(tmp_path: Path) -> None:
    said = {"license": "CC0-1.0", "date": "2026-01-02", "title": "Tea", "author": "Kim"}
    rows = [{"text": prose(n), "id": f"{n:016x}", "metadata": {"url": f"https://example.org/{n}", **said}}
            for n in range(3)]  # fmt: skip
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:
        file.write("\n".join(map(json.dumps, rows)).encode())
    (tmp_path / "rows.jsonl.gz").write_bytes(buffer.getvalue())
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"question": prose(1).split("\n")[0]}) + "\n")
    how = Settings(evaluation_sets=(str(tmp_path / "quiz.jsonl"),), near_from=1.0)
    made = build([str(tmp_path / "rows.jsonl.gz")], tmp_path / "out", how, say=lambda line: None)
    assert made["dropped"] == {"contamination": {"text of quiz.jsonl": 1}} and made["licenses"] == {"CC0-1.0": 2}
    for page in pages_of(tmp_path / "out"):
        assert {name: page.metadata[name] for name in said} == said
