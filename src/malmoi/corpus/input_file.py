"""One open file of a corpus: its text, decoded, in chunks or in lines. This is what every reader is given."""

import codecs
import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple

from malmoi.corpus.documents import Document
from malmoi.corpus.encodings import (
    CHUNK_BYTES,
    UTF8,
    BadText,
    conversion_command,
    decode_error,
    encoding_of,
    guess_encoding,
    utf8_lines,
)
from malmoi.errors import DataError

MAX_LINE_CHARS = 2**20


class Unreadable(DataError):
    """A file, the rest of a file, or a row that cannot be read. reason: what the report counts, such as "not UTF-8"."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class InputFile:
    """A file that is open for reading; the bytes of a .gz file are unpacked.

    source: the `source` of its documents, unless a row names its own
    stream: its bytes, at the beginning
    fallback: the encoding to use if the file has no byte-order mark and is not UTF-8
    notes: what a reader has to say about text that it did read, and how often: "formula without a value"
    """

    path: Path
    source: str
    stream: IO[bytes]
    fallback: str = UTF8
    notes: Counter[str] = field(default_factory=Counter)

    @cached_property
    def encoding(self) -> str:
        """The encoding of its text. Ask before reading from `stream`."""
        return encoding_of(self.stream, self.fallback)

    @property
    def is_converted(self) -> bool:
        """Whether its text was read, and in the fallback encoding."""
        return "encoding" in vars(self) and self.encoding == self.fallback != UTF8

    def chunks(self) -> Iterator[str]:
        """The text in chunks of any length, without its byte-order mark. Raises Unreadable if it cannot be decoded."""
        n_read, data, encoding = 0, b"\n", self.encoding
        decoder = codecs.getincrementaldecoder(encoding)()
        while data:
            data = self.stream.read(CHUNK_BYTES)
            n_pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                at = n_read - n_pending + error.start
                if encoding == UTF8:
                    raise self._not_utf8(str(self.path), at, error.object[error.start :]) from None
                raise Unreadable(f"not {encoding}", f"{self.path}: {decode_error(error, encoding, at)}") from None
            yield text if n_read else text.removeprefix("\ufeff")
            n_read += len(data)

    def text_lines(self) -> Iterator[str]:
        """The text in lines that end with \\n, for any line ending. Raises Unreadable if it cannot be decoded.

        A line of more than MAX_LINE_CHARS comes in pieces, so that a file without lines takes no more memory.
        """
        decoder, rest = io.IncrementalNewlineDecoder(None, translate=True), ""
        for chunk in self.chunks():
            *lines, rest = (rest + decoder.decode(chunk)).split("\n")
            yield from (f"{line}\n" for line in lines)
            if len(rest) > MAX_LINE_CHARS:
                yield rest
                rest = ""
        rest += decoder.decode("", final=True)
        if rest:
            yield rest

    def lines(self) -> Iterator[tuple[str, "str | Unreadable"]]:
        """Each line as ("FILE:NUMBER", text), or with the Unreadable that says why it cannot be decoded."""
        n_read = 0
        try:
            for number, data in enumerate(utf8_lines(self.stream, self.encoding), start=1):
                where = f"{self.path}:{number}"
                try:
                    yield where, data.decode().removeprefix("\ufeff" if number == 1 else "")
                except UnicodeDecodeError as error:
                    yield where, self._not_utf8(where, n_read + error.start, data[error.start :])
                n_read += len(data)
        except BadText as problem:
            yield str(self.path), Unreadable(f"not {self.encoding}", f"{self.path}: {problem}")

    def _not_utf8(self, where: str, at: int, data: bytes) -> Unreadable:
        encoding = guess_encoding(data)
        looks = f", and looks like {encoding.upper()}" if encoding else ""
        convert = conversion_command(encoding, self.path)
        message = (
            f"{where}: not UTF-8 at byte {at} (0x{data[0]:02x}){looks}; pass --encoding {encoding or 'NAME'} (in a "
            f"recipe corpus.encoding), or convert it: {convert}"
        )
        return Unreadable("not UTF-8", message)


class Reader(NamedTuple):
    """How to read one format.

    suffixes: endings of its files' names, in lower case; files that end with .gz are unpacked first
    read: yields the documents of a file, an Unreadable for each part that cannot be read; raises one if it cannot go on
    has_rows: a file holds many documents of one kind: lines that they repeat are boilerplate (`clean.family`)
    is_guarded: it is read by a parser that a damaged or hostile file can stop, so in a process of its own (`guard`)
    """

    suffixes: tuple[str, ...]
    read: Callable[[InputFile], Iterator[Document | Unreadable]]
    has_rows: bool = False
    is_guarded: bool = False
