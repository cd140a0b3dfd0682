"""Optimizers and the learning-rate schedule.

AdamW (arXiv:1711.05101) for everything, or Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) on the
matrices inside the blocks and AdamW on embeddings, heads and norms.
"""

import math
from collections import defaultdict
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from malmoi import device
from malmoi.config import Settings
from malmoi.errors import ConfigError


class OptimConfig(Settings):
    """The optimizer, its learning rates and their schedule."""

    name: Literal["adamw", "muon"] = "adamw"
    """muon orthogonalises the updates of the blocks' matrices; AdamW updates all other weights in either case."""
    lr: float = Field(3e-4, gt=0)
    """Peak learning rate of the matrices (muon: about 0.02, adamw: about 3e-4)."""
    embedding_lr: float | None = Field(None, gt=0)
    """Peak learning rate of the embeddings of tokens and of learned positions; as `lr` when absent."""
    head_lr: float | None = Field(None, gt=0)
    """Peak learning rate of the output head, of norms and scalars; as `lr` when absent."""
    warmup_steps: int = Field(0, ge=0)
    """Steps of linear rise from 0."""
    decay: Literal["constant", "linear", "cosine"] = "linear"
    """How the rate falls after the warm-up, to `final_lr_ratio` of its peak at the last step."""
    final_lr_ratio: float = Field(0.0, ge=0, le=1)
    """Last learning rate over the peak."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled decay of the matrices, per unit of learning rate."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """AdamW: decay of the mean gradient."""
    beta2: float = Field(0.95, ge=0, lt=1)
    """AdamW: decay of the mean squared gradient."""
    eps: float = Field(1e-8, gt=0)
    """AdamW: added to the root of the mean square; 1e-5 in PPO (anchors of arXiv:1909.08593's code)."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Muon: decay of the momentum (Nesterov)."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this L2 norm."""


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: every singular value of a matrix's update becomes about 1.

    Matrices of one shape are stacked and orthogonalised together: on a CPU that takes half the time.
    """

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[(max(parameter.shape), min(parameter.shape))].append(parameter)
            for parameters in by_shape.values():
                self._step_stacked(parameters, group)

    def _step_stacked(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        updates = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            assert parameter.grad is not None
            state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
            update = full_tensor(parameter.grad.lerp(state["momentum"], group["momentum"]))
            updates.append(update if update.shape[0] <= update.shape[1] else update.T)
        for parameter, update in zip(parameters, orthogonalise(torch.stack(updates)), strict=True):
            update = update if parameter.shape[0] <= parameter.shape[1] else update.T
            scale = math.sqrt(max(1.0, parameter.shape[0] / parameter.shape[1]))
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(shard_like(update.float(), parameter), alpha=-group["lr"] * scale)


def orthogonalise(matrices: Tensor, n_steps: int = 5) -> Tensor:
    """Approximately the nearest semi-orthogonal matrices: singular values end in about [0.7, 1.2].

    matrices: (N, R, C) with R <= C. Newton-Schulz iteration of degree 5 with Jordan's coefficients.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.to(device.current().compute_dtype)
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(n_steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def full_tensor(tensor: Tensor) -> Tensor:
    """The whole tensor, gathered from all ranks where FSDP2 keeps a shard of it on each."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Shard a whole tensor over the ranks as `like` is sharded."""
    return distribute_tensor(tensor, like.device_mesh, like.placements) if isinstance(like, DTensor) else tensor


def make_optimizers(model: nn.Module, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """One optimizer, or Muon for the matrices and AdamW for the rest. Parameters without gradients are left out.

    Raises ConfigError when no parameter requires a gradient.
    """
    matrices: list[nn.Parameter] = []
    embeddings: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_matrix = parameter.ndim == 2 and ".layers." in name
            is_embedding = "embed_tokens" in name or "embed_positions" in name
            group = matrices if is_matrix else embeddings if is_embedding else rest
            group.append(parameter)
    head_lr = config.head_lr or config.lr
    groups: list[dict[str, Any]] = [
        {"params": embeddings, "lr": config.embedding_lr or config.lr, "weight_decay": 0.0},
        {"params": rest, "lr": head_lr, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = []
    if config.name == "muon" and matrices:
        optimizers.append(Muon(matrices, config.lr, config.momentum, config.weight_decay))
    else:
        groups.append({"params": matrices, "lr": config.lr, "weight_decay": config.weight_decay})
    groups = [group for group in groups if group["params"]]
    if groups:
        optimizers.append(torch.optim.AdamW(groups, betas=(config.beta1, config.beta2), eps=config.eps, fused=True))
    if not optimizers:
        raise ConfigError("nothing is left to train: every weight is frozen; name projections of the model in lora")
    for optimizer in optimizers:
        for param_group in optimizer.param_groups:
            param_group["peak_lr"] = param_group["lr"]
    return optimizers


def lr_ratio(config: OptimConfig, step: int, n_steps: int) -> float:
    """Learning rate of the step (1-based) over its peak."""
    if step <= config.warmup_steps:
        return step / config.warmup_steps
    # The last step still changes the weights: progress reaches 1 one step after it.
    progress = (step - config.warmup_steps - 1) / max(1, n_steps - config.warmup_steps)
    if config.decay == "constant":
        return 1.0
    drop = progress if config.decay == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return 1 - (1 - config.final_lr_ratio) * drop
