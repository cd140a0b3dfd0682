"""Cross-entropy and log-probabilities of given tokens, without the logits of all positions in memory at once."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CHUNK = 512
# On a CPU a chunk should stay in the cache and use the same memory again: the system hands out fresh memory page by
# page, which takes longer than the sums. So there are few logits and few rows of the head's gradient at a time.
MOST_LOGITS = 6 * 2**20
MOST_LOGITS_ON_GPU = 2**27
HEAD_ROWS = 4096


class _CrossEntropySum(torch.autograd.Function):
    """Computes each chunk's logits once: the forward pass computes loss and gradients from them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, needs_grad: bool) -> Tensor:
        loss = torch.zeros((), device=hidden.device)
        matrix = weight.to(hidden.dtype)
        gradients = _Gradients(hidden, weight, matrix, ctx.needs_input_grad[1]) if needs_grad else None
        for rows, centred, spare in _chunks(hidden, matrix):
            y = targets[rows, None]
            of_targets = centred.gather(1, y)
            exponentials = centred.exp_()
            sums = exponentials.sum(dim=1, keepdim=True)
            loss += (sums.log() - of_targets).sum()
            if gradients is not None:
                grad_logits = exponentials.mul_(1 / sums).scatter_add_(1, y, -torch.ones_like(sums))
                gradients.add(rows, spare.copy_(grad_logits))
        ctx.gradients = gradients
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        if ctx.gradients is None:
            raise RuntimeError("backward() can run only once here: gradients are scaled in place (no retain_graph)")
        found, ctx.gradients = ctx.gradients, None
        return found.hidden.mul_(grads[0]), None if found.weight is None else found.weight.mul_(grads[0]), None, None


def cross_entropy_sum(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Sum over positions of -log softmax(hidden weightᵀ)[target], in nats.

    hidden: (N, D); weight: (V, D), the output head; targets: (N,) ids
    Under autocast the products are in the compute dtype, the softmax in float32.
    """
    hidden = _in_compute_dtype(hidden)
    with torch.autocast(hidden.device.type, enabled=False):
        loss: Tensor = _CrossEntropySum.apply(hidden, weight, targets, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return loss


class _TokenLogps(torch.autograd.Function):
    """As above, but the gradient's factors are known only in the backward pass, which computes each chunk again."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        logps, entropy = torch.empty(2, len(hidden), device=hidden.device)
        matrix = weight.to(hidden.dtype)
        exponentials = None
        for rows, centred, _ in _chunks(hidden, matrix, temperature):
            of_targets = centred.gather(1, targets[rows, None])[:, 0]
            exponentials = torch.empty_like(centred) if exponentials is None else exponentials[: len(centred)]
            sums = torch.exp(centred, out=exponentials).sum(dim=1)
            logps[rows] = of_targets - sums.log()
            entropy[rows] = sums.log() - centred.mul_(exponentials).sum(dim=1) / sums
        ctx.save_for_backward(hidden, weight, matrix, targets)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropy)
        return logps, entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        hidden, weight, matrix, targets = ctx.saved_tensors
        gradients = _Gradients(hidden, weight, matrix, ctx.needs_input_grad[1])
        for rows, centred, spare in _chunks(hidden, matrix, ctx.temperature):
            scale = grads[0][rows, None] / ctx.temperature
            exponentials = centred.exp_()
            grad_logits = exponentials.mul_(-scale / exponentials.sum(dim=1, keepdim=True))
            grad_logits.scatter_add_(1, targets[rows, None], scale)
            gradients.add(rows, spare.copy_(grad_logits))
        return gradients.hidden, gradients.weight, None, None


def token_logps(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """log softmax(hidden weightᵀ / temperature)[target], and the entropy, which has no gradient; both (N,), in nats."""
    hidden = _in_compute_dtype(hidden)
    with torch.autocast(hidden.device.type, enabled=False):
        logps, entropy = _TokenLogps.apply(hidden, weight, targets, temperature)  # type: ignore[no-untyped-call]
    return logps, entropy


def _chunks(hidden: Tensor, matrix: Tensor, temperature: float = 1.0) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows; their logits in float32, minus the largest of each row; scratch memory of that shape in `hidden`'s dtype.

    Every chunk uses the memory of the previous one.
    """
    on_cpu = hidden.device.type == "cpu"
    most = min(CHUNK, MOST_LOGITS // len(matrix)) if on_cpu else MOST_LOGITS_ON_GPU // len(matrix)
    n_rows = min(max(32, most), len(hidden))
    logits = hidden.new_empty(n_rows, len(matrix))
    float32 = torch.empty_like(logits, dtype=torch.float32)
    for start in range(0, len(hidden), max(1, n_rows)):
        rows = slice(start, min(start + n_rows, len(hidden)))
        found = torch.mm(hidden[rows], matrix.T, out=logits[: rows.stop - start])
        centred = float32[: len(found)].copy_(found)
        if temperature != 1:
            centred.div_(temperature)
        yield rows, centred.sub_(centred.amax(dim=1, keepdim=True)), found


class _Gradients:
    """Gradients of `hidden` (N, D) and, if it is trained, of `weight` (V, D), each in the dtype of its tensor."""

    def __init__(self, hidden: Tensor, weight: Tensor, matrix: Tensor, trains_weight: bool) -> None:
        self._x, self._matrix = hidden, matrix
        self.hidden = torch.empty_like(hidden)
        self.weight = torch.zeros_like(weight) if trains_weight else None
        self._product = matrix.new_empty(min(HEAD_ROWS, len(matrix)), matrix.shape[1])
        self._widened = torch.empty_like(self._product, dtype=weight.dtype)

    def add(self, rows: slice, grad_logits: Tensor) -> None:
        """Add the gradient of one chunk of logits, (n, V)."""
        torch.mm(grad_logits, self._matrix, out=self.hidden[rows])
        if self.weight is None:
            return
        for start in range(0, len(self.weight), HEAD_ROWS):
            total = self.weight[start : start + HEAD_ROWS]
            product = self._product[: len(total)]
            torch.mm(grad_logits[:, start : start + HEAD_ROWS].T, self._x[rows], out=product)
            total += self._widened[: len(total)].copy_(product)


def _in_compute_dtype(hidden: Tensor) -> Tensor:
    device = hidden.device.type
    return hidden.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else hidden
