"""What is the same text and what is no text is decided in one place, and spelling costs no tokens."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.text import canonical, canonical_question, is_blank, nfc, text_digest, unwrapped
from malmoi.tokenizer.bpe import train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate

KOREAN = "말모이는 우리말 사전이다."


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\u200b", "\ufeff \u2060", "\x00\x07\x1b", "\u3164", "\u115f\u1160", "\u2800", "\u200e\u202a"]
)
def test_what_nobody_can_see_is_no_text(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", ".", "가", "👩\u200d👩", "\u200ba", "\u0301", "ᄀ", "０"])
def test_what_can_be_seen_is_text(text: str) -> None:
    assert not is_blank(text)


def test_spelling_spacing_and_unseen_characters_make_no_other_text() -> None:
    for other in (unicodedata.normalize("NFD", KOREAN), f"\ufeff {KOREAN}\r\n", KOREAN.replace(" ", "  \u200b")):
        assert canonical(other) == canonical(KOREAN) and text_digest(other) == text_digest(KOREAN)
    assert canonical("A b") != canonical("a b") and canonical_question("A b") == canonical_question("a  B")
    assert canonical("a b") != canonical("ab")


@given(st.text())
def test_the_key_of_a_key_is_itself_and_of_its_spelling_too(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text) == canonical(nfc(text))
    assert canonical_question(canonical_question(text)) == canonical_question(text)


def test_what_is_typed_in_separate_letters_is_read_as_syllables() -> None:
    tokenizer, template = train_bpe([KOREAN * 20], vocab_size=280), ChatTemplate.default()
    composed = [{"role": "user", "content": KOREAN}, {"role": "assistant", "content": KOREAN}]
    apart = [{**turn, "content": unicodedata.normalize("NFD", KOREAN)} for turn in composed]
    assert template.encode(tokenizer, apart) == template.encode(tokenizer, composed)


def test_breaks_inside_of_sentences_are_joined_and_lists_kept() -> None:
    long = "A line of forty characters or more, which"
    assert unwrapped(f"{long}\ngoes on.\n\nNext.") == f"{long} goes on.\n\nNext."
    assert unwrapped(f"{long}\n- item") == f"{long}\n- item"
    assert unwrapped(f"{long}\na) item") == f"{long}\na) item"
    assert unwrapped("key: value\nother: value") == "key: value\nother: value"
    assert unwrapped(f"{long}\n    >>> code") == f"{long}\n    >>> code"
