"""DPO's loss beside loops over single answers, written from arXiv:2305.18290, eq. 7."""

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.algorithms import dpo
from malmoi.data.comparisons import Ranking, collate_rankings
from malmoi.model.config import ModelConfig
from malmoi.model.lora import LoraConfig, WithoutAdapters, add_lora
from malmoi.model.transformer import LanguageModel

PAD = 0
BEGIN = 30
answer = st.tuples(st.lists(st.integers(1, 29), min_size=1, max_size=5), st.integers(1, 3))
rankings = st.lists(st.lists(answer, min_size=2, max_size=4), min_size=1, max_size=3)
Prompts = list[list[tuple[list[int], int]]]


def network(seed: int) -> LanguageModel:
    torch.manual_seed(seed)
    shape = ModelConfig(vocab_size=31, n_layer=2, n_embd=16, n_head=2, n_kv_head=1, head_dim=8, n_ff=16, seq_len=12)
    model = LanguageModel(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    return model


def whole_logp(model: LanguageModel, ids: list[int]) -> float:
    with torch.no_grad():
        logps = model(torch.tensor([ids]))[0, :-1].log_softmax(-1)
    return float(logps.gather(1, torch.tensor(ids[1:])[:, None]).sum())


@settings(deadline=None, max_examples=30)
@given(prompts=rankings, beta=st.floats(0.05, 1), smoothing=st.floats(0, 0.4))
def test_the_loss_is_the_sum_over_pairs_that_are_ranked_apart(prompts: Prompts, beta: float, smoothing: float) -> None:
    model, ref = network(0), network(1)
    asked = [[([BEGIN, 7 + number, *ids], rank) for ids, rank in row] for number, row in enumerate(prompts)]
    expected = 0.0
    for row in asked:
        reward = [beta * (whole_logp(model, ids) - whole_logp(ref, ids)) for ids, _ in row]
        for i, j in combinations(range(len(row)), 2):
            if row[i][1] != row[j][1]:
                better, worse = (i, j) if row[i][1] < row[j][1] else (j, i)
                gap = reward[better] - reward[worse]
                loss = (1 - smoothing) * math.log1p(math.exp(-gap)) + smoothing * math.log1p(math.exp(gap))
                expected += loss / math.comb(len(row), 2)
    batch = collate_rankings([Ranking([ids for ids, _ in row], [rank for _, rank in row]) for row in asked], PAD, 1)
    found, _ = dpo.loss(model, ref, batch, dpo.Config(n_steps=1, beta=beta, label_smoothing=smoothing))
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert batch.count == len(prompts)


def test_a_policy_that_has_not_moved_costs_log_2_and_its_gradient_raises_the_better_answer() -> None:
    model = network(0)
    add_lora(model, LoraConfig(rank=2))
    ref = WithoutAdapters(model)
    batch = collate_rankings([Ranking([[BEGIN, 5, 6], [BEGIN, 7]], [2, 1])], PAD, n_repeated=1)
    config = dpo.Config(n_steps=1, beta=0.5)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    before = dpo.answer_logps(model, batch).detach()
    found, metrics = dpo.loss(model, ref, batch, config)
    assert found.item() == pytest.approx(math.log(2)) and metrics["margin"].item() == 0
    assert metrics["accuracy"].item() == 0  # nothing is ordered yet
    found.backward()
    optimizer.step()
    after = dpo.answer_logps(model, batch).detach()
    assert (after - before)[1] > (after - before)[0]
    moved, metrics = dpo.loss(model, ref, batch, config)
    assert moved.item() < found.item() and metrics["accuracy"].item() == 1
    assert metrics["chosen_reward"] - metrics["rejected_reward"] == pytest.approx(metrics["margin"].item(), abs=1e-6)
