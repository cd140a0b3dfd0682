"""Pictures drawn at random: each figure can be had cheaply, and together they cannot."""

import numpy as np
import pytest
import torch
from torch import Tensor

from malmoi.evals.samples import covered, measure_samples, modes_of, sharpness

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(0, 10, (8, 6))


def points(n: int, modes: int = 8, seed: int = 0) -> np.ndarray:
    """Features of pictures of some kinds."""
    rng = np.random.default_rng(seed)
    return CENTRES[np.arange(n) % modes] + rng.normal(0, 0.3, (n, 6))


def pictures(n: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (n, 3, 16, 16), dtype=np.uint8))


def test_a_blurred_picture_is_less_sharp() -> None:
    sharp = pictures(4)
    blurred = torch.nn.functional.avg_pool2d(sharp.float(), 3, 1, 1).to(torch.uint8)
    assert sharpness(blurred) < 0.2 * sharpness(sharp)


def test_noise_and_repetition_are_told_from_pictures_of_all_kinds() -> None:
    real = points(200)
    drawn = {
        "good": points(80, seed=1), "collapsed": points(80, modes=1, seed=2), "noise": RNG.normal(0, 10, (80, 6)),
    }  # fmt: skip
    found = {name: measure_samples(pictures(200), pictures(80), real, one)["drawn"] for name, one in drawn.items()}
    assert found["good"]["precision"] > 0.8 and found["good"]["recall"] > 0.5
    assert found["collapsed"]["precision"] > 0.8 and found["collapsed"]["recall"] < 0.3
    assert found["collapsed"]["covered"] < found["good"]["covered"] / 3
    assert found["noise"]["precision"] < 0.2 and found["noise"]["covered"] < found["good"]["covered"] / 3
    assert found["good"]["distance"] < min(found[name]["distance"] for name in ("collapsed", "noise"))


def test_clusters_are_found_and_counted() -> None:
    centres = modes_of(points(400), 8)
    assert covered(points(100), points(100, seed=3), centres) == len(
        {int(((centres - c) ** 2).sum(1).argmin()) for c in CENTRES}
    )


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 16 held-out pictures, and 10 are here"):
        measure_samples(pictures(10), pictures(10), points(10), points(10))
