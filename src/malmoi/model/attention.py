"""Scaled dot-product attention, computed in the way that is fastest on this device.

On a GPU that is PyTorch's fused kernel. On a CPU, plain bfloat16 products over blocks of queries took half the time
of the fused kernel at the lengths that fit a cache (128 to 512 tokens, two cores, forward and backward).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128
LONGEST_PLAIN = 1024
FEW_ROWS = 4


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """softmax(q kᵀ / √K + bias) v. Without a bias attention is causal; a single query then sees all keys.

    q: (B, H, T, K); k, v: (B, H_kv, S, K), H a multiple of H_kv
    bias: (B or 1, 1, T, S), 0 for keys that the query sees and -inf for the others, which include all later keys;
    None requires T == 1 or T == S
    Returns (B, H, T, K).
    """
    if q.device.type == "cpu" and q.shape[2] == 1:
        return _attend_one_query(q, k, v, bias)
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and k.shape[2] <= LONGEST_PLAIN:
        return _attend_in_blocks(q, k, v, bias)
    is_causal = bias is None and q.shape[2] > 1
    if q.device.type == "cuda" and bias is not None and q.shape[1] != k.shape[1]:
        # With a bias and grouped heads most builds only have the kernel that stores all scores, (B, H, T, S).
        n_group = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(n_group, dim=1), v.repeat_interleave(n_group, dim=1)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, is_causal=is_causal, enable_gqa=q.shape[1] != k.shape[1]
    )


def segment_mask(segments: Tensor) -> Tensor:
    """(B, 1, T, T), True where a query (third) may not see a key (last): a later key, or one of another continuation.

    segments: (B, T), 0 in the shared beginning of a row, which all may see, 1 … K in its continuations, -1 in padding
    """
    query, key = segments[:, None, :, None], segments[:, None, None, :]
    index = torch.arange(segments.shape[1], device=segments.device)
    return (index[None, :] > index[:, None]) | ((key != 0) & (key != query))


def bias_of(mask: Tensor) -> Tensor:
    """-inf where `mask` is True, 0 elsewhere, float32."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(mask, -math.inf)


def _attend_one_query(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """One new token a row: query heads that share a key head are computed as several queries of one head."""
    n_batch, n_head, _, head_dim = q.shape
    grouped = q.reshape(n_batch, k.shape[1], n_head // k.shape[1], head_dim)
    if n_batch <= FEW_ROWS:
        out = F.scaled_dot_product_attention(grouped, k, v, attn_mask=bias)
    else:  # small bfloat16 products copy their keys first; float32 takes two thirds of the time
        scores = (grouped.float() * (1 / math.sqrt(head_dim))) @ k.float().mT
        out = ((scores if bias is None else scores + bias).softmax(dim=-1) @ v.float()).to(q.dtype)
    return out.reshape(q.shape)


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    n_head, n_query, head_dim = q.shape[1:]
    n_group = n_head // k.shape[1]
    n_before = k.shape[2] - n_query
    q = q * (1 / math.sqrt(head_dim))
    if bias is None:
        bias = torch.full((n_query, n_query), -math.inf, dtype=q.dtype).triu_(1)
    blocks = []
    for start in range(0, n_query, BLOCK):
        end = min(start + BLOCK, n_query)
        seen = n_before + end
        # No query of a block sees keys after the block: a quarter less work at 256 tokens, and warmer caches.
        part = bias[..., start:end, :seen]
        blocks.append(_block(q[:, :, start:end], k[:, :, :seen], v[:, :, :seen], part, n_group))
    return torch.cat(blocks, dim=2) if len(blocks) > 1 else blocks[0]


def _block(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, n_group: int) -> Tensor:
    """One block of queries. `n_group` query heads share a key head and are stacked as more queries of it."""
    n_batch, n_head, n_query, head_dim = q.shape
    n_seen = k.shape[2]
    q = q.reshape(n_batch, n_head // n_group, n_group * n_query, head_dim)
    scores = (q @ k.transpose(-1, -2)).view(n_batch, n_head // n_group, n_group, n_query, n_seen)
    # In place: the system hands out memory of this size page by page, which takes longer than the sum.
    weights = scores.add_(bias if bias.ndim == 2 else bias.unsqueeze(2)).softmax(dim=-1)
    out = weights.view(n_batch, n_head // n_group, n_group * n_query, n_seen) @ v
    return out.view(n_batch, n_head, n_query, head_dim)
