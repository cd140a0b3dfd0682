"""What a stage is given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from malmoi.train.loop import Hook
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger


@dataclass
class Context:
    """What a stage is given.

    folder: the run's folder; `out` below it is what the run makes, its artefact
    inputs: stage -> what that stage's run made; hashes: the same as SHA-256
    records: the ledger, which only the first rank has
    hooks: look on while a training stage runs; say: one line for whoever watches
    """

    run_id: str
    folder: Path
    inputs: dict[str, Path]
    hashes: dict[str, str]
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

    def given(self, *stages: str) -> Path:
        """What the first of these made that this stage was given: alternatives, by the table below."""
        return next(self.inputs[stage] for stage in stages if stage in self.inputs)
