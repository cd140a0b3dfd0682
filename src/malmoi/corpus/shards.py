"""Token ids on disk: raw little-endian files, mapped into memory, and an index that describes them.

FOLDER/train-00000.bin       the tokens, uint16 or uint32
FOLDER/train-00000.docs.npy  offsets of the documents that begin in this shard, uint64, counted over all shards
FOLDER/train.index.json      written last: without it the corpus is incomplete
"""

import hashlib
import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.errors import DataError
from malmoi.files import read_json, write_bytes, write_json

AGAIN = "run the tokenizer stage again"


def dtype_for(vocab_size: int) -> np.dtype:
    """The smallest dtype that can hold every id."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


class ShardWriter:
    """Appends documents, with one shard of `shard_tokens` in memory. Leaving the context writes the index."""

    def __init__(self, folder: Path, split: str, vocab_size: int, shard_tokens: int = 16 * 2**20) -> None:
        self.folder, self.split, self.vocab_size = folder, split, vocab_size
        self.n_tokens = self.n_documents = self.n_text_bytes = 0
        self._buffer = np.empty(shard_tokens, dtype_for(vocab_size))
        self._n_held, self._starts = 0, list[int]()
        self._shards: list[dict[str, Any]] = []
        # The index of an earlier corpus must not describe the shards of this one before they are complete.
        self._index = folder / f"{split}.index.json"
        self._index.unlink(missing_ok=True)

    def append(self, ids: Sequence[int] | np.ndarray, n_bytes: int) -> None:
        """Append a document: its ids, at least one, and the length of its text in UTF-8 bytes, for bits per byte."""
        tokens = np.asarray(ids)
        is_row = tokens.ndim == 1 and len(tokens) > 0 and tokens.dtype.kind in "iu"
        if not is_row or tokens.min() < 0 or tokens.max() >= self.vocab_size:
            raise ValueError(f"a document is a row of ids, at least one, each from 0 to {self.vocab_size - 1}")
        self._starts.append(self.n_tokens)
        self.n_tokens += len(tokens)
        self.n_documents += 1
        self.n_text_bytes += n_bytes
        while len(tokens):
            room = self._buffer[self._n_held :]
            fitting, tokens = tokens[: len(room)], tokens[len(room) :]
            room[: len(fitting)] = fitting
            self._n_held += len(fitting)
            if self._n_held == len(self._buffer):
                self._flush()

    def _flush(self) -> None:
        data = self._buffer[: self._n_held].tobytes()
        starts = io.BytesIO()
        np.save(starts, np.array(self._starts, dtype="<u8"))
        stem = f"{self.split}-{len(self._shards):05d}"
        write_bytes(self.folder / f"{stem}.bin", data)
        write_bytes(self.folder / f"{stem}.docs.npy", starts.getvalue())
        digest = hashlib.sha256(data).hexdigest()
        self._shards.append({"n_tokens": self._n_held, "n_documents": len(self._starts), "sha256": digest})
        self._n_held, self._starts = 0, []

    def close(self) -> None:
        """Write the last shard, then the index. Raises DataError if there was no document."""
        if not self.n_documents:
            raise DataError(f"{self.folder}: no {self.split} text; give more text, or change the held-out share")
        if self._n_held:
            self._flush()
        names = ("vocab_size", "n_tokens", "n_documents", "n_text_bytes")
        counts = {name: getattr(self, name) for name in names}
        write_json(self._index, {"dtype": self._buffer.dtype.name, **counts, "shards": self._shards})

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()


class TokenShards:
    """The tokens of one split as one long sequence, read from disk when needed.

    Raises DataError if the index is missing or invalid, or if a file does not have the size that the index gives.
    """

    def __init__(self, folder: Path, split: str) -> None:
        path = folder / f"{split}.index.json"
        index = read_json(path)
        try:
            self.vocab_size, self.n_text_bytes = int(index["vocab_size"]), int(index["n_text_bytes"])
            token_counts = [int(shard["n_tokens"]) for shard in index["shards"]]
            document_counts = [int(shard["n_documents"]) for shard in index["shards"]]
            written = [index["dtype"], int(index["n_tokens"]), int(index["n_documents"])]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise DataError(f"{path}: not an index of token shards; {AGAIN}") from None
        dtype = dtype_for(self.vocab_size)
        expected = [dtype.name, sum(token_counts), sum(document_counts)]
        if written != expected or min(token_counts, default=0) < 1:
            raise DataError(f"{path}: its numbers do not agree with each other; {AGAIN}")
        self.n_documents = sum(document_counts)
        paths = [folder / f"{split}-{number:05d}.bin" for number in range(len(token_counts))]
        self._tokens = [_map_tokens(path, dtype, n) for path, n in zip(paths, token_counts, strict=True)]
        self._starts = [_map_starts(path, n) for path, n in zip(paths, document_counts, strict=True)]
        self._token_ends = list(accumulate(token_counts))
        self._document_ends = list(accumulate(document_counts))

    def __len__(self) -> int:
        return self._token_ends[-1]

    def __getitem__(self, i: int) -> int:
        return int(self.read(i + len(self) if i < 0 else i, 1)[0])

    def read(self, start: int, length: int) -> np.ndarray:
        """The ids (length,) from `start` on, across shards; a copy, uint16 or uint32. Raises IndexError outside."""
        stop = start + length
        if start < 0 or length < 0 or stop > len(self):
            raise IndexError(f"tokens {start} to {stop} of {len(self)}")
        pieces = [self._tokens[0][:0]]
        for shard in range(bisect_right(self._token_ends, start), bisect_right(self._token_ends, stop - 1) + 1):
            first = self._token_ends[shard] - len(self._tokens[shard])
            pieces.append(self._tokens[shard][max(0, start - first) : stop - first])
        return np.concatenate(pieces)

    def document(self, i: int) -> np.ndarray:
        """The ids of document `i`. Raises IndexError if there is none."""
        if not 0 <= i < self.n_documents:
            raise IndexError(f"document {i} of {self.n_documents}")
        start, end = self._start_of(i), self._start_of(i + 1) if i + 1 < self.n_documents else len(self)
        return self.read(start, end - start)

    def _start_of(self, i: int) -> int:
        shard = bisect_right(self._document_ends, i)
        return int(self._starts[shard][i - self._document_ends[shard]])


def _map_tokens(path: Path, dtype: np.dtype, n_tokens: int) -> np.ndarray:
    n_bytes = path.stat().st_size if path.is_file() else 0
    if n_bytes != n_tokens * dtype.itemsize or not n_bytes:
        raise DataError(f"{path}: {n_bytes} bytes instead of {n_tokens * dtype.itemsize}; {AGAIN}")
    return np.memmap(path, dtype, mode="r")


def _map_starts(tokens_path: Path, n_documents: int) -> np.ndarray:
    path = tokens_path.with_suffix(".docs.npy")
    try:
        starts: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); {AGAIN}") from None
    if starts.shape != (n_documents,) or starts.dtype != np.dtype("<u8"):
        raise DataError(f"{path}: not the offsets of {n_documents} documents; {AGAIN}")
    return starts
