"""A format is one module in `malmoi.corpus.readers`: here the one that its guide shows."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from malmoi.corpus import readers
from malmoi.corpus.clean import family
from malmoi.corpus.folder import ReadReport, read_folder
from malmoi.errors import DataError

PAGE = Path(__file__).parents[3] / "docs" / "guides" / "add-a-reader.md"


@pytest.fixture
def csv_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example of the page, as one more file among the readers."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "csv_rows.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(folder)])
    readers.all_readers.cache_clear()
    yield
    readers.all_readers.cache_clear()


@pytest.mark.usefixtures("csv_reader")
def test_a_format_is_one_file_more(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.csv").write_text('id,text\n1,"말모이, a dictionary"\n2,Two.\n', encoding="utf-8")
    (texts / "b.txt").write_text("Plain.")
    (texts / "c.csv").write_bytes("id,text\n1,사전이다.\n".encode("cp949"))
    report = ReadReport()
    found = [(document.source, document.text) for document in read_folder(texts, report=report, encoding="cp949")]
    assert found == [("a.csv", "말모이, a dictionary"), ("a.csv", "Two."), ("b.txt", "Plain."), ("c.csv", "사전이다.")]
    assert +report.converted == {"cp949": 1} and not report.skipped
    assert family("texts/a.csv") == "texts/a.csv"
    (texts / "d.csv").write_text("id,words\n1,none\n")
    with pytest.raises(DataError, match=r'd\.csv:2: no column "text"'):
        list(read_folder(texts, encoding="cp949"))
    report = ReadReport()
    assert len(list(read_folder(texts, "skip", report, "cp949"))) == 4
    assert report.skipped == {"unusable row": 1}


def test_the_longest_suffix_decides_in_any_case() -> None:
    by_suffix = readers.all_readers()
    assert readers.reader_of("d.JSONL.gz") is by_suffix[".jsonl.gz"]
    assert readers.reader_of("page.HTM") is by_suffix[".htm"]
    assert readers.reader_of("notes.gz") is readers.reader_of("html") is None


def test_every_suffix_has_one_reader() -> None:
    modules = [f"{readers.__name__}.{found.name}" for found in pkgutil.iter_modules(readers.__path__)]
    suffixes = [suffix for module in modules for suffix in importlib.import_module(module).READER.suffixes]
    assert list(readers.all_readers()) == sorted(suffixes)
