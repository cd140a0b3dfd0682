"""A recipe's training on a cluster: stages that train run there as ranks; all other work, and the ledger, stay here.

All machines see the workspace by the same path. What the first rank has to say comes back through a file in the run's
folder. When a process or a machine is lost, the stage goes on from its checkpoint, with fewer ranks if need be.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch.distributed as dist

from malmoi import device, progress
from malmoi.cluster.client import Cluster, Lost, address_of
from malmoi.cluster.worker import Broken
from malmoi.config import Settings, read_toml
from malmoi.errors import ConfigError, UserError
from malmoi.inference.generate import Generate
from malmoi.pipeline.ranks import is_lost_connection, order_of, take_part
from malmoi.stage import Context, Stage
from malmoi.tokenizer.template_clock import fixed_time
from malmoi.train.loop import Step
from malmoi.train.signals import listening
from malmoi.workspace.folder import MARKER, Workspace

SAID = ".said.jsonl"
"""In a run's folder: what the first rank says, in lines of JSON."""
TRIES = 3
MOST_RANKS = 4096


@dataclass(frozen=True)
class Place:
    """Where stages train. on: as `malmoi.cluster.client` takes it; n_ranks: 0: one for each GPU, else each machine"""

    on: str
    n_ranks: int = 0

    def words(self) -> list[str]:
        """The options of a command that name it."""
        return ["--on", self.on, *(["--ranks", str(self.n_ranks)] if self.n_ranks else [])]


def place_of(workspace: Workspace, on: str | None = None, n_ranks: int | None = None) -> Place | None:
    """Where a workspace trains: as asked, or else as its malmoi.toml says in `on` and `ranks`; None: here.

    Raises ConfigError for values that cannot be used, or if Ray is missing.
    """
    marker = workspace.path / MARKER
    table = read_toml(marker) if on is None and marker.exists() else {}
    given, where = on if on is not None else table.get("on"), f"{marker}: " if table else ""
    wanted = n_ranks if n_ranks is not None else table.get("ranks", 0)
    if type(wanted) is not int or not 0 <= wanted <= MOST_RANKS:
        raise ConfigError(f"{where}ranks: expected a whole number from 1 to {MOST_RANKS:,}, got {wanted!r}")
    if given is None:
        if wanted:
            raise ConfigError(f"{where}ranks says on how many ranks of a cluster to train; say which, with on")
        return None
    address_of(str(given))
    if device.current().n_ranks > 1:
        raise ConfigError("torchrun and a cluster: use one of them")
    return Place(str(given), wanted)


def asked_place(workspace: Workspace, on: str | None, n_ranks: int | None) -> Place | None:
    """The place that a job is asked to train at; None where nothing was asked: the workspace may then say."""
    return None if on is None and n_ranks is None else place_of(workspace, on, n_ranks)


def place_settings(place: Place | None) -> dict[str, Any]:
    """What a job's settings say of the place that was asked for."""
    return {} if place is None else {"place": vars(place)}


def place_of_job(workspace: Workspace, asked: Place | Mapping[str, Any] | None) -> Place | None:
    """Where a job trains: as was asked (a place, or what `place_settings` made of it), else as its workspace says."""
    place = Place(**asked) if isinstance(asked, Mapping) else asked
    return place_of(workspace) if place is None else place_of(workspace, place.on, place.n_ranks)


def run_there(place: Place, stage: Stage, context: Context, settings: Settings, generate: Generate) -> None:
    """Run a stage as ranks of a cluster. Raises what the stage raises; Lost if machines are lost again and again."""
    order, said = order_of(stage, context, settings, generate), context.folder / SAID
    try:
        with Cluster(place.on) as cluster:
            wanted = place.n_ranks or cluster.room["gpus"] or max(1, cluster.room["machines"])
            for left in range(TRIES, -1, -1):
                said.unlink(missing_ok=True)
                tell = _teller(said, context)
                try:
                    least = wanted if left == TRIES else 1
                    for began in cluster.together(
                        "malmoi.pipeline.there:take_part_there", {"order": order}, wanted, least
                    ):
                        if began:
                            context.say(f"{began} rank{'s' if began > 1 else ''} on {place.on}")
                        tell()
                    tell()
                    return
                except Lost:
                    if not left:
                        raise
                    context.say("a process or a machine was lost; the stage goes on from its checkpoint")
    finally:
        said.unlink(missing_ok=True)


def _teller(path: Path, context: Context) -> Callable[[], None]:
    """A function that passes on what the first rank has said since it was called last."""
    n_read = 0

    def tell() -> None:
        nonlocal n_read
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(n_read)
            lines = file.read().split(b"\n")[:-1]  # the last one may not be whole yet
        n_read += sum(len(line) + 1 for line in lines)
        for event in map(json.loads, lines):
            if "say" in event:
                context.say(event["say"])
            elif "step" in event:
                for hook in context.hooks:
                    hook(Step(**event["step"]))
            else:
                progress.report(*event["progress"])

    return tell


def take_part_there(order: dict[str, Any]) -> None:
    """Run an order as one rank, on a machine of the cluster. Raises Broken if another rank has gone."""
    folder = Workspace(Path(order["workspace"])).runs / order["run_id"]
    if not folder.is_dir():
        raise UserError(f"{folder}: not there; all machines need the workspace, by the same path")
    try:
        with _saying(folder / SAID) as say, fixed_time(datetime.fromisoformat(order["begun"])), listening():
            take_part(order, lambda line: say({"say": line}), [lambda step: say({"step": vars(step)})])
    except Exception as error:
        if is_lost_connection(error):
            raise Broken(f"{type(error).__name__}: {error}") from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@contextlib.contextmanager
def _saying(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What the first rank has to say goes into a file; the others say nothing."""
    if not device.current().is_main:
        yield lambda event: None
        return
    with path.open("a", encoding="utf-8", buffering=1) as file:

        def say(event: dict[str, Any]) -> None:
            file.write(json.dumps(event) + "\n")

        with progress.listening(lambda *told: say({"progress": told})):
            yield say
