"""What a stage is: one file in `stages/` that says what it reads and makes, and does it.

A stage is bound by the kinds of what it reads, not by the names of the stages that make them: rankings may come from
a simulated labeler, from a published set, from people, or from a file, and no stage that reads them changes.
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
"""The kind of a model that a recipe begins with."""
MODEL = "model"
"""The folder, in what a stage makes, of a model that can be named, talked with and exported."""
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
ONLY = ""
"""The name of the part of a kind that has one part."""


@dataclass(frozen=True)
class Need:
    """What a stage reads in one role.

    kinds: any of these, the first that there is
    optional: the stage runs without it too; many: all that there are, in the order of the recipe
    named: kinds that it also reads, if a recipe names what makes them
    """

    kinds: tuple[str, ...]
    optional: bool = False
    many: bool = False
    named: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " or ".join(self.kinds)


def need(*kinds: str, named: tuple[str, ...] = ()) -> Need:
    """The latest artefact of the first of these kinds that is made before."""
    return Need(kinds, named=named)


def may(*kinds: str) -> Need:
    """The same, where there is one."""
    return Need(kinds, optional=True)


def every(*kinds: str) -> Need:
    """All that are made before; there may be none."""
    return Need(kinds, optional=True, many=True)


POLICY = need("policy", "base", named=("aligned policy",))
"""The model that a stage samples from or trains further: what SFT made, or a base model that can answer already."""
Parts = Mapping[str, str]
"""Name of a part -> its path in what the stage makes. A kind that is one file or folder has the one part ""."""


@dataclass(frozen=True)
class Given:
    """One artefact of some kind, in the role in which a stage reads it.

    source: its name among the run's parents: the stage that made it, or the role of what a recipe names from outside
    parts: name -> path, see `Parts`; a part that this stage did not make is no file
    """

    kind: str
    source: str
    parts: Mapping[str, Path]

    @property
    def path(self) -> Path:
        """Of a kind that is one file or folder."""
        return self.parts[ONLY]

    def part(self, name: str) -> Path:
        """Raises WorkspaceError where it is missing."""
        if (path := self.parts.get(name)) is None or not path.exists():
            raise WorkspaceError(f"{self.kind} of {self.source}: have no part {name!r}, which is needed here")
        return path

    def has(self, name: str) -> bool:
        return name in self.parts and self.parts[name].exists()


@dataclass(frozen=True)
class Brought:
    """What comes from outside of a recipe: it is hashed and recorded as `path`, and is a parent of the run."""

    given: Given
    path: Path


class Reads(dict[str, tuple[Given, ...]]):
    """Role -> what is read in it: one artefact, none where it is optional, or all that there are."""

    def __call__(self, role: str) -> Given:
        """The artefact in a role. KeyError where there is none."""
        if not self.get(role):
            raise KeyError(role)
        return self[role][0]

    def find(self, role: str) -> Given | None:
        return self[role][0] if self.get(role) else None

    def to_json(self) -> dict[str, Any]:
        return {
            role: [
                [made.kind, made.source, {name: str(path) for name, path in made.parts.items()}] for made in all_made
            ]
            for role, all_made in self.items()
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Reads":
        return cls(
            {
                role: tuple(
                    Given(kind, source, {n: Path(p) for n, p in parts.items()}) for kind, source, parts in all_made
                )
                for role, all_made in value.items()
            }
        )


@dataclass
class Context:
    """What a stage is given when it runs.

    folder: the run's folder; `out` in it is what the run makes, its artefact
    reads: what it reads, by role; parents: the SHA-256 of each, by the stage that made it
    records: the ledger, which only the first rank has
    hooks: are called after each step of a training stage; say: one line for whoever watches
    """

    run_id: str
    folder: Path
    reads: Reads
    parents: dict[str, str]
    records: Ledger | None
    workspace: Workspace
    say: Callable[[str], None] = lambda line: None
    hooks: list[Hook] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        """The workspace's records."""
        assert self.records is not None
        return self.records

    @property
    def out(self) -> Path:
        return self.folder / "out"


@dataclass(frozen=True)
class Finished:
    """A stage's finished run, from which it takes the facts for the report.

    folder: the run's folder; settings: those of the stage
    """

    stage: str
    run_id: str
    folder: Path
    settings: Any
    reads: Reads

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @cached_property
    def metrics(self) -> Sequence[Mapping[str, Any]]:
        """A row for each step of a stage that trains."""
        path = self.folder / METRICS
        return read_jsonl(path) if path.exists() else []


def reads_nothing(settings: Any, workspace: Workspace, hashes: Hashes) -> dict[str, str]:
    """Of a stage that reads nothing but what other stages made."""
    return {}


def names_no_models(settings: Any) -> list[str]:
    """Of a stage that begins with no model of others."""
    return []


def expects_the_same(settings: Any, sizes: Sizes) -> Sizes:
    """Of a stage that makes nothing whose size matters."""
    return sizes


def allows_all(settings: Any, reads: Mapping[str, Any]) -> None:
    """Of a stage whose settings suit whatever it reads."""


def costs_little(settings: Any, sizes: Sizes) -> Cost:
    """Of a stage that does not say what it takes."""
    return Cost()


def brings_nothing(settings: Any, workspace: Workspace) -> dict[str, Brought]:
    """Of a stage whose settings name no artefact."""
    return {}


def shows_nothing(finished: Finished) -> Facts:
    """Of a stage that the report only lists."""
    return Facts()


@dataclass(frozen=True)
class Stage:
    """A module of `stages/`, with its defaults.

    about: one line; Settings: hyper-parameters, never paths of what other stages make
    reads: role -> what is read in it; makes: kind -> its parts
    run: reads, calls one module, and writes into `context.out`
    outside: name -> SHA-256 or version of what is read that no stage made; when it changes, the work is another
    brings: role -> an artefact that its settings name, such as a model of the workspace
    kinds: the kinds that it makes with these settings, where these are not always all
    Inputs: files that `malmoi train` names for the same algorithm, and that a recipe takes from its stages
    check: raises ConfigError for settings that do not suit what is read, by role
    models: names of models that are fetched before it runs, if they are not here
    expects, cost: how much it will make, and what that takes, for the plan that is shown before a recipe runs
    facts: what the report shows of a finished run; label: the name for people, where it is another
    trains: whether all ranks run it together; unused: settings that do nothing because of others
    """

    name: str
    about: str
    Settings: type[config.Settings]
    reads: Mapping[str, Need]
    makes: Mapping[str, Parts]
    run: Callable[[Context, Any], None]
    outside: Callable[[Any, Workspace, Hashes], dict[str, str]] = reads_nothing
    brings: Callable[[Any, Workspace], dict[str, Brought]] = brings_nothing
    kinds: Callable[[Any], Collection[str]] | None = None
    Inputs: type[config.Settings] | None = None
    check: Callable[[Any, Mapping[str, Any]], None] = allows_all
    models: Callable[[Any], list[str]] = names_no_models
    expects: Callable[[Any, Sizes], Sizes] = expects_the_same
    cost: Callable[[Any, Sizes], Cost] = costs_little
    facts: Callable[[Finished], Facts] = shows_nothing
    label: str = ""
    trains: bool = False
    unused: tuple[Unused, ...] = ()

    @property
    def shown_name(self) -> str:
        """The name for people."""
        return self.label or self.name

    def kinds_with(self, settings: Any) -> Collection[str]:
        """The kinds that this stage makes with these settings."""
        return self.makes if self.kinds is None else self.kinds(settings)

    def given(self, kind: str, out: Path) -> Given:
        """What a run of this stage made of a kind."""
        return Given(kind, self.name, {part: out / path for part, path in self.makes[kind].items()})
