"""Next tokens are drawn as often as softmax says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from malmoi.errors import CheckpointError, DataError
from malmoi.inference.sampling import LEAST_TEMPERATURE, Sampler, Sampling, Uniforms, adjust

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -8.0])
N_DRAWS = 40_000


def choose(logits: Tensor, uniform: Tensor, *samplings: Sampling) -> Tensor:
    """Next tokens; one sampling for all rows, or one each."""
    each = samplings if len(samplings) > 1 else samplings * len(logits)
    return Sampler(each, logits.shape[-1], logits.device)(logits, uniform)


def frequencies(logits: Tensor, sampling: Sampling) -> Tensor:
    uniform = torch.rand(N_DRAWS, generator=torch.Generator().manual_seed(0))
    return choose(logits.expand(N_DRAWS, -1), uniform, sampling).bincount(minlength=len(logits)) / N_DRAWS


def assert_drawn_from(found: Tensor, expected: Tensor) -> None:
    """No frequency is five standard errors from its probability, and what has none never comes."""
    error = (expected * (1 - expected) / N_DRAWS).sqrt()
    assert ((found - expected).abs() <= 5 * error).all(), (found, expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_frequencies_are_those_of_softmax(temperature: float) -> None:
    assert_drawn_from(frequencies(LOGITS, Sampling(temperature=temperature)), (LOGITS / temperature).softmax(0))


@pytest.mark.parametrize("top_k", [1, 2, 4, 6, 100])
def test_top_k_keeps_the_likeliest_at_their_ratios(top_k: int) -> None:
    shuffled = LOGITS[[3, 0, 5, 1, 4, 2]]
    kept = shuffled.where(shuffled >= LOGITS[min(top_k, 6) - 1], -torch.inf)
    assert_drawn_from(frequencies(shuffled, Sampling(top_k=top_k)), kept.softmax(0))


@pytest.mark.parametrize(("top_p", "n_kept"), [(0.1, 1), (0.5, 1), (0.6, 2), (0.79, 3), (0.95, 4), (1.0, 6)])
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, n_kept: int) -> None:
    """Probabilities are about .56, .21, .12, .08, .03 and 0: the first that reach `top_p` stay."""
    shuffled = LOGITS[[3, 0, 5, 1, 4, 2]]
    kept = shuffled.where(shuffled >= LOGITS[n_kept - 1], -torch.inf)
    assert_drawn_from(frequencies(shuffled, Sampling(top_p=top_p)), kept.softmax(0))


@pytest.mark.parametrize("wrong", [{"temperature": 1e-39}, {"temperature": 1e-9}, {"repetition_penalty": 1e-39}])
def test_what_would_leave_no_numbers_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)
    extreme = Sampling(temperature=LEAST_TEMPERATURE, repetition_penalty=0.01)
    assert choose(torch.tensor([[1e5, 0.0, 1.0]]), torch.tensor([0.5]), extreme).tolist() == [0]


def test_temperature_0_takes_the_likeliest() -> None:
    logits = torch.stack([LOGITS, LOGITS.flip(0)])
    assert choose(logits, torch.tensor([0.999, 0.0]), Sampling(temperature=0)).tolist() == [0, 5]


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000), top_k=st.integers(0, 5), top_p=st.sampled_from([0.3, 0.9, 1.0]),
    uniform=st.sampled_from([0.0, 0.5, 1 - 2**-24]),
)  # fmt: skip
def test_the_ends_of_the_unit_interval_choose_something_possible(
    seed: int, top_k: int, top_p: float, uniform: float
) -> None:
    logits = torch.randn(1, 9, generator=torch.Generator().manual_seed(seed)) * 20
    logits[0, [0, 8]] = -torch.inf
    token = choose(logits, torch.tensor([uniform]), Sampling(top_k=top_k, top_p=top_p))
    probability = logits.softmax(1)[0, token]
    assert probability > 0
    if top_k:
        assert (logits[0] > logits[0, token]).sum() < top_k


def test_numbers_depend_on_all_64_bits_of_the_seed() -> None:
    seeds = [3, 3 + 2**32, 2**62 - 1, 2**64 - 1]
    drawn = [[numbers[place] for place in range(100)] for numbers in map(Uniforms, seeds)]
    assert len({tuple(numbers) for numbers in drawn}) == 4
    assert drawn[0][70] == Uniforms(3)[70] and all(0 <= number < 1 for row in drawn for number in row)
    for seed in (-1, 2**64):
        with pytest.raises(DataError, match=f"seed: {seed}: not a whole number"):
            Uniforms(seed)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_an_error(temperature: float, wrong: float) -> None:
    logits = torch.stack([LOGITS, LOGITS])
    logits[1, 2] = wrong
    with pytest.raises(CheckpointError, match="not finite"):
        choose(logits, torch.tensor([0.5, 0.5]), Sampling(temperature=temperature))


@pytest.mark.parametrize("seed", range(20))
def test_a_number_next_to_1_never_takes_a_token_that_was_left_out(seed: int) -> None:
    logits = torch.randn(1, 5000, generator=torch.Generator().manual_seed(seed))
    logits[0, -1] = -9.0
    kept = logits[0].topk(40).indices.tolist()
    assert int(choose(logits, torch.tensor([1 - 2**-24]), Sampling(top_k=40))) in kept


@pytest.mark.parametrize(("min_p", "n_kept"), [(0.04, 5), (0.1, 4), (0.3, 2), (0.9, 1)])
def test_min_p_keeps_what_is_probable_beside_the_likeliest(min_p: float, n_kept: int) -> None:
    kept = LOGITS.where(LOGITS[n_kept - 1] <= LOGITS, -torch.inf)
    assert_drawn_from(frequencies(LOGITS, Sampling(min_p=min_p)), kept.softmax(0))


def test_rows_with_unlike_settings_choose_as_each_would_alone() -> None:
    narrow = Sampling(temperature=0.3, top_p=0.5, min_p=0.2)
    samplings = [Sampling(), Sampling(temperature=0), Sampling(top_k=2), narrow]
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(3))
    uniform = torch.tensor([0.3, 0.9, 0.7, 0.99])
    together = choose(logits, uniform, *samplings).tolist()
    assert together == [int(choose(logits[[i]], uniform[[i]], sampling)) for i, sampling in enumerate(samplings)]


def test_repetition_is_penalised_whatever_the_sign_and_bias_is_added() -> None:
    logits = torch.tensor([2.0, -2.0, 1.0, 0.0])
    sampling = Sampling(repetition_penalty=2, logit_bias={3: 5.0})
    assert adjust(logits, sampling, seen=[0, 1, 0]).tolist() == [1.0, -4.0, 1.0, 5.0]
