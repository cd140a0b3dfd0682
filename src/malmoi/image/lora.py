"""Low-rank adapters of a Stable Diffusion's networks. Source: Hu et al. 2021 (arXiv:2106.09685).

A matrix becomes W + scale · B A. A convolution is a matrix too: A is one to `rank` channels, B one of single places.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from malmoi.errors import DataError
from malmoi.image.model import ClipText, PictureModel
from malmoi.image.packed import PackedConv, PackedLinear
from malmoi.image.unet import UNet

PARTS = ("unet", "text_encoder")
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The matrices of a U-Net's attention, which an adapter has by default."""


@dataclass(frozen=True)
class Adapter:
    """down: A, (rank, in, …); up: B, (out, rank, …); scale: alpha / rank"""

    down: Tensor
    up: Tensor
    scale: float

    def delta(self) -> Tensor:
        """What it adds, (out, in, …), in float32."""
        rank = self.down.shape[0]
        flat = self.up.float().reshape(-1, rank) @ self.down.float().reshape(rank, -1)
        return self.scale * flat.reshape(self.up.shape[0], *self.down.shape[1:])


Lora = Mapping[str, Adapter]
"""Part and module, such as unet.mid_block.attentions.0.proj_in -> adapter."""


def networks_of(model: PictureModel, name: str) -> dict[str, nn.Module]:
    """The networks that a LoRA can change. Raises DataError, with the model's name, if it is no Stable Diffusion."""
    if not isinstance(model.denoiser, UNet) or not isinstance(model.text, ClipText):
        raise DataError(f"{name}: takes no LoRA; only a Stable Diffusion does")
    return dict(zip(PARTS, (model.denoiser, model.text.encoder), strict=True))


def targets(network: nn.Module) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """Modules of a network that an adapter can change, with their names."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            yield name, module


@torch.no_grad()
def merge(model: PictureModel, lora: Lora, scale: float) -> None:
    """Add a LoRA to the model's weights. scale: how much of it; 1 as it was trained, 0 nothing"""
    networks = networks_of(model, "the model")
    for name, adapter in lora.items():
        module = _module(networks, name)
        weight = module.weight.detach().to_dense()
        delta = scale * adapter.delta().reshape(weight.shape).to(weight.device)
        merged = (weight.float() + delta).to(weight.dtype)
        if isinstance(module, PackedLinear | PackedConv):
            module.pack(merged)
        else:
            module.weight = nn.Parameter(merged, requires_grad=module.weight.requires_grad)


@contextmanager
def lent(model: PictureModel, loras: Sequence[tuple[Lora, float]]) -> Iterator[None]:
    """Inside this context the model draws with LoRAs, each with its scale; then its weights are as before."""
    networks = networks_of(model, "the model") if loras else {}
    modules = [_module(networks, name) for name in sorted({name for lora, _ in loras for name in lora})]
    before = [module.weight for module in modules]
    try:
        for lora, scale in loras:
            merge(model, lora, scale)
        yield
    finally:
        for module, weight in zip(modules, before, strict=True):
            module.weight = weight


def _module(networks: Mapping[str, nn.Module], name: str) -> nn.Linear | nn.Conv2d:
    """What an adapter of this name changes."""
    part, _, path = name.partition(".")
    module = networks[part].get_submodule(path)
    assert isinstance(module, nn.Linear | nn.Conv2d)
    return module


class LoraLayer(nn.Module):
    """A frozen matrix with an adapter that is trained: x Wᵀ + bias + scale · x Aᵀ Bᵀ."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weight, self.bias, self.scale = linear.weight, linear.bias, scale
        n_out, n_in = linear.weight.shape
        bound = 1 / math.sqrt(n_in)
        self.lora_A = nn.Parameter(torch.empty(rank, n_in).uniform_(-bound, bound, generator=generator))
        self.lora_B = nn.Parameter(torch.zeros(n_out, rank))

    def forward(self, x: Tensor) -> Tensor:
        added = F.linear(F.linear(x, self.lora_A.to(x.dtype)), self.lora_B.to(x.dtype))
        return F.linear(x, self.weight, self.bias) + self.scale * added


def add_adapters(network: nn.Module, rank: int, scale: float, seed: int, endings: Iterable[str] = ATTENTION) -> None:
    """Freeze a network, and give an adapter that changes nothing yet to the matrices whose names end so."""
    generator, ends = torch.Generator().manual_seed(seed), tuple(f".{ending}" for ending in endings)
    network.requires_grad_(False)
    for name, linear in [found for found in targets(network) if found[0].endswith(ends)]:
        above, _, last = name.rpartition(".")
        if isinstance(linear, nn.Linear):
            setattr(network.get_submodule(above), last, LoraLayer(linear, rank, scale, generator))


def adapters_of(network: nn.Module, part: str = PARTS[0]) -> dict[str, Adapter]:
    """The adapters of a network that was trained with `add_adapters`."""
    return {
        f"{part}.{name}": Adapter(module.lora_A.detach(), module.lora_B.detach(), module.scale)
        for name, module in network.named_modules()
        if isinstance(module, LoraLayer)
    }
