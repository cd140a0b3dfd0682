"""Kinds of Korean questions about notes: question words, clauses, people, reasons, compounds."""

from pathlib import Path

import pytest

from malmoi.corpus.documents import Document
from malmoi.retrieval.answering import LIGHT, emphasis
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.question import understand

NOTES = {
    "공방.md": "# 도자기 공방\n\n물레는 안쪽 방에 네 대 있다. "
    "흙 봉투는 계단 밑 상자에 있다. 가마는 원장 조카 은채가 켠다.\n\n"
    "## 수업\n\n수업에 못 나오는 사람은 정호와 유빈. 앞치마는 세탁소 집 아들이 빤다.\n\n"
    "3월 수업은 하루 늦췄다. 가마를 고쳐야 해서다.\n\n깨지면 접착제로 붙이지 말고 상자에 담는다. "
    "접시는 재료비를 2만 3천 원까지 공방에서 낸다.\n",
    "토끼.md": "# 토끼 돌보기\n\n건초는 하루에 반 봉지씩 준다. 아프면 한마음동물병원(02-345-6789)에 알린다.\n\n"
    "마른 빵은 불에 구운 것도 안 된다. 금고 비밀번호는 4410이다.\n",
}


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Lookup:
    folder = Path(tmp_path_factory.mktemp("notes")) / "index"
    build_index([Document(text, file, line=1) for file, text in NOTES.items()], folder)
    return Lookup(Index.open(folder))


@pytest.mark.parametrize(
    ("question", "piece"),
    [
        ("흙 어디 있어?", "계단 밑"),
        ("가마는 누가 켜?", "은채"),
        ("수업에 누가 못 와?", "정호"),
        ("수업은 왜 늦췄어?", "고쳐야 해서다"),
        ("깨지면 어떻게 해?", "상자에 담는다"),
        ("공방에서 얼마까지 내?", "2만 3천"),
        ("토끼 밥 얼마나 줘?", "반 봉지"),
        ("아프면 어디로 전화해?", "02-345"),
        ("금고 비번이 뭐야?", "4410"),
    ],
)
def test_a_plain_question_gets_its_sentence(lookup: Lookup, question: str, piece: str) -> None:
    found = lookup.find([{"role": "user", "content": question}])
    assert found.sources and piece in found.sources[0].sentence


@pytest.mark.parametrize("question", ["토끼 이름이 뭐야?", "공방 수강료는 얼마야?", "토끼는 몇 살이야?"])
def test_what_the_notes_do_not_say_is_declined(lookup: Lookup, question: str) -> None:
    assert not lookup.find([{"role": "user", "content": question}]).sources


@pytest.mark.parametrize(
    ("question", "word", "is_light"),
    [
        ("흙 빚는 데 얼마야?", "빚는", True),
        ("칼 같은 도구는 어디 있어?", "칼", True),
        ("비 오면 뭐 해?", "비", False),
        ("깨지면 어떻게 해?", "깨지면", False),
        ("깨지면 누가 치워?", "깨지면", True),
    ],
)
def test_a_clause_is_what_is_asked_for_only_with_how(question: str, word: str, is_light: bool) -> None:
    asked = understand(question)
    [concept] = [concept for concept in asked.concepts if concept.word == word]
    assert (emphasis(asked, concept) == LIGHT) == is_light


@pytest.mark.parametrize("question", ["어디다 말해?", "언제쯤 오나요?", "누구한테 줘?"])
def test_a_question_word_with_particles_is_no_word_to_look_for(question: str) -> None:
    assert [c.word for c in understand(question).concepts if c.word[:2] in ("어디", "언제", "누구")] == []
