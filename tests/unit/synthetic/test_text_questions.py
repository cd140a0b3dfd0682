from collections import Counter

import pytest

from malmoi.corpus.documents import Document
from malmoi.synthetic.text_questions import can_be_asked_about, text_questions

SHOP = Document(
    "# Corner Bike Repair\n\nThe workshop was founded in 2009. Spare parts are stored in the basement.\n\n"
    "## Prices\n\n- Flat tyre: 12 euros\n- Full service: 79 euros\n\nA full service takes three days.\n\n"
    "## Tools\n\n- pump\n- spanner\n",
    "shop.md",
)
BAKERY = Document(
    "# 달빛빵집 안내\n\n평일에는 오전 8시에 엽니다. 주차장은 가게 뒤에 있습니다.\n\n"
    "## 값\n\n식빵: 4,500원\n\n전화번호는 033-555-0147입니다.\n",
    "bakery.md",
)
NOTES = [SHOP, BAKERY]


def test_each_question_knows_its_document_its_heading_and_its_answer():
    found = {question.prompt: question for question in text_questions(NOTES, 500, 1)}
    asked = found["How long does a full service take?"]
    assert (asked.document, asked.heading) == (SHOP.id, "Prices")
    assert (asked.answers, asked.short) == (("A full service takes three days.",), "three days")
    assert found["How much is Flat tyre?"].answers == ("Flat tyre: 12 euros",)
    assert found["주차장은 어디에 있나요?"].answers == ("주차장은 가게 뒤에 있습니다.",)
    assert found["식빵은 얼마예요?"].answers == ("식빵: 4,500원",)
    assert found["What is on the list of Tools?"].answers == ("Tools: pump, spanner",)
    assert found["Tell me about prices."].answers == ("A full service takes three days.",)


def test_held_out_phrasings_and_unseen_sentences():
    questions = text_questions(NOTES, 500, 5)
    last = {(q.item, q.kind): q.phrasing for q in questions if q.heldout}
    assert all((q.phrasing == last[q.item, q.kind]) == q.heldout for q in questions)
    assert {prompt for prompt, n in Counter(q.prompt for q in questions).items() if n > 1} == set()
    unseen = {question.item for question in questions if question.unseen}
    assert unseen and not unseen & {question.item for question in questions if not question.unseen}


def test_few_things_are_asked_about_in_more_phrasings():
    many, few = text_questions(NOTES, 500, 1), text_questions(NOTES, 5, 1)
    assert set(Counter((q.item, q.kind) for q in few).values()) == {2}
    assert min(Counter((q.item, q.kind) for q in many).values()) >= 5


def test_a_question_that_two_sentences_answer_is_not_asked():
    other = Document(
        "# Other shop\n\nA full service takes five days. Spare keys are stored in the kitchen.", "other.md"
    )
    prompts = {question.prompt for question in text_questions([SHOP, other], 500, 1)}
    assert "How long does a full service take?" not in prompts
    assert "Where are spare keys stored?" in prompts


def test_headings_that_several_documents_have_are_named_with_their_title():
    notes = [
        Document(f"# Trip {n}\n\nIntro of {n}.\n\n## Hotel\n\nThe room has {n} beds. We like it here.", f"{n}")
        for n in (2, 3)
    ]
    prompts = {question.prompt for question in text_questions(notes, 500, 1) if question.kind == "section"}
    assert 'Tell me about Hotel of "Trip 2".' in prompts and "Tell me about Hotel." not in prompts


def test_the_seed_decides():
    first = text_questions(NOTES, 8, 1)
    assert first == text_questions(lambda: iter(NOTES), 8, 1)
    assert first != text_questions(NOTES, 8, 2)


@pytest.mark.parametrize(
    "text",
    [
        "これは本です。それは猫です。",
        "1 2 3\n4 5 6\n7.5",
        "word\n\nword\n\n",
        "Der Hund schläft. Die Katze trinkt Milch.",
        "x" * 100_000,
    ],
)
def test_text_that_cannot_be_asked_about(text):
    documents = [Document(text, "a.txt")]
    assert not can_be_asked_about(documents) and text_questions(documents, 10, 1) == []


def test_only_headings_and_mixed_languages():
    assert not can_be_asked_about([Document("# One\n\n## Two\n\n## Three\n", "a.md")])
    mixed = [
        Document(
            "# 메모\n\n회의는 3시에 합니다. The room costs 92 euros a night.\n\n## Trip\n\nThe bus leaves at 9:30.",
            "m.md",
        )
    ]
    prompts = [question.prompt for question in text_questions(mixed, 100, 1)]
    assert "When does the bus leave?" in prompts and "회의는 몇 시에 하나요?" in prompts
