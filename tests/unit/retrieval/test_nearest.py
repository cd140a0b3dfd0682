"""What is offered where no note answers for sure, and where nothing is."""

from pathlib import Path

import pytest

from malmoi.corpus.documents import Document
from malmoi.evals.natural import is_decline
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.quote import MAX_CHARS, UNSURE, quote, shortened, without_additions
from tests.unit.retrieval.test_answering import NOTES


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Lookup:
    folder = Path(tmp_path_factory.mktemp("notes")) / "index"
    build_index([Document(text, file, line=1) for file, text in NOTES.items() if not file.endswith(".csv")], folder)
    return Lookup(Index.open(folder))


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (
            "When is the winter party?",
            "I am not sure that the documents answer this. The nearest sentence is under ‘Minutes of the street "
            "committee’: “The summer party will be held on 6 July in the courtyard.”",
        ),
        (
            "합창단 지휘자가 누구예요?",
            "문서에서 확실한 답을 찾지 못했습니다. 가장 가까운 문장은 ‘새벽 합창단’에 있습니다: “우리는 매주 월요일 "
            "저녁 8시에 모여요.”",
        ),
    ],
)
def test_what_may_answer_is_offered_and_no_source(lookup: Lookup, question: str, said: str) -> None:
    findings = lookup.find([{"role": "user", "content": question}])
    assert not findings.sources and len(findings.closest) == 1
    assert quote(findings) == said and is_decline(said) and without_additions(said) in UNSURE.values()


@pytest.mark.parametrize(
    "question",
    [
        # Nothing is shared, or nothing but a number, a common verb or a question word; small talk; what is answered.
        "What is the capital of Norway?",
        "4 더하기 4는?",
        "what is 8 plus 8?",
        "오늘 뭐 먹을까?",
        "Where do you live?",
        "Hello!",
        "고마워요",
        "Who brings the tables?",
    ],
)
def test_nothing_is_offered_to_a_question_about_something_else(lookup: Lookup, question: str) -> None:
    assert not lookup.find([{"role": "user", "content": question}]).closest


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("짧다.", "짧다."),
        ("ab " * 200, "ab " * 132 + "ab"),
        ("가" * 401, "가" * MAX_CHARS),
        (" " + "a" * 401, " " + "a" * 399),
    ],
)
def test_a_long_sentence_is_shortened_also_where_it_has_no_words(sentence: str, kept: str) -> None:
    assert shortened(sentence) == kept + " …" * (sentence != kept)
