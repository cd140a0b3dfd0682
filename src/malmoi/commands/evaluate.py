"""`malmoi eval`: how good a model is, each figure with its interval."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from rich.table import Table

from malmoi import device
from malmoi.cli.printing import table
from malmoi.corpus.folder import Errors
from malmoi.data.comparisons import Ranking, ranking_ids
from malmoi.data.formats import RowReport, rankings
from malmoi.errors import DataError, UserError
from malmoi.evals.answering import Subject
from malmoi.evals.reward_accuracy import SourcedRanking, measure_reward_model
from malmoi.evals.tasks import DEFAULT_TASKS, find_file, measure_task, tasks_named
from malmoi.files import sha256_of
from malmoi.formats.folder import load_model, load_text
from malmoi.formats.inspect import kind_of
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from malmoi.workspace.models import find_model


def evaluate_rewards(workspace: Path, model: str, path: Path, errors: Errors) -> dict[str, Any]:
    """`measure_reward_model` on people's rankings, and in `left_out` how many rankings were left out, and why.

    Raises UserError for a model that writes answers, DataError for rankings that cannot be read.
    """
    _, folder = find_model(Workspace(workspace), model)
    if kind_of(folder) != "reward":
        raise UserError(f"{model}: writes answers and scores none; --preferences needs a reward model")
    network, (tokenizer, template) = load_model(folder, ScalarModel), load_text(folder)
    rows, left_out = _read_rankings(path, tokenizer, template, network.config.seq_len, errors)
    return {
        "model": model, "model_sha256": sha256_of(folder), "preferences": str(path),
        "preferences_sha256": sha256_of(path), "left_out": left_out,
        **measure_reward_model(network, rows, tokenizer.pad_id),
    }  # fmt: skip


def evaluate_tasks(
    workspace: Path, model: str, names: Sequence[str], data: Path | None, limit: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """A model that writes against tasks, by name; none: those of `DEFAULT_TASKS`. say: is told how long each took.

    Raises UserError for a model that scores, DataError for a task whose file is not there or cannot be read.
    """
    _, folder = find_model(Workspace(workspace), model)
    tasks = tasks_named(names or DEFAULT_TASKS)
    subject = Subject(load_model(folder, LanguageModel), *load_text(folder))
    files = [find_file(task, data) for task in tasks]
    rows = []
    for task, path in zip(tasks, files, strict=True):
        rows.append(measure_task(task, path, subject, limit))
        say(f"{task.name}: {rows[-1]['n']:,} in {rows[-1]['seconds']:.0f} s")
    dtype = str(device.current().compute_dtype).removeprefix("torch.")
    return {"model": model, "model_sha256": sha256_of(folder), "dtype": dtype, "limit": limit or None, "tasks": rows}


def tasks_table(found: Mapping[str, Any]) -> Table:
    rows = [
        (
            row["task"] if first else "",
            name,
            _mean(v),
            _range(v),
            _chance(row, name),
            row["n"] if first else "",
        )
        for row in found["tasks"]
        for first, (name, v) in zip(chain([True], repeat(False)), row["metrics"].items(), strict=False)
    ]
    made = table(("task", "measure", "value", "95 %", "chance", "n"), rows)
    cut = [f"{row['task']}: {row['n_cut']:,}" for row in found["tasks"] if row["n_cut"]]
    lines = [f"computed in {found['dtype']}", *([f"cut to fit the context: {', '.join(cut)}"] if cut else [])]
    made.caption = "\n".join(lines)
    return made


def _chance(row: Mapping[str, Any], name: str) -> str:
    return f"{row['chance'][name]:.3f}" if name in row["chance"] else "–"


def _read_rankings(
    path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int, errors: Errors
) -> tuple[list[SourcedRanking], dict[str, int]]:
    """Rankings as ids, and why others are left out, with how many."""
    rows, report, too_long = [], RowReport(), f"longer than the model's context ({seq_len} tokens)"
    for number, row in rankings(path, errors, report):
        try:
            ids = ranking_ids(tokenizer, template, row["messages"], row["answers"])
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        if max(map(len, ids)) > seq_len:
            report.skipped[too_long] += 1
        else:
            rows.append(SourcedRanking(Ranking(ids, row["ranks"]), row["source"], row["tree"]))
    if not rows:
        told = "; ".join(f"{n} left out: {why}" for why, n in report.skipped.items())
        raise DataError(f"{path}: holds no ranking to measure on{told and f' ({told})'}")
    return rows, dict(report.skipped)


def rewards_table(found: Mapping[str, Any]) -> Table:
    columns = ("source", "accuracy", "95 %", "log loss", "rankings", "pairs", "ties")
    rows = [*found["by_source"].items(), *([("all", found)] if len(found["by_source"]) > 1 else [])]
    made = table(
        columns,
        (
            (
                name, _mean(row["accuracy"]), _range(row["accuracy"]), _mean(row["log_loss"]), row["n_rankings"],
                row["n_pairs"], row["n_ties"],
            )
            for name, row in rows
        ),
    )  # fmt: skip
    lines = ["chance: accuracy 0.5, log loss 0.693"]
    if found["temperature"]:
        lines.append(f"temperature that fits these rankings best: {found['temperature']:.2f}")
    if found.get("disagreement", {}).get("divided") is not None:
        lines.append(f"the heads do not agree on {found['disagreement']['divided']:.1%} of the pairs")
    made.caption = "\n".join([*lines, *(f"left out: {n:,}, {why}" for why, n in found["left_out"].items())])
    return made


def _mean(interval: Mapping[str, Any] | None) -> str:
    return f"{interval['mean']:.3f}" if interval and interval["n"] else "–"


def _range(interval: Mapping[str, Any] | None) -> str:
    return "" if not interval or not interval["n"] else f"{interval['low']:.3f} – {interval['high']:.3f}"
