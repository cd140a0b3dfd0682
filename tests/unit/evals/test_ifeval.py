"""Instructions that a program checks: each with an answer that follows it and one that does not."""

from typing import Any

import pytest

from malmoi.evals.ifeval import CHECKS, count_sentences, follows_loosely, follows_strictly, language_of

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["Cat", "log"]}, "a cat on a log", "a cat"),
    ("keywords:frequency", {"keyword": "cat", "frequency": 2, "relation": "at least"}, "Cat, cat", "one cat"),
    ("keywords:frequency", {"keyword": "cat", "frequency": 2, "relation": "less than"}, "one cat", "cat cat"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "a category", "a Cat."),
    ("keywords:letter_frequency", {"letter": "L", "let_frequency": 2, "let_relation": "at least"}, "ll", "l"),
    ("language:response_language", {"language": "ko"}, "개가 있다.", "There is a dog."),
    ("language:response_language", {"language": "de"}, "Das ist nicht der Hund", "This is the dog that it is"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two!", "One."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", "one\n\ntwo"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "two words", "here are three"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"}, "One.\n\nThen, two.", "One.\n\nTwo then.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] at [place]", "[name] at home"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Text.\np. p. s. more", "Text. P.S. more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n- two", "* one\n** two **"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and **two**", "*one* and * *"),
    ("detectable_format:multiple_sections", {"num_sections": 2, "section_spliter": "Day"}, "Day 1 a\nDay 2 b", "Day 1"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<A title>>\ntext", "<< >>\ntext"),
    ("combination:two_responses", {}, "one******two", "one******one"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. It.", "It. Say it."),
    ("startend:end_checker", {"end_phrase": "Any other questions?"}, "Yes. any other questions?\"\n", "Yes."),
    ("startend:quotation", {}, ' "quoted" ', '"'),
    (
        "change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "ONE and TWO",
        "ONE and two",
    ),
    ("change_case:english_capital", {}, "IT IS THE CAT", "IT IS the CAT"),
    ("change_case:english_lowercase", {}, "it is the cat", "It is the cat"),
    ("punctuation:no_comma", {}, "one and two", "one, two"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_each_instruction_is_told_apart(name: str, given: dict[str, Any], good: str, bad: str) -> None:
    assert follows_strictly(name, given, good) and not follows_strictly(name, given, bad)


def test_no_check_goes_untested_and_silence_follows_nothing() -> None:
    assert {case[0] for case in CASES} == CHECKS.keys()
    assert not any(follows_loosely(name, given, " \n") for name, given, _, _ in CASES)


def test_loosely_a_first_or_last_line_or_asterisks_do_not_count() -> None:
    assert follows_loosely("startend:quotation", {}, 'Sure, here it is:\n"quoted"')
    assert follows_loosely("punctuation:no_comma", {}, "one and two\nAnything else, friend?")
    assert follows_loosely("startend:quotation", {}, '**"quoted"**')
    assert not follows_loosely("punctuation:no_comma", {}, "first\na, b\nlast")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Это не то, что он и я хотели", "ru"), ("Това е за да не се", "bg"), ("यह एक परीक्षण है और हिन्दी में है", "hi"),
        ("هذا الكتاب من المدرسة", "ar"), ("یہ کتاب اور وہ ہے", "ur"), ("ಕನ್ನಡ", "kn"),
        ("La casa es de la que los", "es"), ("12 + 3", None),
    ],
)  # fmt: skip
def test_languages_are_told_by_script_and_small_words(text: str, language: str | None) -> None:
    assert language_of(text) == language


def test_sentences_end_with_punctuation_but_not_with_abbreviations() -> None:
    assert count_sentences('Dr. Lee came. "He left!" Why? No end') == 4
    assert count_sentences("1. One item\n2. Another item.") == 1
    assert count_sentences("") == 0
