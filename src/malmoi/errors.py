"""Errors that people read: each says where, what, and how to mend it.

The command line prints a `UserError` as one line and exits with 2; anything else is our own mistake and exits
with 1.
"""

import re
import shlex

RENAME = "convmv -f cp949 -t utf8 -r --notest"
"""The command that renames files and folders to UTF-8, whose names Korean Windows has written into a zip file."""


def spelt_out(text: str) -> str:
    """Text that can be printed and written: bytes of a file name that are not UTF-8 as \\xNN, half characters as
    \\uNNNN."""

    def spelt(half: re.Match[str]) -> str:
        code = ord(half.group())
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

    return re.sub("[\ud800-\udfff]", spelt, text)


def quoted(name: str) -> str:
    """A file's name as one types it in a shell."""
    plain = spelt_out(name)
    return shlex.quote(name) if plain == name else "$'" + plain.replace("'", "\\'") + "'"


class UserError(Exception):
    """Something the user can mend: a file, a setting, a full disk. The message may name any file."""

    def __init__(self, message: str = "") -> None:
        super().__init__(spelt_out(message))


class ConfigError(UserError):
    """A recipe or a setting that cannot be used."""


class DataError(UserError):
    """Text, conversations or judgements that cannot be read."""


class CheckpointError(UserError):
    """Weights that are truncated, forged, or of another architecture."""


class WorkspaceError(UserError):
    """A workspace that is locked, of a newer version, or lacks what was asked for."""


class DivergedError(UserError):
    """Training left the finite numbers."""


class BusyError(UserError):
    """More is asked than there is room for; the same may work later."""
