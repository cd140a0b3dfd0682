"""How somebody begins: what it costs, what fits where there is little memory, and the jobs that build and fetch."""

from pathlib import Path

import pytest

from malmoi.feedback.refusals import RefusedError
from malmoi.files import write_text
from malmoi.pipeline.pinned import PinnedAnswers
from malmoi.pipeline.recipe import Recipe, find_recipe, read_recipe
from malmoi.pipeline.start import BUILD, FETCH, begin_start, memory_needed, start_options, text_option, with_fewer_rows
from malmoi.pipeline.work import run_job
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import ANSWERS, add_job, find_job, folder_of, pinned_of, take_next
from malmoi.workspace.ledger import Ledger

TINY = Path(__file__).parents[2] / "e2e" / "tiny.toml"
QUESTIONS = ["What is a list?", "안녕?", "Hello"]


def test_each_way_has_its_cost_and_its_command(ledger: Ledger) -> None:
    found = start_options(ledger, estimate=False)
    name = Workspace(ledger.root).path.name
    assert found["build"]["command"] == f"malmoi demo --workspace {name}"
    assert found["text"]["command"] == f"malmoi demo --text {name}/documents --workspace {name}"
    told = start_options(ledger, estimate=False, tell_place=True)
    assert told["build"]["command"] == f"malmoi demo --workspace {ledger.root}"
    assert found["fetch"]["n_bytes"] > 2e8 and not found["fetch"]["is_here"]
    assert (found["text"]["n_files"], found["text"]["cost"]) == (0, None)
    assert str(ledger.root.parent) not in str(found)


def test_too_little_text_says_so_before_anything_begins(ledger: Ledger) -> None:
    (ledger.root / "documents").mkdir()
    (ledger.root / "documents" / "a.md").write_text("Tea.\n")
    found = text_option(Workspace(ledger.root))
    assert found["n_files"] == 1 and found["cost"] is None and "documents" in found["problem"]
    assert str(ledger.root) not in found["problem"]


def test_where_memory_is_short_fewer_rows_at_a_time_fit(ledger: Ledger) -> None:
    workspace, recipe = Workspace(ledger.root), read_recipe(find_recipe("nano-small"))
    need = memory_needed(workspace, recipe)
    fitted = with_fewer_rows(workspace, recipe, need - 1)
    assert fitted is not None and fitted[1] < need
    assert fitted[1] == memory_needed(workspace, fitted[0])
    assert all(fitted[0][stage].batch_size == recipe[stage].batch_size for stage in ("pretrain", "sft"))
    assert with_fewer_rows(workspace, recipe, 1) is None


def test_the_same_is_not_begun_twice(ledger: Ledger) -> None:
    add_job(ledger, BUILD, {})
    with pytest.raises(RefusedError, match="job 1 does this already"):
        begin_start(ledger, BUILD)


def test_a_model_that_cannot_be_fetched_says_so(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    number = add_job(ledger, FETCH, {"what": FETCH})
    job = take_next(ledger)
    assert job is not None
    run_job(ledger, job)
    ended = find_job(ledger, number)
    assert ended["status"] == "failed" and "could not download" in ended["error"]
    assert ended["version"] is None


def test_questions_are_answered_again_as_the_assistant_is_built(ledger: Ledger, float32: None) -> None:
    for number in range(8):
        write_text(ledger.root / "text" / f"{number}.txt", f"Tea {number} is steeped at {70 + number} degrees. " * 20)
    given = ['stages=["corpus", "tokenizer", "pretrain"]', f'corpus.text="{ledger.root}/text"', "pretrain.n_steps=3"]
    recipe = read_recipe(TINY, [*given, "tokenizer.vocab_size=300"])
    number = add_job(ledger, BUILD, {"recipe": recipe.table(), "questions": QUESTIONS})
    job = take_next(ledger)
    assert job is not None
    run_job(ledger, job)
    ended = find_job(ledger, number)
    assert (ended["status"], ended["version"]) == ("done", None), ended["error"]
    pinned = pinned_of(Workspace(ledger.root), ended)
    assert pinned is not None and pinned["questions"] == QUESTIONS
    # The hooks of a step come before its checkpoint, and the network itself is asked at the end.
    assert [(row["stage"], row["step"]) for row in pinned["rows"]] == [
        ("pretrain", 1), ("pretrain", 2), ("pretrain", None),
    ]  # fmt: skip
    assert all(len(row["answers"]) == len(QUESTIONS) for row in pinned["rows"])


def test_a_job_that_watches_no_question_shows_none(ledger: Ledger) -> None:
    number = add_job(ledger, BUILD, {"recipe": {}, "questions": []})
    assert pinned_of(Workspace(ledger.root), find_job(ledger, number)) is None


def test_answers_before_an_interruption_are_kept(ledger: Ledger) -> None:
    path = folder_of(Workspace(ledger.root), 1) / ANSWERS
    path.parent.mkdir(parents=True)
    path.write_text('{"stage": "pretrain", "step": 5, "answers": ["x"]}\n')
    kept = PinnedAnswers(Recipe.of({"name": "r", "stages": ["corpus"]}), Workspace(ledger.root), path, ["Why?"])
    assert [row["step"] for row in kept.rows] == [5]
