import numpy as np
import pytest
import torch

from malmoi.evals.answer_measures import sampled_logps
from malmoi.evals.answering import sample_answers
from malmoi.evals.judged import longer_of_two, win_rates, wins_against
from malmoi.inference.requests import Answer
from malmoi.inference.sampling import Sampling
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel


def test_wins_count_ties_half_and_nobody_plays_against_itself() -> None:
    ours, theirs = np.array([[1.0, 3.0]]), np.array([[1.0, 2.0]])
    assert win_rates(ours, theirs).tolist() == [[0.25, 1.0]]
    assert win_rates(theirs, theirs, is_same=True).tolist() == [[0.0, 1.0]]


def test_answers_weigh_what_one_by_one_they_weigh(float32: None, shape: ModelConfig, policy: LanguageModel) -> None:
    prompts = [[1, 2, 3], [4, 5, 6, 7, 8]]
    answers = sample_answers(policy, prompts, 2, Sampling(temperature=0.7, max_tokens=6), end_ids=[9], seed=3)
    answers[0][0] = Answer(answers[0][0].ids, True, end_id=7)
    found = sampled_logps(policy, prompts, answers, temperature=0.7)
    for row, (ids, group) in enumerate(zip(prompts, answers, strict=True)):
        for column, answer in enumerate(group):
            whole = [*ids, *answer.ids, *answer.sampled[len(answer.ids) :]]
            with torch.no_grad():
                logps = (policy(torch.tensor([whole]))[0] / 0.7).log_softmax(dim=-1)
            expected = sum(float(logps[place - 1, whole[place]]) for place in range(len(ids), len(whole)))
            assert found[row, column] == pytest.approx(expected, abs=1e-4)


def test_wins_against_a_drawn_answer_follow_the_weights() -> None:
    ours, theirs = np.array([[1.0, 3.0]]), np.array([[1.0, 2.0]])
    assert wins_against(ours, theirs, np.array([[0.5, 0.5]])).tolist() == win_rates(ours, theirs).tolist()
    assert wins_against(ours, theirs, np.array([[0.0, 1.0]])).tolist() == [[0.0, 1.0]]
    # No answer is compared with itself: the other one has all of the weight.
    assert wins_against(theirs, theirs, np.array([[0.2, 0.8]]), is_same=True).tolist() == [[0.0, 1.0]]
    assert wins_against(theirs, theirs, np.array([[0.0, 1.0]]), is_same=True).tolist() == [[0.0, 0.5]]


def test_the_longer_of_two_is_drawn_by_length_and_ties_are_even() -> None:
    answers = [
        [Answer([1] * n, True, end_id=7) for n in (1, 3, 2)],
        [Answer([1] * n, True, end_id=7) for n in (2, 2, 1)],
    ]
    assert longer_of_two(answers) == pytest.approx(np.array([[0, 2 / 3, 1 / 3], [1 / 2, 1 / 2, 0]]))
