"""Draw captions with a model, many at once, and measure what was drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from malmoi import device
from malmoi.evals.interval import bootstrap
from malmoi.image.files import pixels_of
from malmoi.image.model import PictureModel, guided
from malmoi.image.oracle import Verdict, judge
from malmoi.image.samplers import Sampler, begin, sample
from malmoi.synthetic.shapes import Scene, Thing

ROWS = 64


def draw_captions(
    model: PictureModel, captions: Sequence[str], n_steps: int, guidance: float, sampler: Sampler, seed: int = 0
) -> np.ndarray:
    """One picture of each caption, uint8 (N, H, W, 3). The picture of a caption depends on its number and the seed.

    Raises DataError if the model draws values that are not numbers.
    """
    here, factor = device.current().torch_device, model.factor
    shape = (model.n_channels, model.size[0] // factor, model.size[1] // factor)
    drawn = []
    for first in range(0, len(captions), ROWS):
        part = captions[first : first + ROWS]
        generators = [torch.Generator().manual_seed(seed + first + i) for i in range(len(part))]

        def noise(generators: list[torch.Generator] = generators) -> torch.Tensor:
            return torch.stack([torch.randn(shape, generator=one) for one in generators]).to(here)

        context, nothing = model.embed(part), model.embed([""] * len(part))
        x = begin(sampler, model.process, noise(), n_steps)
        with torch.inference_mode():
            for step in sample(
                sampler, model.process, guided(model, context, nothing, guidance), x, n_steps, noise
            ):  # fmt: skip
                x = step.x
            drawn.append(pixels_of(model.decode(x).float().cpu().numpy(), f"captions from the {first + 1}. on"))
    return np.concatenate(drawn)


def scene_of(row: Mapping[str, Any]) -> Scene:
    """The scene of a row that the stage `pictures` drew."""
    said = row["scene"]
    return Scene(
        tuple(Thing(**thing) for thing in said["things"]), said["number"], said["relation"], said["background"]
    )


def judged(pictures: np.ndarray, scenes: Sequence[Scene]) -> dict[str, Any]:
    """What the oracle says: name -> row of an interval. Colours and shapes are shares of things."""
    verdicts = [judge(picture, scene) for picture, scene in zip(pictures, scenes, strict=True)]
    found = {
        "colour": _of_things(verdicts, [verdict.n_colours for verdict in verdicts]),
        "shape": _of_things(verdicts, [verdict.n_shapes for verdict in verdicts]),
    }
    for name in ("number", "sizes", "background", "all_right"):
        found[name] = bootstrap([float(getattr(verdict, name)) for verdict in verdicts]).to_row()
    related = [float(verdict.relation) for verdict, scene in zip(verdicts, scenes, strict=True) if scene.relation]
    found["relation"] = bootstrap(related).to_row()  # a caption that names none says nothing of places
    return found


def _of_things(verdicts: Sequence[Verdict], right: Sequence[int]) -> dict[str, Any]:
    """A mean over things; those of one picture are drawn together."""
    shares = [n / verdict.n_things for n, verdict in zip(right, verdicts, strict=True)]
    return bootstrap(shares, weights=[float(verdict.n_things) for verdict in verdicts]).to_row()


def turned_captions(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One caption of each row, its languages in turn."""
    texts = []
    for number, row in enumerate(rows):
        languages = sorted(row["captions"])
        texts.append(row["captions"][languages[number % len(languages)]])
    return texts
