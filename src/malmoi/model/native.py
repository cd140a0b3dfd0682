"""One decoding step in C: compiled when it is first needed, and done without where there is no compiler.

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
from typing import Any, cast

import torch
from torch import Tensor, nn

from malmoi import device
from malmoi.model.config import ModelConfig
from malmoi.model.kv_cache import KVCache
from malmoi.model.transformer import Block, FeedForward, LanguageModel

SOURCE = Path(__file__).with_name("decode.c")
# Sums may be reordered; all of -ffast-math would also change how the whole process rounds.
REORDERED = ("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno", "-freciprocal-math")
OPTIONS = ("-O3", "-march=native", *REORDERED, "-fopenmp", "-fPIC", "-shared", "-std=gnu11")
UNIT, TILE = 32, 4
KINDS = {torch.bfloat16: 0, torch.int8: 1, torch.uint8: 2}
LONGEST_COMPILATION_S = 120


class _Matrix(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("kind", "n_out", "n_in")),
        *((name, ctypes.c_void_p) for name in ("weight", "scale", "zero", "bias")),
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
    found.scratch_size.restype = ctypes.c_int64
    return found


def _compiled(compiler: str) -> Path:
    """Raises SubprocessError when the compiler fails, OSError when nothing can be written or run."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "malmoi"
    named = "\0".join((SOURCE.read_text(), compiler, *OPTIONS, _processor()))
    path = folder / f"decode-{hashlib.sha256(named.encode()).hexdigest()[:16]}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            made = Path(partial) / path.name
            command = [compiler, *OPTIONS, "-o", str(made), str(SOURCE), "-lm"]
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


class Matrix:
    """The weights of a projection where C finds them.

    weight: (N, D) bfloat16 or int8, or (N, D / 2) uint8 with two int4 in each
    scale: (N,) of int8, (N, D / 32) of int4; zero: (N, D / 32); bias: (N,)
    """

    def __init__(self, linear: nn.Module) -> None:
        weight: Tensor = linear.weight  # type: ignore[assignment]
        floats = [getattr(linear, name, None) for name in ("scale", "zero", "bias")]
        self._kept = [weight.detach().contiguous(), *(None if t is None else t.detach().float() for t in floats)]
        self.n_out, self.n_in = weight.shape[0], weight.shape[1] * (2 if weight.dtype == torch.uint8 else 1)
        pointers = (None if tensor is None else tensor.data_ptr() for tensor in self._kept)
        self.c = _Matrix(KINDS[weight.dtype], self.n_out, self.n_in, *pointers)

    def multiply(self, x: Tensor) -> Tensor:
        """x (B, D) · weightᵀ + bias -> (B, N), float32; products run in bfloat16."""
        code = library()
        assert code is not None
        x, out = x.to(torch.bfloat16).contiguous(), torch.empty(len(x), self.n_out)
        code.multiply(
            ctypes.byref(self.c), ctypes.c_void_p(x.data_ptr()), ctypes.c_int64(len(x)),
            ctypes.c_void_p(out.data_ptr()), ctypes.c_int64(device.current().n_threads),
        )  # fmt: skip
        return out


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
        tables = (table.squeeze(1) for table in (backbone.cos, backbone.sin))
        self._network = _Network(
            config.n_layer, config.n_head, config.n_kv_head, config.head_dim, config.n_embd, config.n_ff,
            device.current().n_threads, config.norm_eps, layers, self._floats(backbone.norm.weight),
            *map(self._floats, tables), self._matrix(model.lm_head),
        )  # fmt: skip
        self._vocab_size = config.vocab_size
        self._scratch = torch.empty(0)

    def __call__(self, ids: Tensor, cache: KVCache) -> Tensor:
        """ids (B,), one new token a row -> logits (B, V), float32; its keys and values go into the cache.

        The cache's lengths stay as they are: `advance` counts the token.
        """
        code = library()
        assert code is not None and ids.device.type == "cpu" and cache.keys.dtype == torch.bfloat16
        n_rows, n_positions = len(ids), int(cache.lengths.max()) + 1
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
            *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (hidden, logits, self._scratch)),
        )  # fmt: skip
        return logits

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
