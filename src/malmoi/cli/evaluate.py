"""`malmoi eval`: how good a model is."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli.options import Json, Model, WorkspaceOption, a_path
from malmoi.errors import ConfigError


def evaluate(
    model: Model,
    tasks: Annotated[
        str, typer.Option(metavar="NAMES", help="Tasks, separated by commas; default: twelve in English.")
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the tasks' files; default: MALMOI_DATA.", parser=a_path),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, max=10**9, help="Only the first N questions of each task; 0: all.")
    ] = 100,
    preferences: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Instead of tasks: people's rankings, in any known format, for a reward model.",
            parser=a_path,
        ),
    ] = None,
    errors: Annotated[
        str, typer.Option(metavar="skip|strict", help="What to do with rankings that cannot be read.")
    ] = "strict",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON here too.", parser=a_path)] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Measure how good a model is, each figure with its 95 % interval.

    A language model solves tasks: choices and last words by likelihood, arithmetic and instructions by its answers.

    \b
    Example:
      malmoi eval smollm2-135m --tasks arc_easy,piqa,lambada --data ./eval
      malmoi eval reward --workspace demo --preferences rankings.jsonl --json
    """
    from malmoi.cli.console import watched
    from malmoi.cli.printing import print_json, show
    from malmoi.cli.tables import rewards_table, tasks_table
    from malmoi.evals.evaluate import evaluate_rewards, evaluate_tasks
    from malmoi.files import write_json
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.models import find_model

    _check(preferences, errors, of_tasks=bool(tasks or data))
    _, folder = find_model(Workspace(workspace), model)
    with watched():
        if preferences is not None:
            found = evaluate_rewards(model, folder, preferences, errors)  # type: ignore[arg-type]
        else:
            names = [name.strip() for name in tasks.split(",") if name.strip()]
            found = evaluate_tasks(model, folder, names, data, limit, partial(typer.secho, err=True, dim=True))
    if out is not None:
        write_json(out, found)
    if as_json:
        print_json(found)
    else:
        show((tasks_table if preferences is None else rewards_table)(found))


def _check(preferences: Path | None, errors: str, *, of_tasks: bool) -> None:
    """Raises ConfigError for options that do not go together. of_tasks: whether options about tasks are given"""
    if errors not in ("skip", "strict"):
        raise ConfigError(f"--errors {errors}: skip or strict")
    if preferences is None and errors != "strict":
        raise ConfigError("--errors: is about rankings; give --preferences, or leave it out")
    if preferences is not None and of_tasks:
        raise ConfigError("--preferences: measures a reward model on rankings; leave --tasks and --data out")
