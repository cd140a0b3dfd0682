"""Data: what is in a file is shown before it is added; documents answer at once; out again; forgotten."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Site
from tests.browser.test_access import fits, serious_faults
from tests.browser.test_chat import ask

OpenPage = Callable[..., Any]
ASKED = {"role": "user", "content": "언제 여나요?"}
FILES = {
    "answers.jsonl": [{"messages": [ASKED, {"role": "assistant", "content": "아홉 시에 엽니다."}]}],
    "marked.jsonl": [{"messages": [ASKED, {"role": "assistant", "content": "몰라요.", "weight": 0}]}],
    "ranks.jsonl": [{"messages": [ASKED], "answers": ["아홉 시.", "글쎄."], "ranks": [1, 2]}],
}
MUSEUM = "# Museum\n\nThe museum closes at seventeen o'clock on Sundays.\n"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    for name, rows in FILES.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "museum.md").write_text(MUSEUM, encoding="utf-8")
    return tmp_path


@pytest.fixture
def looked_up_as_before(site: Site) -> Iterator[None]:
    yield
    for folder in (site.workspace / "documents", site.workspace / "indexes" / "documents"):
        shutil.rmtree(folder, ignore_errors=True)


def choose(page: Any, *paths: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files([str(path) for path in paths])


def card(page: Any, name: str) -> Any:
    return page.locator(".preview", has=page.get_by_role("heading", name=name, exact=True))


def test_what_is_left_out_is_told_in_the_language_of_the_page(open_page: OpenPage, given: Path) -> None:
    (given / "torn.jsonl").write_text(f"{json.dumps(FILES['answers.jsonl'][0])}\nnot json\n", encoding="utf-8")
    (given / "torn.pdf").write_bytes(b"no pdf")
    page = open_page("/data", locale="ko-KR")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="파일 고르기").click()
    chooser.value.set_files([str(given / name) for name in ("torn.jsonl", "museum.md", "torn.pdf")])
    card(page, "torn.jsonl").get_by_text("뺀 것: 1 × 올바른 JSON이 아님").wait_for()
    card(page, "museum.md").get_by_text("3번째 줄").wait_for()
    page.get_by_text("torn.pdf 파일은 넣을 수 없습니다: 글이 없거나 손상된 파일입니다.").wait_for()


def test_what_would_be_learned_is_shown_and_what_would_teach_nothing_stops(open_page: OpenPage, given: Path) -> None:
    page = open_page("/data", phone=True)
    choose(page, given / "answers.jsonl", given / "marked.jsonl")
    assert "아홉 시에 엽니다." in card(page, "answers.jsonl").locator(".rows .learned").inner_text()
    assert "언제 여나요?" in card(page, "answers.jsonl").locator(".rows .read").first.inner_text()
    stopped = card(page, "marked.jsonl")
    stopped.get_by_text("0 % would be learned").first.wait_for()
    assert stopped.get_by_role("button", name="Add").is_disabled()
    assert serious_faults(page) == [] and fits(page)
    card(page, "answers.jsonl").get_by_role("button", name="Add").click()
    page.get_by_text("answers.jsonl is added: 1 new").wait_for()
    page.get_by_role("link", name="Answers").click()
    page.get_by_text("아홉 시에 엽니다.").wait_for()


def test_a_document_answers_from_the_next_message_on(
    open_page: OpenPage, given: Path, looked_up_as_before: None
) -> None:
    page = open_page("/data")
    choose(page, given / "museum.md")
    card(page, "museum.md").get_by_role("button", name="Add").click()
    page.get_by_text("museum.md is added.").wait_for()
    assert serious_faults(page) == []
    page.get_by_role("link", name="Chat", exact=True).click()
    ask(page, "When does the museum close on Sundays?")
    assert "seventeen" in page.locator(".answer .markdown").first.inner_text()


def test_rankings_are_frozen_exported_and_forgotten(open_page: OpenPage, given: Path, site: Site) -> None:
    page = open_page("/data/snapshots")
    choose(page, given / "ranks.jsonl")
    card(page, "ranks.jsonl").get_by_role("button", name="Add").click()
    page.get_by_text("ranks.jsonl is added").wait_for()
    page.get_by_role("button", name="Freeze").click()
    copy = site.workspace / "malmoi.db.bak-0001"
    copy.write_bytes(b"nobody can say who is in it")
    frozen = page.locator("article", has_text="1 rankings")
    with page.expect_download() as download:
        frozen.get_by_role("link", name="JSONL").last.click()
    (row,) = map(json.loads, Path(download.value.path()).read_text(encoding="utf-8").splitlines())
    assert row["chosen"] == [{"role": "assistant", "content": "아홉 시."}] and row["group_id"]

    page.get_by_role("button", name="Delete a person's data").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_label("Whose?").select_option(label="ranks.jsonl (1 rankings, 0 answers)")
    sheet.get_by_text("snapshots: ").wait_for()
    assert serious_faults(page) == []
    sheet.get_by_role("button", name="Delete for good").click()
    sheet.get_by_text("ranks.jsonl's data is deleted.").wait_for()
    sheet.get_by_text(copy.name).wait_for()
    copy.unlink()
    sheet.get_by_role("button", name="Close").last.click()
    page.get_by_role("link", name="Rankings").first.click()
    page.get_by_text("Nobody has ranked anything yet.").wait_for()
