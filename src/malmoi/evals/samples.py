"""Whether pictures that were drawn at random are sharp, good, and of all kinds: any single figure can be had cheaply.

Noise is sharp; one good picture drawn again and again is good; noise of all colours is of many kinds.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from malmoi.image.metrics import NEIGHBOURS, distances, frechet_distance, precision_recall

MODES, ROUNDS, LEAST = 100, 10, 8
LAPLACE = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


def sharpness(pixels: Tensor) -> float:
    """Mean over pictures, uint8 (N, 3, H, W), of the variance of the Laplacian of their brightness."""
    grey = pixels.float().mean(1, keepdim=True)
    edges = F.conv2d(grey, torch.tensor(LAPLACE)[None, None])
    return float(edges.flatten(1).var(1).mean())


def measure_samples(real: Tensor, drawn: Tensor, of_real: np.ndarray, of_drawn: np.ndarray) -> dict[str, Any]:
    """Figures of pictures drawn at random, and the same of real ones: half of them against the other half.

    real, drawn: uint8 (N, 3, H, W), (M, 3, H, W); of_real, of_drawn: their features. Raises ValueError for too few.
    """
    half = len(real) // 2
    if min(half, len(drawn)) < LEAST:
        raise ValueError(f"needs {2 * LEAST} held-out pictures, and {len(real)} are here")
    n = min(half, len(drawn))
    rng = np.random.default_rng(0)
    order = rng.permutation(len(real))
    first, second = order[:half], order[half : half + n]
    centres = modes_of(of_real[first], min(MODES, half // 4 or 1))
    found: dict[str, Any] = {"modes": len(centres), "n": n}
    for name, pixels, features in (
        ("drawn", drawn[:n], of_drawn[:n]), ("real", real[torch.from_numpy(second)], of_real[second]),
    ):  # fmt: skip
        precision, recall = precision_recall(of_real[first], features)
        found[name] = {
            "sharpness": sharpness(pixels) / sharpness(real), "distance": frechet_distance(of_real[first], features),
            "precision": precision, "recall": recall, "covered": covered(of_real[first], features, centres),
        }  # fmt: skip
    return found


def modes_of(features: np.ndarray, k: int) -> np.ndarray:
    """Centres (k, F) of clusters of features: k-means, from k of them."""
    centres = features[np.random.default_rng(1).choice(len(features), k, replace=False)]
    for _ in range(ROUNDS):
        nearest = distances(features, centres).argmin(1)
        centres = np.stack(
            [features[nearest == i].mean(0) if (nearest == i).any() else centres[i] for i in range(k)]
        )  # fmt: skip
    return centres


def covered(real: np.ndarray, drawn: np.ndarray, centres: np.ndarray) -> int:
    """How many clusters have a drawing in them that is good: as near to a real picture as real ones are to theirs.

    A count of clusters with any drawing says nothing: noise lands in all. Source of bins: Richardson and Weiss 2018
    (arXiv:1805.12462).
    """
    k = min(NEIGHBOURS, len(real) - 1)
    reach = np.sort(distances(real, real), axis=1)[:, k]
    is_good = (distances(drawn, real) <= reach).any(axis=1)
    return len(set(distances(drawn[is_good], centres).argmin(1).tolist())) if is_good.any() else 0
