"""Low-rank adapters: small trained matrices added to frozen ones. Source: Hu et al. 2021, LoRA (arXiv:2106.09685).

With an adapter a matrix is W + (alpha / rank) B A. A starts random and B at zero, so nothing changes before training.
With its adapters off, the model is the one it started from: the frozen reference of RLHF needs no second copy.
"""

import contextlib
import copy
import math
from collections.abc import Iterator
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from malmoi import device
from malmoi.config import Seed, Settings
from malmoi.model.transformer import Branches, LanguageModel

Model = TypeVar("Model", bound=nn.Module)
Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class LoraConfig(Settings):
    """Which matrices get an adapter, and how large it is."""

    rank: int = Field(0, ge=0)
    """Rows of A and columns of B; 0 trains all weights without adapters."""
    alpha: float = Field(32.0, gt=0)
    """The adapter is multiplied by alpha / rank."""
    projections: tuple[Projection, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Matrices of a block that get an adapter."""
    frozen_share: float = Field(0.0, ge=0, lt=1)
    """Share of the blocks, from the first on and rounded down, without adapters: no gradient passes through them, which
    halves their work. It is a share because a value network may have another depth than the policy."""
    seed: Seed = 1
    """Seed of the random A."""


class LoraLinear(nn.Module):
    """x (W + scale B A)ᵀ + bias, with W and bias frozen.

    W is stored once, in the compute dtype: an adapter is merged into the same numbers that it was trained with.
    """

    def __init__(self, linear: nn.Linear, config: LoraConfig, generator: torch.Generator) -> None:
        super().__init__()
        n_out, n_in = linear.weight.shape
        kept = linear.weight.detach().to(device.current().compute_dtype)
        self.weight = nn.Parameter(kept, requires_grad=False)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)
        bound = 1 / math.sqrt(n_in)
        self.lora_A = nn.Parameter(torch.empty(config.rank, n_in).uniform_(-bound, bound, generator=generator))
        self.lora_B = nn.Parameter(torch.zeros(n_out, config.rank))
        self.scale = config.alpha / config.rank
        self.is_on = True

    def forward(self, x: Tensor) -> Tensor:
        out = F.linear(x, self.weight, self.bias)
        return out + F.linear(F.linear(x, self.lora_A), self.lora_B * self.scale) if self.is_on else out

    def merged(self) -> nn.Linear:
        """One matrix that computes the same."""
        linear = nn.Linear(self.weight.shape[1], self.weight.shape[0], bias=self.bias is not None, device="meta")
        linear.weight = nn.Parameter(merged_weight(self.weight, self.lora_A, self.lora_B, self.scale))
        linear.bias = self.bias
        return linear


def merged_weight(weight: Tensor, lora_a: Tensor, lora_b: Tensor, scale: float) -> Tensor:
    """W + scale B A in float32. weight: (out, in); lora_a: (rank, in); lora_b: (out, rank)"""
    return torch.addmm(weight.detach().float(), lora_b.detach(), lora_a.detach(), alpha=scale)


def add_lora(model: nn.Module, config: LoraConfig) -> None:
    """Freeze blocks, embedding and output head, and add an adapter to every projection that `config` names.

    With rank 0 nothing changes.
    """
    if not config.rank:
        return
    layers = list(model.get_submodule("model.layers").children())
    generator = torch.Generator().manual_seed(config.seed)
    model.get_submodule("model").requires_grad_(False)
    if hasattr(model, "lm_head"):
        model.lm_head.requires_grad_(False)
    n_frozen = int(config.frozen_share * len(layers))
    for module in [module for layer in layers[n_frozen:] for module in layer.modules()]:
        for name in config.projections:
            linear = getattr(module, name, None)
            if isinstance(linear, nn.Linear):
                setattr(module, name, LoraLinear(linear, config, generator))


@contextlib.contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Inside this context the model computes what it did before `add_lora`."""
    adapters = [module for module in model.modules() if isinstance(module, LoraLinear)]
    before = [adapter.is_on for adapter in adapters]
    try:
        for adapter in adapters:
            adapter.is_on = False
        yield
    finally:
        for adapter, was_on in zip(adapters, before, strict=True):
            adapter.is_on = was_on


class WithoutAdapters:
    """A policy as it was before `add_lora`: a frozen reference that needs no memory of its own."""

    def __init__(self, policy: LanguageModel) -> None:
        self.policy = policy

    def logps(
        self, ids: Tensor, targets: Tensor, mask: Tensor, temperature: float = 1.0, branches: Branches | None = None
    ) -> tuple[Tensor, Tensor]:
        with adapters_off(self.policy):
            return self.policy.logps(ids, targets, mask, temperature, branches)


def sharing_copy(model: Model) -> Model:
    """A copy whose modules can be replaced; it shares weights and adapters with the model."""
    kept = [*model.parameters(), *(module for module in model.modules() if isinstance(module, LoraLinear))]
    return copy.deepcopy(model, {id(one): one for one in kept})


@torch.no_grad()
def merged(model: Model) -> Model:
    """A copy whose adapters are merged into its matrices; the model itself stays as it is."""
    plain = sharing_copy(model)
    for module in list(plain.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLinear):
                setattr(module, name, child.merged())
    return plain
