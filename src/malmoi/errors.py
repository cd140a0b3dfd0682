"""Errors for users: each says where, what, and how to mend it.

The command line prints a `UserError` as one line and exits with 2. Any other exception is a bug in Malmoi and exits
with 1.
"""

import re
import shlex
from pathlib import Path

RENAME = "convmv -f cp949 -t utf8 -r --notest"
"""The command that renames files and folders to UTF-8 if their names come from a zip file of Korean Windows."""


def printable(text: str) -> str:
    """Text that can be printed: bytes of a file name that are not UTF-8 become \\xNN, lone surrogates \\uNNNN."""

    def escaped(half: re.Match[str]) -> str:
        code = ord(half.group())
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

    return re.sub("[\ud800-\udfff]", escaped, text)


def excerpt(value: object) -> str:
    """The beginning of a value, for an error message."""
    try:
        return f"{value!r:.60}"
    except RecursionError:
        return f"a {type(value).__name__} nested too deeply"


def shell_quoted(name: str) -> str:
    """A file's name as it is typed in a shell."""
    plain = printable(name)
    return shlex.quote(name) if plain == name else "$'" + plain.replace("'", "\\'") + "'"


_FOLDERS = re.compile(
    r"""(?:^|(?<=[\s'"`“‘«(\[{<=,;:]))  # where a word begins
    (?:file://)?/
    (?!/|(?:v1|api)/)  # addresses are told as they are
    (?:[^/\s:'"`](?:[^/\n:'"`]*[^/\s:'"`])?/)*  # folders; their names may have spaces inside
    (?=[^/\s])""",
    re.MULTILINE | re.VERBOSE,
)


def without_folders(text: str, root: Path | None = None) -> str:
    """Text in which files of this machine have their names, and not their places.

    root: what is in this folder keeps its place in it
    """
    if root is not None:
        text = text.replace(f"{root}/", "")
    return _FOLDERS.sub("", text)


class UserError(Exception):
    """Something that the user can mend: a file, a setting, a full disk. The message may contain any file name."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class ConfigError(UserError):
    """A recipe or a setting that cannot be used."""


class DataError(UserError):
    """Text, conversations or judgements that cannot be read."""


class CheckpointError(UserError):
    """Weights that are truncated, forged, or of another architecture."""


class WorkspaceError(UserError):
    """A workspace that is locked, of a newer version, or lacks what was asked for."""


class DivergedError(UserError):
    """Training produced a loss or weights that are not finite."""


class TooLargeError(UserError):
    """A model that needs more memory than is free. needed_bytes, free_bytes: what it needs, and what there is"""

    def __init__(self, message: str, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(message)
        self.needed_bytes, self.free_bytes = needed_bytes, free_bytes


class BusyError(UserError):
    """There is no capacity for a request now; the same request may work later."""
