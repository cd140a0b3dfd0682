"""Attention by every way that it is computed, beside its definition."""

import math

import pytest
import torch
from torch import Tensor

from malmoi.model import attention
from malmoi.model.attention import attend, bias_of, segment_mask

pytestmark = pytest.mark.usefixtures("float32")


def naive(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """softmax over what is seen, one query and one head at a time; seen: (B, T, S)."""
    n_batch, n_head, n_query, head_dim = q.shape
    n_group = n_head // k.shape[1]
    out = torch.zeros_like(q)
    for b in range(n_batch):
        for h in range(n_head):
            for t in range(n_query):
                keys, values = k[b, h // n_group][seen[b, t]], v[b, h // n_group][seen[b, t]]
                out[b, h, t] = (keys @ q[b, h, t] / math.sqrt(head_dim)).softmax(0) @ values
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n_head", "n_kv_head"), [(4, 4), (4, 2), (3, 1)])
def test_causal_attention(n_head: int, n_kv_head: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 4)  # so that eleven queries are three blocks
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, n_head, 11, 8, generator=generator)
    k, v = torch.randn(2, 2, n_kv_head, 11, 8, generator=generator)
    seen = torch.ones(2, 11, 11, dtype=torch.bool).tril()
    found = attend(q.to(dtype), k.to(dtype), v.to(dtype), None)
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(found.float(), naive(q, k, v, seen), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_to_what_a_mask_shows(dtype: torch.dtype) -> None:
    """As decoding has it: few queries, many keys, another length in each row."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(3, 4, 2, 8, generator=generator)
    k, v = torch.randn(2, 3, 2, 9, 8, generator=generator)
    positions = torch.tensor([[0, 1], [7, 8], [3, 4]])
    mask = torch.arange(9) <= positions[:, None, :, None]
    found = attend(q.to(dtype), k.to(dtype), v.to(dtype), bias_of(~mask).to(dtype))
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(found.float(), naive(q, k, v, mask[:, 0]), atol=tolerance, rtol=tolerance)


def test_gradients_of_blocks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 4)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, n_head, 11, 8, generator=generator) for n_head in (4, 2, 2)]
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        leaves = [x.detach().to(dtype, copy=True).requires_grad_() for x in inputs]
        attend(*leaves, None).float().square().sum().backward()
        gradients.append([leaf.grad.float() for leaf in leaves if leaf.grad is not None])
    for exact, rounded in zip(*gradients, strict=True):
        assert float((rounded - exact).norm() / exact.norm()) < 0.02


def test_continuations_see_their_beginning_and_themselves() -> None:
    seen = (~segment_mask(torch.tensor([[0, 0, 1, 2, 2, 3, -1]]))[0, 0]).int().tolist()
    assert seen[4] == [1, 1, 0, 1, 1, 0, 0] and seen[5] == [1, 1, 0, 0, 0, 1, 0] and seen[6][6] == 1


@pytest.mark.parametrize("n_batch", [1, attention.FEW_ROWS + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_query_a_row_as_decoding_has_it(n_batch: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(n_batch, 4, 1, 8, generator=generator)
    k, v = torch.randn(2, n_batch, 2, 9, 8, generator=generator)
    seen = torch.arange(9) <= torch.arange(n_batch)[:, None, None] + 3
    found = attend(q.to(dtype), k.to(dtype), v.to(dtype), bias_of(~seen[:, None]).to(dtype))
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(found.float(), naive(q, k, v, seen), atol=tolerance, rtol=tolerance)
