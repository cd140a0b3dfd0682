"""How commands end: exit code 0; or one line on stderr and 2 for what the user can mend, 130 when stopped, 141 when the
reader of the output has left, 1 for a bug."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from malmoi.cli import next_commands
from malmoi.cli.next_commands import placed
from malmoi.errors import UserError
from malmoi.files import DISK_FULL, is_disk_full

DEBUG = "MALMOI_DEBUG"
READER_LEFT = 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1
"""The shell's code for a program whose reader has left: `malmoi runs list | head`."""


ALIASES = {"quantize": "quantise"}


class Reporting(TyperGroup):
    """Commands whose errors all become one line on stderr and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`malmoi help run` is `malmoi run --help`."""
        if [word for word in args if not word.startswith("-")][:1] == ["help"]:
            args = [*(word for word in args if word != "help"), "--help"]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def make_context(self, *args: Any, **extra: Any) -> Any:
        next_commands.typed_workspace = None
        with reported():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        with reported():
            return super().invoke(ctx)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except (BrokenPipeError, SystemExit) as error:
        # Rich ends the program itself when the reader of its output has left.
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
            raise
        _discard_output()
        raise typer.Exit(READER_LEFT) from None
    except KeyboardInterrupt:
        _leave("stopped; run the same command again to go on", 130)
    except UserError as error:
        _leave(f"error: {placed(str(error))}", 2)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        if (line := _usage(error) or _environment(error)) is not None:
            _leave(f"error: {line}", 2)
        if os.environ.get(DEBUG):
            traceback.print_exc()
        hint = "" if os.environ.get(DEBUG) else f"; this is a bug in malmoi, please report it with what {DEBUG}=1 shows"
        _leave(f"error: {type(error).__name__}: {error}{hint}", 1, every_rank=True)


def _usage(error: Exception) -> str | None:
    """The line about a mistake in the command's words; None for other errors."""
    # Depending on its version, Typer has its own copy of click or uses the installed one, so no class is named.
    if getattr(error, "exit_code", None) != 2 or not hasattr(error, "format_message"):
        return None
    command = getattr(getattr(error, "ctx", None), "command_path", "malmoi")
    return f"{error.format_message().rstrip('.')}; see {command} --help"


def _environment(error: Exception) -> str | None:
    """The line about something that the machine or its disk refused; None for other errors."""
    text = " ".join(str(error).split())
    if is_disk_full(error):
        return DISK_FULL
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text:
        return "out of memory; `malmoi doctor RECIPE` says what each stage needs; lower its micro_batch_size or model"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return f"{error.object[:200]!a}: is not UTF-8; rename the file, or give the text in UTF-8"
    if isinstance(error, ValueError) and "embedded null" in text:
        return "a file name has a zero byte in it"
    return None


def _leave(line: str, code: int, every_rank: bool = False) -> NoReturn:
    rank = os.environ.get("RANK", "").strip()
    if every_rank or not (rank.isdecimal() and rank.strip("0")):
        print(" ".join(line.splitlines()), file=sys.stderr, flush=True)
    raise typer.Exit(code)


def open_standard_streams() -> None:
    """Give closed streams (`>&-`) an empty file, because the next file that is opened would take their place."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def finish_output() -> None:
    """Write the buffered output while an error can still be reported."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        sys.exit(READER_LEFT)
    except OSError as error:
        _discard_output()
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(2)


def _discard_output() -> None:
    """Discard what is left in the buffer: Python would try again to write it when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
