"""Run a recipe: skip finished stages, resume interrupted ones, and record everything in the ledger."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from malmoi import __version__, device, progress
from malmoi.config import Settings
from malmoi.errors import ConfigError, DataError, UserError, WorkspaceError
from malmoi.files import partial_name, remove_partials, remove_stale_partials, write_json
from malmoi.inference.generate import generating
from malmoi.pipeline.log import RunLog
from malmoi.pipeline.names import model_name
from malmoi.pipeline.plan import find_external, parents_of
from malmoi.pipeline.ranks import all_ranks
from malmoi.pipeline.recipe import READS, Recipe
from malmoi.pipeline.there import Place, run_there
from malmoi.pipeline.watcher import Watcher
from malmoi.stage import CHECKPOINT, MODEL, Context, ExternalInput, Input, InputsByRole
from malmoi.stages import find_stage
from malmoi.tokenizer.template_clock import fixed_time, start_of
from malmoi.train import checkpoint
from malmoi.train.signals import listening
from malmoi.workspace.claims import claimed
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import INDEX
from malmoi.workspace.ledger import OUT, Ledger, Made, Work, fingerprint


@dataclass(frozen=True)
class Done:
    """A finished stage of a recipe.

    seconds: time that the run took in all; skipped: finished before, not run this time; reads: its inputs
    """

    stage: str
    run_id: str
    out: Path
    sha256: str
    seconds: float
    skipped: bool
    reads: InputsByRole


def run_recipe(
    recipe: Recipe, workspace: Workspace, watcher: Watcher, *, only: str | None = None, start: str | None = None,
    now: datetime | None = None, place: Place | None = None,
) -> dict[str, Done]:  # fmt: skip
    """Run the recipe's stages in order; returns all finished stages.

    only: run only this stage (its parents must be finished); start: run this stage and all later ones again
    now: the time that chat templates get in stages that begin now; None: the system clock's
    place: the cluster on which stages train; None: here
    A stage whose settings and inputs are unchanged is not run again; an interrupted one is resumed. A stage that can
    make nothing of what it reads is left out, with those that need what it makes.
    Raises UserError if a stage fails; its run is marked as failed or stopped.
    """
    for name in (only, start):
        if name is not None and name not in recipe.stages:
            raise ConfigError(f"stage {name!r}: not in this recipe; it has {', '.join(recipe.stages)}")
    done: dict[str, Done] = {}
    stages = recipe.stages
    with Ledger.open(workspace) as ledger, contextlib.ExitStack() as kept:
        for number, stage in enumerate(stages):
            if stage not in recipe:
                continue
            forced = stage == only or (start is not None and number >= stages.index(start))
            identity = _identity(recipe, stage, done, workspace, ledger)
            if why := find_stage(stage).nothing_to_do(recipe[stage], identity.reads):
                if stage == only:
                    raise DataError(f"{stage}: {why}")
                recipe = _leave_out(recipe, stage, why, watcher)
                continue
            for one in identity.external.values():
                kept.enter_context(workspace.keeping(one.path))  # nobody may remove what a stage reads
            found = _find_done(stage, identity, ledger)
            if found is not None and not forced:
                done[stage] = found
                watcher.skipped(stage, found.run_id)
            elif only is not None and stage != only:
                if number > stages.index(only):
                    break
                raise ConfigError(
                    f"--only {only}: stage {stage} has not been run with these settings; leave --only out"
                )
            else:
                done[stage] = _run_stage(recipe, stage, identity, done, ledger, workspace, watcher, forced, now, place)
            kept.enter_context(workspace.keeping(done[stage].out))
            for line in link_made(workspace, done[stage]):
                watcher.line(line)
    return done


def _leave_out(recipe: Recipe, stage: str, why: str, watcher: Watcher) -> Recipe:
    """The recipe without a stage; tells of it, and of the stages that need what it makes."""
    fewer = recipe.without(stage)
    watcher.left_out(stage, why)
    for other in recipe.stages:
        if other not in fewer and other != stage:
            watcher.left_out(other, f"needs what {stage} makes")
    return fewer


class Remaining(NamedTuple):
    """The stages that `run_recipe` would run now. n_taken: optimizer steps that its first stage has already taken."""

    stages: tuple[str, ...] = ()
    n_taken: int = 0


def remaining_work(
    recipe: Recipe, workspace: Workspace, *, only: str | None = None, start: str | None = None
) -> Remaining:
    """The first unfinished stage and all later ones; with `only`, that stage.

    Empty if `run_recipe` would refuse: the recipe lacks the stage, or the parents of `only` are not finished.
    Raises CheckpointError if the first stage's checkpoint is damaged.
    """
    if any(name is not None and name not in recipe.stages for name in (only, start)):
        return Remaining()
    done: dict[str, Done] = {}
    with Ledger.open(workspace) as ledger:
        for stage in recipe.stages:
            if stage == only:
                return Remaining((stage,))
            if stage not in recipe:
                continue
            identity = _identity(recipe, stage, done, workspace, ledger)
            if find_stage(stage).nothing_to_do(recipe[stage], identity.reads):
                recipe = recipe.without(stage)
                continue
            found = _find_done(stage, identity, ledger)
            if stage == start or (found is None and only is None):
                n_taken = 0 if stage == start else _n_taken(stage, identity, workspace, ledger)
                return Remaining(recipe.stages[recipe.stages.index(stage) :], n_taken)
            if found is None:
                break
            done[stage] = found
    return Remaining()


def _snapshots(inputs: Iterable[str], done: dict[str, Done], ledger: Ledger) -> dict[str, str]:
    """Name -> SHA-256 of the frozen judgements in a stage's inputs, through which lineage leads to the people."""
    return {
        f"{parent}/{made.name}": made.sha256
        for parent in inputs
        for made in ledger.artefacts_of(done[parent].run_id).values()
        if made.kind == "snapshot"
    }


@dataclass(frozen=True)
class Identity:
    """What decides whether a stage's work is the same as before.

    settings: with the sources that the recipe names; inputs: stage, or role of an external input -> SHA-256
    external_hashes: name -> SHA-256 or version of external data; external: role -> external input
    reads: all inputs, by role
    """

    settings: dict[str, Any]
    inputs: dict[str, str]
    external_hashes: dict[str, str]
    external: dict[str, ExternalInput]
    reads: InputsByRole

    def fingerprint(self, stage: str) -> str:
        return fingerprint(stage, fingerprinted(stage, self.settings), {**self.inputs, **self.external_hashes})


def fingerprinted(stage: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A stage's settings as they enter its fingerprint: as the first version wrote them, so that old work is found.

    That version kept input paths (all empty) among the settings of training stages, and had other names for some
    settings.
    """
    found = find_stage(stage)
    files = found.Inputs
    return {**(files().model_dump(mode="json") if files else {}), **found.Settings.under_first_names(settings)}


def _identity(recipe: Recipe, stage: str, done: dict[str, Done], workspace: Workspace, ledger: Ledger) -> Identity:
    settings: Settings = recipe[stage]
    bindings = recipe.bindings[stage]
    found = find_stage(stage)
    external = found.external_inputs(settings, workspace) | {
        role: find_external(stage, role, binding, workspace, ledger)
        for role, those in bindings.items()
        for binding in those
        if binding.name
    }
    inputs = {parent: done[parent].sha256 for parent in parents_of(bindings)}
    inputs |= {role: ledger.hashes.sha256_of(one.path) for role, one in external.items()}
    named = {READS: dict(recipe.reads[stage])} if recipe.reads.get(stage) else {}
    external_hashes = found.external_hashes(settings, workspace, ledger.hashes)
    reads = _reads(recipe, stage, done, external)
    return Identity({**settings.model_dump(mode="json"), **named}, inputs, external_hashes, external, reads)


def _reads(recipe: Recipe, stage: str, done: dict[str, Done], external: dict[str, ExternalInput]) -> InputsByRole:
    """A stage's inputs, by role."""

    def input_of(role: str, kind: str, parent: str) -> Input:
        return find_stage(parent).output(kind, done[parent].out) if parent else external[role].input

    bindings = recipe.bindings[stage]
    return InputsByRole(
        {role: (one.input,) for role, one in external.items()}
        | {
            role: tuple(input_of(role, binding.kind, binding.stage) for binding in those)
            for role, those in bindings.items()
        }
    )


def _n_taken(stage: str, identity: Identity, workspace: Workspace, ledger: Ledger) -> int:
    """The step at which an interrupted stage would resume."""
    run = ledger.find_run(stage, identity.fingerprint(stage))
    if run is None or run.status == "done":
        return 0
    path = workspace.runs / run.id / CHECKPOINT
    return checkpoint.step_of(path) if path.exists() else 0


def _record_external(identity: Identity, ledger: Ledger) -> None:
    """Record as an import each external input that the ledger does not know."""
    for role, found in identity.external.items():
        try:
            ledger.lineage(identity.inputs[role])
        except WorkspaceError:
            ledger.import_artefact(found.path, role, found.input.kind, str(found.path.resolve()))


def _find_done(stage: str, identity: Identity, ledger: Ledger) -> Done | None:
    made = ledger.find_done(stage, identity.fingerprint(stage))
    return None if made is None else _done(stage, identity, made, ledger)


def _done(stage: str, identity: Identity, made: Made, ledger: Ledger) -> Done:
    seconds = ledger.run(made.run_id).seconds
    return Done(stage, made.run_id, made.path, made.sha256, seconds, skipped=True, reads=identity.reads)


def _run_stage(
    recipe: Recipe, stage: str, identity: Identity, done: dict[str, Done], ledger: Ledger, workspace: Workspace,
    watcher: Watcher, again: bool, now: datetime | None, place: Place | None,
) -> Done:  # fmt: skip
    work, settings, inputs = identity.fingerprint(stage), identity.settings, identity.inputs
    _record_external(identity, ledger)
    seed = int(settings.get("seed", recipe.seed))
    parents = {**inputs, **_snapshots(parents_of(recipe.bindings[stage]), done, ledger)}
    piece = Work(stage, recipe.name, work, settings, seed, parents)
    with claimed(ledger, piece, lambda line: watcher.line(f"{stage}  {line}"), again=again) as claim:
        run_id = claim.run_id
        if claim.made is not None:
            watcher.skipped(stage, run_id)
            return _done(stage, identity, claim.made, ledger)
        folder, began, found = workspace.runs / run_id, time.monotonic(), find_stage(stage)
        remove_partials(folder)
        log = RunLog(folder)
        moment = start_of(folder / "config.json", now)
        shown = {"stage": stage, "settings": settings, "inputs": inputs, "malmoi": __version__}
        if recipe.generate.backend != "malmoi":
            shown["generate"] = recipe.generate.model_dump()
        write_json(folder / "config.json", shown | {"begun": moment.isoformat()})
        watcher.started(stage, run_id, resumed=claim.resumed)
        log.say(f"{stage} {'goes on' if claim.resumed else 'begins'}, malmoi {__version__}")
        context = Context(
            run_id, folder, identity.reads, inputs, ledger, workspace, _both(watcher.say, log.say),
            [watcher.step, log.step],
        )  # fmt: skip
        watching = progress.listening(watcher.progress, log.progress)
        with fixed_time(moment), listening(), log.following(), watching:
            try:
                with generating(recipe.generate, folder):
                    if place is not None and found.trains:
                        run_there(place, found, context, recipe[stage], recipe.generate)
                    else:
                        with all_ranks(found, context, recipe[stage], recipe.generate):
                            found.run(context, recipe[stage])
                sha256 = _record(context, stage)
            except BaseException as error:
                _record_end(error, run_id, ledger, log, time.monotonic() - began)
                raise
        seconds = time.monotonic() - began
        log.say(f"done in {seconds:.1f} s")
        ledger.finish_run(run_id, seconds)
    device.release_memory()
    watcher.finished(stage, run_id, seconds)
    total = ledger.run(run_id).seconds
    return Done(stage, run_id, context.out, sha256, total, skipped=False, reads=identity.reads)


def _both(*outputs: Callable[[str], None]) -> Callable[[str], None]:
    def say(line: str) -> None:
        for output in outputs:
            output(line)

    return say


def _record(context: Context, stage: str) -> str:
    """Record the stage's output as artefacts; returns its SHA-256."""
    sha256 = context.ledger.add_artefact(context.run_id, OUT, stage, context.out)
    for name in (MODEL, INDEX):
        if (context.out / name).exists():
            context.ledger.add_artefact(context.run_id, name, name, context.out / name)
    (context.folder / CHECKPOINT).unlink(missing_ok=True)
    return sha256


def _record_end(error: BaseException, run_id: str, ledger: Ledger, log: RunLog, seconds: float) -> None:
    """Record why a run ended early: one line in the ledger, and a traceback in its log."""
    if not isinstance(error, Exception):
        log.say("stopped")
        ledger.mark_run(run_id, "stopped", seconds=seconds)
        return
    line = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    log.say(f"error: {line}")  # first: the database may be what failed
    if not isinstance(error, UserError):
        log.crashed(error)
    ledger.mark_run(run_id, "failed", error=line, seconds=seconds)


def link_made(workspace: Workspace, done: Done) -> Iterator[str]:
    """Point `models/base`, `models/sft`, …, and `indexes/index`, at what the latest run made.

    What somebody has put there stays, and a line says so.
    """
    for made, link in (
        (done.out / MODEL, workspace.models / model_name(done.stage)),
        (done.out / INDEX, workspace.indexes / INDEX),
    ):
        if not made.exists():
            continue
        if link.exists() and not link.is_symlink():
            yield f"{link}: was put there by hand and stays; the new one is {made}"
        else:
            _point(link, Path("..") / made.relative_to(workspace.path))


def _point(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    link.parent.mkdir(exist_ok=True)
    remove_stale_partials(link)
    partial = partial_name(link)
    partial.symlink_to(target)
    partial.replace(link)
