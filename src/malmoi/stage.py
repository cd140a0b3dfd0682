"""What a stage is: one file in `stages/` that declares what it reads and makes, and does the work.

A stage declares the kinds of artefact that it reads, not the stages that make them. Rankings may come from a simulated
labeler, a published data set, people or a file; the stages that read rankings are the same for all of them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from malmoi import config
from malmoi.cost import Cost, Sizes
from malmoi.errors import WorkspaceError
from malmoi.facts import Facts
from malmoi.files import read_jsonl
from malmoi.train.loop import Hook
from malmoi.unused import Unused
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes
from malmoi.workspace.ledger import Ledger

BASE = "base"
"""The kind of the model that a recipe starts from."""
MODEL = "model"
"""Folder in a stage's output that holds a model. Such a model gets a name and can be used in chat and exported."""
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
ONLY = ""
"""Name of the only part, for a kind that is one file or folder."""


@dataclass(frozen=True)
class Role:
    """What a stage accepts in one role.

    kinds: the accepted kinds of artefact; the first one that is available is read
    optional: the stage also runs without it; many: the stage reads all artefacts of the kind, in recipe order
    named: further kinds, accepted only if the recipe names their source in [STAGE.reads]
    """

    kinds: tuple[str, ...]
    optional: bool = False
    many: bool = False
    named: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " or ".join(self.kinds)


def required(*kinds: str, named: tuple[str, ...] = ()) -> Role:
    """The latest artefact of the first kind that an earlier stage makes; an error if there is none."""
    return Role(kinds, named=named)


def optional(*kinds: str) -> Role:
    """The latest artefact of the first kind that an earlier stage makes, if there is one."""
    return Role(kinds, optional=True)


def all_of(*kinds: str) -> Role:
    """All artefacts of the kind that earlier stages make; there may be none."""
    return Role(kinds, optional=True, many=True)


POLICY = required("policy", "base", named=("aligned policy",))
"""The model that a stage samples from or trains further: the SFT model, or a base model that can already chat."""
Parts = Mapping[str, str]
"""Name of a part -> its path in the stage's output. A kind that is one file or folder has the single part ""."""


@dataclass(frozen=True)
class Input:
    """An artefact that a stage reads.

    source: its key in the run's parents: the stage that made it, or the role if it is external to the recipe
    parts: name -> path, see `Parts`; the path of a part that was not made does not exist
    """

    kind: str
    source: str
    parts: Mapping[str, Path]

    @property
    def path(self) -> Path:
        """Path of a kind that is one file or folder."""
        return self.parts[ONLY]

    def part(self, name: str) -> Path:
        """Path of a part. Raises WorkspaceError if it does not exist."""
        if (path := self.parts.get(name)) is None or not path.exists():
            raise WorkspaceError(f"{self.kind} of {self.source}: has no {name!r} part; use a source that provides it")
        return path

    def has(self, name: str) -> bool:
        return name in self.parts and self.parts[name].exists()


@dataclass(frozen=True)
class ExternalInput:
    """An input from outside the recipe. `path` is hashed and recorded as a parent of the run."""

    input: Input
    path: Path


class InputsByRole(dict[str, tuple[Input, ...]]):
    """Role -> its artefacts: one, none if it is optional, or any number (`all_of`)."""

    def __call__(self, role: str) -> Input:
        """The first artefact in a role. Raises KeyError if there is none."""
        if not self.get(role):
            raise KeyError(role)
        return self[role][0]

    def find(self, role: str) -> Input | None:
        """The first artefact in a role, if there is one."""
        return self[role][0] if self.get(role) else None

    def to_json(self) -> dict[str, Any]:
        return {
            role: [
                [found.kind, found.source, {name: str(path) for name, path in found.parts.items()}] for found in inputs
            ]
            for role, inputs in self.items()
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "InputsByRole":
        return cls(
            {
                role: tuple(
                    Input(kind, source, {n: Path(p) for n, p in parts.items()}) for kind, source, parts in inputs
                )
                for role, inputs in value.items()
            }
        )


@dataclass
class Context:
    """What a stage gets when it runs.

    folder: the run's folder; the stage writes its output into `out` in it
    reads: the stage's inputs, by role; parents: source of an input -> SHA-256
    records: the ledger; None on all ranks but the first
    hooks: called after each training step; say: reports one line to the user
    """

    run_id: str
    folder: Path
    reads: InputsByRole
    parents: dict[str, str]
    records: Ledger | None
    workspace: Workspace
    say: Callable[[str], None] = lambda line: None
    hooks: list[Hook] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        """The workspace's ledger; only the first rank may use it."""
        assert self.records is not None
        return self.records

    @property
    def out(self) -> Path:
        return self.folder / "out"


@dataclass(frozen=True)
class Finished:
    """A finished run of a stage, from which `facts` makes what the report shows.

    folder: the run's folder; settings: the stage's settings
    """

    stage: str
    run_id: str
    folder: Path
    settings: Any
    reads: InputsByRole

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @cached_property
    def metrics(self) -> Sequence[Mapping[str, Any]]:
        """One row per training step; empty for a stage that does not train."""
        path = self.folder / METRICS
        return read_jsonl(path) if path.exists() else []


def no_external_hashes(settings: Any, workspace: Workspace, hashes: Hashes) -> dict[str, str]:
    """Default: the stage reads only what other stages made."""
    return {}


def no_external_inputs(settings: Any, workspace: Workspace) -> dict[str, ExternalInput]:
    """Default: the settings name no artefact."""
    return {}


def always_something(settings: Any, reads: InputsByRole) -> str:
    """Default: the stage always runs."""
    return ""


def no_models(settings: Any) -> list[str]:
    """Default: the stage needs no pretrained model."""
    return []


def any_inputs(settings: Any, reads: Mapping[str, Any]) -> None:
    """Default: the settings are valid for all inputs."""


def same_sizes(settings: Any, sizes: Sizes) -> Sizes:
    """Default: the output has no size that later stages depend on."""
    return sizes


def no_cost(settings: Any, sizes: Sizes) -> Cost:
    """Default: the stage does not estimate its cost."""
    return Cost()


def no_facts(finished: Finished) -> Facts:
    """Default: the report lists the stage without details."""
    return Facts()


@dataclass(frozen=True)
class Stage:
    """A module of `stages/`, with defaults for what it leaves out.

    about: one line; Settings: hyper-parameters, never paths of other stages' outputs
    reads: role -> what it accepts; makes: kind -> its parts
    run: reads the inputs, calls one module, and writes into `context.out`
    external_hashes: name -> SHA-256 or version of external data; part of the fingerprint
    external_inputs: role -> an artefact that the settings name, such as a model of the workspace
    kinds: the kinds that it makes with these settings; by default all
    Inputs: the files that `malmoi train` names for the same algorithm; a recipe takes them from its stages
    check: raises ConfigError if the settings do not suit what is read, by role
    nothing_to_do: why the stage can make nothing of what it reads, such as rankings in which all answers tie; "" if it
        can. A recipe then goes on without it, and without the stages that need what it makes
    models: names of models to download before the stage runs, if they are missing
    expects, cost: estimated size of the output, and estimated cost, for the plan printed before a recipe runs
    facts: what the report shows of a finished run; label: name shown to people, if it differs from `name`
    trains: all ranks run it together; unused: settings that have no effect because of other settings
    """

    name: str
    about: str
    Settings: type[config.Settings]
    reads: Mapping[str, Role]
    makes: Mapping[str, Parts]
    run: Callable[[Context, Any], None]
    external_hashes: Callable[[Any, Workspace, Hashes], dict[str, str]] = no_external_hashes
    external_inputs: Callable[[Any, Workspace], dict[str, ExternalInput]] = no_external_inputs
    kinds: Callable[[Any], Collection[str]] | None = None
    Inputs: type[config.Settings] | None = None
    check: Callable[[Any, Mapping[str, Any]], None] = any_inputs
    nothing_to_do: Callable[[Any, InputsByRole], str] = always_something
    models: Callable[[Any], list[str]] = no_models
    expects: Callable[[Any, Sizes], Sizes] = same_sizes
    cost: Callable[[Any, Sizes], Cost] = no_cost
    facts: Callable[[Finished], Facts] = no_facts
    label: str = ""
    trains: bool = False
    unused: tuple[Unused, ...] = ()

    @property
    def shown_name(self) -> str:
        """The name shown to people."""
        return self.label or self.name

    def kinds_with(self, settings: Any) -> Collection[str]:
        """The kinds that this stage makes with these settings."""
        return self.makes if self.kinds is None else self.kinds(settings)

    def output(self, kind: str, out: Path) -> Input:
        """The artefact of a kind in the output folder `out` of a run of this stage."""
        return Input(kind, self.name, {part: out / path for part, path in self.makes[kind].items()})
