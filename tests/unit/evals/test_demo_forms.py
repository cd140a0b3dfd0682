"""The same names asked in other forms, and what is known in the second turn."""

from malmoi.evals.answering import TextAnswer
from malmoi.evals.demo import _by_form
from malmoi.synthetic.questions import PLAIN, SECOND_TURN, Question


def question(item: str, form: str) -> Question:
    return Question("summary", item, f"What is {item}?", (f"{item}: Yes.",), 0, True, False, "d", form=form)


def said(item: str, is_right: bool) -> TextAnswer:
    return TextAnswer(f"{item}: {'Yes' if is_right else 'No'}.", [1], True)


def test_of_what_is_known_when_asked_first_the_share_known_in_the_second_turn() -> None:
    plain = {"a": True, "b": True, "c": False, "d": True, "never asked again": True}
    second = {"a": True, "b": False, "c": True, "d": True}
    upper = {"a": False, "b": False, "c": False, "d": True}
    asked = [(question(item, SECOND_TURN), said(item, right)) for item, right in second.items()]
    asked += [(question(item, "upper"), said(item, right)) for item, right in upper.items()]
    found = _by_form(
        [question(item, PLAIN) for item in plain],
        [said(item, right) for item, right in plain.items()],
        *map(list, zip(*asked, strict=True)),
    )
    assert {form: row["mean"] for form, row in found["exact_by_form"].items()} == {
        PLAIN: 0.75, SECOND_TURN: 0.75, "upper": 0.25,
    }  # fmt: skip
    assert found["known_in_second_turn"]["mean"] == 2 / 3
