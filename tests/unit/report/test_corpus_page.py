"""The report of a corpus: its figures are those of the index, and nothing of a page becomes part of it."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.corpus.build import build
from malmoi.corpus.form import Settings
from malmoi.errors import DataError
from malmoi.files import write_json, write_jsonl
from malmoi.report.corpus_page import write_corpus_report
from tests.unit.corpus.test_web import prose, records, zipped

pytest.importorskip("fastwarc", reason="pip install 'malmoi[corpus]'")
HOSTILE = (
    '<script>alert(1)</script><img src="https://evil.example/x.png" onerror="alert(2)">"\'</style></title></li>'
    "<a href='javascript:alert(3)'>x</a>{{ 7 * 7 }}{% raw %}&lt;b&gt;<base href=//evil.example>\u202e"
)


class Seen(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "crawl"
    folder.mkdir()
    parts = [zipped([one]) for one in records(6)]
    parts[2] = bytes(99) + parts[2][99:]
    (folder / "a.warc.gz").write_bytes(b"".join(parts))
    known = {"url": f"javascript:1{HOSTILE}", "license": HOSTILE}
    rows = [{"text": f"{prose(50)}\n{HOSTILE}\nann@example.org", "metadata": known},
            {"text": HOSTILE * 9, "url": "https://example.org/bad"}]  # fmt: skip
    write_jsonl(folder / "b.jsonl", rows)
    build([str(folder)], tmp_path / "out", Settings(repeated_lines=False), say=lambda line: None)
    return tmp_path / "out"


def test_hostile_text_stays_text_and_the_page_asks_for_nothing(corpus: Path) -> None:
    page = write_corpus_report(corpus).read_text("utf-8")
    seen = Seen(page)
    assert not {"script", "img", "iframe", "base", "link", "form", "object"} & set(seen.tags)
    assert not any(name.startswith("on") or name == "src" for name, _ in seen.attributes)
    assert all((value or "").startswith("#") for name, value in seen.attributes if name == "href")
    assert "default-src 'none'" in page and not re.search(r"url\(|@import", page)
    assert (
        html.escape("<script>alert(1)</script>", quote=False) in page and "{{ 7 * 7 }}" in page and ">49<" not in page
    )


def test_the_page_shows_what_the_index_says(corpus: Path) -> None:
    index = json.loads((corpus / "index.json").read_text())
    page = write_corpus_report(corpus).read_text("utf-8")
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    for step, (n, _) in index["passed"].items():
        assert step in text and f"{n:,}" in text
    for reasons in index["dropped"].values():
        assert all(reason in text for reason in reasons)
    assert "e-mail" in text and "Damaged" in text and "kept: " in text and "dropped: " in text
    passed = [index["passed"][step][0] for step in ("read", "extract", "language", "quality", "near", "personal")]
    assert passed == sorted(passed, reverse=True) and passed[-1] == index["n_kept"]


def test_the_command_writes_it_and_without_a_corpus_says_so(corpus: Path, tmp_path: Path) -> None:
    (corpus / "times.json").unlink()
    result = CliRunner().invoke(app, ["corpus", "show", str(corpus), "--report"])
    assert result.exit_code == 0 and f"report: {corpus / 'report.html'}" in result.output
    assert "Not known for this version" in (corpus / "report.html").read_text("utf-8")
    with pytest.raises(DataError, match="no corpus"):
        write_corpus_report(tmp_path)
    index = json.loads((corpus / "index.json").read_text())
    row = {"mean": 0.9, "low": 0.8, "high": 1.0, "n": 20}
    drawn = {"roc": [[0, 0], [0.1, 0.9], [1, 1]], "calibration": [[0.2, 0.1, 10], [0.8, 0.9, 10]]}
    areas = {"auc": row, "auc_of_length": row, "auc_by_language": {"ko": row}}
    index["classifier"] = {"n_keep": 10, "n_drop": 10, **areas, **drawn}
    write_json(corpus / "index.json", index)
    assert write_corpus_report(corpus).read_text("utf-8").count("<svg") == 2
