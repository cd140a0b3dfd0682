"""For everybody: screen readers (axe finds no serious fault), keyboards, phones, both languages, light and dark."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_chat import QUESTION, ask, finish

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
OpenPage = Callable[..., Any]


def serious_faults(page: Any) -> list[str]:
    if not AXE.exists():
        pytest.skip("no axe: cd web && npm ci")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]


def fits(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_chat_has_no_serious_fault(open_page: OpenPage, dark: bool, phone: bool) -> None:
    page = open_page("/chat", dark=dark, phone=phone)
    page.get_by_role("heading", level=1).wait_for()
    assert serious_faults(page) == []
    ask(page, QUESTION)
    page.locator(".source").first.click()
    page.locator(".answer").get_by_role("button", name="Better answer").click()
    assert serious_faults(page) == []
    assert fits(page)
    page.get_by_role("button", name="Settings of this chat").click()
    assert serious_faults(page) == []
    page.keyboard.press("Escape")
    if phone:
        page.get_by_role("button", name="Menu", exact=True).click()
        page.get_by_role("link", name="New chat").wait_for()
        assert serious_faults(page) == []


def test_sign_in_has_no_serious_fault_and_says_what_is_wrong(open_page: OpenPage) -> None:
    page = open_page("/", signed_in=False, phone=True)
    page.get_by_role("heading", name="Sign in").wait_for()
    assert serious_faults(page) == []
    assert fits(page)


@pytest.mark.parametrize(("locale", "language"), [("ko-KR", "ko"), ("en-GB", "en"), ("fr-FR", "en")])
def test_the_page_speaks_the_language_of_the_browser_until_told_otherwise(
    open_page: OpenPage, locale: str, language: str
) -> None:
    page = open_page("/chat", locale=locale)
    page.get_by_role("searchbox").wait_for()
    page.locator(f"html[lang={language}]").wait_for(state="attached")
    page.get_by_role("button", name="English" if language == "ko" else "한국어").click()
    page.reload()
    page.get_by_role("searchbox", name="Search chats" if language == "ko" else "대화 찾기").wait_for()


def test_light_and_dark_follow_the_system_until_told_otherwise(open_page: OpenPage) -> None:
    page = open_page("/chat", dark=True)
    white = "getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'"
    page.wait_for_function(f"!({white})")
    page.get_by_role("button", name="Light").click()
    page.wait_for_function(white)
    page.reload()
    page.get_by_role("button", name="Dark").click()
    page.wait_for_function(f"!({white})")


def test_a_question_is_asked_and_an_answer_is_checked_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page("/chat")
    page.locator("textarea:focus").wait_for()
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    page.locator(".sources").wait_for()
    finish(page)
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.classList.contains('source')"):
            break
    page.keyboard.press("Enter")
    page.locator("mark").wait_for()
