"""What notes tell of a thing answers no other question about it: its age, or who did what is done again and again."""

from pathlib import Path

import pytest

from malmoi.corpus.documents import Document
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.roles import is_untimely, main_verb
from malmoi.retrieval.sentences import tells

NOTES = (
    "# Hall\n\nThe boiler was repaired in March 2024 by Okello and Sons. The filter is changed every six weeks. "
    "Ines cleaned the gutter in May. The clock was built in 1926.\n"
)


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Lookup:
    folder = Path(tmp_path_factory.mktemp("notes")) / "index"
    build_index([Document(NOTES, "hall.md", line=1)], folder)
    return Lookup(Index.open(folder))


@pytest.mark.parametrize(
    "question", ["How old is the boiler?", "When was the boiler bought?", "Who changed the filter?"]
)
def test_what_is_asked_for_is_not_there(lookup: Lookup, question: str) -> None:
    assert not lookup.find([{"role": "user", "content": question}]).sources


@pytest.mark.parametrize(
    ("question", "piece"),
    [
        ("When was the boiler repaired?", "March 2024"),
        ("Who repaired the boiler?", "Okello"),
        ("How often is the filter changed?", "six weeks"),
        ("Who cleaned the gutter?", "Ines"),
        ("How old is the clock?", "1926"),
    ],
)
def test_what_is_asked_for_is_there(lookup: Lookup, question: str, piece: str) -> None:
    assert piece in lookup.find([{"role": "user", "content": question}]).sources[0].sentence


@pytest.mark.parametrize(
    ("question", "verb"),
    [
        ("Who changed the filter?", "changed"),
        ("When was the old stove painted?", "painted"),
        ("When did Peter build the bookshelf?", "build"),
        ("Do I have to pay for it?", "pay"),
        ("Where is the piano?", ""),
        ("보일러는 언제 설치했어?", "설치했어"),
        ("이사 나가려면 언제 말해야 돼?", "말해야"),
        ("열쇠는 몇 개야?", ""),
        ("회비는 얼마야?", ""),
    ],
)
def test_the_verb_of_a_question(question: str, verb: str) -> None:
    assert main_verb(question) == verb


def test_what_is_done_again_and_again_is_not_what_was_done() -> None:
    assert is_untimely("Who changed the filter?", "The filter is changed every six weeks.")
    assert not is_untimely("Who changed the filter?", "Ines changed the filter in May.")
    assert is_untimely("보리는 누가 데려왔어?", "보리는 사료를 하루 두 번 먹는다.")
    assert not is_untimely("보리는 누가 데려왔어?", "보리는 작년에 데려왔다.")


@pytest.mark.parametrize(
    ("sentence", "is_told"),
    [
        ("The clock is from 1926.", True),
        ("Bella is six years old.", True),
        ("강아지는 2019년에 태어났다.", True),
        ("The floor was sanded in 2020.", False),
        ("지붕은 2020년에 고쳤다.", False),
    ],
)
def test_a_year_of_something_else_is_no_age(sentence: str, is_told: bool) -> None:
    assert (tells("age", sentence) > 0) is is_told
