import pytest

from malmoi.synthetic.english import parse
from malmoi.synthetic.english_questions import english_questions


@pytest.mark.parametrize(
    ("sentence", "subject", "auxiliary", "base"),
    [
        ("The club meets every Wednesday", "the club", "does", "meet"),
        ("The batter must rest", "the batter", "must", ""),
        ("The old shed was sold to a neighbour", "the old shed", "was", ""),
        ("Students pay half", "students", "do", "pay"),
        ("Ruth wrote the invitation", "Ruth", "did", "write"),
        ("The chair of the club is Helen", "the chair of the club", "is", ""),
        ("The ticket cost 3 euros", "the ticket", "did", "cost"),
    ],
)
def test_the_verb_of_a_simple_sentence(sentence, subject, auxiliary, base):
    clause = parse(sentence.split())
    assert clause is not None and (clause.subject, clause.auxiliary, clause.after) == (subject, auxiliary, base)


@pytest.mark.parametrize(
    "sentence", ["If it rains we stay in", "Her mother is a doctor", "A nice day", "They who came left"]
)
def test_no_clause_that_a_question_could_be_made_of(sentence):
    assert parse(sentence.split()) is None


@pytest.mark.parametrize(
    ("sentence", "kind", "question", "short"),
    [
        ("The club meets every Wednesday at 19:30.", "when", "When does the club meet?", "every Wednesday at 19:30"),
        ("Ruth writes the invitation by 15 March.", "when", "By when does Ruth write the invitation?", "by 15 March"),
        ("On Saturday we visit the Tile Museum.", "when", "When do we visit the Tile Museum?", "On Saturday"),
        ("The fair will be held on 21 April in the school yard.", "when", "When will the fair be held?", "on 21 April"),
        ("The fair will be held on 21 April in the hall.", "where", "Where will the fair be held?", "in the hall"),
        ("Spare parts are stored in the basement.", "where", "Where are spare parts stored?", "in the basement"),
        ("You can pay in cash.", "where", None, None),
        ("Ahmed will order 40 folding chairs.", "who", "Who will order 40 folding chairs?", "Ahmed"),
        ("Ahmed will order 40 folding chairs.", "how many", "How many folding chairs will Ahmed order?",
         "40 folding chairs"),
        ("The chair of the club is Helen Okoro.", "who", "Who is the chair of the club?", "Helen Okoro"),
        ("The room costs 92 euros a night.", "how much", "How much does the room cost a night?", "92 euros"),
        ("A full service takes three days.", "how long", "How long does a full service take?", "three days"),
        ("Fry each pancake for two minutes.", "how long", "How long should I fry each pancake?", "two minutes"),
        ("The hotel is called Casa do Jardim.", "what", "What is the hotel called?", "Casa do Jardim"),
        ("Kefir is a sour milk drink.", "what", "What is Kefir?", ""),
        ("Breakfast is not included.", "whether", "Is breakfast included?", "no"),
        ("The boat was built in 1960 and a street in Antwerp was named after it.", "when", None, None),
        ("Her first trip was in 2018.", "when", None, None),
    ],
)  # fmt: skip
def test_questions_of_a_sentence(sentence, kind, question, short):
    found = {one.kind: (one.prompts[0], one.short) for one in english_questions(sentence, "Pancakes")}
    assert found.get(kind) == ((question, short) if question else None)


def test_it_stands_for_the_subject_before():
    (found,) = english_questions("It is on Rua das Flores.", "Trip", "The hotel is called Casa do Jardim.")
    assert found.prompts[0] == "Where is the hotel?"
    assert not list(english_questions("It is on Rua das Flores.", "Trip", "We found a hotel."))


def test_the_indirect_forms_keep_the_order_of_the_statement():
    (found,) = english_questions("Check-in starts at 2 pm.", "Trip")
    assert found.prompts == (
        "When does check-in start?", "Can you tell me when check-in starts?", "when does check-in start",
        "Do you know when check-in starts?", "Tell me when check-in starts.",
        "I would like to know when check-in starts.",
    )  # fmt: skip
