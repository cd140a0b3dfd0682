"""Cross-entropy that never holds the logits of all positions, and log-probabilities of given tokens."""

from typing import Any

import torch
from torch import Tensor

CHUNK = 512
TINY = torch.finfo(torch.float32).tiny


class _CrossEntropySum(torch.autograd.Function):
    """Each chunk's logits live once: loss and gradients leave them together, in the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, needs_grad: bool) -> Tensor:
        loss = torch.zeros((), device=hidden.device)
        if needs_grad:
            grad_hidden = torch.empty_like(hidden)
            grad_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        for start in range(0, len(hidden), CHUNK):
            rows = slice(start, start + CHUNK)
            x, y = hidden[rows], targets[rows, None]
            probabilities = torch.softmax(x @ weight.T, dim=-1, dtype=torch.float32)
            loss -= probabilities.gather(1, y).clamp_min(TINY).log().sum()
            if needs_grad:
                grad_logits = probabilities.scatter_add_(1, y, -torch.ones_like(y, dtype=torch.float32))
                grad_logits = grad_logits.to(hidden.dtype)
                torch.mm(grad_logits, weight, out=grad_hidden[rows])
                grad_weight += grad_logits.T @ x
        if needs_grad:
            ctx.save_for_backward(grad_hidden, grad_weight.to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0], grad_weight * grads[0], None, None


def cross_entropy_sum(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Sum over positions of -log softmax(hidden weightᵀ)[target], in nats.

    hidden: (N, D); weight: (V, D), the output head; targets: (N,) ids
    Under autocast the products run in the compute dtype, the softmax in float32.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    with torch.autocast(hidden.device.type, enabled=False):
        loss: Tensor = _CrossEntropySum.apply(hidden, weight, targets, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return loss


def gather_logps(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature)[targets]: (..., V), (...) -> (...), float32."""
    logps = (logits.float() / temperature).log_softmax(dim=-1)
    return logps.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
