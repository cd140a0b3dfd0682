"""KTO's loss and loops over single answers, written from arXiv:2402.01306, eq. 7 and 8, and its §4.1 on the KL."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.algorithms import kto
from malmoi.data.votes import Vote, collate_votes, parts, vote_steps
from malmoi.model.config import ModelConfig
from malmoi.model.lora import LoraConfig, WithoutAdapters, add_lora
from malmoi.model.transformer import LanguageModel

PAD, SEQ_LEN = 0, 12
ids = st.lists(st.integers(1, 29), min_size=1, max_size=4)
rows = st.lists(st.tuples(ids, ids, st.booleans()), min_size=2, max_size=5)
weights = st.floats(0.2, 3)


def network(seed: int) -> LanguageModel:
    torch.manual_seed(seed)
    shape = ModelConfig(
        vocab_size=31, n_layer=2, n_embd=16, n_head=2, n_kv_head=1, head_dim=8, n_ff=16, seq_len=SEQ_LEN
    )
    model = LanguageModel(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    return model


def vote(prompt: list[int], answer: list[int], is_good: bool) -> Vote:
    return Vote(np.array(prompt), np.array(answer), is_good)


def logp(model: LanguageModel, prompt: list[int], answer: list[int]) -> float:
    """log p of an answer, token by token."""
    total = 0.0
    with torch.no_grad():
        for place, token in enumerate(answer):
            logps = model(torch.tensor([[*prompt, *answer[:place]]]))[0, -1].log_softmax(-1)
            total += float(logps[token])
    return total


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@settings(deadline=None, max_examples=30)
@given(given_rows=rows, beta=st.floats(0.05, 1), good=weights, bad=weights)
def test_the_loss_is_of_each_answer_next_to_answers_to_other_prompts(
    given_rows: list[tuple[list[int], list[int], bool]], beta: float, good: float, bad: float
) -> None:
    model, ref = network(0), network(1)
    moved = [
        logp(model, prompt, given_rows[i - 1][1]) - logp(ref, prompt, given_rows[i - 1][1])
        for i, (prompt, _, _) in enumerate(given_rows)
    ]
    point = max(0.0, sum(moved) / len(moved))
    expected, n_right = 0.0, 0
    for prompt, answer, is_good in given_rows:
        ratio = logp(model, prompt, answer) - logp(ref, prompt, answer)
        beyond = beta * (ratio - point) if is_good else beta * (point - ratio)
        expected += (good if is_good else bad) * (1 - sigmoid(beyond))
        n_right += beyond > 0
    batch = collate_votes([vote(*row) for row in given_rows], PAD, SEQ_LEN)
    config = kto.Config(n_steps=1, beta=beta, desirable_weight=good, undesirable_weight=bad)
    found, metrics = kto.loss(model, ref, batch, config)
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert metrics["kl"].item() / batch.count == pytest.approx(point, rel=1e-3, abs=1e-4)
    assert batch.count == len(given_rows) and abs(metrics["accuracy"].item() - n_right) <= 1  # a tie may fall anywhere


def test_a_policy_that_has_not_moved_costs_one_half_and_moves_towards_what_is_liked() -> None:
    model = network(0)
    add_lora(model, LoraConfig(rank=2))
    ref = WithoutAdapters(model)
    batch = collate_votes([vote([5], [6, 7], True), vote([8, 9], [10], False)], PAD, SEQ_LEN)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    config = kto.Config(n_steps=1, beta=0.5)
    before = kto.answer_logps(model, batch.own).detach()
    found, metrics = kto.loss(model, ref, batch, config)
    assert found.item() == pytest.approx(1.0) and metrics["kl"].item() == 0 and metrics["accuracy"].item() == 0
    found.backward()
    optimizer.step()
    liked, disliked = (kto.answer_logps(model, batch.own) - before).tolist()
    assert liked > disliked
    assert kto.loss(model, ref, batch, config)[0].item() < 1


def test_an_answer_that_is_too_long_for_another_prompt_is_cut() -> None:
    long, short = vote([1], list(range(2, 13)), True), vote([1] * 10, [3], False)
    batch = collate_votes([long, short], PAD, SEQ_LEN)
    assert batch.other.ids.shape[1] == SEQ_LEN and batch.other.mask.sum(dim=1).tolist() == [1, 2]
    assert batch.own.mask.sum(dim=1).tolist() == [11, 1]


def test_the_rarer_kind_of_vote_weighs_more() -> None:
    config = kto.with_weights(kto.Config(n_steps=1), n_good=6, n_bad=2)
    assert (config.desirable_weight, config.undesirable_weight) == (1.0, 3.0)
    chosen = kto.with_weights(kto.Config(n_steps=1, undesirable_weight=1.2), n_good=2, n_bad=6)
    assert (chosen.desirable_weight, chosen.undesirable_weight) == (3.0, 1.2)


@given(n=st.integers(2, 40), size=st.integers(2, 16))
def test_no_vote_is_without_another_prompt(n: int, size: int) -> None:
    found = list(parts(np.arange(n), size))
    assert min(map(len, found)) >= 2 and np.concatenate(found).tolist() == list(range(n))
    assert max(map(len, found)) <= size + 1
    step = next(iter(vote_steps([vote([1], [2], True)] * 3, PAD, SEQ_LEN, n, size, seed=1)))
    assert sum(batch.count for batch in step) == n
