"""Several processes, one update: `torchrun` starts them, gradients are summed, and FSDP2 can shard the model."""

from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from malmoi import device

T = TypeVar("T")


def prepare(model: nn.Module, fsdp: bool, compile_: bool, recompute: bool = False) -> nn.Module:
    """Shard the model over the ranks, compile it, and recompute activations in the backward pass, each where asked."""
    for module in model.modules():
        if hasattr(module, "recompute"):
            setattr(module, "recompute", recompute)  # noqa: B010 (a plain flag, which nn.Module types as a submodule)
    if fsdp and device.current().world_size > 1 and not isinstance(model, FSDPModule):
        for module in list(model.modules()):
            if isinstance(module, nn.ModuleList):
                for block in module:
                    fully_shard(block)
        fully_shard(model)
        for method in ("cross_entropy", "logps", "scores", "sketch"):
            if hasattr(model, method):
                register_fsdp_forward_method(model, method)
        # The loop divides by the count over all ranks, so gradients are summed, not averaged.
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)  # gloo supports nothing else
    if compile_:
        # Block by block: all have the same shapes, so they share one compilation.
        for blocks in (module for module in model.modules() if isinstance(module, nn.ModuleList)):
            for block in blocks:
                block.compile()
    return model


def share_of(n: int, rank: int, world_size: int) -> slice:
    """Which of n items a rank processes: a consecutive range, as even as possible."""
    return slice(n * rank // world_size, n * (rank + 1) // world_size)


def gathered(own: list[T]) -> list[T]:
    """The lists of all ranks joined, in the order of `share_of`."""
    world_size = device.current().world_size
    if world_size == 1:
        return own
    parts: list[list[T]] = [[] for _ in range(world_size)]
    dist.all_gather_object(parts, own)
    return [one for part in parts for one in part]


def sum_gradients(parameters: list[nn.Parameter]) -> None:
    """Sum gradients over the ranks in one message; a rank without a micro-batch sends zeros. FSDP2 sums its own.

    A weight that no rank has a gradient for gets none, as if there were one rank: optimizers pass it over.
    """
    if device.current().world_size == 1 or any(
        isinstance(p.grad, torch.distributed.tensor.DTensor) for p in parameters
    ):
        return
    here = [parameter.grad is not None for parameter in parameters]
    anywhere = device.sum_over_ranks(torch.tensor(here, dtype=torch.float32)) > 0
    moved = [parameter for parameter, has in zip(parameters, anywhere.tolist(), strict=True) if has]
    for parameter in moved:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    sum_whole(moved)


def sum_whole(parameters: list[nn.Parameter]) -> None:
    """Sum gradients that each rank has in full, in one message."""
    flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    dist.all_reduce(flat)
    offset = 0
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad.copy_(flat[offset : offset + parameter.numel()].view_as(parameter))
        offset += parameter.numel()
