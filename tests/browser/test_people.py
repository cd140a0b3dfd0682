"""Inviting, and what holds for all, from the page."""

import re
from collections.abc import Callable
from typing import Any

from tests.browser.test_access import fits, serious_faults

OpenPage = Callable[..., Any]


def test_the_owner_invites_somebody_who_comes_and_is_removed(open_page: OpenPage) -> None:
    page = open_page("/people", phone=True)
    page.get_by_role("radio", name="user").check()
    page.get_by_role("button", name="Make a link").click()
    link = page.locator(".notice code").inner_text()
    assert re.search(r"/join#\S+$", link)
    assert serious_faults(page) == []
    assert fits(page)

    guest = open_page("/join" + link.split("/join")[1], signed_in=False)
    guest.get_by_label("Name").fill("Guest")
    guest.get_by_label("Password", exact=True).fill("eight or more")
    guest.get_by_role("button", name="Join").click()
    guest.get_by_role("textbox", name="Message").wait_for()
    assert guest.get_by_role("link", name="People").count() == 0

    page.reload()
    page.locator(".people li", has_text="Guest").get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.locator(".people li", has_text="Guest").wait_for(state="detached")
    guest.reload()
    guest.get_by_role("heading", name="Sign in").wait_for()


def test_consent_of_new_chats_is_set_for_all(open_page: OpenPage) -> None:
    page = open_page("/people")
    rule = page.get_by_role("switch", name="New chats may teach")
    before = rule.get_attribute("aria-checked")
    with page.expect_response(lambda response: response.url.endswith("/api/settings")):
        rule.click()
    after = open_page("/chat").get_by_role("switch", name="May teach the assistant")
    after.wait_for()
    assert after.get_attribute("aria-checked") != before
    with page.expect_response(lambda response: response.url.endswith("/api/settings")):
        rule.click()
