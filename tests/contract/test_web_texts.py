"""The pages' texts: English and Korean say the same, all that is asked for is there, and nothing more."""

import re
from pathlib import Path

from malmoi.evals.reward_baselines import LONGER, PROBE, SHORTER, WORDS
from malmoi.stages import stage_names

SOURCE = Path(__file__).parents[2] / "web" / "src"
ENTRY = re.compile(r'^  "?([\w.]+)"?:\s+"((?:[^"\\]|\\.)*)",$', re.MULTILINE)


def table(language: str) -> dict[str, str]:
    """The texts of a language by key; fails where an entry is not of the form that is read here."""
    text = (SOURCE / "text" / f"{language}.ts").read_text(encoding="utf-8")
    entries = ENTRY.findall(text)
    assert len(entries) == len(dict(entries)) == len(re.findall(r'^  "?[\w.]+"?:', text, re.MULTILINE)) > 100
    return dict(entries)


ENGLISH, KOREAN = table("en"), table("ko")


def test_both_languages_have_the_same_keys() -> None:
    assert list(ENGLISH) == list(KOREAN)


def values(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_both_languages_fill_in_the_same_values() -> None:
    assert [key for key in ENGLISH if values(ENGLISH[key]) != values(KOREAN[key])] == []
    assert [key for key in ENGLISH if not (ENGLISH[key].strip() and KOREAN[key].strip())] == []


def test_korean_is_korean() -> None:
    """Names that stay as they are in every language aside, each text has Hangul."""
    without = {text for text in KOREAN.values() if not re.search("[가-힣]", text)}
    assert without == {"Top k", "Top p", "{person}, {date}", "{mean}% [{low}–{high}]", "{n}%"}


def test_all_texts_are_used() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.ts*") if path.parent.name != "text")
    assert [key for key in ENGLISH if f'"{key}"' not in source] == []


def test_no_text_outside_the_tables() -> None:
    """Words between tags, or in a label, come from the table: else one language would show the other's."""
    words = re.compile(r'>\s*[A-Za-z가-힣]{3,}[^<>{}]*</|(?:aria-label|placeholder|title|alt)="[A-Za-z가-힣]')
    found = [
        f"{path.name}: {match[0]}"
        for path in SOURCE.rglob("*.tsx")
        for match in words.finditer(path.read_text("utf-8"))
    ]
    assert found == []


ONE_WORD = {"도우미": "조수", "주인": "소유자", "작업 폴더": "작업 공간", "구절": "단락"}
"""A word that is not used -> the one that is, on the pages and in the documents."""


def test_a_thing_has_one_word_in_korean() -> None:
    root = SOURCE.parents[1]
    pages = [SOURCE / "text" / "ko.ts", *root.glob("*.ko.md"), *(root / "docs").rglob("*.ko.md")]
    found = {(page.name, word) for page in pages for word in ONE_WORD if word in page.read_text(encoding="utf-8")}
    assert {(page, f"write {ONE_WORD[word]} in place of {word}") for page, word in found} == set()


def test_every_stage_and_baseline_has_a_name_in_both_languages() -> None:
    names = (SOURCE / "app" / "names.ts").read_text(encoding="utf-8")
    stages = [name for name in stage_names() if f'{name}: "stage.{name}"' not in names and f'"{name}"' not in names]
    assert stages + [name for name in (LONGER, SHORTER, WORDS, PROBE) if f'"{name}"' not in names] == []
