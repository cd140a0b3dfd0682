"""What reads captions attends as PyTorch does, whichever way it computes."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from malmoi.image import reader

B, H, T, S, K = 3, 2, 5, 7, 8


def _masks() -> list[Tensor | None]:
    allowed = torch.ones(B, 1, 1, S, dtype=torch.bool)
    allowed[1, :, :, 4:] = False
    return [None, allowed, torch.randn(1, H, T, S, generator=torch.Generator().manual_seed(1))]


@pytest.mark.parametrize("mask", _masks(), ids=["all", "some keys", "numbers added"])
def test_few_keys_in_bfloat16_are_as_exact_as_bfloat16_is(mask: Tensor | None) -> None:
    torch.manual_seed(0)
    parts = [torch.randn(B, H, n, K).bfloat16() for n in (T, S, S)]
    exact = _attended([part.float() for part in parts], mask, F.scaled_dot_product_attention)
    plain = _attended(parts, mask, reader._attend)
    for ours, right in zip(plain, exact, strict=True):
        assert ours.dtype == torch.bfloat16
        assert (ours.float() - right).norm() < 0.03 * right.norm()


def _attended(parts: list[Tensor], mask: Tensor | None, attend: object) -> list[Tensor]:
    """The outcome, and the gradients of q, k and v."""
    q, k, v = (part.clone().requires_grad_() for part in parts)
    mask = mask.to(q.dtype) if mask is not None and mask.is_floating_point() else mask
    assert callable(attend)
    out = attend(q, k, v, mask) if attend is reader._attend else attend(q, k, v, attn_mask=mask)
    (out.float() ** 2).sum().backward()
    assert q.grad is not None and k.grad is not None and v.grad is not None
    return [out.detach(), q.grad, k.grad, v.grad]
