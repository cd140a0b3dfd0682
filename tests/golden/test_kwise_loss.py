"""The reward model's loss beside the sum over pairs of arXiv:2203.02155, eq. 1, with ties as one half."""

import math
from collections.abc import Sequence
from itertools import combinations
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from malmoi.algorithms import reward
from malmoi.data.batch import Branches
from malmoi.data.comparisons import Ranking, collate_rankings
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel

PAD = 0
Prompts = list[list[tuple[list[int], int]]]
ranked = st.lists(
    st.lists(
        st.tuples(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 3)), min_size=2, max_size=5
    ),
    min_size=1,
    max_size=4,
)


def to_rankings(prompts: Prompts) -> list[Ranking]:
    return [Ranking([ids for ids, _ in answers], [rank for _, rank in answers]) for answers in prompts]


class Lookup(nn.Module):
    """Scores by table: the last token of an answer decides, so that the loss can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.linspace(-2, 2, 31))
        self.n_heads = 1

    def scores(self, ids: Tensor, branches: Branches, starts: Tensor) -> Tensor:
        return self.table[ids][..., None]


def log_sigmoid(gap: float) -> float:
    return -math.log1p(math.exp(-gap))


def loss_by_pairs(prompts: Sequence[Sequence[tuple[float, int]]]) -> float:
    """Σ over prompts of 1 / C(K, 2) Σ over pairs; answers are (score, rank)."""
    total = 0.0
    for answers in prompts:
        pairs = list(combinations(answers, 2))
        for (score, rank), (other_score, other_rank) in pairs:
            gap = score - other_score
            wins = 0.5 if rank == other_rank else float(rank < other_rank)
            total -= (wins * log_sigmoid(gap) + (1 - wins) * log_sigmoid(-gap)) / len(pairs)
    return total


@settings(deadline=None)
@given(prompts=ranked)
def test_the_loss_is_the_sum_over_all_pairs_over_their_number(prompts: Prompts) -> None:
    model = Lookup()
    batch = collate_rankings(to_rankings(prompts), PAD)
    found, _ = reward.loss(model, batch)  # type: ignore[arg-type]
    scored = [[(model.table[ids[-1]].item(), rank) for ids, rank in answers] for answers in prompts]
    assert found.item() == pytest.approx(loss_by_pairs(scored), rel=1e-5)
    assert batch.count == len(prompts)


@settings(deadline=None, max_examples=25)
@given(prompts=ranked)
def test_answers_that_share_a_row_score_as_if_each_stood_alone(prompts: Prompts) -> None:
    model = real_model()
    batch = collate_rankings(to_rankings(prompts), PAD)
    with torch.no_grad():
        found = model(batch.ids, batch.branches)[batch.row, batch.last]
        alone = [model(torch.tensor([ids]))[0, -1] for answers in prompts for ids, _ in answers]
    torch.testing.assert_close(found, torch.stack(alone), rtol=1e-4, atol=1e-5)
    assert int((batch.branches.segments >= 0).sum()) <= sum(len(ids) for answers in prompts for ids, _ in answers)


def real_model() -> ScalarModel:
    torch.manual_seed(0)
    shape = ModelConfig(vocab_size=31, n_layer=2, n_embd=16, n_head=2, n_kv_head=1, head_dim=8, n_ff=16, seq_len=8)
    return ScalarModel(shape)


def loss_and_gradients(model: ScalarModel, prompts: Sequence[Ranking]) -> tuple[float, list[Tensor]]:
    found, _ = reward.loss(model, collate_rankings(prompts, PAD))
    return found.item(), list(torch.autograd.grad(found, list(model.parameters())))


@settings(deadline=None, max_examples=20)
@given(prompts=ranked, random=st.randoms(use_true_random=False))
def test_neither_the_order_of_answers_nor_that_of_prompts_matters(prompts: Prompts, random: Random) -> None:
    shuffled = [list(answers) for answers in prompts]
    for answers in shuffled:
        random.shuffle(answers)
    random.shuffle(shuffled)
    model = real_model()
    one, other = (loss_and_gradients(model, to_rankings(order)) for order in (prompts, shuffled))
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    torch.testing.assert_close(one[1], other[1], atol=1e-5, rtol=1e-4)


def test_ranks_count_by_their_order_alone() -> None:
    answers, model = [[1, 2], [3], [4, 5, 6]], real_model()
    assert (
        loss_and_gradients(model, [Ranking(answers, [1, 2, 2])])[0]
        == loss_and_gradients(model, [Ranking(answers, [3, 9, 9])])[0]
    )


def test_a_worked_example() -> None:
    """Scores 2, 0 and 0 for ranks 1, 2, 2: (2 log(1 + e⁻²) + log 2) / 3, and a lone tie costs log 2 at least."""
    model = Lookup()
    with torch.no_grad():
        model.table[:] = torch.arange(31) - 10.0
    batch = collate_rankings([Ranking([[5, 12], [10], [7, 7, 10]], [1, 2, 2]), Ranking([[10], [9, 10]], [4, 4])], PAD)
    found, metrics = reward.loss(model, batch)  # type: ignore[arg-type]
    assert found.item() == pytest.approx((2 * math.log1p(math.exp(-2)) + math.log(2)) / 3 + math.log(2))
    assert metrics["accuracy"].item() == pytest.approx((1 + 1 + 0.5) / 3 + 0.5)
    assert metrics["gap"].item() == pytest.approx(4 / 3)


def test_a_tie_pulls_scores_together_and_a_win_apart() -> None:
    model = Lookup()
    for ranks, signs in (([1, 1], [1, -1]), ([2, 1], [1, -1]), ([1, 2], [-1, 1])):
        batch = collate_rankings([Ranking([[20], [10]], ranks)], PAD)
        found, _ = reward.loss(model, batch)  # type: ignore[arg-type]
        [gradient] = torch.autograd.grad(found, [model.table])
        assert gradient[[20, 10]].sign().tolist() == signs


def test_padding_behind_an_answer_does_not_move_its_score() -> None:
    model = real_model()
    short, long = Ranking([[1, 2], [3]], [1, 2]), Ranking([[4, 5, 6, 7, 8, 9], [1]], [2, 1])
    together = loss_and_gradients(model, [short, long])[0]
    apart = loss_and_gradients(model, [short])[0] + loss_and_gradients(model, [long])[0]
    assert together == pytest.approx(apart, rel=1e-6)


def test_each_head_of_an_ensemble_learns_from_its_own_sample_of_the_prompts() -> None:
    torch.manual_seed(0)
    shape = ModelConfig(vocab_size=31, n_layer=1, n_embd=16, n_head=2, n_kv_head=1, head_dim=8, n_ff=16, seq_len=8)
    ensemble, single = ScalarModel(shape, n_heads=2), ScalarModel(shape)
    answers = [Ranking([[1, 2], [3], [4, 5]], [1, 2, 2]), Ranking([[6], [7, 8]], [2, 1]), Ranking([[9], [10]], [1, 2])]
    drawn = reward.resampled(answers, 2, seed=3)
    assert len({ranking.counted for ranking in drawn}) > 1 and drawn == reward.resampled(answers, 2, seed=3)
    found, _ = reward.loss(ensemble, collate_rankings(drawn, PAD))
    single.model.load_state_dict(ensemble.model.state_dict())
    by_head = []
    for head in range(2):
        with torch.no_grad():
            single.score.weight.copy_(ensemble.score.weight[head : head + 1])
        repeated = [ranking for ranking, row in zip(answers, drawn, strict=True) for _ in range(int(row.counted[head]))]
        by_head.append(reward.loss(single, collate_rankings(repeated, PAD))[0].item() if repeated else 0.0)
    assert found.item() == pytest.approx(sum(by_head) / 2, rel=1e-5)


def test_counts_of_the_resampling_are_poisson_with_mean_1() -> None:
    drawn = reward.resampled([Ranking([[1], [2]], [1, 2])] * 4000, 3, seed=1)
    counts = torch.tensor([ranking.counted for ranking in drawn])
    torch.testing.assert_close(counts.mean(dim=0), torch.ones(3), atol=0.06, rtol=0)
    torch.testing.assert_close(counts.var(dim=0), torch.ones(3), atol=0.1, rtol=0)
    assert torch.corrcoef(counts.T)[0, 1].abs() < 0.06
