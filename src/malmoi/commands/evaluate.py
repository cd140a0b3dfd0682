"""`malmoi eval`: how good a model is, each figure with its interval."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from malmoi.chat import find_model
from malmoi.commands.runs import table
from malmoi.data.comparisons import Ranking, conversation_ids
from malmoi.data.formats import rankings
from malmoi.errors import DataError, UserError
from malmoi.evals.rewards import Sourced, judge_rewards
from malmoi.files import sha256_of
from malmoi.model.folder import load_model, load_text
from malmoi.model.transformer import ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.models import describe


def evaluate_rewards(workspace: Path, model: str, path: Path) -> dict[str, Any]:
    """A reward model against people's rankings; see `judge_rewards`. What its context cannot hold is counted.

    Raises UserError for a model that writes answers, DataError for rankings that cannot be read.
    """
    name, folder = find_model(model, workspace / "models")
    if describe(folder)["kind"] != "reward":
        raise UserError(f"{name}: writes answers and scores none; --preferences needs a reward model")
    network, (tokenizer, template) = load_model(folder, ScalarModel), load_text(folder)
    rows, n_too_long = _read_rankings(path, tokenizer, template, network.config.seq_len)
    return {
        "model": model, "model_sha256": sha256_of(folder), "preferences": str(path),
        "preferences_sha256": sha256_of(path), "n_too_long": n_too_long,
        **judge_rewards(network, rows, tokenizer.pad_id),
    }  # fmt: skip


def _read_rankings(path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int) -> tuple[list[Sourced], int]:
    """Rankings as ids, and how many are left out since an answer does not fit the context."""
    rows, n_too_long = [], 0
    for number, row in rankings(path):
        try:
            ids = [conversation_ids(tokenizer, template, row["messages"], answer) for answer in row["answers"]]
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        if max(map(len, ids)) > seq_len:
            n_too_long += 1
        else:
            rows.append(Sourced(Ranking(ids, row["ranks"]), row["source"], row["tree"]))
    if not rows:
        raise DataError(
            f"{path}: no ranking to measure on; {n_too_long} are longer than the context ({seq_len} tokens)"
        )
    return rows, n_too_long


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
    made.caption = "chance: accuracy 0.5, log loss 0.693"
    if found["n_too_long"]:
        made.caption += f"; {found['n_too_long']:,} rankings left out: longer than the context"
    return made


def _mean(interval: Mapping[str, Any] | None) -> str:
    return "–" if interval is None else f"{interval['mean']:.3f}"


def _range(interval: Mapping[str, Any] | None) -> str:
    return "" if interval is None else f"{interval['low']:.3f} – {interval['high']:.3f}"
