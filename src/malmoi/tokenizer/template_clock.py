"""The time that chat templates see (`strftime_now`): within a run, the time at which the run began.

Otherwise the ids of a template that writes the date would change at midnight, even between a prompt and its answer.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Any

from malmoi.errors import ConfigError
from malmoi.files import read_json

_fixed: ContextVar[datetime | None] = ContextVar("template_time", default=None)


@contextmanager
def fixed_time(moment: datetime | None = None) -> Iterator[None]:
    """Within this context, templates see this time. None: the time that is fixed already, else the time now.

    moment: local time without a time zone, as in transformers
    """
    token = _fixed.set(moment or template_time())
    try:
        yield
    finally:
        _fixed.reset(token)


def template_time() -> datetime:
    """The time that a template would see now, to the second."""
    return _fixed.get() or datetime.now().replace(microsecond=0)


def uses_time(source: str) -> bool:
    """Whether a template may write the time."""
    return "strftime_now" in source


def start_of(path: Path, now: datetime | None = None) -> datetime:
    """When the work that this file describes began: the time recorded in the file, otherwise now.

    now: the time to use as now; by default the clock's
    """
    return (path.exists() and recorded_start(read_json(path), path)) or (now or datetime.now()).replace(microsecond=0)


def recorded_start(about: Mapping[str, Any], path: Path) -> datetime | None:
    """The time under `begun`, None if there is none. Raises ConfigError, which names the file, if it is not a time."""
    if (value := about.get("begun")) is None:
        return None
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{path}: begun: {value!r} is not a time such as 2026-01-31T09:30:00; correct it") from None
