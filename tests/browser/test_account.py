"""One's own password and keys; roles of others; an invitation as a picture."""

from collections.abc import Callable
from typing import Any

from tests.browser.conftest import NAME
from tests.browser.test_access import fits, serious_faults
from tests.browser.test_teach import INVITE

OpenPage = Callable[..., Any]


def test_a_key_is_shown_once_works_and_is_revoked(open_page: OpenPage) -> None:
    page = open_page("/account", phone=True)
    page.get_by_label("What is it for?").fill("my editor")
    page.get_by_role("button", name="New key").click()
    key = page.locator(".notice code").inner_text()
    assert key.startswith("mm-") and serious_faults(page) == [] and fits(page)
    bearer = {"Authorization": f"Bearer {key}"}
    address = page.url.split("/account")[0] + "/v1/models"
    assert page.request.get(address, headers=bearer).ok
    page.reload()
    row = page.locator(".people li", has_text="my editor")
    row.wait_for()
    assert key not in page.content()
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    row.wait_for(state="detached")
    assert page.request.get(address, headers=bearer).status == 401


def test_a_guest_gets_another_role_and_changes_the_password(open_page: OpenPage) -> None:
    page = open_page("/people")
    page.get_by_role("button", name="Make a link").click()
    page.get_by_role("img", name="The same link as a picture").wait_for()
    link = page.locator(".notice code").inner_text()
    assert serious_faults(page) == []

    guest = open_page("/join" + link.split("/join")[1], signed_in=False)
    guest.get_by_label("Name").fill("Bora")
    guest.get_by_label("Password", exact=True).fill("eight or more")
    guest.get_by_role("button", name="Join").click()
    guest.get_by_role("link", name="Bora").click()
    guest.get_by_label("Password now").fill("eight or more")
    assert guest.get_by_role("heading", name="API keys").count() == 0  # who only ranks has no keys
    guest.get_by_label("New password").fill("nine or even more")
    guest.get_by_role("button", name="Change password").click()
    guest.get_by_text("The password is changed.").wait_for()

    page.reload()
    with page.expect_response(lambda response: response.request.method == "PATCH"):
        page.get_by_label("Role of Bora").select_option(label="user")
    guest.reload()
    guest.get_by_role("heading", name="API keys").wait_for()
    assert page.get_by_label(f"Role of {NAME}").count() == 0
    page.locator(".people li", has_text="Bora").get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.locator(".people li", has_text="Bora").wait_for(state="detached")


def test_who_signs_in_next_sees_nothing_of_the_one_before(open_page: OpenPage) -> None:
    codes = [open_page("/chat").evaluate(INVITE, ["user"]) for _ in range(2)]
    for name, code in zip(("Second", "First"), codes, strict=True):
        page = open_page(f"/join#{code}", signed_in=False)
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password", exact=True).fill("eight or more")
        page.get_by_role("button", name="Join").click()
        page.get_by_role("textbox", name="Message").wait_for()
    page.get_by_role("textbox", name="Message").fill("Is this seen by others?")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Not good").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Name").fill("Second")
    page.get_by_label("Password", exact=True).fill("eight or more")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("This is not here, or no longer.").wait_for()
    assert page.get_by_text("Is this seen by others?").count() == 0


def test_the_focus_comes_back_from_a_sheet(open_page: OpenPage) -> None:
    page = open_page("/chat")
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Settings of this chat"
