"""Documents become passages under their headings, and every passage knows its line."""

from functools import partial
from pathlib import Path

import pytest

from malmoi.corpus.clean import drop_boilerplate, normalised, part_of
from malmoi.corpus.documents import Document
from malmoi.corpus.folder import read_folder
from malmoi.retrieval.passages import MAX_CHARS, Passage, passages, passages_of

MARKDOWN = """# Guide

Intro here. More.

## Install

Run pip.

### Windows

```
# not a heading
x = 1
```

## Empty

# Next
bye
"""


def found(text: str, source: str = "a.md") -> list[tuple[str, int, str]]:
    return [(p.heading, p.line, p.text) for p in passages_of(Document(text, source, line=1))]


def test_markdown_is_cut_at_its_headings() -> None:
    assert found(MARKDOWN) == [
        ("Guide", 3, "Intro here. More."),
        ("Guide > Install", 7, "Run pip."),
        ("Guide > Install > Windows", 11, "```\n# not a heading\nx = 1\n```"),
        ("Guide > Empty", 16, "## Empty"),
        ("Next", 19, "bye"),
    ]


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("## A title ##", "A title"), ("# C #", "C"), ("# C#", "C#"), ("# C# ##", "C#"), ("# a # b", "a # b"),
        ("## #", "#"), ("# ###", "#"),
        ("# a" + " " * 50_000 + "b", "a" + " " * 50_000 + "b"),
        ("# a " + "#" * 50_000, "a"),
    ],
    ids=range(9),
)  # fmt: skip
def test_marks_after_a_heading_are_none_of_it(line: str, heading: str) -> None:
    assert [one.heading for one in passages([Document(f"{line}\n\nIt says something.", "a.md")])] == [heading]


def test_underlined_headings_have_the_level_of_their_first_use() -> None:
    text = 'The "for" statement\n*******************\n\nIt iterates.\n\nElse\n====\n\nAt the end.\n\nTwo\n***\n\nEnd.'
    assert [heading for heading, _, _ in found(text, "python-3.11:topic:for")] == [
        'The "for" statement',
        'The "for" statement > Else',
        "Two",
    ]


def test_lines_of_an_interactive_session_are_no_headings() -> None:
    text = "The try statement\n*****************\n\n>>> try:\n...     print(1)\n...\n\nIt tries.\n\nA~\n~~~\n\nEnd."
    assert [heading for heading, _, _ in found(text, "python-3.11:topic:try")] == [
        "The try statement", "The try statement > A~",
    ]  # fmt: skip


def test_titles_between_blank_lines_are_headings_and_sentences_are_not() -> None:
    text = "회의록\n\n다음 회의는 부산에서 한다\n\n2024년 3월 회의는 서울에서 열렸다.\n\n"
    text += "할 일\n\n- 우유 사기\n- 전화하기\n"
    assert found(text, "notes/회의.txt") == [
        ("회의록", 3, "다음 회의는 부산에서 한다\n\n2024년 3월 회의는 서울에서 열렸다."),
        ("할 일", 9, "- 우유 사기\n- 전화하기"),
    ]


def test_the_heading_of_python_documentation_is_its_first_line() -> None:
    text = "function json.dumps(obj, *, indent)\nSerialize obj.\n\nNotes\n\nKeys are skipped."
    document = Document(text, "python:json.dumps")
    heading, _, rest = text.partition("\n")
    assert list(passages([document])) == [Passage(rest, "python:json.dumps", heading, 0, "", document.id)]


def test_rows_name_their_file_and_title() -> None:
    (only,) = passages([Document("It is a language that is easy to read.", "a.jsonl#Python")])
    assert (only.file, only.heading) == ("a.jsonl", "Python")
    (only,) = passages([Document("It is a language that is easy to read.", "C# notes.md")])
    assert (only.file, only.heading) == ("C# notes.md", "")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "paragraph",
    [
        "One two three. " * 200,
        "가나다라 마바사. " * 200,
        "word " * 900,
        "가" * 2000,
        "한 줄.\n" * 400,
        "- an item\n" * 99,
    ],
)
def test_long_paragraphs_are_cut_and_every_line_is_right(paragraph: str, newline: str) -> None:
    text = f"# 제목\n\nBefore.\x0c\u2028\n\n{paragraph}\n\n\n\n\n\nAfter."
    lines = [line.replace("\x0c", " ").replace("\u2028", " ") for line in text.split("\n")]
    cut = list(passages_of(Document(text.replace("\n", newline), "a.txt", line=11)))
    assert all(len(p.text) <= MAX_CHARS and p.text == p.text.strip() for p in cut)
    assert "".join("".join(p.text for p in cut).split()) == "".join(text.removeprefix("# 제목").split())
    for p in cut:
        assert p.heading == "제목"
        for n, line in enumerate(p.text.split("\n")):
            assert line in lines[p.line + n - 11]


def test_a_row_of_a_table_is_all_in_its_line() -> None:
    cut = list(passages_of(Document("Name: Kim\nNote: " + "long. " * 200, "a.csv", line=11, place="row 9")))
    assert len(cut) > 1 and {(p.line, p.place) for p in cut} == {(11, "row 9")}


def test_a_file_read_in_parts_goes_on_under_its_heading() -> None:
    first = Document("# Guide\n\n## Install\n\nRun pip.\n", "a.md", line=1)
    parts = [first, Document("Then look.\n\n# Next\n\nBye.", "a.md", line=6), Document("Alone.", "b.md", line=1)]
    assert [(p.file, p.heading, p.line) for p in passages(parts)] == [
        ("a.md", "Guide > Install", 5),
        ("a.md", "Guide > Install", 6),
        ("a.md", "Next", 10),
        ("b.md", "", 1),
    ]
    rows = [Document("# One\n\nText.", "a.jsonl"), Document("More text.", "a.jsonl")]
    assert [p.heading for p in passages(rows)] == ["One", ""]


def test_lines_are_right_after_cleaning(tmp_path: Path) -> None:
    """Lines are squeezed, cut at odd separators, and left out as boilerplate: every passage still knows its line."""
    banner = "We use cookies to make this page better for you."
    for n in range(8):
        body = f"\n\n\ufeff\n# Title {n}\r\n\r\nFirst {n}.\n\n\n\n\n\nSecond {n}.\x0cnext {n}\n{banner}\n"
        body += f"Third {n}.\n\n{banner}\n"
        (tmp_path / f"{n}.txt").write_bytes(f"{body}\nLast {n}.\n".encode())
    read = partial(read_folder, tmp_path)
    cleaned = list(drop_boilerplate(list(normalised(read())), 5))
    assert not any(banner in document.text for document in cleaned)
    again = [Document.from_row(document.to_row()) for document in cleaned]
    for document in (*read(), *normalised(read()), *again, *(part_of(d, 12, len(d.text)) for d in again)):
        text = (tmp_path / document.source).read_bytes().decode()
        lines = text.replace("\r\n", "\n").replace("\x0c", " ").split("\n")
        found = list(passages_of(document))
        assert found[-1].text.endswith(lines[-2])
        for passage in found:
            for at, line in enumerate(passage.text.split("\n"), start=passage.line - 1):
                assert line in lines[at]
    assert [p.line for p in passages_of(again[3])] == [6, 12, 12, 14, 18]
