"""Text that is not UTF-8: detected by its byte-order mark, named by the user, or guessed for an error message."""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from malmoi.errors import shell_quoted

UTF8 = "utf-8"
CHUNK_BYTES = 2**16
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_FOR_FILES = ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape")
_CUT_SHORT = ("truncated data", "unexpected end of data", "incomplete multibyte sequence")


class BadText(ValueError):
    """A file cannot be decoded. The message says why, without the file's name."""


def encoding_name(name: str) -> str:
    """Python's name for an encoding. Raises ValueError if it knows none."""
    try:
        found = codecs.lookup(name).name
        "a".encode(found)
    except (LookupError, UnicodeError, ValueError):
        found = ""
    if not found or found.replace("-", "_") in _NOT_FOR_FILES:
        raise ValueError("not a known encoding; give one such as utf-8, cp949, euc-kr, shift_jis, gb18030, latin-1")
    return found


def encoding_of(file: IO[bytes], given: str = UTF8) -> str:
    """The encoding of a file: that of its byte-order mark, UTF-8 if it is valid UTF-8, else the given one.

    If the given encoding does not extend ASCII (UTF-16 without a mark), its files may look like UTF-8, so it is used
    without a check. The file is left at its beginning.
    """
    found = _encoding_of_mark(file)
    if found is not None or given == UTF8:
        return found or UTF8
    return UTF8 if _extends_ascii(given) and _is_utf8(file) else given


def _encoding_of_mark(file: IO[bytes]) -> str | None:
    head = file.read(4)
    file.seek(0)
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _extends_ascii(encoding: str) -> bool:
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
    """The lines of a file as UTF-8, converted if they are in another encoding.

    Lines of a UTF-8 file are not checked: the caller decodes them. Raises BadText if another encoding is invalid.
    """
    if encoding == UTF8:
        yield from file
        return
    with io.TextIOWrapper(file, encoding, errors="surrogatepass" if "utf" in encoding else "strict", newline="\n") as f:
        try:
            yield from (line.encode("utf-8", "surrogatepass") for line in f)
        except UnicodeError as error:
            raise BadText(decode_error(error, encoding)) from None


def decode_error(error: UnicodeError, encoding: str, at: int | None = None) -> str:
    """Why text in an encoding other than UTF-8 cannot be decoded, and what to do. at: byte in the file"""
    where = "" if at is None else f" at byte {at}"
    is_cut = isinstance(error, UnicodeDecodeError) and error.reason in _CUT_SHORT and error.end == len(error.object)
    if encoding not in (name for _, name in _MARKS):
        return f"not {encoding}{where}; name another encoding" + ", or copy it again if it was cut short" * is_cut
    problem = "ends in the middle of a character" if is_cut else "is damaged"
    return f"begins with the mark of {encoding} and {problem}{where}; copy or download it again"


def guess_encoding(data: bytes) -> str | None:
    """A guess at the encoding of bytes that begin where they are not UTF-8. Only Korean is recognised; else None."""
    return "cp949" if _is_korean(data[:4000]) else None


def conversion_command(encoding: str | None, path: Path) -> str:
    """The shell command that converts a file in place."""
    file, new = shell_quoted(str(path)), shell_quoted(f"{path}.utf8")
    iconv = f"iconv -f {(encoding or 'ENCODING').upper()} -t UTF-8"
    if path.name.lower().endswith(".gz"):
        return f"gzip -dc {file} | {iconv} | gzip > {new} && mv {new} {file}"
    return f"{iconv} {file} > {new} && mv {new} {file}"


def _is_korean(data: bytes) -> bool:
    for n_cut in range(2):  # the last character may be cut off
        try:
            text = data[: len(data) - n_cut].decode("cp949")
        except UnicodeDecodeError:
            continue
        others = [character for character in text if ord(character) > 127]
        return sum("가" <= character <= "힣" for character in others) * 2 > len(others)
    return False
