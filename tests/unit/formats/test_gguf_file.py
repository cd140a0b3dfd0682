"""GGUF files from anyone: whatever they claim, they are read or refused in one line, in little time and memory."""

import math
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from malmoi.errors import CheckpointError, UserError
from malmoi.formats.gguf.file import GGUF, TensorToWrite, read_gguf, write_gguf
from malmoi.formats.gguf.read import import_gguf
from malmoi.formats.gguf.write import export_gguf
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

HUGE = 2**64 - 1


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def row(name: str, dims: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf(
    keys: tuple[bytes, ...] = (), rows: tuple[bytes, ...] = (), data: bytes = b"", alignment: int = 32, **header: int
) -> bytes:
    """A file by hand. header: version, n_tensors, n_keys that are not the true ones."""
    counts = {"version": 3, "n_tensors": len(rows), "n_keys": len(keys)} | header
    head = b"GGUF" + struct.pack("<IQQ", *counts.values()) + b"".join(keys) + b"".join(rows)
    return head + bytes(-len(head) % alignment) + data


def opened(tmp_path: Path, content: bytes) -> GGUF:
    (tmp_path / "file.gguf").write_bytes(content)
    return read_gguf(tmp_path / "file.gguf")


def test_every_type_of_value_is_read(tmp_path: Path) -> None:
    found = opened(tmp_path, gguf((
        key("u8", 0, b"\xff"), key("i8", 1, b"\xff"), key("u16", 2, b"\1\2"), key("i16", 3, b"\xfe\xff"),
        key("u32", 4, struct.pack("<I", 7)), key("i32", 5, struct.pack("<i", -7)),
        key("f32", 6, struct.pack("<f", 1e-5)), key("bool", 7, b"\1"), key("text", 8, text("말 낱")),
        key("u64", 10, struct.pack("<Q", HUGE)),
        key("i64", 11, struct.pack("<q", -9)), key("f64", 12, struct.pack("<d", 0.1)),
        key("numbers", 9, struct.pack("<IQ3h", 3, 3, 1, -2, 3)), key("no numbers", 9, struct.pack("<IQ", 6, 0)),
        key("texts", 9, struct.pack("<IQ", 8, 2) + text("a") + text("")),
    ))).metadata  # fmt: skip
    shown = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}
    assert shown == {
        "u8": 255, "i8": -1, "u16": 513, "i16": -2, "u32": 7, "i32": -7, "f32": 1e-5, "bool": True, "text": "말 낱",
        "u64": HUGE, "i64": -9, "f64": 0.1, "numbers": [1, -2, 3], "no numbers": [], "texts": ["a", ""],
    }  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [8, 32, 256])
def test_tensors_are_found_behind_the_table_in_any_order(tmp_path: Path, version: int, alignment: int) -> None:
    keys = (key("general.alignment", 4, struct.pack("<I", alignment)),)
    rows = (row("b", (2, 3), 0, alignment), row("a", (2,), 1))
    first = np.array([1, -2], "<f2").tobytes()
    data = first + bytes(alignment - len(first)) + np.arange(6, dtype="<f4").tobytes()
    file = opened(tmp_path, gguf(keys, rows, data, alignment, version=version))
    assert file.tensor("a").tolist() == [1, -2] and file.tensor("b").tolist() == [[0, 1], [2, 3], [4, 5]]


ONE = struct.pack("<f", 1.0)
FORGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "another format": (b"PK\3\4" + bytes(100), "header: is not a GGUF file"),
    "a header cut off": (b"GGUF\3\0\0\0\1", "header: reaches past the end"),
    "version 1": (gguf(version=1), "version 1 is not supported"),
    "big endian": (b"GGUF\0\0\0\3" + bytes(16), "big endian is not supported"),
    "countless keys": (gguf(n_keys=HUGE), f"claims 0 tensors and {HUGE} keys"),
    "countless tensors": (gguf(n_tensors=2**32), "claims 4294967296 tensors"),
    "more keys than are there": (gguf(n_keys=9), "metadata .*: reaches past the end"),
    "more tensors than are there": (gguf(n_tensors=9), "tensor .*: reaches past the end"),
    "a key without end": (gguf((struct.pack("<Q", HUGE),)), "metadata key: reaches past the end"),
    "a key that is not UTF-8": (gguf((struct.pack("<Q", 1) + b"\xff" + bytes(8),)), "metadata key: is not UTF-8"),
    "a key of another kind": (gguf((key("k", 99, b""),)), "metadata 'k': is of unknown type 99"),
    "a key twice": (gguf((key("k", 0, b"1"), key("k", 0, b"1"))), "metadata 'k': is a duplicate"),
    "neither true nor false": (gguf((key("k", 7, b"\2"),)), "metadata 'k': 2 is not a boolean"),
    "a text without end": (gguf((key("k", 8, struct.pack("<Q", 2**40)),)), "metadata 'k': reaches past the end"),
    "numbers without end": (gguf((key("k", 9, struct.pack("<IQ", 12, 2**61)),)), "metadata 'k': reaches past"),
    "texts without end": (gguf((key("k", 9, struct.pack("<IQ", 8, 2**61)),)), "more than are possible"),
    "arrays in arrays": (gguf((key("k", 9, struct.pack("<IQ", 9, 1) * 500),)), "is an array of type 9"),
    "a name that breaks the line": (gguf((key("k\n" * 900, 99, b""),)), r"metadata 'k\\nk.*\.\.\.': is of unknown"),
    "odd alignment": (gguf((key("general.alignment", 4, struct.pack("<I", 24)),)), "24 is not a power of two"),
    "no alignment": (gguf((key("general.alignment", 4, bytes(4)),)), "0 is not a power of two"),
    "alignment in words": (gguf((key("general.alignment", 8, text("8")),)), "expected one int, found '8'"),
    "no dimensions": (gguf((), (row("t", ()),)), "tensor 't': has 0 dimensions"),
    "five dimensions": (gguf((), (row("t", (1,) * 5),), ONE), "tensor 't': has 5 dimensions"),
    "countless dimensions": (gguf((), (text("t") + struct.pack("<I", 2**32 - 1),)), "has 4294967295 dimensions"),
    "nothing in it": (gguf((), (row("t", (4, 0)),), ONE), r"shape \[4, 0\] cannot be stored"),
    "half a block": (gguf((), (row("t", (33,), 8),), bytes(68)), r"shape \[33\] cannot be stored as Q8_0"),
    "more than can be counted": (gguf((), (row("t", (2**62, 2**62)),), ONE), "'t': reaches past the end"),
    "an unread type": (gguf((), (row("t", (256,), 10),), bytes(84)), "type Q2_K is not supported; F32, F16"),
    "an unknown type": (gguf((), (row("t", (1,), 77),), ONE), r"type unknown \(77\) is not supported"),
    "an offset between": (gguf((), (row("t", (1,), 0, 4),), bytes(8)), "its offset 4 is not a multiple of 32"),
    "an offset outside": (gguf((), (row("t", (1,), 0, 2**63),), ONE), "'t': reaches past the end"),
    "truncated weights": (gguf((), (row("t", (2,)),), ONE), "'t': reaches past the end of the file; truncated"),
    "one name twice": (gguf((), (row("t", (1,)), row("t", (1,), 0, 32)), bytes(36)), "tensor 't': is a duplicate"),
    "one above the other": (gguf((), (row("t", (9,)), row("u", (1,), 0, 32)), bytes(64)), "'u': overlaps tensor 't'"),
    "two in one place": (gguf((), (row("t", (1,)), row("u", (1,))), bytes(64)), "overlaps tensor"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    content, says = FORGED[name]
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=says) as error:
            opened(tmp_path, content)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(f"{tmp_path / 'file.gguf'}: ") and "\n" not in str(error.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "pipe"):
        with pytest.raises(CheckpointError, match="no such file"):
            read_gguf(path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    values = {"t": "말", "i": 7, "f": 0.1, "b": False, "texts": ["a", "", "낱"], "numbers": [1, -2], "none": []}
    tensor = torch.arange(12.0).view(3, 4)
    odd, even = TensorToWrite((3,), "F16", lambda: tensor[0, 1:]), TensorToWrite((3, 4), "F32", lambda: tensor)
    write_gguf(tmp_path / "out.gguf", values, {"odd": odd, "even": even})
    file = read_gguf(tmp_path / "out.gguf")
    back = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in file.metadata.items()}
    assert back == values
    assert torch.equal(file.tensor("even"), tensor) and file.tensor("odd").tolist() == [1, 2, 3]
    assert all(info.start % 32 == 0 for info in file.infos.values())


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    """A whole model in a few kilobytes."""
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    shape = ModelConfig(vocab_size=tokenizer.vocab_size, n_layer=1, n_embd=4, n_head=1, n_kv_head=1, head_dim=4, n_ff=4)
    torch.manual_seed(0)
    export_gguf(path, LanguageModel(shape), tokenizer, template)
    return path


NUMBERS = [0, 1, 2, 8, 9, 10, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, HUGE]


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[float, bytes]]:
    """Places (as a share of what lies before the weights) and what is written there."""
    number = st.sampled_from(NUMBERS).flatmap(
        lambda value: st.sampled_from([n for n in (1, 4, 8) if value < 2 ** (8 * n)]).map(
            lambda n_bytes: value.to_bytes(n_bytes, "little")
        )
    )
    place = st.floats(0, 1, exclude_max=True)
    return draw(st.lists(st.tuples(place, number | st.binary(min_size=1, max_size=6)), min_size=1, max_size=4))


def read_all(path: Path) -> None:
    """Import and read everything. Only our own errors may come out, and memory stays in proportion to the file."""
    tracemalloc.start()
    try:
        found = import_gguf(path)
        n_values = sum(math.prod(tensor.shape) for tensor in found.tensors.values())
        assert n_values == found.config.n_parameters() < 8 * path.stat().st_size
    except UserError as error:
        assert "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 32 * 2**20


FUZZ: dict[str, Any] = {"deadline": 5000, "suppress_health_check": list(HealthCheck), "derandomize": True}


@settings(max_examples=250, **FUZZ)
@given(changes=changes(), kept=st.sampled_from([1.0, 1.0, 1.0, 0.99, 0.6, 0.1]))
def test_a_damaged_file_is_read_or_refused(valid: Path, changes: list[tuple[float, bytes]], kept: float) -> None:
    content = bytearray(valid.read_bytes())
    n_header = min(info.start for info in read_gguf(valid).infos.values())
    for place, value in changes:
        at = int(place * n_header)
        content[at : at + len(value)] = value
    damaged = valid.with_name("damaged.gguf")
    damaged.write_bytes(content[: math.ceil(kept * len(content))])
    read_all(damaged)


@settings(max_examples=100, **FUZZ)
@given(content=st.binary(max_size=300), counts=st.tuples(*[st.sampled_from([0, 1, 3, HUGE])] * 2))
def test_random_bytes_are_refused(tmp_path: Path, content: bytes, counts: tuple[int, int]) -> None:
    for header in (b"", b"GGUF" + struct.pack("<IQQ", 3, *counts)):
        (tmp_path / "random.gguf").write_bytes(header + content)
        read_all(tmp_path / "random.gguf")
