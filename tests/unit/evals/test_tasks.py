"""Tasks: likelihoods are those of the texts alone, measures are what they say, and real files are read."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.data.table import read_table
from malmoi.errors import ConfigError, DataError
from malmoi.evals.answering import Subject
from malmoi.evals.bits_per_byte import measure_text, pieces
from malmoi.evals.choice import ChoiceQuestion, measure_choices, measure_continuations, right_choices
from malmoi.evals.likelihood import Likelihood, continuation, likelihoods
from malmoi.evals.math_problems import numbers_in, said_number
from malmoi.evals.tasks import DEFAULT_TASKS, KINDS, TASKS, Task, find_file, measure_task, tasks_named
from malmoi.files import write_jsonl
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")
DATA = Path(os.environ.get("MALMOI_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
QUESTION = [("The cat sat on the", " mat"), ("The cat sat on the", " log and the dog"), ("The cat sat", " log")]


@pytest.fixture
def subject(policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate) -> Subject:
    return Subject(policy, tokenizer, template)


def read_alone(subject: Subject, context: str, text: str) -> Likelihood:
    """The definition: log p of each token of the text after all before it."""
    n_context = len(subject.tokenizer.encode(context))
    ids = torch.tensor([subject.tokenizer.encode(context + text)])
    with torch.no_grad():
        logps = subject.model(ids)[0, n_context - 1 : -1].log_softmax(-1)
    targets = ids[0, n_context:]
    return Likelihood(float(logps.gather(1, targets[:, None]).sum()), bool((logps.argmax(-1) == targets).all()))


def test_choices_that_share_a_beginning_are_as_likely_as_alone(subject: Subject) -> None:
    encoded = [[continuation(subject.tokenizer, *option, 32) for option in part] for part in (QUESTION, QUESTION[:1])]
    found = likelihoods(subject.model, encoded, subject.tokenizer.pad_id)
    for option, one in zip(QUESTION, found[0], strict=True):
        expected = read_alone(subject, *option)
        assert one.logp == pytest.approx(expected.logp, abs=1e-4) and one.is_likeliest == expected.is_likeliest
    assert found[1][0].logp == pytest.approx(found[0][0].logp, abs=1e-4)


def test_white_space_at_the_end_of_a_context_begins_the_continuation(tokenizer: Tokenizer) -> None:
    one, other = continuation(tokenizer, "The cat ", "sat", 32), continuation(tokenizer, "The cat", " sat", 32)
    assert (one.ids, one.start) == (other.ids, other.start)
    assert continuation(tokenizer, "", "sat", 32).start == 1


def test_a_context_too_long_loses_its_beginning(tokenizer: Tokenizer) -> None:
    one = continuation(tokenizer, "The cat sat on the mat." * 9, " The dog", 16)
    assert one.is_cut and len(one.ids) == 16
    assert tokenizer.decode(one.ids[one.start :]) == " The dog"


def test_accuracy_follows_the_likelihood_and_its_norms_the_length(subject: Subject) -> None:
    options = [("?", " a"), ("?", " bcde"), ("?", " 낱말")]
    found = [Likelihood(-2.0, False), Likelihood(-3.0, False), Likelihood(-3.5, False)]
    right = right_choices([ChoiceQuestion(options, gold) for gold in range(3)], [found] * 3)
    assert right == {"acc": [1, 0, 0], "acc_norm": [0, 1, 0], "acc_bytes": [0, 0, 1]}
    assert measure_choices(subject, [ChoiceQuestion(options, 0)])["chance"]["acc"] == pytest.approx(1 / 3)


def test_the_likeliest_continuation_counts_and_perplexity_is_of_the_whole(subject: Subject) -> None:
    found = measure_continuations(subject, [QUESTION[0]])
    assert found["metrics"]["perplexity"]["mean"] == pytest.approx(
        float(torch.tensor(-read_alone(subject, *QUESTION[0]).logp).exp()), rel=1e-3
    )
    ids = subject.tokenizer.encode("The cat")
    with torch.no_grad():
        likeliest = int(subject.model(torch.tensor([ids]))[0, -1].argmax())
    text = subject.tokenizer.backend.decode([likeliest], skip_special_tokens=False)
    if subject.tokenizer.encode("The cat" + text) == [*ids, likeliest]:
        assert measure_continuations(subject, [("The cat", text)])["metrics"]["acc"]["mean"] == 1.0


def test_bits_per_byte_add_up_over_pieces_and_windows(subject: Subject) -> None:
    text = "The cat sat on the mat and the dog sat on the log.\n" * 3
    found = measure_text(subject, [text, "A dog.\n"])
    assert found["n_cut"] > 0 and 0 < found["metrics"]["bits_per_byte"]["mean"] < 20
    assert found["metrics"]["bits_per_byte"]["low"] <= found["metrics"]["bits_per_byte"]["high"]
    assert "".join(pieces(text * 40)) == text * 40
    assert max(len(piece.encode()) for piece in pieces(text * 40)) <= 2048


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("so 16-3=13 left. The answer is $1,018.00.", "1018"), ("#### 18", "18"), ("We get **12**", "12"),
        ("The answer is: -5 apples, not 7", "-5"), ("First 3, then 4.5", "4.5"), ("none", None),
    ],
)  # fmt: skip
def test_the_number_that_is_said(said: str, number: str | None) -> None:
    assert said_number(said) == (None if number is None else numbers_in(number)[0])


@pytest.mark.parametrize(
    ("kind", "row", "measure"),
    [
        ("sum", {"context": "1 + 1 =", "continuation": " 2"}, "exact"),
        ("problem", {"context": "How many?", "answer": "3"}, "exact"),
        ("instructions", {"prompt": "Say.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
         "prompt_strict"),
    ],
)  # fmt: skip
def test_tasks_by_generation_run(
    subject: Subject, tmp_path: Path, kind: str, row: dict[str, Any], measure: str
) -> None:
    write_jsonl(tmp_path / "t.jsonl", [row, row, row])
    found = measure_task(Task("t", kind), tmp_path / "t.jsonl", subject, limit=2)
    assert found["n"] == 2 and 0 <= found["metrics"][measure]["mean"] <= 1


def test_tasks_and_files_that_are_not_there_are_named(tmp_path: Path, subject: Subject) -> None:
    with pytest.raises(ConfigError, match='did you mean "piqa"'):
        tasks_named(["pika"])
    with pytest.raises(DataError, match="for piqa; give its folder"):
        find_file(TASKS["piqa"], tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MALMOI_DATA", raising=False)
        with pytest.raises(DataError, match=r"no folder of tasks; give --data DIR or set MALMOI_DATA; docs/reference"):
            find_file(TASKS["piqa"], None)
        patch.setenv("MALMOI_DATA", str(tmp_path))
        with pytest.raises(DataError, match=f"{tmp_path}: has no piqa.jsonl"):
            find_file(TASKS["piqa"], None)
    write_jsonl(tmp_path / "piqa.jsonl", [{"query": "?", "choices": ["a"], "gold": 0}, {"query": "?"}])
    with pytest.raises(DataError, match="2: not a row of piqa"):
        measure_task(TASKS["piqa"], find_file(TASKS["piqa"], tmp_path), subject, 0)


def test_the_command_writes_json_and_a_table_with_chance(policy_folder: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "copa.jsonl", [{"query": "The cat", "choices": ["sat.", "log."], "gold": 0}] * 3)
    command = ["eval", str(policy_folder), "--tasks", "copa", "--data", str(tmp_path)]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.output
    assert "0.500" in done.stdout and "acc_norm" in done.stdout
    (row,) = json.loads((tmp_path / "found.json").read_text())["tasks"]
    assert (row["task"], row["n"], row["chance"]["acc"]) == ("copa", 3, 0.5)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}; MALMOI_DATA names its folder")
@pytest.mark.parametrize("name", TASKS)
def test_every_row_of_the_real_files_is_asked(name: str) -> None:
    task = TASKS[name]
    for _, row in read_table(find_file(task, DATA)):
        for asked in KINDS[task.kind].read(row, task.ending):
            if isinstance(asked, ChoiceQuestion):
                assert 0 <= asked.gold < len(asked.options) and all(text.strip() for _, text in asked.options)


def test_the_default_tasks_are_there() -> None:
    assert set(DEFAULT_TASKS) < TASKS.keys()


def test_the_folder_of_tasks_may_be_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jsonl(tmp_path / "copa.jsonl", [{}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MALMOI_DATA", raising=False)
    assert find_file(TASKS["copa"], Path(".")).samefile(tmp_path / "copa.jsonl")
    with pytest.raises(DataError, match="no folder of tasks"):
        find_file(TASKS["copa"], None)
