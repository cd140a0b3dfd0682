"""What draws, from any training: a process, a denoiser, what reads captions, and an autoencoder if there is one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from malmoi.image.captions import Captions
from malmoi.image.samplers import Predict, Sampler, samplers_of
from malmoi.image.schedule import Process
from malmoi.image.text_encoder import TextEncoder


@dataclass(frozen=True)
class Context:
    """What a denoiser knows of captions. states: (B, T, D); mask: (B, T), true for tokens that count; None: all do"""

    states: Tensor
    mask: Tensor | None = None

    def __add__(self, other: "Context") -> "Context":
        """Both batches, one after the other."""
        masks = [one.mask for one in (self, other) if one.mask is not None]
        return Context(torch.cat([self.states, other.states]), torch.cat(masks) if len(masks) == 2 else None)

    def repeat(self, n: int) -> "Context":
        """The same captions n times, one batch after the other."""
        return Context(self.states.repeat(n, 1, 1), None if self.mask is None else self.mask.repeat(n, 1))


class ReadsCaptions(Protocol):
    """`embed` gives what a denoiser knows of captions; `n_cut` how many tokens of one are cut off."""

    def embed(self, captions: Sequence[str]) -> Context: ...

    def n_cut(self, caption: str) -> int: ...


class Latents(Protocol):
    """Pixels to latents and back, as `autoencoder.Autoencoder`."""

    n_channels: int
    factor: int

    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class ClipText:
    """CLIP's tokenizer and text encoder."""

    captions: Captions
    encoder: TextEncoder

    def embed(self, captions: Sequence[str]) -> Context:
        device = self.encoder.final_layer_norm.weight.device
        return Context(self.encoder(self.captions.encode(captions).to(device)))

    def n_cut(self, caption: str) -> int:
        return self.captions.n_cut(caption)


@dataclass(frozen=True)
class PictureModel:
    """denoiser: (x, t, states, mask) -> what the process predicts
    size: height and width in pixels by default; multiple: pixel sizes must divide by it
    n_channels: of what is denoised; factor: pixels of its side, 1 without an autoencoder
    about: what it knows (`en`, `ko`), and defaults (`steps`, `guidance`, `sampler`)
    few_steps: whether it is a consistency model: few steps of sampler `lcm`, without guidance
    inpaints: whether the denoiser also sees where to draw (1 channel) and what is around it (n_channels)
    has_one_size: whether it draws pictures of `size` and no others
    """

    process: Process
    denoiser: nn.Module
    text: ReadsCaptions
    autoencoder: Latents | None
    size: tuple[int, int]
    n_channels: int
    multiple: int
    about: dict[str, Any] = field(default_factory=dict)
    few_steps: bool = False
    inpaints: bool = False
    has_one_size: bool = False

    @property
    def factor(self) -> int:
        return self.autoencoder.factor if self.autoencoder is not None else 1

    @property
    def sampler(self) -> Sampler:
        """The one that it is drawn with by default."""
        return self.about.get("sampler") or ("lcm" if self.few_steps else samplers_of(self.process)[0])

    @property
    def weight(self) -> Tensor:
        """One of the denoiser's weights, for its device and type."""
        return next(self.denoiser.parameters())

    @torch.inference_mode()
    def embed(self, captions: Sequence[str]) -> Context:
        return self.text.embed(captions)

    @torch.inference_mode()
    def predict(self, x: Tensor, t: Tensor, context: Context) -> Tensor:
        """The denoiser's output (B, C, h, w) in x's type. x: (B, C, h, w); t: (B,), as the process counts it"""
        kept = self.weight.dtype
        given = x.to(kept, memory_format=torch.channels_last)
        return self.denoiser(given, t, context.states.to(kept), context.mask).to(x.dtype)

    @torch.inference_mode()
    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """What is denoised, of pixels (B, 3, H, W) in -1..1. noise: (B, C, h, w) to draw latents with, None: means"""
        if self.autoencoder is None:
            return pixels
        kept = self.weight.dtype
        return self.autoencoder.encode(pixels.to(kept), None if noise is None else noise.to(kept)).to(pixels.dtype)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in -1..1, one picture after another: the decoder needs the most memory of all."""
        if self.autoencoder is None:
            return latents.clamp(-1, 1)
        parts = torch.split(latents.to(self.weight.dtype), 1)
        return torch.cat([self.autoencoder.decode(one) for one in parts]).to(latents.dtype).clamp(-1, 1)


def guided(
    model: PictureModel, context: Context, negative: Context | None, guidance: float, around: Tensor | None = None
) -> Predict:
    """The network's output, moved away from what it would be for `negative`.

    guidance: how far; 1 is only the caption. Source: Ho and Salimans 2022 (arXiv:2207.12598).
    around: further channels that the network sees, (B, 1 + C, h, w); for a model that `inpaints`
    """

    def seen(x: Tensor) -> Tensor:
        return x if around is None else torch.cat([x, around], 1)

    if negative is None or guidance == 1:
        return lambda x, t: model.predict(seen(x), t, context)
    both = negative + context

    def predict(x: Tensor, t: Tensor) -> Tensor:
        x = seen(x)
        without, with_it = model.predict(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        return without + guidance * (with_it - without)

    return predict
