"""What a policy loses of what it had learned before, when it learns from people: held-out answers of earlier data."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from malmoi.data.comparisons import demonstration
from malmoi.evals.interval import bootstrap
from malmoi.evals.judged import Text
from malmoi.evals.likelihood import Continuation, likelihoods
from malmoi.files import iterate_jsonl
from malmoi.formats.folder import load_config, load_model, load_text
from malmoi.model.transformer import LanguageModel
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import digest_of

N_ANSWERS = 64
FILES = ("heldout.jsonl", "prompts.heldout.jsonl")
"""In the output of stages that make demonstrations: conversations, or prompts with the answers that were expected."""


def losses_on_earlier(workspace: Workspace, before: Path, after: Path) -> dict[str, Any] | None:
    """The loss of two policies on held-out answers of the workspace's earlier data, in nats per token of the answer.

    Returns n answers, the means `before` and `after`, and `more`: after minus before with its interval by answer; above
    0 the policy has lost something. None if there is no such answer.
    """
    text = load_text(before)
    seq_len = load_config(before).seq_len
    every = (_answer(text, messages) for messages in earlier_answers(workspace))
    asked = list(islice((one for one in every if len(one.ids) <= seq_len), N_ANSWERS))
    if not asked:
        return None
    losses = [_losses(load_model(folder, LanguageModel), asked, text[0].pad_id) for folder in (before, after)]
    more = bootstrap([later - earlier for earlier, later in zip(*losses, strict=True)])
    means = [sum(one) / len(one) for one in losses]
    return {"n": len(asked), "before": means[0], "after": means[1], "more": more.to_row()}


def earlier_answers(workspace: Workspace) -> list[list[dict[str, Any]]]:
    """Conversations that end with an answer and were held out from training, in a fixed random order."""
    found = {
        digest_of(messages): messages
        for name in FILES
        for path in sorted(workspace.runs.glob(f"*/out/{name}"))
        for row in iterate_jsonl(path)
        for messages in _conversations(row)
    }
    return [found[key] for key in sorted(found)]


def _conversations(row: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """A row's conversation, with the expected answer where it is a prompt; nothing for rows of other kinds."""
    messages = row.get("messages")
    if not messages or "answers" in row:
        return
    if references := row.get("references"):
        messages = [*messages, {"role": "assistant", "content": references[0]}]
    if len(messages) > 1 and messages[-1]["role"] == "assistant":
        yield messages


def _answer(text: Text, messages: list[dict[str, Any]]) -> Continuation:
    ranking = demonstration(*text, messages)
    return Continuation([int(id) for id in ranking.ids[0]], ranking.n_prompt, is_cut=False)


def _losses(model: LanguageModel, asked: list[Continuation], pad_id: int) -> list[float]:
    found = likelihoods(model.eval(), [[one] for one in asked], pad_id)
    return [-said[0].logp / (len(one.ids) - one.start) for said, one in zip(found, asked, strict=True)]
