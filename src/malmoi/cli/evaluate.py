"""`malmoi eval`: how good a model is."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from malmoi.cli.options import Json, Model, WorkspaceOption, a_path
from malmoi.errors import ConfigError, UserError

Tasks = Annotated[str, typer.Option(metavar="NAMES", help="Tasks, separated by commas; default: twelve in English.")]
DataFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the tasks' files; default: MALMOI_DATA.", parser=a_path),
]
Limit = Annotated[
    int, typer.Option(metavar="N", min=0, max=10**9, help="Only the first N questions of each task; 0: all.")
]
Preferences = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Instead of tasks: people's rankings, in any known format, for a reward model.",
        parser=a_path,
    ),
]
Natural = Annotated[
    bool,
    typer.Option(
        "--natural", help="Instead of tasks: what people ask about Python, with the look-up of the workspace."
    ),
]
Curve = Annotated[
    bool,
    typer.Option(
        "--curve", help="For a reward model: how accurate it gets with more rankings, and what the next 100 bring."
    ),
]
Errors = Annotated[str, typer.Option(metavar="skip|strict", help="What to do with rankings that cannot be read.")]


def evaluate(
    model: Model,
    tasks: Tasks = "",
    data: DataFolder = None,
    limit: Limit = 100,
    preferences: Preferences = None,
    natural: Natural = False,
    curve: Curve = False,
    errors: Errors = "strict",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON here too.", parser=a_path)] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Measure how good a model is, each figure with its 95 % interval.

    A language model solves tasks: choices and last words by likelihood, arithmetic and instructions by its answers.
    With --natural, it answers questions that people ask about Python's standard library, looked up in the workspace's
    index, next to the look-up and the model by themselves; MODEL may be none.
    With --preferences, a reward model orders people's answers, next to length, counted words and people themselves.

    \b
    Example:
      malmoi eval smollm2-135m --tasks arc_easy,piqa,lambada --data ./eval
      malmoi eval ppo --workspace demo --natural
      malmoi eval reward --workspace demo --preferences rankings.jsonl --json
      malmoi eval reward --workspace smol --curve
    """
    from malmoi.cli.printing import print_json, show
    from malmoi.cli.tables import curve_table, natural_table, rewards_table, tasks_table
    from malmoi.files import write_json

    _check(preferences, errors, of_tasks=bool(tasks or data), natural=natural, curve=curve)
    if curve:
        table, found = curve_table, _curve(model, workspace, preferences, errors)
    elif natural:
        table, found = natural_table, _natural(model, workspace)
    elif preferences is not None:
        table, found = rewards_table, _rewards(model, workspace, preferences, errors)
    else:
        names = [name.strip() for name in tasks.split(",") if name.strip()]
        table, found = tasks_table, _tasks(model, workspace, names, data, limit)
    if out is not None:
        write_json(out, found)
    if as_json:
        print_json(found)
    else:
        show(table(found))


def _natural(model: str, workspace: Path) -> dict[str, Any]:
    from malmoi.cli.console import watched
    from malmoi.evals.natural_voices import evaluate_natural
    from malmoi.inference.grounded import NO_VOICE
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.indexes import find_index
    from malmoi.workspace.models import find_model

    place = Workspace(workspace)
    folder = None if model == NO_VOICE else find_model(place, model)[1]
    with watched():
        return evaluate_natural(model, folder, find_index(place))


def _rewards(model: str, workspace: Path, preferences: Path, errors: str) -> dict[str, Any]:
    from malmoi.cli.console import watched
    from malmoi.evals.evaluate import evaluate_rewards
    from malmoi.pipeline.reward_inputs import reward_inputs
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.models import find_model

    folder = find_model(Workspace(workspace), model)[1]
    training = reward_inputs(Workspace(workspace), folder).get("train")
    with watched():
        return evaluate_rewards(model, folder, preferences, errors, training)  # type: ignore[arg-type]


def _curve(model: str, workspace: Path, preferences: Path | None, errors: str) -> dict[str, Any]:
    from malmoi.cli.console import watched
    from malmoi.evals.evaluate import evaluate_curve
    from malmoi.formats.inspect import kind_of
    from malmoi.pipeline.reward_inputs import reward_inputs
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.models import find_model

    folder = find_model(Workspace(workspace), model)[1]
    if kind_of(folder) != "reward":
        raise UserError(f"{model}: writes answers and scores none; --curve needs a reward model")
    inputs = reward_inputs(Workspace(workspace), folder) | ({"heldout": preferences} if preferences else {})
    with watched():
        return evaluate_curve(model, folder, inputs, errors)  # type: ignore[arg-type]


def _tasks(model: str, workspace: Path, names: list[str], data: Path | None, limit: int) -> dict[str, Any]:
    from malmoi.cli.console import watched
    from malmoi.evals.evaluate import evaluate_tasks
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.models import find_model

    folder = find_model(Workspace(workspace), model)[1]
    with watched():
        return evaluate_tasks(model, folder, names, data, limit, partial(typer.secho, err=True, dim=True))


def _check(preferences: Path | None, errors: str, *, of_tasks: bool, natural: bool, curve: bool) -> None:
    """Raises ConfigError for options that do not go together. of_tasks: whether options about tasks are given"""
    if natural and (of_tasks or preferences is not None or curve):
        raise ConfigError("--natural: asks its own questions; leave --tasks, --data, --preferences and --curve out")
    if curve and of_tasks:
        raise ConfigError("--curve: is about rankings; leave --tasks and --data out")
    if errors not in ("skip", "strict"):
        raise ConfigError(f"--errors {errors}: skip or strict")
    if preferences is None and not curve and errors != "strict":
        raise ConfigError("--errors: is about rankings; give --preferences, or leave it out")
    if preferences is not None and of_tasks:
        raise ConfigError("--preferences: measures a reward model on rankings; leave --tasks and --data out")
