"""The header of a safetensors file, read without its tensors: names, and in plain words what is broken.

Eight bytes say how long the header is; it is a JSON object of names with type, shape and place of each tensor. Source:
https://github.com/huggingface/safetensors (the tensors' bytes follow each other without a gap).
"""

import json
import math
from pathlib import Path
from typing import Any

from malmoi.errors import CheckpointError, excerpt

LENGTH = 8
MOST = 100_000_000
"""Bytes of a header, as in the format's own reader."""
BITS = {"F4": 4, "F8_E4M3": 8, "F8_E5M2": 8, "BOOL": 8, "I8": 8, "U8": 8, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
        "F32": 32, "I32": 32, "U32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64}  # fmt: skip
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How files of torch.save and pickle begin."""
AGAIN = "; download it again"


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors of a safetensors file. Raises CheckpointError that says what is wrong with it."""
    if wrong := what_is_wrong(path):
        raise CheckpointError(f"{path}: {wrong}")
    return list(entries(path))


def what_is_wrong(path: Path) -> str:
    """Why a file is no whole safetensors file, in words that follow its name; "" if it is one."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(LENGTH)
            n = int.from_bytes(first, "little")
            if not size:
                return f"is empty{AGAIN}"
            if size < LENGTH:
                return f"has {size} bytes, too few for a safetensors file{AGAIN}"
            if first.startswith(PICKLES):
                return "is a pickle or an archive, whatever its name says; pickles can run code, and are not read"
            if n > MOST or file.read(1) not in (b"{", b""):
                return f"is no safetensors file: it begins with {first!r}{AGAIN}, or give another file"
            if size < LENGTH + n:
                return f"ends within its header, which would end at byte {LENGTH + n:,}; it has {size:,}{AGAIN}"
        tensors = entries(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (ValueError, RecursionError, AttributeError):
        return f"has a broken header{AGAIN}"
    return _wrong_place(tensors, size - LENGTH - n)


def entries(path: Path) -> dict[str, Any]:
    """Name -> what a safetensors file says of each of its tensors, unchecked: type, shape and place.

    Raises OSError, and ValueError, RecursionError or AttributeError for what is no header.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        if length > MOST:
            raise ValueError(f"a header of {length:,} bytes")
        return {name: row for name, row in json.loads(file.read(length)).items() if name != "__metadata__"}


def _wrong_place(tensors: dict[str, Any], size: int) -> str:
    """What does not fit of types, shapes and places. size: bytes of all tensors"""
    end = 0
    for name, row in sorted(tensors.items(), key=lambda one: _place(one[1])):
        try:
            begin, finish = row["data_offsets"]
            bits = math.prod(row["shape"]) * BITS[row["dtype"]]
            fits = begin == end and 8 * (finish - begin) == bits and min(row["shape"], default=0) >= 0
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            return f"says of {excerpt(name)} a type, size or place that cannot be; it is damaged or forged{AGAIN}"
        end = finish
    if end > size:
        return f"is cut off: {size:,} of {end:,} bytes of its tensors are there{AGAIN}"
    return f"has {size - end:,} bytes that belong to no tensor; it is damaged or forged{AGAIN}" if end < size else ""


def _place(row: Any) -> tuple[int, ...]:
    """Where a tensor begins and ends; in front of all others if the row does not say."""
    offsets = row.get("data_offsets") if isinstance(row, dict) else None
    return tuple(offsets) if isinstance(offsets, list) and all(isinstance(one, int) for one in offsets) else ()
