import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.corpus.folder import ReadReport, read_folder
from malmoi.corpus.tables import find_header, table_text


def read(path: Path, data: str | bytes, report: ReadReport | None = None, encoding: str = "utf-8") -> list[tuple]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    found = read_folder(path, "skip", report, encoding)
    return [(document.place, document.line, document.text) for document in found]


def test_a_row_is_a_document_with_its_names_number_and_line(tmp_path: Path) -> None:
    report = ReadReport()
    data = 'Name,Phone\n Kim , 010\n\nLee,"first\nsecond"\nPark\n정,010,extra\n'
    assert read(tmp_path / "a.csv", data, report) == [
        ("row 2", 2, "Name: Kim; Phone: 010"),
        ("row 4", 4, "Name: Lee\nPhone: first\nsecond"),
        ("row 5", 6, "Name: Park"),
        ("row 6", 7, "Name: 정; Phone: 010; extra"),
    ]
    assert report.notes == {"row with another number of cells than its header": 2}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "city;note\nSeoul;one, two\nBusan;three, four, five\n"),
        ("a.csv", "city\tnote\nSeoul\tone, two\nBusan\tthree, four, five\n"),
        ("a.csv", "city|note\nSeoul|one, two\nBusan|three, four, five\n"),
        ("a.csv", '"city","note"\n"Seoul","one, two"\n"Busan","three, four, five"\n'),
        ("a.csv", "'city','note'\n'Seoul','one, two'\n'Busan','three, four, five'\n"),
        ("a.csv", "city,note\r\nSeoul,\"one, two\"\r\nBusan,\"three, four, five\"\r\n"),
        ("a.csv", "city,note\rSeoul,\"one, two\"\rBusan,\"three, four, five\"\r"),
        ("a.csv", "\ufeffcity;note\nSeoul;one, two\nBusan;three, four, five"),
        ("a.tsv", "city\tnote\nSeoul\tone, two\nBusan\tthree, four, five\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_delimiters_quotes_newlines_and_marks_are_found(tmp_path: Path, name: str, data: str, encoding: str) -> None:
    assert read(tmp_path / name, data.encode(encoding)) == [
        ("row 2", 2, "city: Seoul; note: one, two"),
        ("row 3", 3, "city: Busan; note: three, four, five"),
    ]


def test_a_table_of_older_korean_windows_is_read_when_it_is_named(tmp_path: Path) -> None:
    data = "이름,전화\n김철수,010\n".encode("cp949")
    assert read(tmp_path / "a.csv", data, encoding="cp949") == [("row 2", 2, "이름: 김철수; 전화: 010")]


def test_the_line_that_tells_excel_the_delimiter_is_obeyed(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "sep=;\na;b\n1;2,5\n") == [("row 2", 3, "a: 1; b: 2,5")]


def test_an_open_quote_costs_rows_that_are_counted_and_not_the_file(tmp_path: Path) -> None:
    report = ReadReport()
    rows = "".join(f"{n},word\n" for n in range(30_000))
    found = read(tmp_path / "a.csv", f'n,w\n1,"open\n{rows}', report)
    assert report.skipped == {"unusable row": 1} and "a.csv:2: a value of more than 131,072" in report.examples[0]
    assert len(found) > 10_000 and found[-1][2] == "n: 29999; w: word"


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        ([["Name", "Age"], ["Kim", "5"]], 0),
        ([["Title", ""], ["", ""], ["Name", "Age"], ["Kim", "5"]], 2),
        ([["Kim", "5"], ["Lee", "6"]], None),
        ([["2024-01-01", "x"], ["2024-01-02", "y"]], None),
        ([["a", "b"], ["a", "c"]], None),
        ([["one"], ["two"]], None),
        ([["Name", "Age"]], None),
        ([], None),
    ],
)
def test_the_row_of_names_is_found(rows: list[list[str]], header: int | None) -> None:
    assert find_header(rows) == header


def test_rows_that_do_not_fit_the_names_of_a_table_are_kept() -> None:
    rows = [["A", "B"], ["1", "2"], ["merged"], ["3\n4", ""]]
    assert table_text(rows) == "A: 1; B: 2\nmerged\nA: 3 4"


@given(st.text(alphabet="ab가1,;\t|\"'\r\n \0", max_size=200))
def test_any_table_gives_rows_in_their_lines(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        path.write_bytes(text.encode())
        Path(folder, "z.txt").write_text("Words.")
        found = [document for document in read_folder(path.parent) if document.source == "a.csv"]
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert [document.line for document in found] == sorted({document.line for document in found})
    assert all(1 <= document.line <= len(lines) for document in found)
