"""A model prepared for inference: projections of one input fused, weights in a format that is fast to read.

Decoding a token reads every weight once, so its time is bytes over bandwidth: bfloat16 takes half of float32, int8 half
of bfloat16, int4 half of int8 (Dettmers et al. 2022, arXiv:2208.07339; Frantar et al. 2022, arXiv:2210.17323). Tokens
are decoded in C (`inference/native.py`), prompts that are not short are read by PyTorch.

Weights are not always multiplied in the format that they are stored in. On processors without bfloat16 products
activations stay float32. For int8 and int4 weights C turns them into integers of up to 16 bits with one scale a row,
which is more exact than bfloat16.
"""

import functools
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from malmoi import device
from malmoi.errors import ConfigError
from malmoi.inference import native
from malmoi.model.config import ModelConfig
from malmoi.model.lora import LoraLinear, sharing_copy
from malmoi.model.transformer import LanguageModel

Weights = Literal["auto", "float32", "bfloat16", "int8", "int4"]
GROUP, ROWS, ALL = 32, 1024, slice(None)
# From this many inputs on PyTorch is faster, even though it must first convert the weights.
MANY_ROWS = 64
# Limits of the 12-bit format: above FEW_ROWS rows, unpacking is no longer hidden by memory reads; above this share of
# outliers it saves no bandwidth.
FEW_ROWS, MOST_RARE = 8, 0.01
LinearMaker = Callable[[Tensor, Tensor | None], nn.Module]
# Projections of one input: the first becomes the fused projection, the others None.
FUSED = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("up_proj",), ("down_proj",))


def weights_named(name: str) -> Weights:
    """A format by its name. Raises ConfigError that suggests the nearest name."""
    names = get_args(Weights)
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise ConfigError(f"weights: {name}: no such format; {hint}they are {', '.join(names)}")
    return cast(Weights, name)


class Int8Linear(nn.Module):
    """x · (int8 weight · scale)ᵀ + bias, one scale per output, symmetric."""

    bits = 8

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight: Tensor
        self.scale: Tensor
        self.bias = bias
        codes, scale = _by_rows(_int8, weight)
        self.register_buffer("weight", codes)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        return _multiplied(self, x)

    def dequantised(self, rows: slice = ALL) -> Tensor:
        return self.weight[rows] * self.scale[rows, None]


class Int4Linear(nn.Module):
    """x · dequantised weightᵀ + bias: 4 bits a weight, a scale and a zero for each group of 32 inputs.

    Each byte holds two codes of one group: the i-th in its low half, the (i + 16)-th in its high half.
    """

    bits = 4

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight: Tensor
        self.scale: Tensor
        self.zero: Tensor
        self.bias = bias
        codes, scale, zero = _by_rows(_int4, weight)
        self.register_buffer("weight", codes)
        self.register_buffer("scale", scale)
        self.register_buffer("zero", zero)

    def forward(self, x: Tensor) -> Tensor:
        return _multiplied(self, x)

    def dequantised(self, rows: slice = ALL) -> Tensor:
        weight, scale, zero = self.weight[rows], self.scale[rows], self.zero[rows]
        halves = weight.view(len(weight), -1, GROUP // 2)
        codes = torch.cat((halves & 15, halves >> 4), dim=2)
        return (codes * scale[..., None] + zero[..., None]).flatten(1)


class StoredLinear(nn.Module):
    """x · weightᵀ + bias, with the weight stored in bfloat16 and multiplied in float32: half as much to read."""

    bits = 16

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = _frozen(weight, torch.bfloat16)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        return _multiplied(self, x, most_rows=MANY_ROWS)

    def dequantised(self, rows: slice = ALL) -> Tensor:
        return self.weight[rows]


def _by_rows(quantise: Callable[[Tensor], tuple[Tensor, ...]], weight: Tensor) -> Iterator[Tensor]:
    """Quantise some rows at a time, so that the float32 scratch memory is small."""
    parts = [quantise(weight[row : row + ROWS].float()) for row in range(0, len(weight), ROWS)]
    return map(torch.cat, zip(*parts, strict=True))


def _int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.abs().amax(dim=1).clamp_min(1e-10) / 127
    return (weight / scale[:, None]).round().to(torch.int8), scale


def _int4(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    groups = weight.view(len(weight), -1, GROUP)
    zero, high = groups.amin(dim=2), groups.amax(dim=2)
    scale = (high - zero).clamp_min(1e-10) / 15
    codes = ((groups - zero[..., None]) / scale[..., None]).round().clamp(0, 15).to(torch.uint8)
    return (codes[..., : GROUP // 2] | (codes[..., GROUP // 2 :] << 4)).flatten(1), scale, zero


class CompactLinear(nn.Module):
    """x · weightᵀ + bias in bfloat16, with each weight in 12 bits and without loss: a quarter less to read.

    Nearly all weights of a matrix share 15 high bytes, so 4 bits can encode the high byte; the others are stored
    separately (`native.Compact`). Zhang et al. 2025 (arXiv:2504.11651) found that exponents carry little information,
    and use codes of variable length.
    """

    bits = 12

    def __init__(self, packed: native.Compact, bias: Tensor | None) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias = bias
        for name, tensor in packed._asdict().items():
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        flat, matrix = x.to(torch.bfloat16).flatten(0, -2), native.Matrix(self)
        if len(flat) < MANY_ROWS:
            out = matrix.multiply(flat).to(torch.bfloat16)
        else:
            out = F.linear(flat, matrix.unpacked(), None if self.bias is None else self.bias.to(torch.bfloat16))
        return out.view(*x.shape[:-1], -1)


class PackedLinear(nn.Module):
    """x weightᵀ + bias in bfloat16, with the weight in oneDNN's fastest layout: for networks that C does not support.

    On a CPU, for 1 to 32 rows, it takes 0.6 of the time of the plain product, which converts the layout on each call.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias = None if bias is None else bias.to(torch.bfloat16)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(torch.bfloat16).contiguous(), 1)
        self.register_buffer("weight", packed, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.to(torch.bfloat16).flatten(0, -2)
        out = torch.ops.mkldnn._linear_pointwise(flat, self.weight, self.bias, "none", [], "")
        return out.view(*x.shape[:-1], -1)


def _multiplied(linear: Int8Linear | Int4Linear | StoredLinear, x: Tensor, most_rows: int | None = None) -> Tensor:
    """In C; without C, or from `most_rows` rows on, by PyTorch with a part of the weights at a time."""
    dtype, flat = _activations(), x.flatten(0, -2)
    if native.multiplies(linear) and (most_rows is None or len(flat) < most_rows):
        out = native.Matrix(linear).multiply(flat).to(dtype)
    else:
        flat = flat.to(dtype)
        out = flat.new_empty(len(flat), len(linear.weight))
        with torch.autocast(flat.device.type, enabled=False):
            for first in range(0, out.shape[1], ROWS):
                rows = slice(first, first + ROWS)
                torch.mm(flat, linear.dequantised(rows).to(dtype).T, out=out[:, rows])
        if linear.bias is not None:
            out += linear.bias.to(dtype)
    return out.view(*x.shape[:-1], -1)


def stored_dtype(weights: Weights) -> torch.dtype | None:
    """The dtype to load the matrices of a model in that only answers (None: the file's): less memory, same answers."""
    as_it_is = weights in ("int8", "int4") or (weights == "auto" and training_format() == "float32")
    return None if as_it_is else dtype_of(weights)


def dtype_of(weights: Weights) -> torch.dtype:
    """The dtype of activations, keys and values; "auto" is the dtype that models are trained in."""
    if weights == "auto":
        weights = training_format()
    return torch.float32 if weights == "float32" else _activations()


def _activations() -> torch.dtype:
    """The dtype of activations if weights are not float32: bfloat16, unless this processor only emulates it."""
    on_cpu = device.current().torch_device.type == "cpu"
    return torch.float32 if on_cpu and not device.cpu_multiplies_bf16() else torch.bfloat16


def computes_float32() -> bool:
    """Whether activations are float32 for all formats of weights: then bfloat16 only changes how weights are stored."""
    return _activations() == torch.float32


def training_format() -> Weights:
    """The meaning of "auto" in training: the compute dtype."""
    return "float32" if device.current().compute_dtype == torch.float32 else "bfloat16"


@torch.no_grad()
def for_inference(model: LanguageModel, weights: Weights = "auto", n_rows: int = 1) -> LanguageModel:
    """A copy that decodes faster. It shares embedding and norms with `model`, which stays as it is.

    n_rows: most rows that will decode together
    """
    fast = sharing_copy(model)
    if weights == "auto":
        weights = training_format()
    make, n_more = _linear_maker(weights, model.config, n_rows), _missing_width(weights, model.config)
    for module in list(fast.modules()):
        for first, *others in FUSED:
            # Adapters are merged for a few matrices at a time, so that memory never holds a second model.
            projections = [_without_adapter(getattr(module, name, None)) for name in (first, *others)]
            if isinstance(projections[0], nn.Linear):
                more = (n_more * (first == "gate_proj"), n_more * (first == "down_proj"))
                setattr(module, first, _fused([_filled_up(p, *more) for p in projections if p is not None], make))
                for name in others:
                    setattr(module, name, None)
    # The head chooses the next token, and 4 bits are too few for that.
    head = _fused([fast.lm_head], _linear_maker("int8", model.config, n_rows) if weights == "int4" else make)
    if weights == "bfloat16" and model.config.tie_embeddings:
        table = (
            head.weight if isinstance(head, nn.Linear | StoredLinear) else _frozen(fast.lm_head.weight, torch.bfloat16)
        )
        fast.model.embed_tokens.weight = table
    fast.lm_head = head  # type: ignore[assignment]
    return fast.eval()


def _without_adapter(projection: Any) -> Any:
    return projection.merged() if isinstance(projection, LoraLinear) else projection


def _missing_width(weights: Weights, config: ModelConfig) -> int:
    """By how much C needs the feed-forward part wider. Zeros change no sum: silu(0) · 0 = 0.

    Not for int4, where a zero that shares its group with weights becomes a rounded one.
    """
    n_more = -config.n_ff % native.UNIT
    is_asked = n_more > 0 and weights != "int4"
    return n_more if is_asked and native.supports(config, dtype_of(weights), weights == "float32") else 0


@torch.no_grad()
def _filled_up(projection: nn.Linear, n_out: int, n_in: int) -> nn.Linear:
    """The projection with so many more outputs and inputs of zeros."""
    if not n_out and not n_in:
        return projection
    weight, bias = projection.weight, projection.bias
    wider = nn.Linear(weight.shape[1] + n_in, weight.shape[0] + n_out, bias=bias is not None, device="meta")
    wider.weight = _frozen(F.pad(weight, (0, n_in, 0, n_out)), weight.dtype)
    if bias is not None:
        wider.bias = _frozen(F.pad(bias, (0, n_out)), bias.dtype)
    return wider


def decoder_of(fast: LanguageModel, weights: Weights) -> native.Decoder | None:
    """The decoder in C for a model from `for_inference`; None if C cannot decode it here."""
    dtype, is_exact = dtype_of(weights), fast.lm_head.weight.dtype == torch.float32
    return native.Decoder(fast) if native.supports(fast.config, dtype, is_exact) else None


def _fused(projections: list[nn.Linear], make: LinearMaker) -> nn.Module:
    weight = (
        torch.cat([projection.weight for projection in projections]) if len(projections) > 1 else projections[0].weight
    )
    bias = None if projections[0].bias is None else torch.cat([projection.bias for projection in projections])
    return make(weight, bias)


def _linear_maker(weights: Weights, config: ModelConfig, n_rows: int) -> LinearMaker:
    """What makes a projection in this format here."""
    if weights in ("int8", "int4"):
        return partial(_quantised, weights)
    if weights == "bfloat16" and device.current().torch_device.type == "cpu":
        if _activations() == torch.float32:
            return StoredLinear
        if native.supports(config, torch.bfloat16):
            is_faster = n_rows <= FEW_ROWS and native.prefers_compact()
            return _compact if is_faster else partial(_plain, torch.bfloat16)
        if _packs_bf16():
            return PackedLinear
    return partial(_plain, torch.float32 if weights == "float32" else torch.bfloat16)


@functools.cache
def _packs_bf16() -> bool:
    """Whether `PackedLinear` works here: oneDNN needs instructions that not every build and processor has."""
    try:
        with torch.no_grad():
            PackedLinear(torch.ones(32, 32), None)(torch.ones(1, 32))
    except (RuntimeError, AttributeError):
        return False
    return True


def _plain(dtype: torch.dtype, weight: Tensor, bias: Tensor | None) -> nn.Module:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = _frozen(weight, dtype)
    if bias is not None:
        linear.bias = _frozen(bias, dtype)
    return linear


def _compact(weight: Tensor, bias: Tensor | None) -> nn.Module:
    if weight.shape[1] % native.PAIR == 0:
        packed = native.compacted(weight.detach().to(torch.bfloat16))
        if len(packed.rare) <= MOST_RARE * weight.numel():
            return CompactLinear(packed, bias)
    return _plain(torch.bfloat16, weight, bias)


def _quantised(weights: Weights, weight: Tensor, bias: Tensor | None) -> nn.Module:
    if weights == "int4" and weight.shape[1] % GROUP:
        width = weight.shape[1]
        raise ConfigError(
            f"weights: int4 has groups of {GROUP} inputs, and a layer here has {width}; int8 takes any width"
        )
    if weight.device.type != "cpu":
        raise ConfigError(f"weights: {weights} runs only on a CPU; use bfloat16 here")
    return (Int8Linear if weights == "int8" else Int4Linear)(weight, bias)


def _frozen(weight: Tensor, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(weight.detach().to(dtype), requires_grad=False)
