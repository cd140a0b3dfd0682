"""What is measured of reward models, answers and language models, on examples worked out by hand."""

import math
import random
import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from malmoi.data.batch import Tokens
from malmoi.data.comparisons import Ranking
from malmoi.evals.answers import Answered, answer_all, answer_kl, distinct_share, is_exact
from malmoi.evals.bits_per_byte import bits_per_byte, xz_bits_per_byte
from malmoi.evals.preferences import Pairs, disagreement, head_scores, pairs_of, score_rankings
from malmoi.inference.sampling import Sampling
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")


def test_pairs_are_those_that_the_truth_ranks_apart() -> None:
    pairs = pairs_of([[0.1, 0.7, 0.4], [3.0, 1.0], [5.0, 5.0]], [[2, 1, 2], [1, 1], [1, 2]])
    assert pairs.gaps.tolist() == pytest.approx([0.6, 0.3, 0.0])
    assert pairs.prompts.tolist() == [0, 0, 2]
    assert pairs.accuracy().mean == pytest.approx((1 + 1 + 0.5) / 3)
    assert pairs.accuracy().n == 2


rankings = st.lists(
    st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 4)), min_size=2, max_size=5), min_size=1, max_size=5
)


@given(answers=rankings)
def test_turning_the_scores_over_turns_every_gap_over(answers: list[list[tuple[float, int]]]) -> None:
    ranks = [[rank for _, rank in row] for row in answers]
    pairs = pairs_of([[score for score, _ in row] for row in answers], ranks)
    turned = pairs_of([[-score for score, _ in row] for row in answers], ranks)
    assert np.array_equal(turned.gaps, -pairs.gaps)
    assert len(pairs.gaps) == sum(a[1] != b[1] for row in answers for i, a in enumerate(row) for b in row[:i])


def test_calibration_sets_the_confidence_that_is_claimed_beside_the_accuracy() -> None:
    gaps = np.array([0.1, -0.1, 4.0, 4.0, -4.0, 4.0])
    low, high = Pairs(gaps, np.arange(6)).calibration(n_bins=2)
    assert (low["n"], high["n"]) == (3, 3)
    assert sum(row["accuracy"] * row["n"] for row in (low, high)) == pytest.approx(4)
    assert high["confidence"] == pytest.approx(1 / (1 + math.exp(-4)))
    assert low["confidence"] < high["confidence"]
    assert [row["n"] for row in Pairs(gaps, np.arange(6)).calibration(n_bins=10)] == [1] * 6


def test_every_answer_is_scored_at_its_last_token(reward_model: ScalarModel) -> None:
    asked = [Ranking([[7, 8], [9], [10, 11, 12]], [1, 2, 3]), Ranking([[13] * 9, [14]], [1, 2])]
    found = score_rankings(reward_model, asked * 3, pad_id=1, batch_size=4)
    alone = [[reward_model(torch.tensor([ids]))[0, -1].item() for ids in ranking.ids] for ranking in asked]
    for row, expected in zip(found, alone * 3, strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("claimed", [0.25, 1.0, 4.0])
def test_the_fitted_temperature_undoes_what_the_model_claims_too_much(claimed: float) -> None:
    rng = np.random.default_rng(0)
    honest = np.abs(rng.normal(0, 2, 40_000))
    gaps = np.where(rng.random(40_000) < 1 / (1 + np.exp(-honest)), honest, -honest) * claimed
    pairs = Pairs(gaps, np.arange(40_000))
    found = pairs.fitted_temperature()
    assert found == pytest.approx(claimed, rel=0.03)
    assert pairs.log_loss(found) <= min(pairs.log_loss(found * 1.1), pairs.log_loss(found / 1.1))
    for row in pairs.calibration(temperature=found):
        assert row["confidence"] == pytest.approx(row["accuracy"], abs=0.02)


def test_temperatures_without_an_optimum_stop_at_their_bounds() -> None:
    assert Pairs(np.array([1.0, 2.0]), np.arange(2)).fitted_temperature() == pytest.approx(0.01)
    assert Pairs(np.array([-1.0, -2.0]), np.arange(2)).fitted_temperature() == pytest.approx(100.0)
    with pytest.raises(ValueError, match="no pairs"):
        Pairs(np.array([]), np.array([])).fitted_temperature()


def test_heads_disagree_about_gaps_and_not_about_where_zero_is(shape: ModelConfig) -> None:
    torch.manual_seed(3)
    model = ScalarModel(shape, n_heads=3)
    asked = [Ranking([[7, 8], [9], [10, 11, 12]], [1, 2, 3]), Ranking([[13] * 9, [14]], [1, 1])]
    before = head_scores(model, asked, pad_id=1)
    assert [scores.shape for scores in before] == [(3, 3), (2, 3)]
    model.score_bias.copy_(torch.tensor([5.0, -5.0, 1.0]))
    ranks = [ranking.ranks for ranking in asked]
    after = disagreement(head_scores(model, asked, pad_id=1), ranks)
    assert after["std"] == pytest.approx(disagreement(before, ranks)["std"], rel=1e-4)
    assert after["std"] and after["std"] > 0.01
    assert score_rankings(model, asked, 1)[0] == pytest.approx(
        [float(row.mean()) + 1 / 3 for row in before[0]], rel=1e-4
    )


def test_pairs_that_divide_the_heads_are_counted() -> None:
    scores = [np.array([[2.0, 3.0], [1.0, 1.0], [0.0, 2.0]])]
    found = disagreement(scores, [[1, 2, 3]])  # gaps 1, 2; 2, 1; 1, -1
    assert found["divided"] == pytest.approx(1 / 3)
    assert found["std"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert (found["accuracy_divided"], found["accuracy_agreed"]) == (0.0, 1.0)
    assert disagreement([np.array([[1.0], [0.0]])], [[1, 2]])["accuracy_divided"] is None


def answered(text: str, finished: bool = True) -> Answered:
    return Answered(text, [], finished)


def test_an_exact_answer_was_ended_and_says_the_reference_but_for_white_space() -> None:
    references = ["a list", "the  list"]
    assert is_exact(answered(" a\n list "), references) and is_exact(answered("the list"), references)
    assert not is_exact(answered("a list", finished=False), references)
    assert not is_exact(answered("A list"), references) and not is_exact(answered("a list."), references)
    typed_as_letters = unicodedata.normalize("NFD", "\t낱말   모으기\u200b\n")
    assert is_exact(answered(typed_as_letters), ["낱말 모으기"])


def test_distinct_share_counts_answers_that_differ_in_more_than_white_space() -> None:
    assert distinct_share([["a", "a ", "b", "a"], ["x"], ["p", "q"]]) == [0.5, 1.0, 1.0]
    assert distinct_share([]) == []


def test_prompts_are_answered_in_order_and_again_alike(
    policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    prompts = ["cat", "낱말은?", "cat", "a longer question"]
    sampling = Sampling(max_tokens=6)
    first, again, other = (answer_all(policy, tokenizer, template, prompts, sampling, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first[0].ids != first[2].ids  # the same prompt twice is asked twice
    assert all(answer.text == tokenizer.decode(answer.ids).strip() for answer in first)
    greedy = [answer_all(policy, tokenizer, template, [p], Sampling(temperature=0, max_tokens=6))[0] for p in prompts]
    assert greedy == answer_all(policy, tokenizer, template, prompts, Sampling(temperature=0, max_tokens=6))


def test_the_kl_of_answers_is_that_of_their_own_tokens(
    policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    torch.manual_seed(5)
    ref = LanguageModel(policy.config)
    prompts = ["cat", "낱말은?", "dog"]
    answers = [Answered("", [40, 41, 42], True, 2), Answered("", [43], False), Answered("", [], True, 0)]
    expected = []
    for prompt, answer in zip(prompts, answers, strict=True):
        asked, _ = template.encode(tokenizer, [{"role": "user", "content": prompt}], add_generation_prompt=True)
        said = answer.ids + [answer.end_id] * answer.finished
        rows, places = torch.tensor([[*asked, *said]]), torch.arange(len(said)) + len(asked) - 1
        logps = [model(rows)[0, places].log_softmax(-1)[torch.arange(len(said)), said] for model in (policy, ref)]
        expected.append((logps[0] - logps[1]).sum().item())
    found = answer_kl(policy, ref, tokenizer, template, prompts, answers, batch_size=2)
    assert found == pytest.approx(expected, abs=1e-4)
    assert answer_kl(policy, policy, tokenizer, template, prompts, answers) == [0.0] * 3


def windows(rows: Sequence[Sequence[int]]) -> list[Tokens]:
    ids = torch.tensor(rows)
    return [Tokens(row[None, :-1], row[None, 1:], torch.ones(1, len(row) - 1, dtype=torch.bool)) for row in ids]


def test_a_model_that_knows_nothing_needs_the_logarithm_of_its_vocabulary(policy: LanguageModel) -> None:
    with torch.no_grad():
        policy.lm_head.weight.zero_()
    found = bits_per_byte(policy, windows([[7, 8, 9, 10], [11, 12, 13, 14]]), n_bytes=20)
    assert found == pytest.approx(6 * math.log2(300) / 20, rel=1e-5)


def test_bits_are_summed_over_all_windows_before_the_division(policy: LanguageModel) -> None:
    one, two = [7, 8, 9, 10], [11, 12, 13, 14]
    both = bits_per_byte(policy, windows([one, two]), n_bytes=10)
    assert both == pytest.approx(
        bits_per_byte(policy, windows([one]), 10) + bits_per_byte(policy, windows([two]), 10), rel=1e-5
    )


def test_xz_finds_what_repeats_and_what_its_primer_said() -> None:
    text = random.Random(0).randbytes(3000)
    assert 8 <= xz_bits_per_byte(text) < 8.5
    assert xz_bits_per_byte(b"a" * 10_000) < 0.2
    assert xz_bits_per_byte(text, primer=text) < 0.5
    assert xz_bits_per_byte(text, primer=b"b" * 5000) == pytest.approx(xz_bits_per_byte(text), rel=0.1)
