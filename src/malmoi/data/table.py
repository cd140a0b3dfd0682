"""Rows of JSON lines, JSON lists and Parquet, packed or not, each with the number by which an error names it."""

import gzip
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from malmoi.corpus.encodings import BadText, conversion_command, encoding_of, guess_encoding, utf8_lines
from malmoi.errors import ConfigError, DataError
from malmoi.files import parse_json

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".ndjson", ".parquet")


class BadRow(DataError):
    """A row, or the rest of a file, that cannot be used.

    reason: what reports count, the same for all rows with this problem
    harmless: nobody made a mistake, so the row is skipped and never an error
    """

    def __init__(self, reason: str, detail: str = "", *, harmless: bool = False) -> None:
        # A row may hold half a character, which a terminal cannot print.
        super().__init__((reason + detail).encode("utf-8", "backslashreplace").decode())
        self.reason, self.harmless = reason, harmless


def read_table(path: Path) -> Iterator[tuple[int, Any]]:
    """Each row with its number, from 1: of the line, of the item in a list, or of the row in Parquet; no blank lines.

    Raises DataError, which names file and row, for a broken row; ConfigError if pyarrow is needed and missing.
    """
    for number, row in iterate_rows(path):
        if isinstance(row, BadRow):
            raise DataError(f"{path}:{number}: {row}")
        yield number, row


def iterate_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """As `read_table`, but yields a BadRow for a broken row, so that a reader can continue after it."""
    name = path.name.lower()
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_dir() or not name.endswith(SUFFIXES):
        raise DataError(f"{path}: not a format that is read; the suffixes are {' '.join(SUFFIXES)}")
    try:
        if name.endswith(".parquet"):
            yield from _parquet_rows(path)
        else:
            opened: Any = gzip.open if name.endswith(".gz") else open
            with opened(path, "rb") as file:
                yield from _json_rows(utf8_lines(file, encoding_of(file)), path)
    except BadText as problem:
        raise DataError(f"{path}: {problem}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: cut short or damaged ({error}); copy or download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); repair or move it") from None


def _json_rows(given: Iterator[bytes], path: Path) -> Iterator[tuple[int, Any]]:
    """Rows of a JSON list, or of JSON lines; the first character decides."""
    lines = enumerate(given, start=1)
    for number, line in lines:
        first = line.removeprefix(b"\xef\xbb\xbf").strip()
        if not first:
            continue
        if first.startswith(b"["):
            found = _parse(first + b"\n" + b"".join(given) if first != b"[]" else first, path)
            if isinstance(found, list):
                yield from enumerate(found, start=1)
                return
            if not isinstance(found, BadRow):
                found = BadRow("expected an object")
            yield number, found
            return
        row = _parse(first, path)
        if isinstance(row, BadRow) and path.name.lower().endswith((".json", ".json.gz")):
            rest = b"".join(given)
            whole = _parse(first + b"\n" + rest, path)  # one object that spans several lines
            row = whole if not isinstance(whole, BadRow) else row
            lines = enumerate(() if row is whole else rest.split(b"\n"), start=number + 1)
        yield number, row
        for later, text in lines:
            if text.strip():
                yield later, _parse(text, path)


def _parse(text: bytes, path: Path) -> Any:
    try:
        return parse_json(text.decode())
    except UnicodeDecodeError as error:
        encoding = guess_encoding(text[error.start :])
        looks = f", and looks like {encoding.upper()}" if encoding else ""
        at = f" at byte {error.start} (0x{text[error.start]:02x}){looks}"
        return BadRow("not UTF-8", f"{at}; convert it: {conversion_command(encoding, path)}")
    except (ValueError, RecursionError) as error:
        return BadRow("not valid JSON", f" ({error})")


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ConfigError(f'{path}: Parquet needs pyarrow; pip install "malmoi[parquet]"') from None
    try:
        with ParquetFile(path) as file:
            batches = (batch.to_pylist() for batch in file.iter_batches(batch_size=1024))
            yield from enumerate(chain.from_iterable(batches), start=1)
    except (ArrowException, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: not Parquet, or damaged ({said}); download it again") from None
