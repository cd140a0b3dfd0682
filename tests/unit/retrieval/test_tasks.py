"""What people do with names, in everyday words."""

import importlib
import pkgutil
from collections.abc import Callable

import pytest

from malmoi.retrieval.findings import title_of
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.question import are_joined, understand
from malmoi.retrieval.tasks import asked_tasks, tasks

Search = Callable[[str], Lookup]


def best(question: str) -> str:
    weights = dict.fromkeys(understand(question).concepts, 1.0)
    found = asked_tasks(question, weights)
    return max(found, key=lambda name: found[name].value)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("get rid of a folder and everything in it", "shutil.rmtree"),
        ("폴더를 통째로 없애고 싶어요", "shutil.rmtree"),
        ("How do I turn text into a number?", "int"),
        ("How do I turn a number into text?", "str"),
        ("convert a number to a string", "str"),
        ("How do I convert a number to a string?", "str"),
        ("how to turn a number into text", "str"),
        ("make a string out of a number", "str"),
        ("number to string", "str"),
        ("convert a string to a number", "int"),
        ("convert from string to number", "int"),
        ("turn a list into a set", "set"),
        ("turn a set into a list", "list"),
        ("convert bytes to a string", "bytes.decode"),
        ("문자열을 숫자로 바꾸려면?", "int"),
        ("숫자를 문자열로 바꾸려면?", "str"),
        ("문자열을 숫자로 바꾸기", "int"),
        ("글자를 정수로 바꾸기", "int"),
    ],
)
def test_a_task_is_found_in_everyday_words_and_in_its_direction(question: str, name: str) -> None:
    assert best(question) == name


def test_a_question_that_shares_too_little_asks_for_no_task() -> None:
    question = understand("How do I open a savings account abroad?")
    found = asked_tasks(question.text, dict.fromkeys(question.concepts, 1.0))
    assert max((asked.value for asked in found.values()), default=0.0) < 0.7


def test_a_name_is_found_by_its_task_though_its_documentation_says_it_otherwise(search: Search) -> None:
    found = search("docs").find([{"role": "user", "content": "How do I pause the program?"}])
    assert title_of(found.sources[0].passage) == "time.sleep"


def test_a_name_alone_comes_before_what_people_do_with_others(search: Search) -> None:
    for question, name in (("what is json for?", "json"), ("json", "json"), ("what was re.match again?", "re.match")):
        found = search("docs").find([{"role": "user", "content": question}])
        assert [title_of(source.passage) for source in found.sources][:1] == [name], question


def test_every_name_is_one_of_the_library() -> None:
    for name in {task.name for task in tasks()}:
        assert any(_resolves(name, prefix) for prefix in ("", "builtins.")), name


def _resolves(name: str, prefix: str) -> bool:
    try:
        pkgutil.resolve_name(prefix + name)
    except (ImportError, AttributeError):
        return _is_module(name)
    return True


def _is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "one", "other", "is_comparison"),
    [
        ("copy or deepcopy?", "copy", "deepcopy", True),
        ("compare two text files", "text", "files", False),
        ("sort랑 sorted 차이", "sort", "sorted", True),
    ],
)
def test_two_names_are_compared_only_where_they_are_joined(
    text: str, one: str, other: str, is_comparison: bool
) -> None:
    assert are_joined(text, one, other) == is_comparison


@pytest.mark.parametrize(
    ("question", "asked", "told"),
    [
        ("I have three long lists of towns. How do I shuffle lists?", "shuffle", "towns"),
        ("회사에서 보고서를 받는데요, 파일을 복사하려면 뭘 쓰나요?", "복사", "보고서를"),
    ],
)
def test_what_is_told_around_a_question_counts_less(question: str, asked: str, told: str) -> None:
    weights = {concept.word: concept.weight for concept in understand(question).concepts}
    assert weights[asked] == 1 > weights[told] > 0


@pytest.mark.parametrize(
    ("question", "weights"),
    [
        ("오늘 날씨 어때?", {"오늘": 0.2, "날씨": 1.0}),
        ("Is it going to rain tomorrow?", {"rain": 1.0, "tomorrow": 0.2}),
        ("What is tomorrow?", {"tomorrow": 1.0}),
    ],
)
def test_a_moment_is_asked_for_only_where_nothing_else_is(question: str, weights: dict[str, float]) -> None:
    found = understand(question)
    given = {c.word: c.weight for c in found.concepts or found.all_concepts if c.word in weights}
    assert given == pytest.approx(weights)


@pytest.mark.parametrize("question", ["len은 무슨 일을 하나요", "len이 뭐 하는 애야?", "never understood len, help?"])
def test_words_that_only_ask_may_have_particles(search: Search, question: str) -> None:
    found = search("docs").find([{"role": "user", "content": question}])
    assert [title_of(source.passage) for source in found.sources][:1] == ["len"]
