"""A picture in the making, seen without its decoder: each latent as one pixel, by a linear map to colours.

The map is fitted to the autoencoder itself: a picture of coloured squares is encoded, and least squares find the
colours in its latents. Decoding in each step would take longer than drawing.
"""

from collections.abc import Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from malmoi.image.files import Pixels
from malmoi.image.model import PictureModel

N_SQUARES, SQUARE = 12, 2
"""The squares on a side, and the latents on the side of one: its inner ones are not mixed with its neighbours."""
_maps: "WeakKeyDictionary[object, NDArray[np.float64]]" = WeakKeyDictionary()


def to_colours(model: PictureModel, latents: Tensor) -> Sequence[Pixels]:
    """Pictures (h, w, 3) of latents (B, C, h, w); what is no number is black."""
    seen = latents.float().cpu().numpy().astype(np.float64)
    if model.autoencoder is None:
        values = np.moveaxis(seen, 1, -1)
    else:
        if model.autoencoder not in _maps:
            _maps[model.autoencoder] = _fit(model)
        ones = np.ones_like(seen[:, :1])
        values = np.moveaxis(np.concatenate([seen, ones], axis=1), 1, -1) @ _maps[model.autoencoder]
    shown = (np.nan_to_num(values, nan=-1.0, posinf=1.0, neginf=-1.0).clip(-1, 1) + 1) * 127.5
    return list(shown.round().astype(np.uint8))


@lru_cache(maxsize=1)
def _squares() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (3, N_SQUARES, N_SQUARES)).astype(np.float32)


def _fit(model: PictureModel) -> NDArray[np.float64]:
    """(C + 1, 3): colours of latents, and what is added to them."""
    side = model.factor * SQUARE
    pixels = _squares().repeat(side, axis=1).repeat(side, axis=2)
    latents = model.encode(torch.from_numpy(pixels)[None].to(model.weight.device, model.weight.dtype))
    rows = np.moveaxis(latents[0].float().cpu().numpy().astype(np.float64), 0, -1)
    colours = np.moveaxis(_squares().repeat(SQUARE, axis=1).repeat(SQUARE, axis=2), 0, -1)
    given = np.concatenate([rows, np.ones_like(rows[:, :, :1])], axis=2).reshape(-1, rows.shape[2] + 1)
    return np.linalg.lstsq(given, colours.reshape(-1, 3).astype(np.float64), rcond=None)[0]
