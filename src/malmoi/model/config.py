"""The shape of a network, described by its features; `formats/huggingface.py` knows which family has which features."""

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from malmoi.config import Settings

# Tables of positions are as long as the context: no file may claim a context whose tables fill the memory.
LONGEST = 2**20

Shape = tuple[int, ...]


class _Scaling(Settings):
    """How rotary frequencies change for a longer context: a share of each is kept, the rest is divided by `factor`."""

    factor: float = Field(ge=1)
    """How many times longer the context became."""

    @property
    def amplitude(self) -> float:
        """Factor of the rotated queries and keys."""
        return 1.0

    def kept(self, frequencies: list[float], theta: float) -> list[float]:
        """The share of each frequency that is kept, in [0, 1]. frequencies: in radians per token"""
        return [0.0] * len(frequencies)


class LinearRope(_Scaling):
    """All frequencies are divided (arXiv:2306.15595)."""

    kind: Literal["linear"] = "linear"


class Llama3Rope(_Scaling):
    """High frequencies are kept, low ones divided, those between blended (Llama 3.1, arXiv:2407.21783)."""

    kind: Literal["llama3"] = "llama3"
    original_seq_len: int = Field(gt=0, le=LONGEST)
    """Context before it was made longer, in tokens."""
    low_freq_factor: float = Field(gt=0)
    """A frequency with fewer rotations than this within the original context is divided entirely."""
    high_freq_factor: float = Field(gt=0)
    """A frequency with more rotations than this within the original context is kept."""

    @model_validator(mode="after")
    def _low_is_lower(self) -> "Llama3Rope":
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(f"low_freq_factor {self.low_freq_factor} is not below high_freq_factor")
        return self

    def kept(self, frequencies: list[float], theta: float) -> list[float]:
        rotations = [self.original_seq_len * frequency / (2 * math.pi) for frequency in frequencies]
        return [_ramp(n, self.low_freq_factor, self.high_freq_factor) for n in rotations]


class YarnRope(_Scaling):
    """Like Llama 3's, but blended over the index of the frequency and with sharper attention (arXiv:2309.00071)."""

    kind: Literal["yarn"] = "yarn"
    original_seq_len: int = Field(gt=0, le=LONGEST)
    """Context before it was made longer, in tokens."""
    beta_fast: float = Field(32.0, gt=0)
    """A frequency with more rotations than this within the original context is kept."""
    beta_slow: float = Field(1.0, gt=0)
    """A frequency with fewer rotations than this within the original context is divided entirely."""
    attention_factor: float | None = Field(None, gt=0)
    """The amplitude; None: 0.1 ln(factor) + 1, as in the paper."""
    truncate: bool = True
    """Round the blended range outwards to whole indices."""

    @property
    def amplitude(self) -> float:
        return self.attention_factor or 0.1 * math.log(self.factor) + 1

    def kept(self, frequencies: list[float], theta: float) -> list[float]:
        width = 2 * len(frequencies)
        first, last = (
            width * math.log(self.original_seq_len / (2 * math.pi * n_rotations)) / (2 * math.log(theta))
            for n_rotations in (self.beta_fast, self.beta_slow)
        )
        if self.truncate:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, width - 1)
        if first == last:
            last += 0.001
        return [1 - _ramp(index, first, last) for index in range(len(frequencies))]


RopeScaling = Annotated[LinearRope | Llama3Rope | YarnRope, Field(discriminator="kind")]


class ModelConfig(Settings):
    """A decoder-only transformer. The defaults are a Qwen3; other features make it a Llama, Qwen2, SmolLM3 or GPT-2."""

    vocab_size: int = Field(0, ge=0)
    """Rows of the embedding. 0 in a recipe: the tokenizer's number of tokens."""
    n_layer: int = Field(4, gt=0)
    """Blocks of attention and feed-forward."""
    n_embd: int = Field(192, gt=0)
    """Width D of the residual stream."""
    n_head: int = Field(4, gt=0)
    """Query heads H."""
    n_kv_head: int = Field(2, gt=0)
    """Key and value heads; each serves n_head / n_kv_head query heads (arXiv:2305.13245)."""
    head_dim: int = Field(64, gt=0)
    """Width K of one head; even, for the rotary embedding."""
    n_ff: int = Field(512, gt=0)
    """Width of the feed-forward layer."""
    seq_len: int = Field(256, gt=0, le=LONGEST)
    """Longest sequence, in tokens."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm (arXiv:1910.07467), or LayerNorm with a bias (arXiv:1607.06450)."""
    norm_eps: float = Field(1e-6, ge=0)
    """Added to the mean square, or to the variance, before the root is taken."""
    ff: Literal["swiglu", "gelu"] = "swiglu"
    """Gated with SiLU (SwiGLU, arXiv:2002.05202), or two matrices with GELU between (arXiv:1606.08415, tanh form)."""
    positions: Literal["rope", "learned"] = "rope"
    """Rotated queries and keys (arXiv:2104.09864), or a learned vector for each position, added to the embedding."""
    rope_theta: float = Field(10_000.0, gt=1)
    """Base of the rotary frequencies."""
    rope_scaling: RopeScaling | None = None
    """How the rotary frequencies were changed for a longer context."""
    no_rope_layers: tuple[int, ...] = ()
    """Layers, from 0, whose queries and keys are not rotated, as in SmolLM3 (arXiv:2501.18795)."""
    qkv_bias: bool = False
    """Biases on queries, keys and values."""
    o_bias: bool = False
    """A bias on the output of attention."""
    ff_bias: bool = False
    """Biases in the feed-forward layer."""
    qk_norm: bool = True
    """Normalise queries and keys per head, as Qwen3 does (arXiv:2505.09388)."""
    tie_embeddings: bool = False
    """Use the embedding as the output head as well."""

    @model_validator(mode="after")
    def _features_agree(self) -> "ModelConfig":
        if self.n_head % self.n_kv_head:
            raise ValueError(f"n_head {self.n_head} is not a multiple of n_kv_head {self.n_kv_head}")
        if self.positions == "learned" and (self.rope_scaling or self.no_rope_layers):
            raise ValueError("learned positions have neither rope_scaling nor no_rope_layers")
        if self.positions == "rope" and self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd; the rotary embedding rotates pairs")
        if any(not 0 <= layer < self.n_layer for layer in self.no_rope_layers):
            raise ValueError(f"no_rope_layers {self.no_rope_layers}: layers are numbered 0 to {self.n_layer - 1}")
        return self

    def shapes(self, head: bool = True) -> Iterator[tuple[str, Shape]]:
        """Names and shapes of a language model's weights. A tied head is the embedding and has no name of its own."""
        yield "model.embed_tokens.weight", (self.vocab_size, self.n_embd)
        if self.positions == "learned":
            yield "model.embed_positions.weight", (self.seq_len, self.n_embd)
        block = sorted(self._block_shapes().items())
        for layer in range(self.n_layer):
            yield from ((f"model.layers.{layer}.{name}", shape) for name, shape in block)
        yield from ((f"model.{name}", shape) for name, shape in self._norm_shapes("norm").items())
        if head and not self.tie_embeddings:
            yield "lm_head.weight", (self.vocab_size, self.n_embd)

    def _block_shapes(self) -> dict[str, Shape]:
        width, q_width, kv_width = self.n_embd, self.n_head * self.head_dim, self.n_kv_head * self.head_dim
        projections = {
            "self_attn.q_proj": (q_width, width, self.qkv_bias),
            "self_attn.k_proj": (kv_width, width, self.qkv_bias),
            "self_attn.v_proj": (kv_width, width, self.qkv_bias),
            "self_attn.o_proj": (width, q_width, self.o_bias),
            **({"mlp.gate_proj": (self.n_ff, width, self.ff_bias)} if self.ff == "swiglu" else {}),
            "mlp.up_proj": (self.n_ff, width, self.ff_bias),
            "mlp.down_proj": (width, self.n_ff, self.ff_bias),
        }
        shapes: dict[str, Shape] = self._norm_shapes("input_layernorm") | self._norm_shapes("post_attention_layernorm")
        if self.qk_norm:
            shapes |= {f"self_attn.{name}_norm.weight": (self.head_dim,) for name in "qk"}
        for name, (n_out, n_in, bias) in projections.items():
            shapes[f"{name}.weight"] = (n_out, n_in)
            if bias:
                shapes[f"{name}.bias"] = (n_out,)
        return shapes

    def _norm_shapes(self, name: str) -> dict[str, Shape]:
        kinds = ("weight",) if self.norm == "rms" else ("weight", "bias")
        return {f"{name}.{kind}": (self.n_embd,) for kind in kinds}

    def n_parameters(self) -> int:
        """Weights of the language model, with the output head. Tied weights count once."""
        return sum(math.prod(shape) for _, shape in self.shapes())

    def flops_per_token(self) -> int:
        """Floating-point operations of forward and backward for one token (6 N rule, plus attention)."""
        n_looked_up = 0 if self.tie_embeddings else self.vocab_size * self.n_embd
        n_looked_up += self.seq_len * self.n_embd if self.positions == "learned" else 0
        attention = 6 * self.n_layer * self.n_head * self.head_dim * self.seq_len
        return 6 * (self.n_parameters() - n_looked_up) + attention


def _ramp(x: float, low: float, high: float) -> float:
    return min(max((x - low) / (high - low), 0.0), 1.0)
