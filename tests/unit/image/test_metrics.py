"""Distances, precision and recall on sets whose figures are known."""

import numpy as np
import pytest
import torch

from malmoi.image.metrics import frechet_distance, memorised, precision_recall


def test_equal_sets_have_no_distance_and_a_shift_its_square() -> None:
    features = np.random.default_rng(0).normal(size=(500, 6))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features + 2) == pytest.approx(6 * 4, rel=1e-6)


def test_the_distance_of_two_widths_is_that_of_the_formula() -> None:
    """One dimension: (σ₁ - σ₂)²."""
    features = np.random.default_rng(0).normal(size=(4000, 1))
    expected = (features.std(ddof=1) - 3 * features.std(ddof=1)) ** 2
    centred = features - features.mean(0)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(expected, rel=1e-6)


def test_drawings_of_one_kind_are_precise_and_cover_half() -> None:
    rng = np.random.default_rng(0)
    here, there = rng.normal(0, 0.1, (100, 2)), rng.normal(10, 0.1, (100, 2))
    precision, recall = precision_recall(np.concatenate([here, there]), rng.normal(0, 0.1, (100, 2)))
    assert precision > 0.9
    assert 0.3 < recall < 0.6


def test_drawings_from_elsewhere_are_not_precise() -> None:
    rng = np.random.default_rng(0)
    precision, recall = precision_recall(rng.normal(0, 1, (100, 2)), rng.normal(50, 1, (100, 2)))
    assert precision == recall == 0


def test_copies_are_counted() -> None:
    rng = np.random.default_rng(0)
    train = torch.from_numpy(rng.integers(0, 256, (8, 3, 16, 16), dtype=np.uint8))
    drawn = torch.cat([train[:2], 255 - train[2:4]])
    features = train.float().flatten(1).numpy()
    own = drawn.float().flatten(1).numpy()
    nearest, share = memorised(drawn, train, own, features)
    assert nearest[:2] == [0, 1]
    assert share == 0.5
