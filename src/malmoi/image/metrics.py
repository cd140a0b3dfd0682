"""Figures about sets of pictures, on features of any extractor: distance, precision and recall, memorisation.

They say nothing next to figures on other features: a Fréchet distance here is no FID.
"""

import numpy as np
import torch
from torch import Tensor

NEIGHBOURS = 3


def frechet_distance(real: np.ndarray, drawn: np.ndarray) -> float:
    """Distance between Gaussians that are fitted to features (N, F) and (M, F).

    Source: Heusel et al. 2017 (arXiv:1706.08500), eq. 6. The trace of the root comes from the eigenvalues of a
    symmetric product, which are real and not negative but for rounding.
    """
    mean = float(((real.mean(0) - drawn.mean(0)) ** 2).sum())
    a, b = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (real, drawn))
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ b @ root), 0, None)).sum()
    return max(0.0, mean + float(np.trace(a) + np.trace(b) - 2 * shared))


def precision_recall(real: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    """Share of drawings that are within the real ones, and of real ones within the drawings; features (N, F), (M, F).

    Within: nearer to one of the others than that one's third neighbour. Source: Kynkäänniemi et al. 2019
    (arXiv:1904.06991).
    """
    return _covered(real, drawn), _covered(drawn, real)


def _covered(by: np.ndarray, points: np.ndarray) -> float:
    k = min(NEIGHBOURS, len(by) - 1)
    reach = np.sort(distances(by, by), axis=1)[:, k]  # the first is the point itself
    return float((distances(points, by) <= reach).any(axis=1).mean())


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean, (N, M), of rows (N, F) and (M, F)."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.clip(squares, 0, None))


def memorised(drawn: Tensor, train: Tensor, own: np.ndarray, of_train: np.ndarray) -> tuple[list[int], float]:
    """The training picture nearest to each drawing by features, and the share of drawings that are copies.

    drawn, train: uint8 (N, 3, H, W); own, of_train: their features, (N, F). A copy differs from its nearest training
    picture, in the root of the mean square of its pixels, by less than a hundredth of their range.
    """
    nearest = distances(own, of_train).argmin(1).tolist()
    gap = torch.stack(
        [(a.float() - train[i].float()).square().mean().sqrt() for a, i in zip(drawn, nearest, strict=True)]
    )
    return nearest, float((gap < 2.55).float().mean())
