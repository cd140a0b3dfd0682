"""`malmoi settings`: what holds for everybody who uses the service."""

from pathlib import Path
from typing import Annotated, Any

import typer

from malmoi.cli.options import Json, WorkspaceOption
from malmoi.errors import ConfigError

SWITCH = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def settings(
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="What to change.", show_default=False)
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Show what holds for everybody who uses the service, or change it.

    may_teach_default: whether new chats may teach, until their person says otherwise (on or off).
    taught_answers: whether better answers that people wrote are used at once (on or off).
    people_per_question: how many people rank the answers to a question, 1 to 9; it holds for waiting ones too.

    \b
    Example:
      malmoi settings --workspace demo
      malmoi settings people_per_question=3 --workspace demo
    """
    from malmoi.cli.options import open_ledger, open_workspace
    from malmoi.cli.printing import print_json
    from malmoi.feedback.settings import change_settings, get_settings
    from malmoi.workspace.ledger import Ledger

    if changes := dict(map(_change, values or [])):
        with Ledger.open(open_workspace(workspace)) as ledger:
            now = change_settings(ledger, changes)
    else:
        with open_ledger(workspace) as ledger:
            now = get_settings(ledger)
    if as_json:
        print_json(now)
        return
    for name, value in now.items():
        print(f"{name} = {({True: 'on', False: 'off'}[value]) if isinstance(value, bool) else value}")


def _change(given: str) -> tuple[str, Any]:
    """Raises ConfigError for what is no setting, or no value of it."""
    from malmoi.feedback.settings import DEFAULTS

    name, equals, value = given.partition("=")
    if name not in DEFAULTS:
        raise ConfigError(f"{name}: no such setting; there are {', '.join(DEFAULTS)}")
    if isinstance(DEFAULTS[name], bool):
        if value.lower() not in SWITCH:
            raise ConfigError(f"{name}: expected on or off, such as {name}=on")
        return name, SWITCH[value.lower()]
    if not equals or not (value.isascii() and value.isdigit() and len(value) < 10):
        raise ConfigError(f"{name}: expected a number, such as {name}={DEFAULTS[name]}")
    return name, int(value)
