"""Evaluate a model folder: a model that writes by tasks, a reward model by rankings. Each figure has its interval."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from malmoi import device
from malmoi.corpus.folder import Errors
from malmoi.data.comparisons import encode_ranking
from malmoi.data.formats import RowReport, rankings
from malmoi.errors import DataError, UserError
from malmoi.evals.answering import Subject
from malmoi.evals.reward_accuracy import SourcedRanking, measure_heads
from malmoi.evals.reward_baselines import baseline_scores, compare_with_baselines
from malmoi.evals.reward_curve import Known, learning_curve
from malmoi.evals.reward_scores import head_scores
from malmoi.evals.tasks import DEFAULT_TASKS, find_file, measure_task, tasks_named
from malmoi.files import sha256_of
from malmoi.formats.folder import load_config, load_model, load_text
from malmoi.formats.inspect import kind_of
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.features import answer_features


def evaluate_tasks(
    model: str, folder: Path, names: Sequence[str], data: Path | None, limit: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure a model that writes on tasks, by name; with no names, on `DEFAULT_TASKS`.

    model: its name in what is returned; data: folder of the tasks' files, see `find_file`
    limit: questions of each task, the first ones; 0: all; say: is told how long each task took
    Raises UserError for a model that scores, DataError for a task whose file is missing or cannot be read.
    """
    tasks = tasks_named(names or DEFAULT_TASKS)
    subject = Subject(load_model(folder, LanguageModel), *load_text(folder))
    files = [find_file(task, data) for task in tasks]
    rows = []
    for task, path in zip(tasks, files, strict=True):
        rows.append(measure_task(task, path, subject, limit))
        say(f"{task.name}: {rows[-1]['n']:,} in {rows[-1]['seconds']:.0f} s")
    dtype = str(device.current().compute_dtype).removeprefix("torch.")
    return {"model": model, "model_sha256": sha256_of(folder), "dtype": dtype, "limit": limit or None, "tasks": rows}


def evaluate_rewards(model: str, folder: Path, path: Path, errors: Errors, training: Path | None) -> dict[str, Any]:
    """Measure a reward model on people's rankings, next to what it must beat.

    model: its name in what is returned; path: the rankings, in any known format
    training: the rankings that it was trained on, in which words are counted; None: they are not known
    What is returned is of `measure_heads` and `compare_with_baselines`.
    `left_out` in what is returned: how many rankings were not used, for each reason.
    Raises UserError for a model that writes answers, DataError for rankings that cannot be read.
    """
    if kind_of(folder) != "reward":
        raise UserError(f"{model}: writes answers and scores none; --preferences needs a reward model")
    network, (tokenizer, template) = load_model(folder, ScalarModel), load_text(folder)
    rows, known, left_out = _read_rankings(path, tokenizer, template, network.config.seq_len, errors)
    heads = head_scores(network, [one.ranking for one in known], tokenizer.pad_id)
    scores = [each.mean(axis=1).tolist() for each in heads]
    taught = None if training is None else [row for _, row in rankings(training, "skip")]
    return {
        "model": model, "model_sha256": sha256_of(folder), "preferences": str(path),
        "preferences_sha256": sha256_of(path), "left_out": left_out,
        "training_sha256": None if training is None else sha256_of(training),
        **measure_heads(known, heads), **compare_with_baselines(rows, scores, baseline_scores(rows, taught)),
    }  # fmt: skip


def evaluate_curve(model: str, folder: Path, inputs: Mapping[str, Path], errors: Errors) -> dict[str, Any]:
    """How accurate a probe of the policy gets with more of the rankings that a reward model was trained on.

    model: the reward model's name, in what is returned; folder: its own; inputs: paths of the `policy` that it was
    trained from, and of the rankings of `train` and `heldout`
    See `learning_curve`; `left_out`: how many rankings were not used, for each reason.
    Raises UserError if one of them is not known.
    """
    for part, what in (("policy", "the model that it was trained from"), ("train", "the rankings it was trained on")):
        if part not in inputs:
            raise UserError(f"{model}: --curve needs {what}, which is not here; run its recipe in this workspace")
    if "heldout" not in inputs:
        raise UserError(f"{model}: no rankings were held out from it; name some with --preferences FILE")
    text, seq_len = load_text(inputs["policy"]), load_config(inputs["policy"]).seq_len
    left_out: Counter[str] = Counter()
    known = {}
    for part in ("train", "heldout"):
        rows, encoded, skipped = _read_rankings(inputs[part], *text, seq_len, errors)
        left_out.update(skipped)
        known[part] = Known(rows, answer_features(inputs["policy"], [one.ranking for one in encoded]))
    return {
        "model": model, "model_sha256": sha256_of(folder), "policy_sha256": sha256_of(inputs["policy"]),
        "left_out": dict(left_out), **learning_curve(known["train"], known["heldout"]),
    }  # fmt: skip


def _read_rankings(
    path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int, errors: Errors
) -> tuple[list[dict[str, Any]], list[SourcedRanking], dict[str, int]]:
    """Rankings as rows and as ids; and for those that are left out, how many for which reason."""
    rows: list[dict[str, Any]] = []
    known: list[SourcedRanking] = []
    report, too_long = RowReport(), f"longer than the model's context ({seq_len} tokens)"
    for number, row in rankings(path, errors, report):
        try:
            ranking = encode_ranking(tokenizer, template, row["messages"], row["answers"], row["ranks"])
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        if max(map(len, ranking.ids)) > seq_len:
            report.skipped[too_long] += 1
        else:
            rows.append(row)
            known.append(SourcedRanking(ranking, row["source"], row["tree"]))
    if not rows:
        told = "; ".join(f"{n} left out: {why}" for why, n in report.skipped.items())
        raise DataError(f"{path}: holds no ranking to measure on{told and f' ({told})'}")
    return rows, known, dict(report.skipped)
