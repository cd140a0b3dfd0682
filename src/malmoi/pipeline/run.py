"""Run a recipe: skip what is done, resume what was interrupted, record everything in the ledger."""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from malmoi import __version__, device
from malmoi.errors import ConfigError, DivergedError, UserError, WorkspaceError
from malmoi.files import sha256_of, write_json
from malmoi.pipeline.console import Console
from malmoi.pipeline.context import Context
from malmoi.pipeline.recipe import BaseSettings, CorpusSettings, Recipe, StageName
from malmoi.pipeline.sources import data_identity
from malmoi.pipeline.stages import MODEL, STAGE_TABLE, base_folder, parents_of, settings_of
from malmoi.train.signals import listening
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger, fingerprint


@dataclass(frozen=True)
class Done:
    """One stage of a recipe as it stands. seconds: of the work, whenever it was done; skipped: not run this time."""

    stage: StageName
    run_id: str
    out: Path
    sha256: str
    seconds: float
    skipped: bool


def run_recipe(
    recipe: Recipe, workspace: Workspace, console: Console, *, only: str | None = None, start: str | None = None
) -> dict[str, Done]:
    """Run the recipe's stages in order; returns each as it stands.

    only: run this stage alone (its parents must be done); start: run it and all after it anew
    A stage whose settings and inputs are unchanged is not run again; one that was interrupted goes on.
    Raises UserError, with the run marked as failed or stopped, when a stage cannot end.
    """
    for name in (only, start):
        if name is not None and name not in recipe.stages:
            raise ConfigError(f"stage {name!r}: not in this recipe; it has {', '.join(recipe.stages)}")
    done: dict[str, Done] = {}
    with workspace.lock(), contextlib.closing(Ledger.open(workspace)) as ledger:
        for stage in recipe.stages:
            forced = stage == only or (start is not None and recipe.stages.index(stage) >= recipe.stages.index(start))
            identity = _identity(recipe, stage, done, workspace)
            found = _find_done(stage, identity, ledger)
            if found is not None and not forced:
                done[stage] = found
                console.skipped(stage, found.run_id)
            elif only is not None and stage != only:
                if recipe.stages.index(stage) > recipe.stages.index(only):
                    break
                raise ConfigError(
                    f"--only {only}: stage {stage} has not been run with these settings; leave --only out"
                )
            else:
                done[stage] = _run_stage(recipe, stage, identity, done, ledger, workspace, console, anew=forced)
    return done


def inputs_of(stage: StageName, done: dict[str, Done]) -> dict[str, str]:
    """Stage -> SHA-256 of what it made, for all that this stage reads. Raises ConfigError when one is missing."""
    return {parent: done[parent].sha256 for parent in parents_of(stage, done)}


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
    """What makes a stage's work the same as before. outside: what it reads that no stage made, by name."""

    settings: dict[str, Any]
    inputs: dict[str, str]
    outside: dict[str, str]

    def fingerprint(self, stage: StageName) -> str:
        return fingerprint(stage, self.settings, {**self.inputs, **self.outside})


def _identity(recipe: Recipe, stage: StageName, done: dict[str, Done], workspace: Workspace) -> Identity:
    settings = settings_of(recipe, stage)
    outside = OUTSIDE[stage](settings, workspace) if stage in OUTSIDE else {}
    return Identity(settings.model_dump(mode="json"), inputs_of(stage, done), outside)


def _base_identity(settings: BaseSettings, workspace: Workspace) -> dict[str, str]:
    return {MODEL: sha256_of(base_folder(settings.model, workspace).resolve())}


def _text_identity(settings: CorpusSettings, workspace: Workspace) -> dict[str, str]:
    if settings.text:
        path = Path(settings.text)
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; give --text a folder of .txt, .md, .jsonl or .html files")
        return {"text": sha256_of(path)}
    import platform

    versions = {"python": platform.python_version()}
    for name in settings.packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise ConfigError(f"corpus.packages: {name} is not installed here; install it or leave it out") from None
    return versions


def _brought(identity: Identity, workspace: Workspace, ledger: Ledger) -> dict[str, str]:
    """The base model as an input of its stage; recorded first when it lies outside of the workspace."""
    try:
        ledger.lineage(identity.outside[MODEL])
    except WorkspaceError:
        folder = base_folder(identity.settings["model"], workspace)
        ledger.import_artefact(folder, MODEL, "model", str(folder.resolve()))
    return identity.outside


OUTSIDE: dict[StageName, Callable[[Any, Workspace], dict[str, str]]] = {
    "corpus": _text_identity,
    "base": _base_identity,
    "data": lambda settings, _: data_identity(settings),
}


def _find_done(stage: StageName, identity: Identity, ledger: Ledger) -> Done | None:
    run = ledger.find_run(stage, identity.fingerprint(stage))
    if run is None or run.status != "done":
        return None
    made = ledger.artefacts_of(run.id).get("out")
    if made is None or not made.path.exists():
        return None
    return Done(stage, run.id, made.path, made.sha256, run.seconds, skipped=True)


def _run_stage(
    recipe: Recipe, stage: StageName, identity: Identity, done: dict[str, Done], ledger: Ledger, workspace: Workspace,
    console: Console, anew: bool,
) -> Done:  # fmt: skip
    work, settings, inputs = identity.fingerprint(stage), identity.settings, identity.inputs
    brought = {} if stage != "base" else _brought(identity, workspace, ledger)
    run = None if anew else ledger.find_run(stage, work)
    if run is not None and run.status != "done":
        run_id = run.id
        ledger.reopen_run(run_id)
    else:
        seed = int(settings.get("seed", recipe.seed))
        run_id = ledger.start_run(
            stage=stage, recipe=recipe.name, fingerprint=work, settings=settings, seed=seed,
            inputs={**inputs, **_snapshots(inputs, done, ledger), **brought},
        )  # fmt: skip
    folder = workspace.runs / run_id
    write_json(folder / "config.json", {"stage": stage, "settings": settings, "inputs": inputs, "malmoi": __version__})
    console.started(stage, run_id, resumed=run is not None and run.status != "done")
    context = Context(
        run_id, folder, {parent: done[parent].out for parent in inputs}, {**inputs, **brought}, ledger, workspace,
        console.say, [console.step],
    )  # fmt: skip
    began = time.monotonic()
    try:
        with listening():
            STAGE_TABLE[stage][0](context, settings_of(recipe, stage))
    except (KeyboardInterrupt, SystemExit):
        ledger.mark_run(run_id, "stopped", seconds=time.monotonic() - began)
        raise
    except (UserError, DivergedError) as error:
        ledger.mark_run(run_id, "failed", error=str(error), seconds=time.monotonic() - began)
        raise
    sha256 = ledger.add_artefact(run_id, "out", stage, context.out)
    if (context.out / MODEL).exists():
        ledger.add_artefact(run_id, MODEL, "model", context.out / MODEL)
    device.release_memory()
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    seconds = time.monotonic() - began
    ledger.finish_run(run_id, seconds)
    console.finished(stage, run_id, seconds)
    total = ledger.run(run_id).seconds
    return Done(stage, run_id, context.out, sha256, total, skipped=False)


def link_models(workspace: Workspace, done: dict[str, Done]) -> None:
    """Names for people: `models/base`, `models/sft`, … point at what the latest run made."""
    for stage in done:
        if (done[stage].out / MODEL).exists():
            link = workspace.models / ("base" if stage == "pretrain" else stage)
            partial = link.with_name(f".{link.name}.partial")
            partial.unlink(missing_ok=True)
            partial.symlink_to(Path("..") / (done[stage].out / "model").relative_to(workspace.path))
            partial.replace(link)
