"""What `malmoi demo` and `malmoi run` do: run a recipe, write the report, and suggest the next commands."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from malmoi.cli.console import Console
from malmoi.cli.models import bring
from malmoi.cli.next_commands import after_recipe
from malmoi.cli.plan import show_plan
from malmoi.pipeline.doctor import inspect_machine, plan_of, refuse
from malmoi.pipeline.estimate import estimate_remaining
from malmoi.pipeline.recipe import find_recipe, read_recipe
from malmoi.pipeline.run import run_recipe
from malmoi.pipeline.there import place_of
from malmoi.report import summary_table, write_report
from malmoi.stages import find_stage
from malmoi.workspace.folder import Workspace
from malmoi.workspace.opening import opened


def run(
    name: str, folder: Path, again: Sequence[str], assignments: Sequence[str], given: Sequence[str] = (),
    about: str = "", *, only: str | None = None, start: str | None = None, on: str | None = None,
    n_ranks: int | None = None,
) -> None:  # fmt: skip
    """Run a recipe, write the report if all of it is done, and suggest the next commands.

    folder: the workspace
    again: the words that run the same once more, without the workspace and `assignments`, which are those of --set
    given: settings that other options gave; about: a line to begin with; only, start: as in `run_recipe`
    on, n_ranks: the cluster on which to train, as in `place_of`
    """
    began = time.monotonic()
    recipe = read_recipe(find_recipe(name), [*given, *assignments])
    machine = inspect_machine(folder)
    workspace = Workspace(folder.resolve())
    place = place_of(workspace, on, n_ranks)
    if place is None:
        refuse(recipe, machine, use_total=True)
    with contextlib.ExitStack() as kept:
        workspace = kept.enter_context(opened(folder))
        for stage in recipe.stages:
            for model in find_stage(stage).models(recipe[stage]):
                bring(workspace, model)
        console = kept.enter_context(contextlib.closing(Console()))
        needs = (
            estimate_remaining(recipe, workspace, machine.compute_dtype, only=only, start=start)
            if place is None
            else []  # this machine does not tell how fast the cluster is
        )
        if about:
            console.line(about)
        if needs:
            console.line(f"plan    of {recipe.name}, as measured now:")
            show_plan(plan_of(needs), machine, console.line)
        done = run_recipe(recipe, workspace, console, only=only, start=start, place=place)
        if len(done) + len(console.without) == len(
            recipe.stages
        ):  # part of a recipe would replace the report of the whole
            report = write_report(recipe, workspace, done, time.monotonic() - began)
            console.rich.print(summary_table(report))
            console.line(f"\nreport  {folder / 'report.html'}")
        for number, command in enumerate(after_recipe(recipe, done, folder, again, assignments)):
            console.line(f"{'' if number else 'next':<8}{command}")
