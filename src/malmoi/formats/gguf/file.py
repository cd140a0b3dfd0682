"""GGUF files, llama.cpp's format. A file may come from anyone, so everything in it is checked before it is used.

A file is a header, metadata (key, type, value), a table of tensors, and their bytes. Counts, lengths and offsets are
compared with the size of the file before memory is allocated for them; an error is one line.
Source: docs/gguf.md of the ggml project; versions 2 and 3, little endian.
"""

import math
import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from malmoi.errors import CheckpointError
from malmoi.files import open_atomic
from malmoi.formats.gguf.blocks import ENCODERS, FORMATS, OTHER_TYPES, BlockFormat, dequantise, quantise
from malmoi.model.finite import NOT_FINITE, is_finite

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
STRING, ARRAY = 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF's value types that are numbers -> their codes in `struct` and numpy."""

_MOST_ENTRIES = 1 << 16
"""Most keys and most tensors of a file; real files have hundreds."""
_MOST_STRINGS = 1 << 22
"""Most strings of an array; the largest vocabularies have a quarter of a million."""

Value = str | int | float | bool | list[str] | NDArray[Any]
Kind = TypeVar("Kind", str, int, float, bool)


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor is. shape: as in torch, the reverse of the file's; start: of its bytes in the file"""

    shape: tuple[int, ...]
    block_format: BlockFormat
    start: int
    n_bytes: int


@dataclass(frozen=True)
class GGUF:
    """An open file with its metadata. Tensors are read one at a time."""

    path: Path
    metadata: dict[str, Value]
    infos: dict[str, TensorInfo]
    data: memoryview

    def error(self, where: str, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {where}: {what}")

    def tensor(self, name: str) -> Tensor:
        """One tensor as float32. Raises CheckpointError for a value that is not a number."""
        info = self.infos[name]
        blocks = np.frombuffer(self.data[info.start : info.start + info.n_bytes], info.block_format.record)
        values = torch.from_numpy(dequantise(blocks, info.block_format)).view(info.shape)
        if not is_finite(values):
            raise self.error(f"tensor {quote(name)}", NOT_FINITE)
        return values

    def get(self, key: str, kind: type[Kind], default: Kind | None = None) -> Kind:
        """A value of the metadata. Raises CheckpointError if it is of another type, or missing without a default."""
        found = self.metadata.get(key, default)
        if found is None:
            raise self.error(key, "is missing")
        if kind is float and isinstance(found, int) and not isinstance(found, bool):
            found = float(found)
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            shown = "an array" if isinstance(found, list | np.ndarray) else quote(str(found))
            raise self.error(key, f"expected one {kind.__name__}, found {shown}")
        return found

    def strings(self, key: str) -> list[str]:
        """An array of strings. Raises CheckpointError if it is missing or something else."""
        found = self.metadata.get(key)
        if not isinstance(found, list):
            raise self.error(key, "is missing" if found is None else "expected strings")
        return found

    def numbers(self, key: str) -> list[int]:
        """An array of integers, empty if it is missing. Raises CheckpointError if it is something else."""
        found = self.metadata.get(key, np.empty(0, np.int32))
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu":
            raise self.error(key, "expected integers")
        return found.tolist()


def read_gguf(path: Path) -> GGUF:
    """Map a file into memory and check everything except the values of the weights.

    Raises CheckpointError that names the part: no such file, truncated, a count or an offset that does not fit, an
    unsupported type, a duplicate name, tensors that overlap.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if not path.stat().st_size:
        raise CheckpointError(f"{path}: is empty; copy or download it again")
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    cursor = _Cursor(data, path)
    if bytes(cursor.take(4, "header")) != MAGIC:
        raise cursor.error("header", "is not a GGUF file")
    version = cursor.number("I", "header")
    if version not in (2, 3):
        what = "big endian" if version & 0xFFFF == 0 else f"version {version}"
        raise cursor.error("header", f"{what} is not supported; version 2 and 3, little endian, are")
    n_tensors, n_keys = (cursor.number("Q", "header") for _ in range(2))
    if max(n_tensors, n_keys) > _MOST_ENTRIES:
        raise cursor.error("header", f"claims {n_tensors} tensors and {n_keys} keys; more than {_MOST_ENTRIES}")
    metadata: dict[str, Value] = {}
    for _ in range(n_keys):
        key = cursor.text("metadata key")
        if key in metadata:
            raise cursor.error(f"metadata {quote(key)}", "is a duplicate")
        metadata[key] = cursor.value(f"metadata {quote(key)}")
    opened = GGUF(path, metadata, {}, data)
    opened.infos.update(_read_table(cursor, n_tensors, opened.get("general.alignment", int, DEFAULT_ALIGNMENT)))
    return opened


def _read_table(cursor: "_Cursor", n_tensors: int, alignment: int) -> dict[str, TensorInfo]:
    """The tensors' names, shapes and places. Offsets count from the end of the table, rounded up to the alignment."""
    if alignment < 1 or alignment & (alignment - 1):
        raise cursor.error("metadata general.alignment", f"{alignment} is not a power of two")
    infos: dict[str, TensorInfo] = {}
    for _ in range(n_tensors):
        name = cursor.text("tensor name")
        where = f"tensor {quote(name)}"
        if name in infos:
            raise cursor.error(where, "is a duplicate")
        infos[name] = cursor.tensor(where, alignment)
    base = cursor.at + -cursor.at % alignment
    end, before = base, ""
    for name, info in sorted(infos.items(), key=lambda item: item[1].start):
        if base + info.start + info.n_bytes > len(cursor.data):
            raise cursor.error(f"tensor {quote(name)}", "reaches past the end of the file; truncated or forged")
        if base + info.start < end:
            raise cursor.error(f"tensor {quote(name)}", f"overlaps tensor {quote(before)}")
        end, before = base + info.start + info.n_bytes, name
    return {
        name: TensorInfo(info.shape, info.block_format, base + info.start, info.n_bytes) for name, info in infos.items()
    }


@dataclass(frozen=True)
class TensorToWrite:
    """A tensor to be written. kind: one of `ENCODERS`; read: returns the tensor when it is written"""

    shape: tuple[int, ...]
    kind: str
    read: Callable[[], Tensor]


def write_gguf(
    path: Path,
    metadata: Mapping[str, str | int | float | bool | list[str] | list[int]],
    tensors: Mapping[str, TensorToWrite],
) -> None:
    """Write a file of version 3 with one tensor in memory at a time. It appears complete or not at all.

    Raises UserError if the disk is full, CheckpointError if a tensor has values that its kind cannot hold.
    """
    table, at = b"", 0
    for name, tensor in tensors.items():
        number = ENCODERS[tensor.kind][0]
        dims = tuple(reversed(tensor.shape))
        table += _pack_text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, at)
        n_bytes = math.prod(dims) // FORMATS[number].n_values * FORMATS[number].record.itemsize
        at += n_bytes + -n_bytes % DEFAULT_ALIGNMENT
    header = MAGIC + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    header += b"".join(_pack_text(key) + _pack(value) for key, value in metadata.items()) + table
    with open_atomic(path) as file:
        file.write(header + bytes(-len(header) % DEFAULT_ALIGNMENT))
        for name, tensor in tensors.items():
            try:
                blocks = quantise(tensor.read(), tensor.kind)
            except CheckpointError as error:
                raise CheckpointError(f"{path}: tensor {name}: {error}") from None
            file.write(blocks.data)
            file.write(bytes(-blocks.nbytes % DEFAULT_ALIGNMENT))


def _pack_text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _pack(value: str | int | float | bool | list[str] | list[int]) -> bytes:
    """Type and value: u32, f32, bool, string, or an array of strings or of i32."""
    if isinstance(value, list):
        if value and isinstance(value[0], str):
            return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(_pack_text, value))
        return struct.pack(f"<IIQ{len(value)}i", ARRAY, 5, len(value), *value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _pack_text(value)
    number = 7 if isinstance(value, bool) else 4 if isinstance(value, int) else 6
    return struct.pack(f"<I{NUMBERS[number]}", number, value)


class _Cursor:
    """Reads from position `at` on. Reading past the end of the file is an error that names the part."""

    def __init__(self, data: memoryview, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    def error(self, where: str, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {where}: {what}")

    def take(self, n_bytes: int, where: str) -> memoryview:
        if n_bytes > len(self.data) - self.at:
            raise self.error(where, "reaches past the end of the file; truncated or forged")
        self.at += n_bytes
        return self.data[self.at - n_bytes : self.at]

    def number(self, code: str, where: str) -> Any:
        raw = self.take(struct.calcsize(f"<{code}"), where)
        if code == "?" and raw[0] > 1:
            raise self.error(where, f"{raw[0]} is not a boolean")
        number = struct.unpack(f"<{code}", raw)[0]
        # The shortest decimal that gives this float32: the file means 1e-05, not 9.999999747378752e-06.
        return float(str(np.float32(number))) if code == "f" else number

    def text(self, where: str) -> str:
        raw = self.take(self.number("Q", where), where)
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError:
            raise self.error(where, "is not UTF-8") from None

    def value(self, where: str) -> Value:
        """A number, a string or an array of them. Arrays of numbers are not copied out of the file."""
        kind = self.number("I", where)
        if kind in NUMBERS:
            return self.number(NUMBERS[kind], where)
        if kind == STRING:
            return self.text(where)
        if kind != ARRAY:
            raise self.error(where, f"is of unknown type {kind}")
        of, count = self.number("I", where), self.number("Q", where)
        if of in NUMBERS:
            dtype = np.dtype(NUMBERS[of]).newbyteorder("<")
            return np.frombuffer(self.take(count * dtype.itemsize, where), dtype)
        if of != STRING:
            raise self.error(where, f"is an array of type {of}; arrays of numbers or strings are supported")
        if count > min(_MOST_STRINGS, len(self.data) // 8):
            raise self.error(where, f"claims {count} strings, more than are possible")
        return [self.text(where) for _ in range(count)]

    def tensor(self, where: str, alignment: int) -> TensorInfo:
        """One row of the table; its `start` counts from the first byte of the weights."""
        n_dims = self.number("I", where)
        if not 1 <= n_dims <= 4:
            raise self.error(where, f"has {n_dims} dimensions; 1 to 4 are possible")
        dims = [self.number("Q", where) for _ in range(n_dims)]
        number, start = self.number("I", where), self.number("Q", where)
        if number not in FORMATS:
            readable = ", ".join(block_format.name for block_format in FORMATS.values())
            name = OTHER_TYPES.get(number, f"unknown ({number})")
            raise self.error(where, f"type {name} is not supported; {readable} are")
        block_format = FORMATS[number]
        if 0 in dims or dims[0] % block_format.n_values:
            raise self.error(where, f"shape {dims} cannot be stored as {block_format.name}")
        if start % alignment:
            raise self.error(where, f"its offset {start} is not a multiple of {alignment}")
        n_bytes = math.prod(dims) // block_format.n_values * block_format.record.itemsize
        return TensorInfo(tuple(reversed(dims)), block_format, start, n_bytes)


def quote(name: str) -> str:
    """Text from a file, quoted and shortened for an error of one line."""
    return repr(name if len(name) <= 80 else name[:77] + "...")
