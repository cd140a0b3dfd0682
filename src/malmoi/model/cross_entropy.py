"""Cross-entropy and log-probabilities of given tokens that never hold the logits of all positions."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CHUNK = 512
# Logits of one chunk: memory from 32 MB on comes fresh from the system, page by page, which takes longer than the sums.
MOST_LOGITS = 6 * 2**20
TINY = torch.finfo(torch.float32).tiny


class _CrossEntropySum(torch.autograd.Function):
    """Each chunk's logits live once: loss and gradients leave them together, in the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, needs_grad: bool) -> Tensor:
        loss = torch.zeros((), device=hidden.device)
        trains_weight = needs_grad and ctx.needs_input_grad[1]
        if needs_grad:
            grad_hidden = torch.empty_like(hidden)
            grad_weight = torch.zeros(weight.shape if trains_weight else 0, dtype=torch.float32, device=weight.device)
        for rows in _chunks(hidden, weight):
            x, y = hidden[rows], targets[rows, None]
            probabilities = torch.softmax(x @ weight.T, dim=-1, dtype=torch.float32)
            loss -= probabilities.gather(1, y).clamp_min(TINY).log().sum()
            if needs_grad:
                grad_logits = probabilities.scatter_add_(1, y, -torch.ones_like(y, dtype=torch.float32))
                grad_logits = grad_logits.to(hidden.dtype)
                torch.mm(grad_logits, weight, out=grad_hidden[rows])
                if trains_weight:
                    grad_weight += grad_logits.T @ x
        if needs_grad:
            ctx.save_for_backward(grad_hidden, grad_weight.to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0], grad_weight * grads[0] if len(grad_weight) else None, None, None


def cross_entropy_sum(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Sum over positions of -log softmax(hidden weightᵀ)[target], in nats.

    hidden: (N, D); weight: (V, D), the output head; targets: (N,) ids
    Under autocast the products run in the compute dtype, the softmax in float32.
    """
    hidden, weight = _in_compute_dtype(hidden, weight)
    with torch.autocast(hidden.device.type, enabled=False):
        loss: Tensor = _CrossEntropySum.apply(hidden, weight, targets, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return loss


class _TokenLogps(torch.autograd.Function):
    """As above, but what the gradient is multiplied by is known only later: each chunk is computed again for it."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        logps, entropy = torch.empty(2, len(hidden), device=hidden.device)
        for rows in _chunks(hidden, weight):
            log_probabilities = _log_softmax(hidden[rows], weight, temperature)
            logps[rows] = log_probabilities.gather(1, targets[rows, None])[:, 0]
            entropy[rows] = -log_probabilities.exp().mul_(log_probabilities).sum(dim=1)
        ctx.save_for_backward(hidden, weight, targets)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropy)
        return logps, entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        hidden, weight, targets = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        trains_weight = ctx.needs_input_grad[1]
        grad_weight = torch.zeros(weight.shape if trains_weight else 0, dtype=torch.float32, device=weight.device)
        for rows in _chunks(hidden, weight):
            scale = grads[0][rows, None] / ctx.temperature
            grad_logits = _log_softmax(hidden[rows], weight, ctx.temperature).exp_().mul_(-scale)
            grad_logits = grad_logits.scatter_add_(1, targets[rows, None], scale).to(hidden.dtype)
            torch.mm(grad_logits, weight, out=grad_hidden[rows])
            if trains_weight:
                grad_weight += grad_logits.T @ hidden[rows]
        return grad_hidden, grad_weight.to(weight.dtype) if trains_weight else None, None, None


def _log_softmax(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    logits = hidden @ weight.T
    return (logits if temperature == 1 else logits.float().div_(temperature)).log_softmax(dim=-1, dtype=torch.float32)


def _chunks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    n_rows = max(32, min(CHUNK, MOST_LOGITS // len(weight)))
    return (slice(start, start + n_rows) for start in range(0, len(hidden), n_rows))


def token_logps(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """log softmax(hidden weightᵀ / temperature)[target], and the entropy there without a gradient; (N,), in nats."""
    hidden, weight = _in_compute_dtype(hidden, weight)
    with torch.autocast(hidden.device.type, enabled=False):
        logps, entropy = _TokenLogps.apply(hidden, weight, targets, temperature)  # type: ignore[no-untyped-call]
    return logps, entropy


def _in_compute_dtype(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    if not torch.is_autocast_enabled(hidden.device.type):
        return hidden, weight
    dtype = torch.get_autocast_dtype(hidden.device.type)
    return hidden.to(dtype), weight.to(dtype)
