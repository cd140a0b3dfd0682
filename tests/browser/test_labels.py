"""Keep or drop under Teach: pages of a corpus, judged by key, mouse and finger, in both languages."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from malmoi.corpus.build import build
from malmoi.corpus.form import Settings
from tests.browser.conftest import Site
from tests.browser.test_access import fits, serious_faults
from tests.browser.test_teach import join

pytest.importorskip("fastwarc", reason="pip install 'malmoi[corpus]'")
OpenPage = Callable[..., Any]
PAGES = {
    "mortar": "A mortar is a bowl in which spices are ground with a pestle. <script>alert(1)</script> It is heavy.",
    "방앗간": "방앗간에서는 곡식을 찧어 가루를 낸다. 떡을 만들 쌀도 여기에서 빻는다.",
    "offers": "Buy shoes now. Free shipping today. Click the button to order. " + "More shoes for you here." * 200,
}


@pytest.fixture
def corpus(site: Site, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Builds a corpus of three pages in the workspace, when called; it is gone afterwards."""

    def make() -> None:
        rows = [{"text": text, "url": f"https://{name}.example.org/"} for name, text in PAGES.items()]
        (tmp_path / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        how = Settings(languages=(), min_score=0, rules=(), near_from=1, repeated_lines=False, personal="keep")
        build([str(tmp_path / "pages.jsonl")], site.workspace / "web", how, say=lambda line: None)

    yield make
    shutil.rmtree(site.workspace / "web", ignore_errors=True)


def so_far(page: Any, text: str) -> None:
    page.get_by_role("status").filter(has_text=text).wait_for()


def test_pages_are_judged_by_key_and_mouse_taken_back_and_counted(
    open_page: OpenPage, corpus: Callable[[], None], tmp_path: Path
) -> None:
    page = open_page("/teach/label")
    page.get_by_role("heading", name="There is no corpus yet").wait_for()
    page.get_by_text("malmoi corpus build SOURCE --out").wait_for()
    assert serious_faults(page) == []
    corpus()
    labeler = join(open_page, "Keeper")
    labeler.get_by_role("link", name="Keep or drop").click()
    shown = labeler.locator("article")
    shown.wait_for()
    assert serious_faults(labeler) == []

    seen = []
    for key in ("k", "d"):
        before = shown.locator(".pre").inner_text()
        seen.append(before)
        labeler.keyboard.press(key)
        labeler.wait_for_function("text => document.querySelector('article .pre')?.innerText !== text", arg=before)
    so_far(labeler, "1 keep, 1 drop, 0 can't tell. By you: 2.")
    labeler.keyboard.press("Control+z")
    so_far(labeler, "1 keep, 0 drop, 0 can't tell. By you: 1.")
    assert shown.locator(".pre").inner_text() == seen[1]
    labeler.reload()
    shown.wait_for()
    assert shown.locator(".pre").inner_text() == seen[1]
    labeler.get_by_role("button", name="Undo").click()  # what was said before the page was loaded again too
    so_far(labeler, "0 keep, 0 drop")
    assert shown.locator(".pre").inner_text() == seen[0]
    labeler.get_by_role("button", name="Keep", exact=True).click()
    so_far(labeler, "1 keep, 0 drop")
    labeler.get_by_role("button", name="Drop").click()
    so_far(labeler, "1 keep, 1 drop")
    labeler.get_by_role("button", name="Can't tell").click()
    labeler.get_by_role("heading", name="Nothing is waiting").wait_for()
    assert labeler.get_by_role("link", name="Download the labels").count() == 0

    page.reload()  # what one could not tell goes to the next person
    page.locator("article").wait_for()
    page.get_by_text("Keeper: 3").wait_for()
    page.get_by_text("at least 10 of each: now 1 keep, 1 drop").wait_for()
    assert serious_faults(page) == []
    with page.expect_download() as down:
        page.get_by_role("link", name="Download the labels").click()
    down.value.save_as(tmp_path / "labels.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["label"], row["person_name"]) for row in rows] == [(1, "Keeper"), (0, "Keeper"), (None, "Keeper")]
    assert {row["text"] for row in rows} == set(PAGES.values())


def test_a_page_is_judged_with_a_finger_on_a_korean_phone(open_page: OpenPage, corpus: Callable[[], None]) -> None:
    corpus()
    page = open_page("/teach/label", locale="ko-KR", phone=True, dark=True)
    page.locator("article").wait_for()
    assert fits(page) and serious_faults(page) == []
    page.get_by_role("button", name="빼기", exact=True).tap()
    page.get_by_role("status").filter(has_text="내가 고른 글 1개").wait_for()
    page.get_by_role("button", name="되돌리기").tap()
    page.get_by_role("status").filter(has_text="내가 고른 글 0개").wait_for()
    assert fits(page) and serious_faults(page) == []
