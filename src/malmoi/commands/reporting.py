"""How commands end: 0, 2 for what the user can mend, 130 when stopped, 1 for our own mistakes; one line on stderr."""

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from malmoi.errors import UserError

DEBUG = "MALMOI_DEBUG"


class Reporting(TyperGroup):
    """Commands whose errors all end as one line on stderr and an exit code."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with reported():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        with reported():
            return super().invoke(ctx)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        _leave("stopped; run the same command again to go on", 130)
    except UserError as error:
        _leave(f"error: {error}", 2)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        if (line := _usage(error) or _environment(error)) is not None:
            _leave(f"error: {line}", 2)
        if os.environ.get(DEBUG):
            traceback.print_exc()
        hint = "" if os.environ.get(DEBUG) else f"; a mistake of ours: {DEBUG}=1 or malmoi --debug shows where"
        _leave(f"error: {type(error).__name__}: {error}{hint}", 1, every_rank=True)


def _usage(error: Exception) -> str | None:
    """What is wrong with the command's words, when it is that."""
    # Typer brings its own copy of click or takes the installed one, depending on its version: so no class is named.
    if getattr(error, "exit_code", None) != 2 or not hasattr(error, "format_message"):
        return None
    command = getattr(getattr(error, "ctx", None), "command_path", "malmoi")
    return f"{error.format_message().rstrip('.')}; see {command} --help"


def _environment(error: Exception) -> str | None:
    """What the machine or its disk refused, when it is that."""
    text = " ".join(str(error).split())
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in text:
        return "the disk is full; free some space and run the same command again"
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text:
        return "out of memory; `malmoi doctor RECIPE` says what each stage needs; lower its micro_batch_size or model"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return None


def _leave(line: str, code: int, every_rank: bool = False) -> NoReturn:
    if every_rank or os.environ.get("RANK", "0") == "0":
        print(" ".join(line.splitlines()), file=sys.stderr, flush=True)
    raise typer.Exit(code)
