"""Counted words: they find what a word tells, in English and Korean, and nothing where there is nothing."""

import numpy as np
import pytest

from malmoi.evals.counted_words import CountedWords, counted
from malmoi.evals.reward_accuracy import score_gaps

WORDS = ["cat", "dog", "tree", "house", "river", "stone", "나무", "강물", "바다"]


def rankings(n: int, seed: int, good: str, bad: str) -> list[dict[str, object]]:
    """Answers of random words, of which the better one has a word that the worse one lacks."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for number in range(n):
        better, worse = (" ".join(rng.choice(WORDS, 5)) for _ in range(2))
        answers, ranks = [f"{better} {good}", f"{worse} {bad}"], [1, 2]
        rows.append(
            {"answers": answers[::-1], "ranks": ranks[::-1]} if number % 2 else {"answers": answers, "ranks": ranks}
        )
    return rows


def accuracy(model: CountedWords, rows: list[dict[str, object]]) -> float:
    return score_gaps(model.scores(rows), [row["ranks"] for row in rows]).accuracy().mean  # type: ignore[misc]


@pytest.mark.parametrize(("good", "bad"), [("thanks", "never"), ("고맙습니다", "싫어요")])
def test_a_word_that_tells_is_found(good: str, bad: str) -> None:
    model = CountedWords(rankings(60, 0, good, bad))
    assert accuracy(model, rankings(40, 1, good, bad)) == 1.0


def test_letter_groups_know_words_that_were_not_seen_whole() -> None:
    model = CountedWords(rankings(60, 0, "walking talking", "walked talked"))
    assert accuracy(model, rankings(40, 1, "jumping", "jumped")) > 0.9


def test_random_order_is_no_better_than_a_coin() -> None:
    rows = rankings(200, 0, "yes", "yes")
    assert abs(accuracy(CountedWords(rows), rankings(200, 1, "yes", "yes")) - 0.5) < 0.12


def test_the_fit_is_where_the_slope_is_zero() -> None:
    rows = [{"answers": ["aa bb", "cc"], "ranks": [1, 2]}, {"answers": ["aa", "cc"], "ranks": [1, 2]}]
    model = CountedWords(rows)
    gaps = score_gaps(model.scores(rows), [row["ranks"] for row in rows]).gaps  # type: ignore[misc]
    # The weight of a word that only the better answers have once: mean of σ(-gap) · log 2 = 2 · penalty · weight.
    slope = float(np.mean(np.log(2) / (1 + np.exp(gaps))))
    assert model.weights[model.number_of["aa "]] == pytest.approx(slope / (2 * model.penalty), rel=1e-3)


def test_nothing_to_learn_from_scores_all_alike() -> None:
    model = CountedWords([{"answers": ["a", "b"], "ranks": [1, 1]}])
    assert model.scores([{"answers": ["a b c", "d"]}]) == [[0.0, 0.0]]


def test_words_are_counted_in_lower_case_with_their_letters() -> None:
    found = counted("No, no!")
    assert found["no "] == 2 and found[", "] == 1 and found["<no"] == 2 and found["<no>"] == 2
