"""Text that is not UTF-8: told by its mark, or by what it would be."""

import codecs
import io
import shlex
from collections.abc import Iterator
from typing import IO

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def marked(head: bytes) -> str | None:
    """The encoding that the first four bytes of a file name, or None: UTF-8."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def utf8_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file in UTF-8: of one that begins with the mark of another encoding, converted.

    What cannot be converted comes out as bytes that are no UTF-8, for whoever decodes the line to refuse.
    """
    encoding = marked(file.read(4))
    file.seek(0)
    if encoding is None:
        yield from file
        return
    with io.TextIOWrapper(file, encoding, errors="surrogatepass", newline="\n") as lines:
        try:
            yield from (line.encode("utf-8", "surrogatepass") for line in lines)
        except UnicodeDecodeError:
            yield b"\xff"


def advice(data: bytes, name: str) -> str:
    """How to convert a file. data: its bytes from the first that is not UTF-8; Korean is recognised."""
    kind = "CP949" if _is_korean(data[:4000]) else "ENCODING"
    file = shlex.quote(name.encode("utf-8", "replace").decode())
    return f"convert it: iconv -f {kind} -t UTF-8 {file} > utf8-{file}"


def _is_korean(data: bytes) -> bool:
    for n_cut in range(2):  # the last character may be cut
        try:
            text = data[: len(data) - n_cut].decode("cp949")
        except UnicodeDecodeError:
            continue
        others = [character for character in text if ord(character) > 127]
        return sum("가" <= character <= "힣" for character in others) * 2 > len(others)
    return False
