"""Commands on several ranks: the first rank leads, the others follow."""

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer

P = ParamSpec("P")


def led(command: Callable[P, None]) -> Callable[P, None]:
    """Let the first rank run the command; the others train with it when it tells them to."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from malmoi import device
        from malmoi.pipeline.ranks import follow, leading

        if not device.current().is_main:
            raise typer.Exit(follow())
        with leading():
            command(*args, **kwargs)

    return run
