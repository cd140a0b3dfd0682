"""A format is one module in `malmoi.corpus.readers`: here the one that its guide shows."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from malmoi.corpus import readers
from malmoi.corpus.folder import ReadReport, read_folder
from malmoi.errors import DataError

PAGE = Path(__file__).parents[3] / "docs" / "guides" / "add-a-reader.md"


@pytest.fixture
def srt_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example of the page, as one more file among the readers."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "srt.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(folder)])
    readers.all_readers.cache_clear()
    yield
    readers.all_readers.cache_clear()


@pytest.mark.usefixtures("srt_reader")
def test_a_format_is_one_file_more(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    cue = "1\n00:00:01,000 --> 00:00:02,000\n{}\n\n"
    (texts / "a.srt").write_text(cue.format("말모이는") + cue.format("우리말 사전이다."), encoding="utf-8")
    (texts / "b.txt").write_text("Plain.")
    (texts / "c.srt").write_bytes(cue.format("사전이다.").encode("cp949"))
    report = ReadReport()
    found = [(document.source, document.text) for document in read_folder(texts, report=report, encoding="cp949")]
    assert found == [("a.srt", "말모이는\n우리말 사전이다."), ("b.txt", "Plain."), ("c.srt", "사전이다.")]
    assert +report.converted == {"cp949": 1} and not report.skipped
    (texts / "d.srt").write_text("no times")
    with pytest.raises(DataError, match=r"d\.srt: no times"):
        list(read_folder(texts, encoding="cp949"))
    report = ReadReport()
    assert len(list(read_folder(texts, "skip", report, "cp949"))) == 3
    assert report.skipped == {"no subtitles": 1}


def test_the_longest_suffix_decides_in_any_case() -> None:
    by_suffix = readers.all_readers()
    assert readers.reader_of("d.JSONL.gz") is by_suffix[".jsonl.gz"]
    assert readers.reader_of("page.HTM") is by_suffix[".htm"]
    assert readers.reader_of("notes.gz") is readers.reader_of("html") is None


def test_every_suffix_has_one_reader() -> None:
    modules = [f"{readers.__name__}.{found.name}" for found in pkgutil.iter_modules(readers.__path__)]
    suffixes = [suffix for module in modules for suffix in importlib.import_module(module).READER.suffixes]
    assert list(readers.all_readers()) == sorted(suffixes)
