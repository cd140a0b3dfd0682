"""Decoding in C: the C structures of a network and its weights, and the calls. `compiled.py` loads the library."""

import ctypes
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from malmoi import device
from malmoi.inference.compiled import library
from malmoi.model.config import ModelConfig
from malmoi.model.kv_cache import KVCache
from malmoi.model.transformer import Block, FeedForward, LanguageModel

UNIT, PAIR, TILE = 32, 64, 4
KINDS = {16: 0, 8: 1, 4: 2, 12: 3, 32: 4}  # by the bits of a weight


class _Matrix(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("kind", "n_out", "n_in")),
        *((name, ctypes.c_void_p) for name in ("weight", "scale", "zero", "bias")),
        *((name, ctypes.c_void_p) for name in ("high", "rare_from", "rare_at", "rare")),
    ]


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, _Matrix) for name in ("qkv", "o", "gate_up", "down")),
        *((name, ctypes.c_void_p) for name in ("input_norm", "ff_norm", "q_norm", "k_norm")),
        ("is_rotated", ctypes.c_int64),
    ]


class _Network(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_int64)
            for name in ("n_layer", "n_head", "n_kv_head", "head_dim", "width", "n_ff", "n_threads")
        ),
        ("norm_eps", ctypes.c_float),
        ("layers", ctypes.POINTER(_Layer)),
        *((name, ctypes.c_void_p) for name in ("norm", "cos", "sin")),
        ("head", _Matrix),
    ]


class _Cache(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("keys", "values")),
        *((name, ctypes.c_int64) for name in ("layer_stride", "row_stride", "head_stride")),
        *((name, ctypes.c_void_p) for name in ("at", "rows")),
    ]


def supports(config: ModelConfig, dtype: torch.dtype, is_exact: bool = False) -> bool:
    """Whether `Decoder` can compute this network here: Llama and similar networks, on a CPU, with a C compiler.

    dtype: of its activations; is_exact: whether its weights are float32. `for_inference` fills up the width of its
    feed-forward part, whatever it is
    """
    widths = (config.n_embd, config.head_dim)
    return (
        (config.norm, config.ff, config.positions) == ("rms", "swiglu", "rope")
        and not any(width % UNIT for width in widths)
        and device.current().torch_device.type == "cpu"
        and library() is not None
        and input_dtype(is_exact) == dtype
    )


def multiplies(linear: nn.Module) -> bool:
    """Whether `Matrix` can multiply with these weights here."""
    weight = cast(Tensor, linear.weight)
    fits = len(weight) >= TILE and _n_in(linear) % UNIT == 0
    return fits and weight.device.type == "cpu" and library() is not None


def input_dtype(is_exact: bool) -> torch.dtype:
    """The dtype of inputs in C: bfloat16 if this processor has bfloat16 products and weights are not float32."""
    return torch.bfloat16 if not is_exact and _code().multiplies_bf16() else torch.float32


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _bits(linear: nn.Module) -> int:
    return getattr(linear, "bits", 8 * cast(Tensor, linear.weight).itemsize)


def _n_in(linear: nn.Module) -> int:
    weight = cast(Tensor, linear.weight)
    return weight.shape[1] * weight.itemsize * 8 // _bits(linear)


class Matrix:
    """The weights of a projection, as C reads them.

    weight: (N, D) float32, bfloat16 or int8; (N, D / 2) uint8 with two int4 in each; or (N, D · 3/2) uint8 of `Compact`
    scale: (N,) for int8, (N, D / 32) for int4; zero: (N, D / 32); bias: (N,)
    """

    def __init__(self, linear: nn.Module) -> None:
        self.weight: Tensor = linear.weight.detach().contiguous()  # type: ignore[operator]
        floats = [getattr(linear, name, None) for name in ("scale", "zero", "bias")]
        self._kept = [tensor if tensor is None else tensor.detach().float() for tensor in floats]
        self._kept += [getattr(linear, name, None) for name in Compact._fields[1:]]
        self.n_out = len(self.weight)
        self.n_in = _n_in(linear)
        self.c = _Matrix(KINDS[_bits(linear)], self.n_out, self.n_in, self.weight.data_ptr(), *map(pointer, self._kept))

    def multiply(self, x: Tensor) -> Tensor:
        """x (B, D) · weightᵀ + bias -> (B, N), float32."""
        x = x.float().contiguous()
        out, packed = torch.empty(len(x), self.n_out), torch.empty_like(x)
        n_rows = ctypes.c_int64(len(x))
        _code().multiply(ctypes.byref(self.c), pointer(x), n_rows, pointer(out), pointer(packed), _n_threads())
        return out

    def unpacked(self, first: int = 0, last: int | None = None) -> Tensor:
        """Rows [first, last) of (N, D), in the dtype of C's products. int8 weights are not yet multiplied by scale."""
        n_rows = (self.n_out if last is None else last) - first
        out = torch.empty(n_rows, self.n_in, dtype=input_dtype(is_exact=False))
        _code().unpack(ctypes.byref(self.c), ctypes.c_int64(first), ctypes.c_int64(n_rows), pointer(out), _n_threads())
        return out


class Compact(NamedTuple):
    """bfloat16 weights (N, D) in 12 bits each, without loss: see products.h.

    weight: (N, D · 3/2) uint8; high: (16,) uint8; rare_from: (N + 1,) int64; rare_at (int32), rare (bfloat16): (R,)
    """

    weight: Tensor
    high: Tensor
    rare_from: Tensor
    rare_at: Tensor
    rare: Tensor


def compacted(weight: Tensor) -> Compact:
    """The 12-bit form of weight: (N, D) bfloat16, D a multiple of 64."""
    code, weight = _code(), weight.contiguous()
    n_out, n_in = weight.shape
    high, rare_from = torch.empty(16, dtype=torch.uint8), torch.empty(n_out + 1, dtype=torch.int64)
    plain = (pointer(weight), ctypes.c_int64(n_out), ctypes.c_int64(n_in))
    chosen = (pointer(high), pointer(rare_from))
    code.choose_high(*plain, *chosen, _n_threads())
    n_rare = int(rare_from[-1])
    rare_at, rare = torch.empty(n_rare, dtype=torch.int32), torch.empty(n_rare, dtype=torch.bfloat16)
    packed = torch.empty(n_out, n_in // 2 * 3, dtype=torch.uint8)
    code.compact(*plain, *chosen, *map(pointer, (packed, rare_at, rare)), _n_threads())
    return Compact(packed, high, rare_from, rare_at, rare)


def prefers_compact() -> bool:
    """Whether this processor can read 12-bit weights, and reads them faster than 16-bit ones."""
    return bool(_code().multiplies_bf16())


def _code() -> ctypes.CDLL:
    code = library()
    assert code is not None
    return code


_LIMITS = threading.local()


def limit_threads(n: int) -> None:
    """Let what the calling thread computes from now on, in C or by PyTorch, use at most n threads."""
    _LIMITS.most = n
    before = torch.get_num_threads()
    torch.set_num_threads(min(n, before))
    # OpenMP counts for each thread, but PyTorch gives new threads the count that was set last, wherever that was.
    others = threading.Thread(target=torch.set_num_threads, args=(before,))
    others.start()
    others.join()


def _n_threads() -> ctypes.c_int64:
    return ctypes.c_int64(min(device.current().n_threads, getattr(_LIMITS, "most", device.current().n_threads)))


class Decoder:
    """Computes the next tokens' logits of several rows in C. model: as `for_inference` returns it

    All calls share one scratch memory, so calls from several threads wait for each other.
    """

    def __init__(self, model: LanguageModel) -> None:
        config, backbone = model.config, model.model
        self._embed = backbone.embed_tokens
        self._kept: list[Any] = [backbone.embed_tokens]
        layers = (_Layer * config.n_layer)(
            *(
                self._layer(block, is_rotated=number not in config.no_rope_layers)
                for number, block in enumerate(backbone.layers)
            )
        )
        self._kept.append(layers)
        # C reads inputs in such units without checks.
        assert not any(
            matrix.n_in % UNIT for layer in layers for matrix in (layer.qkv, layer.o, layer.gate_up, layer.down)
        )
        self._backbone = backbone
        self._tables = [table.float().contiguous() for table in (backbone.cos, backbone.sin)]
        self._network = _Network(
            config.n_layer, config.n_head, config.n_kv_head, config.head_dim, config.n_embd,
            layers[0].down.n_in, device.current().n_threads, config.norm_eps, layers,
            self._floats(backbone.norm.weight), *map(pointer, self._tables), self._matrix(model.lm_head),
        )  # fmt: skip
        self._vocab_size = config.vocab_size
        self._dtype = input_dtype(is_exact=layers[0].qkv.kind == KINDS[32])
        self._scratch = torch.empty(0)
        self._lock = threading.Lock()

    def __call__(self, ids: Tensor, cache: KVCache, counts: Sequence[int] | None = None) -> Tensor:
        """Logits (B, V), float32, after the last new token of each row. The cache gets keys and values of all.

        ids: (B,), one new token a row; or `counts` of them, at least one, of each row, one row after the other
        The cache's lengths stay the same: the caller calls `advance`.
        """
        code = _code()
        n_rows, at = len(cache.lengths), cache.lengths.contiguous()
        rows = last = None
        if counts is not None:
            assert len(counts) == n_rows and min(counts) > 0
            n_each = torch.tensor(counts)
            ends = n_each.cumsum(0)
            rows, last = torch.arange(n_rows).repeat_interleave(n_each), ends - 1
            at = torch.arange(len(rows)) + (at - ends + n_each)[rows]
        n_tokens, n_positions = len(at), int(at.max()) + 1
        assert ids.device.type == "cpu" and cache.keys.dtype == cache.values.dtype == self._dtype
        # C reads and writes the cache without checks.
        assert len(ids) == n_tokens and n_rows <= cache.capacity[0] and int(at.min()) >= 0
        assert n_positions <= cache.capacity[1], "the cache is full"
        stride = cache.keys.stride()
        assert stride == cache.values.stride() and stride[3:] == (cache.keys.shape[4], 1)
        hidden = self._embed(ids).float().contiguous()
        logits = torch.empty(n_rows, self._vocab_size)
        into = _Cache(cache.keys.data_ptr(), cache.values.data_ptr(), *stride[:3], *map(pointer, (at, rows)))
        sizes = (ctypes.c_int64(n_tokens), ctypes.c_int64(n_positions))
        with self._lock:
            self._ensure_positions(n_positions)
            self._network.n_threads = _n_threads()
            needed = code.scratch_size(ctypes.byref(self._network), *sizes)
            if len(self._scratch) < needed:
                self._scratch = torch.empty(2 * needed)
            code.decode(
                ctypes.byref(self._network), ctypes.byref(into), *sizes, pointer(last), ctypes.c_int64(n_rows),
                *map(pointer, (hidden, logits, self._scratch)),
            )  # fmt: skip
        return logits

    def _ensure_positions(self, n_positions: int) -> None:
        """Extend the rotary tables to this many positions."""
        if n_positions > len(self._tables[0]):
            self._backbone.ensure_positions(n_positions)
            self._tables = [table.float().contiguous() for table in (self._backbone.cos, self._backbone.sin)]
            self._network.cos, self._network.sin = (table.data_ptr() for table in self._tables)
        assert n_positions <= len(self._tables[0]), "more positions than the network's context"

    def _matrix(self, linear: nn.Module) -> _Matrix:
        matrix = Matrix(linear)
        self._kept.append(matrix)
        return matrix.c

    def _floats(self, tensor: Tensor) -> int:
        tensor = tensor.detach().float().contiguous()
        self._kept.append(tensor)
        return tensor.data_ptr()

    def _layer(self, block: nn.Module, is_rotated: bool) -> _Layer:
        assert isinstance(block, Block)
        attention, ff = block.self_attn, cast(FeedForward, block.mlp)
        has_norms = attention.config.qk_norm
        return _Layer(
            self._matrix(attention.q_proj), self._matrix(attention.o_proj), self._matrix(ff.gate_proj),
            self._matrix(ff.down_proj), self._floats(block.input_layernorm.weight),
            self._floats(block.post_attention_layernorm.weight),
            self._floats(attention.q_norm.weight) if has_norms else None,
            self._floats(attention.k_norm.weight) if has_norms else None, is_rotated,
        )  # fmt: skip
