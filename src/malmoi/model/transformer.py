"""The network: a decoder-only transformer whose features make it Llama, Qwen, SmolLM3 or GPT-2.

Parameters have the names of Hugging Face's Llama; `formats/huggingface.py` translates those of other families.
Shapes: B batch, T tokens, D width, H heads, K head dim, V vocab.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from malmoi.model.attention import attend, bias_of, segment_mask
from malmoi.model.config import ModelConfig, RopeScaling
from malmoi.model.cross_entropy import cross_entropy_sum, token_logps
from malmoi.model.kv_cache import KVCache

ROUND_TO, FIRST_POSITIONS = 64, 2048


class RMSNorm(nn.Module):
    """x / rms(x) · weight, over the last dimension. Source: arXiv:1910.07467."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class LayerNorm(nn.Module):
    """(x - mean) / deviation · weight + bias, over the last dimension. Source: arXiv:1607.06450."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def fused_linear(x: Tensor, *projections: nn.Linear) -> Tensor:
    """The concatenated outputs of several projections of one input: one large product is faster than several small.

    Where `for_inference` has fused the projections already, the first is the fused one and the others are None.
    """
    first, *others = projections
    if others[0] is None:
        return first(x)
    if not all(type(projection) is nn.Linear for projection in projections):
        return torch.cat([projection(x) for projection in projections], dim=-1)
    weight = torch.cat([projection.weight for projection in projections])
    bias = None if first.bias is None else torch.cat([projection.bias for projection in projections])
    return F.linear(x, weight, bias)


class Branches(Protocol):
    """Rows that hold one beginning and then several continuations of it; none sees another.

    positions: (B, T), position of each token in its own text; segments: (B, T), as in `segment_mask`
    """

    @property
    def positions(self) -> Tensor: ...
    @property
    def segments(self) -> Tensor: ...


@dataclass(frozen=True)
class TokenLayout:
    """How the tokens of a batch lie in memory: padded (B, T), or packed to its N non-padding tokens if `real` is given.

    Only attention looks at more than one token at a time: it computes on padded rows, everything else on packed tokens.
    rotary: cosines and sines of the tokens' positions; None: queries and keys are not rotated
    real: (N,) indices of the non-padding tokens in the flattened (B, T); None: there is no padding
    bias: for `attend`, where attention is not simply causal
    """

    rotary: tuple[Tensor, Tensor] | None
    shape: tuple[int, int]
    real: Tensor | None = None
    bias: Tensor | None = None

    def pad(self, x: Tensor) -> Tensor:
        """(N, …) -> (B, T, …), zero in padding."""
        if self.real is None:
            return x
        rows, length = self.shape
        return x.new_zeros(rows * length, *x.shape[1:]).index_copy(0, self.real, x).view(rows, length, *x.shape[1:])

    def unpad(self, x: Tensor) -> Tensor:
        """(B, T, …) -> (N, …)."""
        return x if self.real is None else x.flatten(0, 1).index_select(0, self.real)


class Attention(nn.Module):
    """Causal self-attention with grouped key/value heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, head = config.n_embd, config.head_dim
        self.q_proj = nn.Linear(width, config.n_head * head, bias=config.qkv_bias)
        self.k_proj = nn.Linear(width, config.n_kv_head * head, bias=config.qkv_bias)
        self.v_proj = nn.Linear(width, config.n_kv_head * head, bias=config.qkv_bias)
        self.o_proj = nn.Linear(config.n_head * head, width, bias=config.o_bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(head, config.norm_eps)
            self.k_norm = RMSNorm(head, config.norm_eps)

    def forward(self, x: Tensor, layout: TokenLayout, cache: KVCache | None, layer: int) -> Tensor:
        config = self.config
        qkv = fused_linear(x, self.q_proj, self.k_proj, self.v_proj)
        qkv = qkv.view(*qkv.shape[:-1], -1, config.head_dim)
        q, k, v = qkv.split_with_sizes((config.n_head, config.n_kv_head, config.n_kv_head), dim=-2)
        if config.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if layout.rotary is not None:
            q, k = rotate(q, layout.rotary), rotate(k, layout.rotary)
        q, k, v = (layout.pad(part).transpose(1, 2) for part in (q.to(v.dtype), k.to(v.dtype), v))
        bias = layout.bias
        if cache is not None:
            k, v, bias = cache.append(layer, k, v)
        out = attend(q, k, v, bias if bias is None else bias.to(q.dtype)).transpose(1, 2)
        return self.o_proj(layout.unpad(out).flatten(-2))


class FeedForward(nn.Module):
    """down(silu(gate(x)) · up(x)). Source: SwiGLU, arXiv:2002.05202."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.n_embd, config.n_ff, bias=config.ff_bias)
        self.up_proj = nn.Linear(config.n_embd, config.n_ff, bias=config.ff_bias)
        self.down_proj = nn.Linear(config.n_ff, config.n_embd, bias=config.ff_bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = fused_linear(x, self.gate_proj, self.up_proj).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class PlainFeedForward(nn.Module):
    """down(gelu(up(x))), with GELU's tanh form. Source: GPT-2; arXiv:1606.08415."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.n_embd, config.n_ff, bias=config.ff_bias)
        self.down_proj = nn.Linear(config.n_ff, config.n_embd, bias=config.ff_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.gelu(self.up_proj(x), approximate="tanh"))


NORMS: dict[str, type[RMSNorm | LayerNorm]] = {"rms": RMSNorm, "layer": LayerNorm}
FEED_FORWARDS: dict[str, type[FeedForward | PlainFeedForward]] = {"swiglu": FeedForward, "gelu": PlainFeedForward}


class Block(nn.Module):
    """One layer: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        norm = NORMS[config.norm]
        self.input_layernorm = norm(config.n_embd, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = norm(config.n_embd, config.norm_eps)
        self.mlp = FEED_FORWARDS[config.ff](config)

    def forward(self, x: Tensor, layout: TokenLayout, cache: KVCache | None, layer: int) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), layout, cache, layer)
        return x + self.mlp(self.post_attention_layernorm(x))


class Backbone(nn.Module):
    """Embedding, blocks, last norm: ids (B, T) -> hidden states (B, T, D).

    read_after: if given, the hidden states are those after these many blocks, each divided by its root mean square,
    side by side: (B, T, len(read_after) · D); blocks after the last of them are not computed
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        self.read_after: tuple[int, ...] = ()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = NORMS[config.norm](config.n_embd, config.norm_eps)
        if config.positions == "learned":
            self.embed_positions = nn.Embedding(config.seq_len, config.n_embd)
        else:
            self.cos: Tensor
            self.sin: Tensor
            self._make_tables(min(config.seq_len, FIRST_POSITIONS))

    def ensure_positions(self, n_positions: int) -> None:
        """Extend the rotary tables to this many positions: those of a long context are made only for a long text."""
        if self.config.positions == "rope" and len(self.cos) < min(n_positions, self.config.seq_len):
            self._make_tables(min(max(n_positions, 2 * len(self.cos)), self.config.seq_len))

    def _make_tables(self, n_positions: int) -> None:
        config = self.config
        where = self.embed_tokens.weight.device
        tables = rotary_tables(n_positions, config.head_dim, config.rope_theta, config.rope_scaling)
        for name, table in zip(("cos", "sin"), tables, strict=True):
            self.register_buffer(name, table if where.type == "meta" else table.to(where), persistent=False)

    def forward(
        self, ids: Tensor, cache: KVCache | None = None, real: Tensor | None = None, branches: Branches | None = None
    ) -> Tensor:
        """Hidden states of all ids, (B, T, D), or only of the N ids where `real` (B, T) is True, (N, D)."""
        shape = (ids.shape[0], ids.shape[1])
        indices = None
        self.ensure_positions(shape[1] if cache is None else cache.capacity[1])
        if cache is not None:
            positions = cache.positions(shape[1])
            if real is not None:
                indices = real.flatten().nonzero()[:, 0]
                positions, ids = positions.flatten()[indices], ids.flatten()[indices]
        elif real is None:
            positions = torch.arange(shape[1], device=ids.device)
        else:
            indices = _real_indices(real.flatten())
            positions = indices % shape[1] if branches is None else branches.positions.flatten()[indices]
            ids = ids.flatten()[indices]
        x = self.embed_tokens(ids).float()
        bias = bias_of(segment_mask(branches.segments)) if branches is not None else None
        unrotated = rotated = TokenLayout(None, shape, indices, bias)
        if self.config.positions == "learned":
            x = x + self.embed_positions(positions)
        else:
            here = x.device.type  # cast once for all layers, to the dtype of the projections' outputs
            dtype = torch.get_autocast_dtype(here) if torch.is_autocast_enabled(here) else x.dtype
            rotated = replace(unrotated, rotary=(self.cos[positions].to(dtype), self.sin[positions].to(dtype)))
        read: list[Tensor] = []
        for layer, block in enumerate(self.layers[: max(self.read_after, default=None)]):
            layout = unrotated if layer in self.config.no_rope_layers else rotated
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, layout, cache, layer, use_reentrant=False)
            else:
                x = block(x, layout, cache, layer)
            if layer + 1 in self.read_after:
                read.append(F.rms_norm(x, x.shape[-1:], eps=self.config.norm_eps))
        hidden = torch.cat(read, dim=-1) if read else self.norm(x)
        return hidden if real is None else hidden[: int(real.sum())]


def _real_indices(real: Tensor) -> Tensor:
    """Indices of the non-padding tokens, then of some padding: with fewer different sizes, freed memory fits again."""
    real_first = real.int().argsort(descending=True, stable=True)
    n_real = int(real.sum())
    return real_first[: -(-n_real // ROUND_TO) * ROUND_TO]


def up_to_last(mask: Tensor) -> Tensor:
    """(B, T), True up to the last True of each row. Attention is causal, so later tokens do not affect these."""
    return mask.flip(1).cummax(1).values.flip(1)


class LanguageModel(nn.Module):
    """The policy: hidden states and, from the head, next-token logits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Backbone(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.tie()

    def tie(self) -> None:
        """Make the head share the embedding's weights if the configuration says so."""
        if self.config.tie_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """ids (B, T) -> logits (B, T, V), in the compute dtype."""
        return self.lm_head(self.model(ids, cache))

    def cross_entropy(self, ids: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Sum of -log p(target) in nats where `mask` is True; ids, targets, mask: (B, T)."""
        return cross_entropy_sum(self._hidden_at(ids, mask), self.lm_head.weight, targets[mask])

    def logps(
        self, ids: Tensor, targets: Tensor, mask: Tensor, temperature: float = 1.0, branches: Branches | None = None
    ) -> tuple[Tensor, Tensor]:
        """log p(target) at `temperature`, (B, T), zero where `mask` is False; and the entropies where it is True, (N,).

        Both in nats. The entropies have no gradient.
        """
        hidden = self._hidden_at(ids, mask, branches)
        logps, entropy = token_logps(hidden, self.lm_head.weight, targets[mask], temperature)
        return torch.zeros(mask.shape, device=logps.device).masked_scatter(mask, logps), entropy

    def _hidden_at(self, ids: Tensor, mask: Tensor, branches: Branches | None = None) -> Tensor:
        """Hidden states where `mask` (B, T) is True, (N, D)."""
        if branches is not None:
            real = branches.segments >= 0
            return self.model(ids, real=real, branches=branches)[mask[real]]
        real = up_to_last(mask)
        return self.model(ids)[mask] if bool(real.all()) else self.model(ids, real=real)[mask[real]]


class HasBackbone(Protocol):
    """A network on top of a backbone: a language model, a reward model, a value network."""

    config: ModelConfig
    model: Backbone


def keep_layers(model: HasBackbone, n_layer: int) -> None:
    """Keep the first `n_layer` blocks and remove the others."""
    no_rope_layers = tuple(layer for layer in model.config.no_rope_layers if layer < n_layer)
    config = model.config.model_copy(update={"n_layer": n_layer, "no_rope_layers": no_rope_layers})
    model.config = model.model.config = config
    model.model.layers = model.model.layers[:n_layer]


def rotary_tables(
    seq_len: int, head_dim: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, 1, K) of every position; the first half of the sines is negative (arXiv:2104.09864).

    Always computed on the CPU in float64: at position 30,000 float32 would be wrong by 0.002 radians.
    """
    arange = partial(torch.arange, dtype=torch.float64, device="cpu")
    frequencies = theta ** -(arange(0, head_dim, 2) / head_dim)
    amplitude = 1.0
    if scaling is not None:
        kept = torch.tensor(scaling.kept(frequencies.tolist(), theta), dtype=torch.float64, device="cpu")
        frequencies = frequencies * (kept + (1 - kept) / scaling.factor)
        amplitude = scaling.amplitude
    angles = torch.outer(arange(seq_len), frequencies).unsqueeze(1)
    cos, sin = (amplitude * angles.cos()).float(), (amplitude * angles.sin()).float()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate x (B, T, H, K) by its positions. Pairs are (i, i + K/2), as in Hugging Face's weights."""
    cos, sin = (table.to(x.dtype) for table in rotary)
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)


@torch.no_grad()
def initialise(model: LanguageModel, seed: int) -> None:
    """Initial weights for training from scratch.

    Matrices are uniform with variance 1/fan_in, but those that write to the residual stream are zero, so that every
    block starts as the identity (as in nanochat and modded-nanogpt). Embeddings are N(0, 1), or N(0, 0.02²) if tied;
    the head is zero unless tied.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            nn.init.constant_(parameter, 0.0 if name.endswith(".bias") else 1.0)
        elif name.endswith(("o_proj.weight", "down_proj.weight", "lm_head.weight")):
            nn.init.zeros_(parameter)
        elif name.endswith(("embed_tokens.weight", "embed_positions.weight")):
            scale = 0.02 if model.config.tie_embeddings else 1.0
            parameter.normal_(0.0, scale, generator=generator)
        else:
            bound = math.sqrt(3 / parameter.shape[1])
            parameter.uniform_(-bound, bound, generator=generator)
