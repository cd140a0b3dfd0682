import unicodedata

import pytest

from malmoi.retrieval.glossary import (
    LONGEST_PHRASE,
    everyday_synonyms,
    korean_synonyms,
    korean_words,
    stems,
    synonyms,
    translations,
)
from malmoi.retrieval.words import FOLDER, patterns, word_table

TABLES = ["glossary.ko.tsv", "synonyms.en.tsv", "synonyms.ko.tsv", "tasks.tsv", "small_talk.tsv"]
PATTERNS = [
    "asked.tsv",
    "told.tsv",
    "wanted.tsv",
    "wanted_words.tsv",
    "follow_up.tsv",
    "asking.tsv",
    "talk.tsv",
    "asks.tsv",
    "opposites.tsv",
]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.t*")), ids=lambda path: path.name)
def test_lists_are_normalised_and_say_what_they_are(path: object) -> None:
    text = FOLDER.joinpath(str(path)).read_text(encoding="utf-8")
    assert unicodedata.is_normalized("NFC", text)
    assert text.startswith("# ") and text.endswith("\n")
    assert not any(line != line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_two_columns_and_each_key_once(name: str) -> None:
    lines = [line for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert all(line.count("\t") == 1 for line in lines)
    keys = [line.split("\t")[0] for line in lines]
    assert sorted(keys) == sorted(set(keys))
    assert all(all(values) for values in word_table(name).values())


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_compile(name: str) -> None:
    assert all(form.search("\0") is None for form in patterns(name).values())


def test_phrases_are_short_enough_to_be_found() -> None:
    assert max(map(len, synonyms())) <= LONGEST_PHRASE


def test_korean_words_are_korean() -> None:
    assert all(all("가" <= letter <= "힣" for letter in key) for key in korean_words())


@pytest.mark.parametrize(
    ("word", "keys"),
    [("문자열을", ["문자열"]), ("파일에서", ["파일"]), ("파일문자열", ["파일", "문자열"]), ("수박", [])],
)
def test_a_korean_word_is_translated_with_particles_and_without_spaces(word: str, keys: list[str]) -> None:
    assert [key for key, _ in translations(word)] == keys


def test_everyday_words_of_one_group_stand_for_each_other() -> None:
    assert stems("unwell") in everyday_synonyms("sick") and stems("sick") in everyday_synonyms("unwell")
    assert "계좌" in korean_synonyms("통장으로") and "통장" in korean_synonyms("계좌는")
    assert everyday_synonyms("json") == () and "대여" not in korean_synonyms("대여료")
