"""What several ranks do with a command that one of them leads."""

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer

P = ParamSpec("P")


def led(command: Callable[P, None]) -> Callable[P, None]:
    """A command that the first rank runs, while the others train with it when it says so."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from malmoi import device
        from malmoi.pipeline.ranks import follow, leading

        if not device.current().is_main:
            raise typer.Exit(follow())
        with leading():
            command(*args, **kwargs)

    return run
