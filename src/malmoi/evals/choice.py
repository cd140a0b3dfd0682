"""Questions that are answered by likelihood: several choices, or one continuation that should be the likeliest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from malmoi.evals.answering import Subject
from malmoi.evals.interval import Interval, bootstrap
from malmoi.evals.likelihood import Likelihood, continuation, likelihoods


@dataclass(frozen=True)
class ChoiceQuestion:
    """Pairs of a context and a continuation, and the number of the right one."""

    options: Sequence[tuple[str, str]]
    gold: int


def measure_choices(subject: Subject, questions: Sequence[ChoiceQuestion]) -> dict[str, Any]:
    """Shares of questions whose right choice is the likeliest: `acc` by log-probability, `acc_norm` by log-probability
    per character, as in lm-eval-harness, and `acc_bytes` per UTF-8 byte."""
    model, tokenizer, _ = subject
    encoded = [[continuation(tokenizer, *option, model.config.seq_len) for option in q.options] for q in questions]
    right = right_choices(questions, likelihoods(model, encoded, tokenizer.pad_id))
    chance = float(np.mean([1 / len(question.options) for question in questions]))
    return {
        "metrics": {name: bootstrap(values).to_row() for name, values in right.items()},
        "chance": dict.fromkeys(right, chance),
        "n": len(questions),
        "n_cut": sum(any(one.is_cut for one in options) for options in encoded),
    }


def right_choices(questions: Sequence[ChoiceQuestion], found: Sequence[Sequence[Likelihood]]) -> dict[str, list[float]]:
    """For each of the three measures, 1 for every question whose likeliest option is the right one, else 0."""
    right: dict[str, list[float]] = {"acc": [], "acc_norm": [], "acc_bytes": []}
    for question, options in zip(questions, found, strict=True):
        logps = np.array([one.logp for one in options])
        texts = [text.removeprefix(" ") for _, text in question.options]
        lengths = {"acc": 1, "acc_norm": np.array([*map(len, texts)]), "acc_bytes": [len(t.encode()) for t in texts]}
        for name, length in lengths.items():
            right[name].append(float(np.argmax(logps / length) == question.gold))
    return right


def measure_continuations(subject: Subject, rows: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """`acc`: share of continuations in which every token is the likeliest; `perplexity`: of whole continuations."""
    model, tokenizer, _ = subject
    encoded = [[continuation(tokenizer, *row, model.config.seq_len)] for row in rows]
    found = [one for (one,) in likelihoods(model, encoded, tokenizer.pad_id)]
    nats = bootstrap([-one.logp for one in found])
    perplexity = Interval(math.exp(nats.mean), math.exp(nats.low), math.exp(nats.high), nats.n)
    return {
        "metrics": {
            "acc": bootstrap([float(one.is_likeliest) for one in found]).to_row(),
            "perplexity": perplexity.to_row(),
        },
        "chance": {},
        "n": len(rows),
        "n_cut": sum(one.is_cut for (one,) in encoded),
    }
