"""Text that is not UTF-8: told by its mark, by the name that the user gives, or by what it would be."""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from malmoi.errors import quoted

UTF8 = "utf-8"
CHUNK_BYTES = 2**16
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT = ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape")
_CUT = ("truncated data", "unexpected end of data", "incomplete multibyte sequence")


class BadText(ValueError):
    """What a file or line holds cannot be decoded; the message says why, without the file's name."""


def known(name: str) -> str:
    """An encoding's name as Python spells it. Raises ValueError for one that it does not know."""
    try:
        found = codecs.lookup(name).name
        "a".encode(found)
    except (LookupError, UnicodeError, ValueError):
        found = ""
    if not found or found.replace("-", "_") in _NO_TEXT:
        raise ValueError(
            "no encoding that is known; give one such as utf-8, cp949, euc-kr, shift_jis, gb18030, latin-1"
        )
    return found


def encoding_of(file: IO[bytes], given: str = UTF8) -> str:
    """In which encoding to read a file, left at its beginning: its mark's, UTF-8 where it is that, else the given one.

    An encoding in which other bytes than ASCII's could pass for UTF-8, such as UTF-16 without a mark, is taken at once.
    """
    found = _marked(file)
    if found is not None or given == UTF8:
        return found or UTF8
    return UTF8 if _holds_ascii(given) and _is_utf8(file) else given


def _marked(file: IO[bytes]) -> str | None:
    head = file.read(4)
    file.seek(0)
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _holds_ascii(encoding: str) -> bool:
    try:
        return bytes(range(128)).decode(encoding) == "".join(map(chr, range(128)))
    except UnicodeError:
        return False


def _is_utf8(file: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder(UTF8)()
    try:
        while data := file.read(CHUNK_BYTES):
            decoder.decode(data)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    finally:
        file.seek(0)
    return True


def utf8_lines(file: IO[bytes], encoding: str) -> Iterator[bytes]:
    """The lines of a file in UTF-8, converted where they are in another encoding.

    Lines of UTF-8 come out as they are, for whoever decodes them to refuse; raises BadText where others are broken.
    """
    if encoding == UTF8:
        yield from file
        return
    with io.TextIOWrapper(file, encoding, errors="surrogatepass" if "utf" in encoding else "strict", newline="\n") as f:
        try:
            yield from (line.encode("utf-8", "surrogatepass") for line in f)
        except UnicodeError as error:
            raise BadText(broken(error, encoding)) from None


def broken(error: UnicodeError, encoding: str, at: int | None = None) -> str:
    """Why text in an encoding other than UTF-8 cannot be decoded, and what to do. at: byte of the file"""
    where = "" if at is None else f" at byte {at}"
    is_cut = isinstance(error, UnicodeDecodeError) and error.reason in _CUT and error.end == len(error.object)
    if encoding not in (name for _, name in _MARKS):
        return f"not {encoding}{where}; name another encoding" + ", or copy it again if it was cut short" * is_cut
    said = "ends in the middle of a character" if is_cut else "is damaged"
    return f"begins with the mark of {encoding} and {said}{where}; copy or download it again"


def likely(data: bytes) -> str | None:
    """The encoding of bytes that are not UTF-8, from the first that is not; only Korean is recognised."""
    return "cp949" if _is_korean(data[:4000]) else None


def conversion(encoding: str | None, path: Path) -> str:
    """The command that converts a file in its place."""
    file, new = quoted(str(path)), quoted(f"{path}.utf8")
    iconv = f"iconv -f {(encoding or 'ENCODING').upper()} -t UTF-8"
    if path.name.lower().endswith(".gz"):
        return f"gzip -dc {file} | {iconv} | gzip > {new} && mv {new} {file}"
    return f"{iconv} {file} > {new} && mv {new} {file}"


def _is_korean(data: bytes) -> bool:
    for n_cut in range(2):  # the last character may be cut
        try:
            text = data[: len(data) - n_cut].decode("cp949")
        except UnicodeDecodeError:
            continue
        others = [character for character in text if ord(character) > 127]
        return sum("가" <= character <= "힣" for character in others) * 2 > len(others)
    return False
