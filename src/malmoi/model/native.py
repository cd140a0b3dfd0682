"""Decoding in C: compiled when it is first needed, and done without where there is no compiler.

The library lies in the user's cache folder, under the hash of its source, its compiler's options and this processor.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from malmoi import device
from malmoi.model.config import ModelConfig
from malmoi.model.kv_cache import KVCache
from malmoi.model.transformer import Block, FeedForward, LanguageModel

SOURCES = tuple(Path(__file__).with_name(name) for name in ("products.h", "decode.c", "weights.c"))
# Sums may be reordered; all of -ffast-math would also change how the whole process rounds.
REORDERED = ("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno", "-freciprocal-math")
OPTIONS = ("-O3", "-march=native", *REORDERED, "-fopenmp", "-fPIC", "-shared", "-std=gnu11")
UNIT, PAIR, TILE = 32, 64, 4
KINDS = {16: 0, 8: 1, 4: 2, 12: 3}  # by the bits of a weight
LONGEST_COMPILATION_S = 120


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
        ("is_turned", ctypes.c_int64),
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
        ("lengths", ctypes.c_void_p),
    ]


def supports(config: ModelConfig) -> bool:
    """Whether `Decoder` computes this network here: Llama and its near relatives, on a CPU, with a C compiler."""
    widths = (config.n_embd, config.n_ff, config.head_dim)
    return (
        (config.norm, config.ff, config.positions) == ("rms", "swiglu", "rope")
        and not any(width % UNIT for width in widths)
        and not config.vocab_size % TILE
        and device.current().torch_device.type == "cpu"
        and library() is not None
    )


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled code; None where there is no compiler, or MALMOI_NATIVE=0 forbids it."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or os.environ.get("MALMOI_NATIVE") == "0":
        return None
    try:
        found = ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError):
        return None
    for function in (found.scratch_size, found.prefers_compact):
        function.restype = ctypes.c_int64
    return found


def _compiled(compiler: str) -> Path:
    """Raises SubprocessError when the compiler fails, OSError when nothing can be written or run."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "malmoi"
    named = "\0".join((*(source.read_text() for source in SOURCES), compiler, *OPTIONS, _processor()))
    path = folder / f"decode-{hashlib.sha256(named.encode()).hexdigest()[:16]}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            made = Path(partial) / path.name
            command = [compiler, *OPTIONS, "-o", str(made), *(str(s) for s in SOURCES if s.suffix == ".c"), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=LONGEST_COMPILATION_S)
            made.replace(path)
    return path


def _processor() -> str:
    """What -march=native looks at: a home folder may be shared by machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="ignore").splitlines()
    except OSError:
        lines = []
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


class Matrix:
    """The weights of a projection where C finds them.

    weight: (N, D) bfloat16 or int8, (N, D / 2) uint8 with two int4 in each, or (N, D · 3/2) uint8 of `Compact`
    scale: (N,) of int8, (N, D / 32) of int4; zero: (N, D / 32); bias: (N,)
    """

    def __init__(self, linear: nn.Module) -> None:
        bits: int = getattr(linear, "bits", 16)
        self.weight: Tensor = linear.weight.detach().contiguous()  # type: ignore[operator]
        floats = [getattr(linear, name, None) for name in ("scale", "zero", "bias")]
        self._kept = [tensor if tensor is None else tensor.detach().float() for tensor in floats]
        self._kept += [getattr(linear, name, None) for name in Compact._fields[1:]]
        self.n_out = len(self.weight)
        self.n_in = self.weight.shape[1] * self.weight.itemsize * 8 // bits
        self.c = _Matrix(KINDS[bits], self.n_out, self.n_in, self.weight.data_ptr(), *map(pointer, self._kept))

    def multiply(self, x: Tensor) -> Tensor:
        """x (B, D) · weightᵀ, and the bias -> (B, N), float32; products run in bfloat16."""
        code, x = _code(), x.to(torch.bfloat16).contiguous()
        out = torch.empty(len(x), self.n_out)
        code.multiply(ctypes.byref(self.c), pointer(x), ctypes.c_int64(len(x)), pointer(out), _n_threads())
        return out

    def unpacked(self) -> Tensor:
        """(N, D), bfloat16; int8 waits for its scale."""
        out = torch.empty(self.n_out, self.n_in, dtype=torch.bfloat16)
        _code().unpack(ctypes.byref(self.c), pointer(out), _n_threads())
        return out


class Compact(NamedTuple):
    """bfloat16 weights (N, D) in 12 bits each, and without loss: see products.h.

    weight: (N, D · 3/2) uint8; high: (16,) uint8; rare_from: (N + 1,) int64; rare_at (int32), rare (bfloat16): (R,)
    """

    weight: Tensor
    high: Tensor
    rare_from: Tensor
    rare_at: Tensor
    rare: Tensor


def compacted(weight: Tensor) -> Compact:
    """weight: (N, D) bfloat16, D a multiple of 64."""
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
    """Whether this processor reads 12 bits faster than 16."""
    return bool(_code().prefers_compact())


def _code() -> ctypes.CDLL:
    code = library()
    assert code is not None
    return code


def _n_threads() -> ctypes.c_int64:
    return ctypes.c_int64(device.current().n_threads)


class Decoder:
    """Gives each of some rows its next token's logits. Made from a model as `for_inference` leaves it."""

    def __init__(self, model: LanguageModel) -> None:
        config, backbone = model.config, model.model
        self._embed = backbone.embed_tokens
        self._kept: list[Any] = [backbone.embed_tokens]
        layers = (_Layer * config.n_layer)(
            *(
                self._layer(block, is_turned=number not in config.no_rope_layers)
                for number, block in enumerate(backbone.layers)
            )
        )
        self._kept.append(layers)
        self._backbone = backbone
        self._tables = [table.float().contiguous() for table in (backbone.cos, backbone.sin)]
        self._network = _Network(
            config.n_layer, config.n_head, config.n_kv_head, config.head_dim, config.n_embd, config.n_ff,
            device.current().n_threads, config.norm_eps, layers, self._floats(backbone.norm.weight),
            *map(pointer, self._tables), self._matrix(model.lm_head),
        )  # fmt: skip
        self._vocab_size = config.vocab_size
        self._scratch = torch.empty(0)

    def __call__(self, ids: Tensor, cache: KVCache) -> Tensor:
        """ids (B,), one new token a row -> logits (B, V), float32; its keys and values go into the cache.

        The cache's lengths stay as they are: `advance` counts the token.
        """
        code = _code()
        assert ids.device.type == "cpu" and cache.keys.dtype == torch.bfloat16
        n_rows, n_positions = len(ids), int(cache.lengths.max()) + 1
        self._reach(n_positions)
        assert n_positions <= cache.capacity[1] and n_rows <= cache.capacity[0], "C writes there"
        needed = code.scratch_size(ctypes.byref(self._network), ctypes.c_int64(n_rows), ctypes.c_int64(n_positions))
        if len(self._scratch) < needed:
            self._scratch = torch.empty(2 * needed)
        hidden = self._embed(ids).float().contiguous()
        logits = torch.empty(n_rows, self._vocab_size)
        stride = cache.keys.stride()
        lengths = cache.lengths.contiguous()
        into = _Cache(cache.keys.data_ptr(), cache.values.data_ptr(), *stride[:3], lengths.data_ptr())
        code.decode(
            ctypes.byref(self._network), ctypes.byref(into), ctypes.c_int64(n_rows), ctypes.c_int64(n_positions),
            *map(pointer, (hidden, logits, self._scratch)),
        )  # fmt: skip
        return logits

    def _reach(self, n_positions: int) -> None:
        """Have rotary tables for so many positions."""
        if n_positions > len(self._tables[0]):
            self._backbone.reach(n_positions)
            self._tables = [table.float().contiguous() for table in (self._backbone.cos, self._backbone.sin)]
            self._network.cos, self._network.sin = (table.data_ptr() for table in self._tables)
        assert n_positions <= len(self._tables[0]), "more positions than the network has"

    def _matrix(self, linear: nn.Module) -> _Matrix:
        matrix = Matrix(linear)
        self._kept.append(matrix)
        return matrix.c

    def _floats(self, tensor: Tensor) -> int:
        tensor = tensor.detach().float().contiguous()
        self._kept.append(tensor)
        return tensor.data_ptr()

    def _layer(self, block: nn.Module, is_turned: bool) -> _Layer:
        assert isinstance(block, Block)
        attention, ff = block.self_attn, cast(FeedForward, block.mlp)
        has_norms = attention.config.qk_norm
        return _Layer(
            self._matrix(attention.q_proj), self._matrix(attention.o_proj), self._matrix(ff.gate_proj),
            self._matrix(ff.down_proj), self._floats(block.input_layernorm.weight),
            self._floats(block.post_attention_layernorm.weight),
            self._floats(attention.q_norm.weight) if has_norms else None,
            self._floats(attention.k_norm.weight) if has_norms else None, is_turned,
        )  # fmt: skip
