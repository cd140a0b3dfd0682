"""Teach, as invited people use it: by keyboard, mouse and touch."""

import re
from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy import select

from malmoi.feedback.accounts import members
from malmoi.feedback.teach_items import RANK, Sampled, add_answers, add_question
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.service_schema import TeachItem
from tests.browser.conftest import Site
from tests.browser.test_access import fits, serious_faults

OpenPage = Callable[..., Any]

INVITE = """async ([role]) => {
  const headers = {"Content-Type": "application/json"};
  const answer = await fetch("/api/invites", {method: "POST", headers, body: JSON.stringify({role})});
  return (await answer.json()).code;
}"""


def join(open_page: OpenPage, name: str, **options: Any) -> Any:
    """A page of somebody who came by an invitation to rank."""
    owner = open_page("/chat")
    code = owner.evaluate(INVITE, ["labeler"])
    page = open_page(f"/join#{code}", signed_in=False, **options)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill("eight or more")
    page.get_by_role("button", name="Join").click()
    page.get_by_role("button", name="Start").wait_for()
    assert code not in page.url
    return page


def order(page: Any) -> list[str]:
    """The answers by their letters, from the best down."""
    return [text.split()[-1] for text in page.locator(".rank .handle .quiet").all_text_contents()]


def places(page: Any) -> list[int]:
    return [int(text) for text in page.locator(".rank .place-number").all_text_contents()]


def until(page: Any, is_so: Callable[[], bool], n_looks: int = 100) -> None:
    """What a pointer does comes a moment later."""
    for _ in range(n_looks):
        if is_so():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"it never was: {order(page)}")


def test_an_invited_labeler_sees_teach_alone_and_practises_by_keyboard(open_page: OpenPage) -> None:
    page = join(open_page, "Keyboard")
    assert page.get_by_role("link", name="Chat").count() == 0
    assert serious_faults(page) == []
    page.get_by_role("button", name="Start").click()
    page.get_by_text("Practice 1 of 3").wait_for()
    assert serious_faults(page) == []
    cards = page.locator(".rank > li")
    n = cards.count()
    assert order(page) == list("ABCDEFGHI"[:n])
    assert places(page) == list(range(1, n + 1))

    cards.first.focus()
    page.keyboard.press("2")
    assert order(page)[:2] == ["B", "A"]
    page.keyboard.press("=")
    assert places(page)[:2] == [1, 1]
    page.keyboard.press("Shift+ArrowUp")
    assert (order(page)[:2], places(page)[:2]) == (["A", "B"], [1, 2])
    page.keyboard.press("ArrowDown")
    assert cards.nth(1).evaluate("card => card === document.activeElement")
    for _ in range(3):
        page.keyboard.press("Control+z")
    assert (order(page), places(page)) == (list("ABCDEFGHI"[:n]), list(range(1, n + 1)))
    page.keyboard.press("Control+Enter")
    page.locator(".notice strong").wait_for()
    page.get_by_role("button", name="Next", exact=True).click()
    page.get_by_text("Practice 2 of 3").wait_for()


def test_an_order_as_shown_is_asked_for_once_more(open_page: OpenPage) -> None:
    page = join(open_page, "Unmoved")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Save, next").click()
    page.get_by_text("Is that your ranking?").wait_for()
    assert page.locator(".notice strong").count() == 0
    page.get_by_role("button", name="Save this order").click()
    page.locator(".notice strong").wait_for()


def test_an_answer_is_dragged_with_the_mouse_and_one_undo_takes_it_back(open_page: OpenPage) -> None:
    page = join(open_page, "Mouse")
    page.get_by_role("button", name="Start").click()
    cards = page.locator(".rank > li")
    cards.nth(2).wait_for()
    grip, target = cards.nth(2).locator(".handle").bounding_box(), cards.nth(0).bounding_box()
    page.mouse.move(grip["x"] + 10, grip["y"] + 10)
    page.mouse.down()
    page.mouse.move(target["x"] + 10, target["y"] + 4, steps=12)
    page.mouse.up()
    until(page, lambda: order(page)[:3] == ["C", "A", "B"])
    page.get_by_role("button", name="Undo").click()
    assert order(page)[:3] == ["A", "B", "C"]


def test_an_answer_is_dragged_with_a_finger_on_a_phone(open_page: OpenPage) -> None:
    page = join(open_page, "Finger", phone=True)
    page.get_by_role("button", name="Start").click()
    cards = page.locator(".rank > li")
    cards.nth(1).wait_for()
    assert fits(page)
    assert serious_faults(page) == []
    cards.nth(1).evaluate("card => card.scrollIntoView({block: 'center'})")
    grip, target = cards.nth(1).locator(".handle").bounding_box(), cards.nth(0).bounding_box()
    finger = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    x, y, end = grip["x"] + 10, grip["y"] + 10, target["y"] + 4
    touch("touchStart", (x, y))
    for step in range(1, 7):
        touch("touchMove", (x, y + (end - y) * step / 6))
    touch("touchEnd")
    until(page, lambda: order(page)[:2] == ["B", "A"])


def test_documents_give_questions_until_there_are_no_more(open_page: OpenPage) -> None:
    page = open_page("/teach/ask")
    page.get_by_role("button", name="Add questions from my documents").click()
    page.get_by_text(re.compile(r"Added: [1-9]")).wait_for()
    page.get_by_text("malmoi data questions --language en").wait_for()
    page.get_by_role("button", name="Add questions from my documents").click()
    page.get_by_text("The documents give no further questions.").wait_for()


def test_lines_become_questions_of_their_own(open_page: OpenPage) -> None:
    page = open_page("/teach/ask")
    page.get_by_role("textbox").fill("What is a sieve for?\n\n  What is a ladle for?\nWhat is a whisk for?")
    page.get_by_role("button", name="Add 3 questions, one a line").click()
    page.get_by_text("Added: 3").wait_for()
    assert page.get_by_role("textbox").input_value() == ""


def test_an_answer_is_written_kept_as_draft_changed_and_withdrawn(open_page: OpenPage) -> None:
    page = open_page("/teach/ask")
    page.get_by_role("textbox").fill("What is a mortar for?")
    page.get_by_role("button", name="Add question").click()
    page.get_by_text("Added: 1").wait_for()

    page.get_by_role("link", name="Write answers").click()
    prompt = page.locator(".prompt .said")
    prompt.wait_for()
    while "mortar" not in prompt.inner_text():
        with page.expect_response(lambda response: response.url.endswith("/next")):
            page.get_by_role("button", name="Skip").click()
        prompt.wait_for()
    field = page.get_by_role("textbox", name="Your answer")
    with page.expect_response(lambda response: response.url.endswith("/draft")):
        field.fill("To grind")
    page.reload()
    field.wait_for()
    assert field.input_value() == "To grind"
    field.fill("To grind spices.")
    field.press("Control+Enter")
    page.get_by_text("Saved.").wait_for()

    page.get_by_role("link", name="Mine").click()
    page.get_by_text("To grind spices.").wait_for()
    page.get_by_role("button", name="Change").click()
    field.fill("To grind spices and grain.")
    page.get_by_role("button", name="Save, next").click()
    page.get_by_text("To grind spices and grain.").wait_for()
    page.get_by_role("button", name="Withdraw").click()
    page.get_by_text("Nothing yet.").wait_for()


def test_answers_that_were_called_bad_can_be_ranked_after_all(open_page: OpenPage, site: Site) -> None:
    with closing(Ledger.open(Workspace(site.workspace))) as ledger:
        owner = next(member["id"] for member in members(ledger) if member["role"] == "owner")
        prompt = add_question(ledger, owner, "What is a funnel for?")
        with ledger.engine.connect() as connection:
            item = connection.scalar(select(TeachItem.id).where(TeachItem.prompt_id == prompt, TeachItem.kind == RANK))
        add_answers(ledger, str(item), [Sampled(text, [], "stop", None, {}) for text in ("To fill.", "To pour.")])
    page = join(open_page, "Twice")
    page.get_by_role("button", name="Start").click()
    for n in (1, 2, 3):
        page.get_by_text(f"Practice {n} of 3").wait_for()
        page.get_by_role("button", name="All bad").click()
        page.get_by_role("button", name="Next", exact=True).click()
    page.get_by_text("Practice").wait_for(state="detached")
    page.get_by_role("button", name="All bad").click()
    page.get_by_text("Saved.").wait_for()
    page.get_by_role("link", name="Mine").click()
    page.get_by_role("button", name="Change").click()
    page.locator(".rank > li").nth(1).wait_for()
