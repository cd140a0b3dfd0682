"""Draw pictures with a model: from a sentence, from another picture, or into a part of one.

Each picture has a generator of its own: its seed gives the same picture by itself and with others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from malmoi import __version__
from malmoi.errors import ConfigError
from malmoi.image.files import Mask, Pixels, pixels_of, resized, resized_mask, values_of
from malmoi.image.model import PictureModel, guided
from malmoi.image.preview import to_colours
from malmoi.image.samplers import SAMPLERS, Between, Level, Sampler, begin, check_sampler, levels, sample

MOST_PROMPT, MOST_PICTURES, MOST_SIDE, MOST_GUIDANCE = 2000, 100, 2048, 50.0
AT_ONCE_PIXELS = 16 * 64 * 64
"""How many pixels are drawn in one batch: more need memory, and are not faster."""
STEPS, FEW_STEPS, GUIDANCE, STRENGTH = 20, 4, 3.0, 0.6
SAME_SHAPE = 0.02
"""By what share the sides of a picture and its mask may differ in their ratio, as after rounding."""


@dataclass(frozen=True)
class Request:
    """What is to be drawn.

    n: pictures; the first has the seed `seed`, the next one `seed + 1`, …
    size: height and width in pixels
    start: a picture to begin with, at any size
    strength: how much of it is drawn again, above 0 to 1
    mask: which pixels of `start` are drawn again, (height, width); None: all
    """

    prompt: str
    negative: str
    n: int
    steps: int
    guidance: float
    sampler: Sampler
    seed: int
    size: tuple[int, int]
    start: Pixels | None = None
    strength: float = 1.0
    mask: Mask | None = None

    @property
    def n_left_out(self) -> int:
        """Steps that are not taken, because the picture to begin with is in the place of what they would draw."""
        return self.steps - max(1, round(self.steps * self.strength)) if self.start is not None else 0

    @property
    def kind(self) -> str:
        if self.start is None:
            return "text"
        return "image" if self.mask is None else "inpaint"

    def settings(self) -> dict[str, Any]:
        """All but the words, as plain values."""
        said = {
            "kind": self.kind, "negative": self.negative, "n": self.n, "steps": self.steps, "guidance": self.guidance,
            "sampler": self.sampler, "seed": self.seed, "size": size_text(self.size),
        }  # fmt: skip
        return said | ({"strength": self.strength} if self.start is not None else {})

    def about(self, seed: int) -> dict[str, str]:
        """What a picture of it says of itself, in its text chunks."""
        said = {
            "prompt": self.prompt, "negative": self.negative, "seed": str(seed), "steps": str(self.steps),
            "guidance": f"{self.guidance:g}", "sampler": self.sampler, "size": size_text(self.size),
        }  # fmt: skip
        if self.start is not None:
            said["strength"] = f"{self.strength:g}"
        return {**{key: value for key, value in said.items() if value}, "Software": f"Malmoi {__version__}"}


@dataclass(frozen=True)
class Picture:
    """seed: with n=1 it draws this picture again"""

    pixels: Pixels
    seed: int


@dataclass(frozen=True)
class Progress:
    """How far a request is. done, of: steps; first: which of the pictures are drawn now; preview: them as they are now,
    at the size of the latents"""

    done: int
    of: int
    first: int
    preview: Callable[[], Sequence[Pixels]]


def size_text(size: tuple[int, int]) -> str:
    """Width × height, as people and programs write sizes."""
    return f"{size[1]}x{size[0]}"


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of "64x48" (width first). Raises ConfigError."""
    width, cross, height = text.strip().lower().replace("×", "x").partition("x")
    if not cross or not all(side.isascii() and side.isdecimal() and len(side) < 6 for side in (width, height)):
        raise ConfigError(f"size {text!r:.40}: expected width x height in pixels, such as 64x64")
    return int(height), int(width)


def request_for(
    model: PictureModel, prompt: str, *, negative: str = "", n: int = 1, steps: int | None = None,
    guidance: float | None = None, sampler: str | None = None, seed: int = 0, size: tuple[int, int] | None = None,
    start: Pixels | None = None, strength: float | None = None, mask: Mask | None = None,
) -> Request:  # fmt: skip
    """A request that the model can draw; what is not given is the model's default. Raises ConfigError."""
    defaults = model.about
    request = Request(
        prompt, negative, n,
        steps if steps is not None else int(defaults.get("steps", FEW_STEPS if model.few_steps else STEPS)),
        guidance if guidance is not None else float(defaults.get("guidance", 1.0 if model.few_steps else GUIDANCE)),
        model.sampler if sampler is None else _sampler(sampler), seed, size or model.size, start,
        strength if strength is not None else (1.0 if mask is not None else STRENGTH), mask,
    )  # fmt: skip
    _check_words(request)
    _check_numbers(request)
    _check_size(model, request.size)
    check_sampler(request.sampler, model.process, request.steps)
    if start is None and (mask is not None or strength is not None):
        raise ConfigError(f"{'mask' if mask is not None else 'strength'}: is for a picture to begin with; give one")
    return _fitted(request)


class Remark(NamedTuple):
    """What is done otherwise than a person may think. code: cut_prompt | cut_negative | resized, for pages"""

    code: str
    text: str


def remarks_of(model: PictureModel, request: Request, given: tuple[int, int] | None = None) -> list[Remark]:
    """given: height and width of the picture to begin with"""
    said = []
    for name, text in (("prompt", request.prompt), ("negative", request.negative)):
        if n_cut := model.text.n_cut(text):
            cut = f"the model reads no more than the beginning of the {name}; {n_cut} tokens are cut off"
            said.append(Remark(f"cut_{name}", cut))
    if given is not None and given != request.size:
        sizes = f"the picture is {size_text(given)}; it is cut and scaled to {size_text(request.size)}"
        said.append(Remark("resized", sizes))
    return said


def draw(
    model: PictureModel, request: Request, on_step: Callable[[Progress], None] = lambda _: None
) -> Iterator[Picture]:
    """The pictures, each batch as soon as it is drawn. on_step may raise an exception, which ends the work.

    Raises DataError, with the seed, if the model draws values that are not numbers.
    """
    height, width = request.size
    at_once = max(1, AT_ONCE_PIXELS // (height * width))
    context = model.embed([request.prompt])
    negative = model.embed([request.negative]) if request.guidance != 1 else None
    n_steps = request.steps - request.n_left_out
    total = n_steps * request.n
    for first in range(0, request.n, at_once):
        n = min(at_once, request.n - first)
        seeds = [(request.seed + first + i) % 2**63 for i in range(n)]
        batch = _Batch(model, request, seeds)
        predict = guided(model, context.repeat(n), negative and negative.repeat(n), request.guidance, batch.around)
        x = batch.begin()
        steps = sample(
            request.sampler, model.process, predict, x, request.steps, batch.noise, request.n_left_out, batch.between
        )
        for step in steps:
            x = step.x
            done = (step.number - request.n_left_out) * n + n_steps * first
            on_step(Progress(done, total, first, lambda seen=step.x0: to_colours(model, seen)))  # type: ignore[misc]
        yield from (Picture(pixels, seed) for pixels, seed in zip(batch.finished(x), seeds, strict=True))


class _Batch:
    """Pictures that are drawn together, each with its generator."""

    def __init__(self, model: PictureModel, request: Request, seeds: Sequence[int]) -> None:
        self.model, self.request, self.seeds = model, request, seeds
        self.device = model.weight.device
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape = (model.n_channels, *(side // model.factor for side in request.size))
        self.first_noise = self.noise()
        self.known = self.is_drawn = None
        if request.start is not None:
            self.known = model.encode(torch.from_numpy(values_of(request.start))[None].to(self.device))
            self.known = self.known.expand(len(seeds), -1, -1, -1)
        if request.mask is not None:
            drawn = torch.from_numpy(request.mask)[None, None].float()
            self.is_drawn = functional.max_pool2d(drawn, model.factor).to(self.device)
        self.around = self._around() if model.inpaints else None

    def _around(self) -> Tensor:
        """Where to draw, and the picture without that part, which is grey: everything, without a mask."""
        request, (height, width) = self.request, self.request.size
        mask = torch.ones(height, width) if request.mask is None else torch.from_numpy(request.mask).float()
        picture = torch.zeros(3, height, width)
        if request.start is not None:
            picture = torch.from_numpy(values_of(request.start)) * (1 - mask)
        small = functional.interpolate(mask[None, None], scale_factor=1 / self.model.factor, mode="nearest")
        latents = self.model.encode(picture[None].to(self.device))
        around = torch.cat([small.to(latents), latents], 1)
        return around.expand(len(self.seeds), -1, -1, -1)

    def noise(self) -> Tensor:
        return torch.stack([torch.randn(self.shape, generator=one) for one in self.generators]).to(self.device)

    def begin(self) -> Tensor:
        """What the first step gets."""
        request, process = self.request, self.model.process
        if self.known is None or (self.is_drawn is not None and not request.n_left_out):
            return begin(request.sampler, process, self.first_noise, request.steps)
        return levels(request.sampler, process, request.steps)[request.n_left_out].mix(self.known, self.first_noise)

    @property
    def between(self) -> Between | None:
        """Puts back, after each step, what is not drawn again, as noisy as the rest."""
        known, is_drawn = self.known, self.is_drawn
        if known is None or is_drawn is None or self.model.inpaints:
            return None

        def put_back(x: Tensor, level: Level) -> Tensor:
            return torch.where(is_drawn.bool(), x, level.mix(known, self.first_noise))

        return put_back

    def finished(self, x: Tensor) -> Iterator[Pixels]:
        if self.known is not None and self.is_drawn is not None and not self.model.inpaints:
            x = torch.where(self.is_drawn.bool(), x, self.known)
        for values, seed in zip(self.model.decode(x).float().cpu().numpy(), self.seeds, strict=True):
            pixels = pixels_of(values, f"seed {seed}")
            if self.request.mask is not None:
                assert self.request.start is not None
                pixels = np.where(self.request.mask[:, :, None], pixels, self.request.start)
            yield pixels


def _sampler(name: str) -> Sampler:
    for known in SAMPLERS:
        if known == name:
            return known
    raise ConfigError(f"sampler {name!r:.40}: there is none of this name; they are {', '.join(SAMPLERS)}")


def _check_words(request: Request) -> None:
    if not request.prompt.strip() and request.start is None:
        raise ConfigError("prompt: is empty; say what to draw")
    for name, text in (("prompt", request.prompt), ("negative", request.negative)):
        if len(text) > MOST_PROMPT:
            raise ConfigError(f"{name}: has {len(text):,} characters, at most {MOST_PROMPT:,}; say it shorter")
        if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            raise ConfigError(f"{name}: has characters that are no text; leave them out")
    if request.negative and request.guidance == 1:
        raise ConfigError("negative: does nothing at guidance 1; leave it out, or give a higher guidance")


def _check_numbers(request: Request) -> None:
    if not 1 <= request.n <= MOST_PICTURES:
        raise ConfigError(f"n {request.n}: 1 to {MOST_PICTURES} pictures are drawn at once")
    if not 0 <= request.guidance <= MOST_GUIDANCE:  # false for NaN too
        raise ConfigError(f"guidance {request.guidance:g}: expected 0 to {MOST_GUIDANCE:g}; 1 is none, 3 to 8 is usual")
    if not 0 < request.strength <= 1:
        raise ConfigError(f"strength {request.strength:g}: expected above 0 (hardly changed) to 1 (all drawn again)")


def _check_size(model: PictureModel, size: tuple[int, int]) -> None:
    if model.has_one_size:
        if size != model.size:
            raise ConfigError(
                f"size {size_text(size)}: this model draws pictures of {size_text(model.size)} and no others"
            )
        return
    nearest = tuple(min(max(1, round(side / model.multiple)), MOST_SIDE // model.multiple) for side in size)
    fitting = (nearest[0] * model.multiple, nearest[1] * model.multiple)
    if size != fitting:
        raise ConfigError(
            f"size {size_text(size)}: the sides must divide by {model.multiple} and be at most {MOST_SIDE}; "
            f"the nearest is {size_text(fitting)}"
        )


def _fitted(request: Request) -> Request:
    """The same with picture and mask at the size that is drawn."""
    if request.start is None:
        return request
    mask, given = request.mask, request.start.shape[:2]
    if mask is not None:
        _check_mask(mask, (given[0], given[1]))
        mask = resized_mask(mask, request.size)
        if not mask.any():
            raise ConfigError(
                f"mask: nothing of what is white in it is left at {size_text(request.size)}: it is too small, or cut "
                "off; make it larger"
            )
    return replace(request, start=resized(request.start, request.size), mask=mask)


def _check_mask(mask: Mask, given: tuple[int, int]) -> None:
    if not mask.any():
        raise ConfigError("mask: nothing in it is white or transparent; white is where to draw")
    height, width = mask.shape
    if abs(height * given[1] / (width * given[0]) - 1) > SAME_SHAPE:
        raise ConfigError(
            f"mask: is {size_text((height, width))}, and the picture {size_text(given)}, which is another shape; "
            "save the mask at the picture's size"
        )
