from collections import Counter

import pytest

from malmoi.corpus.documents import Document
from malmoi.errors import DataError
from malmoi.synthetic.cloze import ANSWER_CHARS, GAP, PHRASINGS, cloze_questions, is_prose, sentences, unit_of_questions

ANIMALS = ("fox", "owl", "hen", "cat", "dog", "ant", "bee", "cow")
ENGLISH = [
    Document(
        " ".join(
            f"The {name} number {i} walked slowly to the {place}." for place in ("river", "forest", "market", "tower")
        ),
        f"{name}{i}",
    )
    for name in ANIMALS
    for i in range(20)
]
KOREAN = [
    Document(
        " ".join(f"{name}이 {i}번째 아침에 {place}까지 천천히 걸어갔다." for place in ("강가", "숲속", "시장", "학교")),
        f"{name}{i}",
    )
    for name in ("곰", "말", "닭", "뱀")
    for i in range(40)
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("Mr. Kim met Dr. J. Lee. They talked.", ["Mr. Kim met Dr. J. Lee.", "They talked."]),
        ("It cost 3.5 won... Really.", ["It cost 3.5 won...", "Really."]),
        ('"Go!" he said. "Now."', ['"Go!"', "he said.", '"Now."']),
        ("그는 갔다. 정말요? 네.", ["그는 갔다.", "정말요?", "네."]),
        ("그는 갔다.그녀도 갔다.", ["그는 갔다.", "그녀도 갔다."]),
        ("これは本です。それは「何？」ですか。", ["これは本です。", "それは「何？」", "ですか。"]),
        ("A heading\n\nA sentence.", ["A heading", "A sentence."]),
        ("제목\n문장이다.", ["제목", "문장이다."]),
        (
            "A line that was broken by hand at some column or\nother goes on here. Next.",
            ["A line that was broken by hand at some column or other goes on here.", "Next."],
        ),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


def test_long_runs_of_marks_take_no_longer():
    assert sentences("." * 300_000 + "x") == ["." * 300_000 + "x"]


@pytest.mark.parametrize(
    ("sentence", "whole"),
    [
        ("The fox went home.", True),
        ("여우는 집으로 돌아갔어요.", True),
        ("“여우는 집으로 돌아갔어요.”", True),
        ("A heading without an end", False),
        ("and so the rest of it.", False),
        ("- a list item that ends.", False),
        ('He said, "and then it was cut.', False),
        ("See https://example.org/page.", False),
        ("| a | table | row |.", False),
        ("12345 67890 12345.", False),
        ("Yes.", False),
    ],
)
def test_is_prose(sentence, whole):
    assert is_prose(sentence) is whole


def test_every_answer_restores_the_text():
    texts = {document.id: document.text for document in (*ENGLISH, *KOREAN)}
    questions = cloze_questions([*ENGLISH, *KOREAN], 300, 1)
    assert {question.kind for question in questions} == set(PHRASINGS)
    for question in questions:
        (answer,), text = question.answers, texts[question.document]
        phrasings = [
            p for language in PHRASINGS[question.kind] for p in language if question.prompt.startswith(f"{p} ")
        ]
        shown = question.prompt.removeprefix(max(phrasings, key=len)).strip()
        restored = shown.replace(GAP, answer) if GAP in shown else f"{shown} {answer}"
        assert restored in text and 0 < len(answer) <= ANSWER_CHARS
        assert (GAP in question.prompt) == (question.kind == "missing word")


def test_the_language_of_the_question_is_that_of_the_text():
    for language, documents in enumerate((ENGLISH, KOREAN)):
        for question in cloze_questions(documents, 60, 3):
            assert question.prompt.startswith(PHRASINGS[question.kind][language][question.phrasing])


def test_held_out_phrasings_and_unseen_items():
    questions = cloze_questions(ENGLISH, 100, 5)
    assert len({question.item for question in questions}) == 100 and len(questions) == 200
    assert {question.phrasing for question in questions if question.heldout} == {5}
    assert {question.phrasing for question in questions if not question.heldout} == {0, 1, 2, 3, 4}
    assert set(Counter(question.item for question in questions if question.heldout).values()) == {1}
    assert len({question.item for question in questions if question.unseen}) == 20
    seen = {question.item for question in questions if not question.unseen}
    assert not seen & {question.item for question in questions if question.unseen}


def test_no_two_items_share_a_sentence():
    places = Counter()
    for question in cloze_questions(ENGLISH, 10_000, 2):
        if question.heldout:
            name, position = question.item.rsplit(":", 1)
            places.update({(name, int(position)), (name, int(position) + 1)})
    assert set(places.values()) == {1}


def test_the_seed_decides():
    first = cloze_questions(ENGLISH, 50, 1)
    assert first == cloze_questions(lambda: iter(ENGLISH), 50, 1)
    assert first != cloze_questions(ENGLISH, 50, 2)


def test_too_little_text_is_an_error_that_says_what_to_give():
    with pytest.raises(DataError, match=r"too few sentences or lines in a row .* give at least a page of prose"):
        cloze_questions([Document("just words\n\na heading", "x"), Document("One sentence only here.", "y")], 10, 0)
    assert unit_of_questions(ENGLISH, 1) == "sentences"


def test_of_text_without_sentences_lines_are_asked_about():
    notes = [Document(f"# 할 일 {n}\n\n- [ ] 우유 {n}개 사기\n- 전화하기 {n}\n1. 빨래 {n}시", f"{n}") for n in range(4)]
    assert unit_of_questions(notes, 1) == "lines"
    questions = cloze_questions(notes, 50, 1)
    words = (
        {f"할 일 {n}" for n in range(4)} | {f"우유 {n}개 사기" for n in range(4)} | {f"빨래 {n}시" for n in range(4)}
    )
    assert len({question.item for question in questions}) == 8
    assert any(question.kind == "continue" and question.answers[0] in words for question in questions)
