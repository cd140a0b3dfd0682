"""The beginning: three ways, each with its cost and its command, before anything is begun."""

from collections.abc import Callable
from typing import Any

from tests.browser.test_access import fits, serious_faults

OpenPage = Callable[..., Any]


def test_three_ways_to_begin_say_what_they_cost(open_page: OpenPage) -> None:
    page = open_page("/start", phone=True)
    fetch = page.locator(".begin", has=page.get_by_role("heading", name="Begin with a small real model"))
    fetch.get_by_text("269 MB to fetch").wait_for()  # the server loads torch first
    fetch.get_by_text("GB free").wait_for()
    assert "malmoi models pull smollm2-135m" in fetch.inner_text()
    assert page.get_by_role("heading", name="Watch one being built").count() == 1
    assert serious_faults(page) == [] and fits(page)
    page.locator(".begin", has_text="Use my own text").get_by_role("link", name="Choose files").click()
    page.get_by_role("heading", name="Data").wait_for()


def test_the_beginning_speaks_korean_in_the_dark(open_page: OpenPage) -> None:
    page = open_page("/start", locale="ko-KR", dark=True)
    page.get_by_role("heading", name="처음부터 만들어 보기").wait_for()
    page.get_by_text("269MB를").wait_for()
    assert serious_faults(page) == []
