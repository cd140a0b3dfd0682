"""The stage asks natural questions, and its facts begin the report."""

from importlib import resources
from pathlib import Path
from typing import Any, cast

import pytest

from malmoi.corpus.documents import Document
from malmoi.cost import Cost, Sizes
from malmoi.errors import UserError
from malmoi.evals.natural import read_questions
from malmoi.evals.natural_names import measure_names, names_with_sentences, says
from malmoi.evals.natural_voices import ALONE, LOOKUP, evaluate_natural
from malmoi.facts import Figures, Judged
from malmoi.files import read_json, write_json, write_jsonl
from malmoi.model.config import ModelConfig
from malmoi.retrieval.index import build_index
from malmoi.stage import Context, Finished, Input, InputsByRole
from malmoi.stages import corpus, natural
from malmoi.workspace.folder import Workspace

DOCUMENTS = [
    Document("function json.loads(s)\nDeserialize s to a Python object.", "python:json.loads"),
    Document("function math.factorial(x)\nFind n!. Raise a ValueError if x is negative.", "python:math.factorial"),
    Document(
        "function os.getcwd()\nReturn a unicode string representing the current working directory.", "python:os.getcwd"
    ),
]


def test_of_own_text_nothing_is_asked_and_no_time_is_planned(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("The shop is open.")
    of_docs = Sizes(None, ModelConfig())
    own = corpus.expects(corpus.Settings(text=str(tmp_path)), of_docs)
    assert natural.cost(natural.Settings(), of_docs).fixed_s and natural.cost(natural.Settings(), of_docs).answers
    assert natural.cost(natural.Settings(), own) == Cost(holds_model=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The stage after an evaluation, without a network: the look-up alone answers."""
    place = tmp_path_factory.mktemp("natural")
    folder = place / "runs" / "0001-natural"
    (folder / "out").mkdir(parents=True)
    build_index(DOCUMENTS, place / "index")
    greeting = next(q for q in read_questions() if q.kind == "small talk")
    talk = [*greeting.messages, {"role": "assistant", "content": "Hello!"}]
    write_jsonl(place / "train.jsonl", [{"messages": talk}])
    exact = {"mean": 0.8, "low": 0.7, "high": 0.9, "n": 50}
    write_json(place / "eval.json", {"sft": {"exact_sft": exact}})
    reads = InputsByRole(
        {
            "index": (Input("index", "index", {"": place / "index"}),),
            "items": (Input("items", "corpus", {"": place / "items.jsonl"}),),
            "aligned": (),
            "demonstrations": (Input("demonstrations", "demonstrations", {"train": place / "train.jsonl"}),),
            "drilled": (Input("measurements", "eval", {"": place / "eval.json"}),),
        }
    )
    settings = natural.Settings(n_names=3)
    context = Context("0001-natural", folder, reads, {}, cast(Any, None), Workspace.open(place / "w"))
    natural.run(context, settings)
    return Finished("natural", context.run_id, folder, settings, reads)


def test_what_a_demonstration_asks_word_for_word_is_counted(finished: Finished) -> None:
    found = read_json(finished.out / natural.FILE)
    greeting = next(q for q in read_questions() if q.kind == "small talk")
    assert found["trained_on"] == [greeting.id] and found["n"] == len(read_questions())
    assert list(found["voices"]) == list(found["names"]) == [LOOKUP]


def test_the_first_screen_has_right_and_wrong_answers_by_a_fixed_rule(finished: Finished) -> None:
    facts = natural.facts(finished)
    assert facts.opening is not None
    figures, *blocks, _ = facts.opening.blocks
    assert isinstance(figures, Figures) and [row.label for row in figures.rows] == [
        f"natural questions right, {LOOKUP}", natural.DRILLED,
    ]  # fmt: skip
    judged = [block for block in blocks if isinstance(block, Judged)]
    assert [block.is_right for block in judged] == [True] * 3 + [False] * 3
    answers = read_json(finished.out / natural.FILE)["voices"][LOOKUP]["answers"]
    first_wrong = next(row for row in answers if not row["right"])
    assert judged[3].answer == first_wrong["answer"]
    assert "1 of them also occur" in facts.opening.lead
    assert [row.figure for row in facts.summary] == [f"natural questions right, {LOOKUP}"]


def test_the_first_of_each_kind_comes_before_a_second_of_any() -> None:
    rows = [{"kind": kind, "n": n} for n, kind in enumerate("aabac")]
    assert [row["n"] for row in natural.first_of_each_kind(rows)] == [0, 2, 4]
    assert [row["n"] for row in natural.first_of_each_kind(rows[:2])] == [0, 1]


def test_a_name_is_explained_by_the_words_of_its_documentation() -> None:
    sentence = "Return the number of items in a container."
    assert says("len(obj): Return the number of items in a container.", sentence, "what is len")
    assert not says("what is len", sentence, "what is len")
    assert not says("", sentence, "what is len")
    assert not says("It returns something.", sentence, "what is len")
    known = names_with_sentences(30)
    assert len(known) == 30 and ("isinstance" in dict(known))
    found = measure_names(lambda talks: [cast(Any, natural_given("x"))] * len(talks), 8)
    assert found["right"]["mean"] == 0.0 and len(found["wrong"]) == 8 and found["by_lang"]["ko"]["n"] == 2


def test_notes_are_found_by_sentence_and_file(finished: Finished) -> None:
    notes = read_json(finished.out / natural.FILE)["notes"][LOOKUP]
    assert (notes["found"]["en"]["n"], notes["found"]["ko"]["n"], notes["declined"]["n"]) == (10, 9, 6)
    place = Path(str(resources.files("malmoi.evals") / "notes"))
    for row in notes["rows"]:
        if row["file"]:
            assert row["sentence"] in (place / row["lang"] / row["file"]).read_text(encoding="utf-8"), row["id"]
            assert row["sentence"] not in row["question"] and row["question"] not in row["sentence"]


def natural_given(text: str) -> Any:
    from malmoi.evals.natural import Given

    return Given(text)


def test_no_model_and_no_index_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="malmoi index FOLDER"):
        evaluate_natural("none", None, None)


def test_the_voice_without_look_up_is_not_the_one_that_is_shown(finished: Finished) -> None:
    found = read_json(finished.out / natural.FILE)
    voices = found["voices"] | {"PPO": found["voices"][LOOKUP], f"PPO {ALONE}": found["voices"][LOOKUP]}
    write_json(finished.out / natural.FILE, found | {"voices": voices})
    (card,) = natural.facts(finished).cards
    write_json(finished.out / natural.FILE, found)
    assert card.title == "natural questions right, PPO" and "look-up alone" in card.note
