"""Errors that people read: each says where, what, and how to mend it.

The command line prints a `UserError` as one line and exits with 2; anything else is our own mistake and exits
with 1.
"""


class UserError(Exception):
    """Something the user can mend: a file, a setting, a full disk."""


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
