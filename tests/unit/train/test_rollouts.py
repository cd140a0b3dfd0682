"""A prompt that several answers have in common is read once, and nothing that is said of them changes."""

from types import ModuleType
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from malmoi.algorithms import grpo, ppo
from malmoi.data import batch
from malmoi.data.batch import share_prompts
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.train import rollouts
from malmoi.train.loop import LoopConfig
from malmoi.train.rollouts import response_logps, response_values, scores_at_end

pytestmark = pytest.mark.usefixtures("float32")
TOKEN = st.integers(4, 9)
# (number of the prompt, the answer): answers may be equal, and begin as others do
ANSWERS = st.lists(st.tuples(st.integers(0, 2), st.lists(TOKEN, min_size=1, max_size=5)), min_size=2, max_size=8)
PROMPTS = ([5], [5, 6, 7], [5, 6, 7, 8, 4, 9])


def rows_of(answers: list[tuple[int, list[int]]]) -> tuple[Tensor, Tensor]:
    """(B, T + 1) ids and the (B, T) positions that choose a token of the answer."""
    whole = [[*PROMPTS[prompt], *answer] for prompt, answer in answers]
    ids, _ = batch.pad(whole, 3)
    mask = torch.zeros(ids.shape, dtype=torch.bool)[:, 1:]
    for row, (prompt, answer) in enumerate(answers):
        start = len(PROMPTS[prompt]) - 1
        mask[row, start : start + len(answer)] = True
    return ids, mask


@given(ANSWERS, st.sampled_from([768, 8]))
@settings(deadline=None, max_examples=30)
def test_sharing_a_prompt_changes_no_number_and_no_gradient(answers: list[tuple[int, list[int]]], longest: int) -> None:
    torch.manual_seed(0)
    shape = ModelConfig(vocab_size=12, n_layer=2, n_embd=16, n_head=2, n_kv_head=1, head_dim=8, n_ff=24, seq_len=16)
    policy, scalar = LanguageModel(shape), ScalarModel(shape)
    ids, mask = rows_of(answers)

    def found() -> list[Tensor]:
        logps, entropy = response_logps(policy, ids, mask, 0.7)
        values, scores = response_values(scalar, ids, mask) * mask, scores_at_end(scalar, ids, mask)
        total = (logps * torch.arange(1, mask.numel() + 1).view(mask.shape)).sum() + (values**2).sum() + scores.sum()
        parameters = [*policy.parameters(), *scalar.parameters()]
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        return [logps, entropy, values, scores, *(g for g in gradients if g is not None)]

    with patch.object(batch, "MAX_SHARED_TOKENS", longest):
        together = found()
    with patch.object(rollouts, "share_prompts", lambda ids, mask: None):
        apart = found()
    for ours, expected in zip(together, apart, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


def test_what_is_read_is_each_prompt_once_and_each_answer_with_the_token_before_it() -> None:
    ids, mask = rows_of([(1, [8, 9]), (2, [4]), (1, [8])])
    shared = share_prompts(ids, mask)
    assert shared is not None
    real = shared.branches.segments >= 0
    rows = [row[kept].tolist() for row, kept in zip(shared.ids, real, strict=True)]
    assert rows == [[5, 6, 7, 8, 9, 7, 8], [5, 6, 7, 8, 4, 9, 4]]
    assert shared.branches.positions[0].tolist() == [0, 1, 2, 3, 4, 2, 3]
    assert shared.targets[shared.predicts].tolist() == [8, 9, 8, 4]
    assert shared.ids[shared.ends].tolist() == [9, 8, 4] and shared.order.tolist() == [0, 2, 1]


def test_where_no_prompt_comes_twice_or_an_answer_is_empty_nothing_is_laid_out_anew() -> None:
    assert share_prompts(*rows_of([(0, [4]), (1, [4]), (2, [4])])) is None
    ids, mask = rows_of([(1, [4]), (1, [5])])
    mask[1] = False
    assert share_prompts(ids, mask) is None


@pytest.mark.parametrize("algorithm", [ppo, grpo])
def test_what_samples_from_a_policy_does_not_shard_it(algorithm: ModuleType) -> None:
    with pytest.raises(ValidationError, match=r"loop\.fsdp shards the policy"):
        algorithm.Config(n_iterations=1, loop=LoopConfig(fsdp=True))
