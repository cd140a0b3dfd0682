"""What people say about answers, and what becomes of it."""

import json
from collections.abc import Callable
from typing import Any

from tests.browser.test_chat import act, ask, finish

OpenPage = Callable[..., Any]


def teaching_chat(open_page: OpenPage, teaches: bool, question: str) -> Any:
    page = open_page("/chat")
    consent = page.get_by_role("switch")
    consent.wait_for()
    if (consent.get_attribute("aria-checked") == "true") != teaches:
        consent.click()
    ask(page, question)
    return page


def reasons_in(request: Any) -> set[str]:
    """The reasons that a vote sends."""
    return {*json.loads(request.post_data)["reasons"]} if request.url.endswith("/vote") else set()


def test_a_vote_keeps_its_reasons_and_says_where_it_goes(open_page: OpenPage) -> None:
    page = teaching_chat(open_page, True, "At what temperature is black tea steeped?")
    act(page, "Not good").click()
    page.get_by_text("Goes to Teach as a question.").wait_for()
    # Faster than a page is drawn: the second click must know of the first.
    with page.expect_response(lambda response: {"wrong", "too_long"} <= reasons_in(response.request)):
        page.locator(".reasons button").evaluate_all(
            "pills => ['Too long', 'Wrong'].forEach((name) => pills.find((pill) => pill.textContent === name).click())"
        )
    page.locator(".pill[aria-pressed=true]").nth(1).wait_for()
    page.reload()
    page.locator(".pill[aria-pressed=true]").nth(1).wait_for()
    assert set(page.locator(".pill[aria-pressed=true]").all_text_contents()) == {"Wrong", "Too long"}
    act(page, "Good").click()
    page.locator(".reasons").wait_for(state="detached")
    assert act(page, "Good").get_attribute("aria-pressed") == "true"
    act(page, "Good").click()
    page.locator("button[aria-pressed=true]").wait_for(state="detached")


def test_a_vote_without_consent_teaches_nothing_and_says_so(open_page: OpenPage) -> None:
    page = teaching_chat(open_page, False, "At what temperature is black tea steeped?")
    act(page, "Not good").click()
    page.get_by_text("Kept for you only; teaches nothing.").wait_for()


def test_what_may_answer_is_offered_as_the_nearest_and_begins_a_better_answer(open_page: OpenPage) -> None:
    page = teaching_chat(open_page, True, "How long may a film be kept?")
    answer = page.locator(".answer").last
    assert "not sure" in answer.locator(".markdown").inner_text()
    nearest = answer.get_by_role("region", name="Nearest, but perhaps not the answer")
    nearest.get_by_role("button", name="library.md").click()
    assert nearest.locator("mark").inner_text() == "A book may be kept for three weeks."
    assert answer.get_by_role("region", name="From", exact=True).count() == 0
    act(page, "Where from?").click()
    page.get_by_role("dialog").get_by_text("Nothing that was looked up answers this for sure.").wait_for()
    page.keyboard.press("Escape")
    act(page, "Better answer").click()
    assert (
        page.get_by_role("textbox", name="How should it have answered?").input_value()
        == "A book may be kept for three weeks."
    )


def test_a_better_answer_works_from_the_next_message_on_until_it_is_withdrawn(open_page: OpenPage) -> None:
    question = "How long may a book be kept?"
    page = teaching_chat(open_page, True, question)
    act(page, "Better answer").click()
    field = page.get_by_role("textbox", name="How should it have answered?")
    assert field.input_value() != ""
    field.fill("A book may be kept for three weeks, a film for one.")
    page.locator(".better").get_by_role("button", name="Save").click()
    page.get_by_text("The assistant answers with it from the next message on.").wait_for()

    page.get_by_role("link", name="New chat").click()
    page.get_by_role("heading", level=1).wait_for()
    ask(page, question)
    assert "a film for one" in page.locator(".answer .markdown").first.inner_text()
    assert page.locator(".source").first.inner_text().split("\n")[-1].startswith("관리자, ")

    page.go_back()
    page.get_by_role("button", name="Withdraw").click()
    page.locator(".better").wait_for(state="detached")
    page.get_by_role("link", name="New chat").click()
    page.get_by_role("heading", level=1).wait_for()
    ask(page, question)
    assert "a film for one" not in page.locator(".answer .markdown").first.inner_text()


def test_where_from_names_file_version_and_command(open_page: OpenPage) -> None:
    page = teaching_chat(open_page, False, "When does the library open?")
    act(page, "Where from?").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_role("button", name="library.md").wait_for()
    assert "malmoi lineage" in sheet.inner_text()
    page.keyboard.press("Escape")
    sheet.wait_for(state="detached")


def test_documents_alone_give_nothing_to_compare(open_page: OpenPage) -> None:
    page = teaching_chat(open_page, True, "When does the library open?")
    act(page, "Compare").click()
    page.get_by_text("there is nothing to compare").wait_for()
    page.locator(".compare").wait_for(state="detached")
    finish(page)
