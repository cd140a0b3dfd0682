"""Run a recipe: skip what is done, resume what was interrupted, record everything in the ledger."""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from malmoi import __version__, device, progress
from malmoi.config import Settings
from malmoi.errors import ConfigError, UserError, WorkspaceError
from malmoi.files import partial_name, remove_partials, remove_stale_partials, write_json
from malmoi.pipeline.log import RunLog
from malmoi.pipeline.names import model_name
from malmoi.pipeline.plan import bring, parents_of
from malmoi.pipeline.ranks import all_ranks
from malmoi.pipeline.recipe import READS, Recipe
from malmoi.pipeline.watcher import Watcher
from malmoi.stage import CHECKPOINT, MODEL, Brought, Context, Given, Reads
from malmoi.stages import find_stage
from malmoi.tokenizer.template_clock import fixed_time, start_of
from malmoi.train import checkpoint
from malmoi.train.signals import listening
from malmoi.workspace.claims import claimed
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import OUT, Ledger, Made, Work, fingerprint


@dataclass(frozen=True)
class Done:
    """One stage of a recipe as it stands.

    seconds: of the work, whenever it was done; skipped: not run this time; reads: what it was given
    """

    stage: str
    run_id: str
    out: Path
    sha256: str
    seconds: float
    skipped: bool
    reads: Reads


def run_recipe(
    recipe: Recipe, workspace: Workspace, watcher: Watcher, *, only: str | None = None, start: str | None = None,
    now: datetime | None = None,
) -> dict[str, Done]:  # fmt: skip
    """Run the recipe's stages in order; returns each as it stands.

    only: run this stage alone (its parents must be done); start: run it and all after it anew
    now: what chat templates are told in stages that begin; None: what the clock shows then
    A stage whose settings and inputs are unchanged is not run again; one that was interrupted goes on.
    Raises UserError, with the run marked as failed or stopped, when a stage cannot end.
    """
    for name in (only, start):
        if name is not None and name not in recipe.stages:
            raise ConfigError(f"stage {name!r}: not in this recipe; it has {', '.join(recipe.stages)}")
    done: dict[str, Done] = {}
    with contextlib.closing(Ledger.open(workspace)) as ledger, contextlib.ExitStack() as kept:
        for stage in recipe.stages:
            forced = stage == only or (start is not None and recipe.stages.index(stage) >= recipe.stages.index(start))
            identity = _identity(recipe, stage, done, workspace, ledger)
            for one in identity.brought.values():
                kept.enter_context(workspace.keeping(one.path))  # what a stage reads is not removed
            found = _find_done(stage, identity, ledger)
            if found is not None and not forced:
                done[stage] = found
                watcher.skipped(stage, found.run_id)
            elif only is not None and stage != only:
                if recipe.stages.index(stage) > recipe.stages.index(only):
                    break
                raise ConfigError(
                    f"--only {only}: stage {stage} has not been run with these settings; leave --only out"
                )
            else:
                done[stage] = _run_stage(recipe, stage, identity, done, ledger, workspace, watcher, forced, now)
            kept.enter_context(workspace.keeping(done[stage].out))
            link_model(workspace, done[stage])
    return done


class Rest(NamedTuple):
    """What `run_recipe` would run now. n_taken: optimizer steps of the first stage that need not be taken again."""

    stages: tuple[str, ...] = ()
    n_taken: int = 0


def rest_of(recipe: Recipe, workspace: Workspace, *, only: str | None = None, start: str | None = None) -> Rest:
    """All from the first stage whose work is not there; `only` of them, if given.

    Nothing where `run_recipe` would refuse: a stage that the recipe has not, or whose parents' work is not there.
    Raises CheckpointError where the first stage's checkpoint is broken.
    """
    if any(name is not None and name not in recipe.stages for name in (only, start)):
        return Rest()
    done: dict[str, Done] = {}
    with contextlib.closing(Ledger.open(workspace)) as ledger:
        for number, stage in enumerate(recipe.stages):
            if stage == only:
                return Rest((stage,))
            identity = _identity(recipe, stage, done, workspace, ledger)
            found = _find_done(stage, identity, ledger)
            if stage == start or (found is None and only is None):
                n_taken = 0 if stage == start else _n_taken(stage, identity, workspace, ledger)
                return Rest(recipe.stages[number:], n_taken)
            if found is None:
                break
            done[stage] = found
    return Rest()


def _snapshots(inputs: Iterable[str], done: dict[str, Done], ledger: Ledger) -> dict[str, str]:
    """The frozen judgements inside what a stage reads: from there the lineage walks on to the people."""
    return {
        f"{parent}/{made.name}": made.sha256
        for parent in inputs
        for made in ledger.artefacts_of(done[parent].run_id).values()
        if made.kind == "snapshot"
    }


@dataclass(frozen=True)
class Identity:
    """What makes a stage's work the same as before.

    settings: with what the recipe names for its roles; inputs: stage, or role of what is named -> SHA-256
    outside: what it reads that no stage made, by name; brought: what the recipe names, by role
    reads: all that it is given, by role
    """

    settings: dict[str, Any]
    inputs: dict[str, str]
    outside: dict[str, str]
    brought: dict[str, Brought]
    reads: Reads

    def fingerprint(self, stage: str) -> str:
        return fingerprint(stage, fingerprinted(stage, self.settings), {**self.inputs, **self.outside})


def fingerprinted(stage: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A stage's settings as the first version had them in fingerprints, so that what any version made is found.

    There a training stage had its paths among its settings, all empty, and some settings had other names.
    """
    found = find_stage(stage)
    files = found.Inputs
    return {**(files().model_dump(mode="json") if files else {}), **found.Settings.under_first_names(settings)}


def _identity(recipe: Recipe, stage: str, done: dict[str, Done], workspace: Workspace, ledger: Ledger) -> Identity:
    settings: Settings = recipe[stage]
    bound = recipe.bound[stage]
    found = find_stage(stage)
    brought = found.brings(settings, workspace) | {
        role: bring(stage, role, source, workspace, ledger)
        for role, sources in bound.items()
        for source in sources
        if source.name
    }
    inputs = {parent: done[parent].sha256 for parent in parents_of(bound)}
    inputs |= {role: ledger.hashes.sha256_of(one.path) for role, one in brought.items()}
    named = {READS: dict(recipe.reads[stage])} if recipe.reads.get(stage) else {}
    outside = found.outside(settings, workspace, ledger.hashes)
    reads = _reads(recipe, stage, done, brought)
    return Identity({**settings.model_dump(mode="json"), **named}, inputs, outside, brought, reads)


def _reads(recipe: Recipe, stage: str, done: dict[str, Done], brought: dict[str, Brought]) -> Reads:
    """What a stage is given, by role."""

    def given(role: str, kind: str, parent: str) -> Given:
        return find_stage(parent).given(kind, done[parent].out) if parent else brought[role].given

    bound = recipe.bound[stage]
    return Reads(
        {role: (one.given,) for role, one in brought.items()}
        | {role: tuple(given(role, source.kind, source.stage) for source in sources) for role, sources in bound.items()}
    )


def _n_taken(stage: str, identity: Identity, workspace: Workspace, ledger: Ledger) -> int:
    """The step of the checkpoint from which an interrupted stage would go on."""
    run = ledger.find_run(stage, identity.fingerprint(stage))
    if run is None or run.status == "done":
        return 0
    path = workspace.runs / run.id / CHECKPOINT
    return checkpoint.step_of(path) if path.exists() else 0


def _record_brought(identity: Identity, ledger: Ledger) -> None:
    """What comes from outside of the recipe has a record before it is read: made here, or an import."""
    for role, found in identity.brought.items():
        try:
            ledger.lineage(identity.inputs[role])
        except WorkspaceError:
            ledger.import_artefact(found.path, role, found.given.kind, str(found.path.resolve()))


def _find_done(stage: str, identity: Identity, ledger: Ledger) -> Done | None:
    made = ledger.find_done(stage, identity.fingerprint(stage))
    return None if made is None else _done(stage, identity, made, ledger)


def _done(stage: str, identity: Identity, made: Made, ledger: Ledger) -> Done:
    seconds = ledger.run(made.run_id).seconds
    return Done(stage, made.run_id, made.path, made.sha256, seconds, skipped=True, reads=identity.reads)


def _run_stage(
    recipe: Recipe, stage: str, identity: Identity, done: dict[str, Done], ledger: Ledger, workspace: Workspace,
    watcher: Watcher, anew: bool, now: datetime | None,
) -> Done:  # fmt: skip
    work, settings, inputs = identity.fingerprint(stage), identity.settings, identity.inputs
    _record_brought(identity, ledger)
    seed = int(settings.get("seed", recipe.seed))
    parents = {**inputs, **_snapshots(parents_of(recipe.bound[stage]), done, ledger)}
    piece = Work(stage, recipe.name, work, settings, seed, parents)
    with claimed(ledger, piece, lambda line: watcher.line(f"{stage}  {line}"), again=anew) as claim:
        run_id = claim.run_id
        if claim.made is not None:
            watcher.skipped(stage, run_id)
            return _done(stage, identity, claim.made, ledger)
        folder, began, found = workspace.runs / run_id, time.monotonic(), find_stage(stage)
        remove_partials(folder)
        log = RunLog(folder)
        moment = start_of(folder / "config.json", now)
        shown = {"stage": stage, "settings": settings, "inputs": inputs, "malmoi": __version__}
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
                with all_ranks(found, context, recipe[stage]):
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


def _both(*tell: Callable[[str], None]) -> Callable[[str], None]:
    def say(line: str) -> None:
        for one in tell:
            one(line)

    return say


def _record(context: Context, stage: str) -> str:
    """What the stage made, as artefacts; returns the SHA-256 of all of it."""
    sha256 = context.ledger.add_artefact(context.run_id, OUT, stage, context.out)
    if (context.out / MODEL).exists():
        context.ledger.add_artefact(context.run_id, MODEL, "model", context.out / MODEL)
    (context.folder / CHECKPOINT).unlink(missing_ok=True)
    return sha256


def _record_end(error: BaseException, run_id: str, ledger: Ledger, log: RunLog, seconds: float) -> None:
    """A run that did not come to its end says why: in the ledger in a line, in its log with a traceback."""
    if not isinstance(error, Exception):
        ledger.mark_run(run_id, "stopped", seconds=seconds)
        log.say("stopped")
        return
    line = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    ledger.mark_run(run_id, "failed", error=line, seconds=seconds)
    log.say(f"error: {line}")
    if not isinstance(error, UserError):
        log.crashed(error)


def link_model(workspace: Workspace, done: Done) -> None:
    """A name for people: `models/base`, `models/sft`, … points at what the latest run made."""
    if not (done.out / MODEL).exists():
        return
    link = workspace.models / model_name(done.stage)
    target = Path("..") / (done.out / MODEL).relative_to(workspace.path)
    if link.is_symlink() and link.readlink() == target:
        return
    remove_stale_partials(link)
    partial = partial_name(link)
    partial.symlink_to(target)
    partial.replace(link)
