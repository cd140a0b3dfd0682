"""Enter and input methods, through the browser's own events: Korean is sent by one Enter, once and whole; Japanese and
Chinese candidates are never sent by the Enter that picks them."""

from collections.abc import Callable
from typing import Any

import pytest

TEXT = "오늘은 차를 마신다"
BY_IME = 229


class Keyboard:
    """What an input method makes a browser see."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.field = page.get_by_role("textbox", name="Message")
        self.field.click()
        self.session = page.context.new_cdp_session(page)

    def compose(self, text: str) -> None:
        size = len(text)
        self.session.send("Input.imeSetComposition", {"text": text, "selectionStart": size, "selectionEnd": size})

    def commit(self, text: str) -> None:
        self.session.send("Input.insertText", {"text": text})

    def write_korean(self, text: str) -> None:
        """All syllables but the last are committed; the last is still being composed, as always in Korean."""
        for letter in text[:-1]:
            if letter != " ":
                self.compose(letter)
            self.commit(letter)
        self.compose(text[-1])

    def enter_for_ime(self) -> None:
        self._key("rawKeyDown", "Process", BY_IME)

    def enter(self) -> None:
        self._key("keyDown", "Enter", 13, text="\r")
        self.enter_up()

    def enter_up(self) -> None:
        self._key("keyUp", "Enter", 13)

    def _key(self, kind: str, key: str, code: int, **more: str) -> None:
        event = {"type": kind, "key": key, "code": "Enter", "windowsVirtualKeyCode": code, **more}
        self.session.send("Input.dispatchKeyEvent", event)

    def questions(self) -> list[str]:
        """What was sent, after every answer has come and nothing more can."""
        self.page.wait_for_timeout(300)
        self.page.get_by_role("button", name="Send").wait_for()
        return list(self.page.locator(".question .said").all_text_contents())


def ime_then_enter(keyboard: Keyboard) -> None:
    keyboard.enter_for_ime()
    keyboard.commit(TEXT[-1])
    keyboard.enter()


def ime_alone(keyboard: Keyboard) -> None:
    keyboard.enter_for_ime()
    keyboard.commit(TEXT[-1])
    keyboard.enter_up()


def enter_right_after_the_end(keyboard: Keyboard) -> None:
    keyboard.commit(TEXT[-1])
    keyboard.enter()


def enter_while_composing(keyboard: Keyboard) -> None:
    keyboard.enter()
    keyboard.commit(TEXT[-1])


def ime_after_the_end(keyboard: Keyboard) -> None:
    keyboard.commit(TEXT[-1])
    keyboard.enter_for_ime()
    keyboard.enter_up()


@pytest.mark.parametrize(
    "press", [ime_then_enter, ime_alone, enter_right_after_the_end, enter_while_composing, ime_after_the_end]
)
def test_one_enter_sends_korean_once_and_whole(
    open_page: Callable[..., Any], press: Callable[[Keyboard], None]
) -> None:
    keyboard = Keyboard(open_page("/chat"))
    keyboard.write_korean(TEXT)
    press(keyboard)
    assert keyboard.questions() == [TEXT]
    assert keyboard.field.input_value() == ""


def one_key(keyboard: Keyboard, text: str) -> None:
    keyboard.enter_for_ime()
    keyboard.commit(text)
    keyboard.enter_up()


def one_key_seen_twice(keyboard: Keyboard, text: str) -> None:
    keyboard.enter_for_ime()
    keyboard.commit(text)
    keyboard.enter()


def end_before_the_key(keyboard: Keyboard, text: str) -> None:
    keyboard.commit(text)
    keyboard.enter_for_ime()
    keyboard.enter_up()


@pytest.mark.parametrize("press", [one_key, one_key_seen_twice, end_before_the_key])
@pytest.mark.parametrize(
    ("composed", "picked"), [("にほん", "日本"), ("nihao", "你好"), ("にほんご", "にほんご"), ("ㄋㄧˇ", "你")]
)
def test_enter_on_a_candidate_sends_nothing(
    open_page: Callable[..., Any], press: Callable[[Keyboard, str], None], composed: str, picked: str
) -> None:
    keyboard = Keyboard(open_page("/chat"))
    keyboard.compose(composed)
    press(keyboard, picked)
    assert keyboard.questions() == []
    assert keyboard.field.input_value() == picked
    keyboard.enter()
    assert keyboard.questions() == [picked]


def test_composing_on_after_enter_keeps_the_text(open_page: Callable[..., Any]) -> None:
    keyboard = Keyboard(open_page("/chat"))
    keyboard.compose("가")
    keyboard.enter_for_ime()
    keyboard.compose("각")
    keyboard.commit("각")
    assert keyboard.questions() == []
    assert keyboard.field.input_value() == "각"


def test_shift_and_enter_begins_a_line(open_page: Callable[..., Any]) -> None:
    keyboard = Keyboard(open_page("/chat"))
    keyboard.page.keyboard.type("one")
    keyboard.page.keyboard.press("Shift+Enter")
    keyboard.page.keyboard.type("two")
    assert keyboard.field.input_value() == "one\ntwo"
    keyboard.enter()
    assert keyboard.questions() == ["one\ntwo"]
