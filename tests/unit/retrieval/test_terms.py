import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.retrieval.stem import stem
from malmoi.retrieval.terms import TOKEN, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("os.path.join", {"os.path.join", "os", "path", "join"}),
        ("OS.PATH.JOIN()", {"os.path.join", "os", "path", "join"}),
        ("json.dumps는 뭐예요?", {"json.dumps", "json", "dumps", "dump"}),
        ("readFile", {"readfile", "read", "file"}),
        ("read_file", {"read_file", "read", "file"}),
        ("SHA-256 and base64", {"sha", "256", "base64", "base", "64"}),
        ("1,200원", {"1200"}),
        ("14:30", {"14:30", "14", "30"}),
        ("café", {"café"}),
        ("x := y // 2", {":=", "//"}),
    ],
)
def test_names_and_numbers_are_found_whole_and_in_parts(text: str, expected: set[str]) -> None:
    assert expected <= set(terms(text))


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("도서관은 언제 열어요", "도서관이 아홉 시에 연다"),
        ("약을 언제 먹어요", "약은 아침에 먹는다"),
        ("sorting files", "sort a file"),
        ("deletion", "deletes"),
        ("randomly", "random"),
        ("iterator", "iteration"),
        ("copies", "copying"),
    ],
)
def test_a_word_is_found_in_its_other_forms(asked: str, written: str) -> None:
    assert set(terms(asked)) & set(terms(written))


def test_different_words_stay_different() -> None:
    words = ["universe", "dump", "sort", "string", "list", "process", "pass", "news", "status", "class"]
    assert len({stem(word) for word in words}) == len(words)


@given(st.text())
def test_terms_are_normalised_and_every_word_gives_one(text: str) -> None:
    found = terms(text)
    assert all(unicodedata.is_normalized("NFC", term) and term.strip() for term in found)
    words = list(TOKEN.finditer(unicodedata.normalize("NFC", text)))
    assert len(found) >= len(words)
    assert found == terms(unicodedata.normalize("NFD", text))


@given(st.lists(st.text(alphabet="가나다는은을도 abcXYZ_.09", min_size=1), min_size=1))
def test_terms_of_lines_are_the_terms_of_the_lines(lines: list[str]) -> None:
    assert terms("\n".join(lines)) == [term for line in lines for term in terms(line)]
