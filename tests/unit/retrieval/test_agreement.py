"""A voice's words must agree with the sentence that was found."""

import pytest

from malmoi.retrieval.agreement import agreeing_source, repeats
from malmoi.retrieval.findings import Findings, Source
from malmoi.retrieval.passages import Passage

LOADS = Passage(
    text="Deserialize s to a Python object. object_hook is an optional function that will be called with the result.",
    file="python:json.loads", heading="function json.loads(s, cls, object_hook)", line=1, place="", document="1",
)  # fmt: skip
FOUND = Findings(sources=(Source(LOADS, "Deserialize s to a Python object.", 1, 0.9),), nearest=(), small_talk="")
QUESTION = "What does json.loads do?"


@pytest.mark.parametrize(
    ("answer", "is_right"),
    [
        ("json.loads: Deserialize s to a Python object.", True),
        ("json.loads will deserialize s to an object.", True),
        ("json.dumps: Deserialize s to a Python object.", False),
        ("It will deserialize s to an object.", False),
        ("json.loads.", False),
        ("json.loads: a Python object.", False),
        ("loads: Deserialize s to a Python object.", False),
        ("json.loads는 이렇게 설명되어 있습니다: Deserialize s to a Python object.", True),
        ("object_hook is an optional function that will be called with the result.", False),
        ("json.loads: loads: loads.", False),
        ("I do not know.", False),
        ("", False),
    ],
)
def test_an_answer_is_held_against_the_sentence_that_was_found(answer: str, is_right: bool) -> None:
    assert (agreeing_source(answer, FOUND, QUESTION) is not None) is is_right


@pytest.mark.parametrize(("wanted", "right", "wrong"), [
    ("module", "json.loads is in the module json.", "json.loads is in the module typing."),
    ("parameters", "json.loads takes s, cls, object_hook.", "json.loads takes s, cls, fp."),
    ("parameters", "json.loads takes s, cls, object_hook.", "json.loads takes s, cls."),
    ("kind", "json.loads is a function.", "json.loads is a class."),
    ("kind", "json.loads는 함수입니다.", "json.loads는 클래스입니다."),
    ("module", "json.loads는 json 모듈에 있습니다.", "json.loads는 typing 모듈에 있습니다."),
])  # fmt: skip
def test_of_a_name_only_its_heading_counts(wanted: str, right: str, wrong: str) -> None:
    found = Findings(sources=FOUND.sources, nearest=(), small_talk="", wanted=wanted)
    assert agreeing_source(right, found, QUESTION) and not agreeing_source(wrong, found, QUESTION)


def test_what_is_said_again_and_again_is_noticed() -> None:
    assert repeats("os.D.D.D") and repeats("a b c, a b c") and repeats("glob: glob: glob")
    assert not repeats("Return the first of the items.") and not repeats("os.path.join: Join two components.")
