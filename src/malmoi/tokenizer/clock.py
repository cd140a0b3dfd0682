"""The time that chat templates are told (`strftime_now`): of a run it is when it began, on whatever day it goes on.

Ids that a template writes the date into would otherwise change at midnight, between a prompt and its answer too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Any

from malmoi.errors import ConfigError
from malmoi.files import read_json

_told: ContextVar[datetime | None] = ContextVar("told", default=None)


@contextmanager
def dated(moment: datetime | None = None) -> Iterator[None]:
    """Templates are told this time. None: the time that they are told already, or what the clock shows now.

    moment: local and without a time zone, as transformers tells it
    """
    token = _told.set(moment or told())
    try:
        yield
    finally:
        _told.reset(token)


def told() -> datetime:
    """The time that a template is told now, to the second."""
    return _told.get() or datetime.now().replace(microsecond=0)


def asks_time(source: str) -> bool:
    """Whether a template may write the time."""
    return "strftime_now" in source


def begun(path: Path, now: datetime | None = None) -> datetime:
    """When the work that this file describes began: as it says there, otherwise now.

    now: None: what the clock shows
    """
    return (path.exists() and recorded(read_json(path), path)) or (now or datetime.now()).replace(microsecond=0)


def recorded(about: Mapping[str, Any], path: Path) -> datetime | None:
    """What is written down under `begun`, None where nothing is. ConfigError names the file where it is no time."""
    if (value := about.get("begun")) is None:
        return None
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{path}: begun: {value!r} is no time such as 2026-01-31T09:30:00; put it right") from None
