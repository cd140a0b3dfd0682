"""What only a network does: a stream that is stopped, and two answers that are compared without names."""

import re
from collections.abc import Callable
from typing import Any

from tests.browser.test_access import serious_faults
from tests.browser.test_chat import act, finish

OpenPage = Callable[..., Any]


def longest(page: Any, n_tokens: int) -> None:
    """Let answers of this chat be so long."""
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_label("Longest answer").fill(str(n_tokens))
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").wait_for(state="detached")


def begin(page: Any) -> None:
    page.get_by_role("textbox", name="Message").fill("Tell me a long story")
    page.get_by_role("button", name="Send", exact=True).click()


def test_an_answer_that_is_stopped_is_kept_as_far_as_it_came(open_speaking: OpenPage) -> None:
    page = open_speaking("/chat")
    page.get_by_text("in service").wait_for()
    longest(page, 3000)
    begin(page)
    page.locator(".answer .markdown", has_text=re.compile(r"[\s\S]{20}")).wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    finish(page)
    kept = page.locator(".answer .markdown").inner_text()
    page.reload()
    page.get_by_text("Stopped.").wait_for()
    assert page.locator(".answer .markdown").inner_text() == kept != ""


def test_two_answers_survive_a_reload_and_name_the_weights_that_answered(open_speaking: OpenPage) -> None:
    page = open_speaking("/chat")
    page.get_by_text("in service").wait_for()
    longest(page, 12)
    begin(page)
    finish(page)
    act(page, "Compare").click()
    page.get_by_role("heading", name="Which answer is better?").wait_for()
    shown = page.locator(".compare .markdown").all_text_contents()
    assert len(set(shown)) == 2 and serious_faults(page) == []
    assert "tiny" not in page.locator(".compare").inner_text()
    page.reload()
    page.get_by_role("heading", name="Which answer is better?").wait_for()
    assert page.locator(".compare .markdown").all_text_contents() == shown
    page.get_by_role("button", name="B is better").click()
    page.get_by_role("heading", name="Thank you. These answered:").wait_for()
    names = page.locator(".compare .card .quiet").all_text_contents()
    assert [name.strip().split(" · ")[0] for name in names] == ["tiny", "tiny"]
    assert len({name.split(" · ")[1] for name in names}) == 1  # one network gave both: the hash says so
    page.get_by_role("button", name="Go on").click()
    page.locator(".compare").wait_for(state="detached")
    assert page.locator(".answer .markdown").last.text_content().strip() == shown[1].strip()
