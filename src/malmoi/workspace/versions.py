"""Versions of the assistant, and which of them serves.

A version is weights, or weights with a reward model that picks the best of n answers. Which version serves is the end
of an append-only history, so that every process that looks sees the same, at once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select

from malmoi.errors import WorkspaceError
from malmoi.formats.inspect import kind_of
from malmoi.text import canonical_question
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import sha256_in
from malmoi.workspace.indexes import find_index
from malmoi.workspace.ledger import Ledger, digest_of
from malmoi.workspace.models import find_model
from malmoi.workspace.ring_schema import DeploymentRow, VersionRow
from malmoi.workspace.schema import Person, now

State = Literal["in_service", "candidate", "refused", "earlier"]
Act = Literal["promote", "rollback", "refuse"]
PROMPTS = "prompts"
"""Key of `Version.learned`: names of the questions that it learned from, which the gate may not ask."""
JUDGE_PROMPTS = "judge_prompts"
"""Key of `Version.learned`: names of the questions that the judge learned from, which it may not judge."""
NAME = re.compile(r"v([1-9][0-9]{0,8})")


class ChangedError(WorkspaceError):
    """Somebody else decided in the meantime."""


def prompt_name(messages: Sequence[Mapping[str, Any]]) -> str:
    """One name for questions that are alike: case, spaces and punctuation do not count."""
    return digest_of([[one["role"], canonical_question(one["content"])] for one in messages])[:32]


@dataclass(frozen=True)
class Version:
    """A version with its place in the history.

    policy, reward_model: folders; reward_model and n: None if only the policy answers
    temperature: of the answers after the first, where n are sampled
    by: who made it, None: at the terminal; learned, report: see `pipeline/improve.py`
    """

    number: int
    how: str
    model: str
    policy: Path
    policy_sha256: str
    reward_model: Path | None
    reward_sha256: str | None
    n: int | None
    temperature: float | None
    index_sha256: str | None
    came_from: int | None
    job: int | None
    by: str | None
    learned: dict[str, Any] | None
    report: dict[str, Any] | None
    created_at: str
    state: State = "candidate"
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"v{self.number}"

    @property
    def missing(self) -> str | None:
        """Why it can no longer answer; None if it can."""
        folders = [folder for folder in (self.policy, self.reward_model) if folder is not None]
        gone = [str(folder) for folder in folders if not folder.is_dir()]
        return f"{' and '.join(gone)}: its weights are gone" if gone else None

    def picking(self) -> dict[str, Any]:
        """How it picks the best of n answers, as the record of an answer says it."""
        return {"best_of": self.n, "others_at": self.temperature, "reward_model_sha256": self.reward_sha256}

    def to_row(self) -> dict[str, Any]:
        """Plain values, as commands and pages show them."""
        came_from = self.came_from and f"v{self.came_from}"
        hidden = (PROMPTS, JUDGE_PROMPTS)
        learned = self.learned and {name: value for name, value in self.learned.items() if name not in hidden}
        return {
            "name": self.name, "number": self.number, "state": self.state, "created_at": self.created_at, "by": self.by,
            "how": self.how, "model": self.model, "hash": self.policy_sha256, "reward_hash": self.reward_sha256,
            "n": self.n, "temperature": self.temperature, "from": came_from, "job": self.job,
            "index_hash": self.index_sha256, "missing": self.missing, "learned_from": learned,
            "report": self.report, "history": self.history,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """See `Version`. index_sha256: of what is looked up in now"""

    how: str
    model: str
    policy: Path
    reward_model: Path | None = None
    n: int | None = None
    temperature: float | None = None
    came_from: int | None = None
    job: int | None = None
    person_id: str | None = None
    learned: dict[str, Any] | None = None
    report: dict[str, Any] | None = None


def add_version(ledger: Ledger, new: NewVersion) -> Version:
    """Record a candidate. Raises WorkspaceError if its folders hold no such models.

    A job makes one version: the same job again gives the version that it made.
    """
    workspace = Workspace(ledger.root)
    for folder, kind in ((new.policy, "policy"), (new.reward_model, "reward")):
        if folder is not None and kind_of(folder) != kind:
            raise WorkspaceError(f"{folder}: is no {'policy' if kind == 'policy' else 'reward model'}")
    index = find_index(workspace)
    reward = new.reward_model
    row = {
        "how": new.how, "model": new.model, "policy_sha256": sha256_in(workspace, new.policy),
        "policy_path": ledger.stored_path(new.policy), "reward_sha256": reward and sha256_in(workspace, reward),
        "reward_path": reward and ledger.stored_path(reward), "n": new.n, "temperature": new.temperature,
        "index_sha256": index and sha256_in(workspace, index), "came_from": new.came_from, "job_id": new.job,
        "person_id": new.person_id, "learned": _without_names(new.learned), "report": new.report,
    }  # fmt: skip
    with writing(ledger.engine) as connection:
        lock_table(connection, VersionRow)
        made = new.job and connection.scalar(select(VersionRow.number).where(VersionRow.job_id == new.job))
        if not made:
            made = (connection.scalar(select(func.max(VersionRow.number))) or 0) + 1
            connection.execute(insert(VersionRow), row | {"number": made})
    return find_version(ledger, f"v{made}")


def begin_versions(ledger: Ledger) -> Version:
    """The version in service. Where there is none yet, the newest policy becomes version 1, and serves.

    Raises UserError if the workspace has no policy.
    """
    if (serving := in_service(ledger)) is not None:
        return serving
    name, folder = find_model(Workspace(ledger.root), None)
    first = add_version(ledger, NewVersion(how="first", model=name, policy=folder.resolve()))
    record_act(ledger, "promote", first.number, instead_of=None)
    return find_version(ledger, first.name)


def next_to_improve(ledger: Ledger) -> Version:
    """The version in service; where there is none yet, what `begin_versions` would make of the newest policy."""
    if (serving := in_service(ledger)) is not None:
        return serving
    workspace = Workspace(ledger.root)
    name, folder = find_model(workspace, None)
    row = dict.fromkeys(column.name for column in VersionRow.__table__.columns)
    row |= {"number": 1, "how": "first", "model": name, "policy_path": str(folder.resolve()), "created_at": now()}
    return _version(row | {"policy_sha256": sha256_in(workspace, folder)}, [], {}, ledger.root)


def record_act(
    ledger: Ledger, act: Act, version: int, *, instead_of: int | None, person_id: str | None = None,
    knowingly: bool = False, verdict: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Append a decision. instead_of: the version that serves, as the decision was made

    Raises ChangedError if another version has been put in service meanwhile.
    """
    row = {"act": act, "version": version, "instead_of": instead_of, "person_id": person_id}
    with writing(ledger.engine) as connection:
        lock_table(connection, DeploymentRow)
        now_serving = _serving(_acts(connection))
        if now_serving != instead_of:
            name = f"v{now_serving}" if now_serving else "none"
            raise ChangedError(f"v{version}: the version in service changed meanwhile ({name}); look again, and decide")
        connection.execute(insert(DeploymentRow), row | {"knowingly": knowingly, "verdict": verdict})


def in_service(ledger: Ledger) -> Version | None:
    """The version that serves, None if there is none."""
    with ledger.engine.connect() as connection:
        number = _serving(_acts(connection))
    return None if number is None else find_version(ledger, f"v{number}")


SERVING = select(DeploymentRow.version).where(DeploymentRow.act != "refuse").order_by(DeploymentRow.id.desc()).limit(1)
"""Made once: to make it costs as much as to ask it."""


def serving_number(ledger: Ledger) -> int | None:
    """The number of the version that serves: one short query, for every message of a chat."""
    with ledger.engine.connect() as connection:
        return connection.scalar(SERVING)


def earlier_version(ledger: Ledger) -> int | None:
    """The version that was in service before: what a rollback goes back to. None if there is none."""
    with ledger.engine.connect() as connection:
        stack = _stack(_acts(connection))
    return stack[-2] if len(stack) > 1 else None


def list_versions(ledger: Ledger) -> list[Version]:
    """Every version, oldest first."""
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(VersionRow.__table__).order_by(VersionRow.number)).mappings().all()
        acts = _acts(connection)
        names = people_names(connection)
    return [_version(dict(row), acts, names, ledger.root) for row in rows]


def find_version(ledger: Ledger, name: str) -> Version:
    """A version by its name, such as v3, or its number. Raises WorkspaceError."""
    found = list_versions(ledger)
    for version in found:
        if name in (version.name, str(version.number)):
            return version
    known = ", ".join(version.name for version in found) or "none yet; malmoi improve makes one"
    raise WorkspaceError(f"{name}: no such version here; there is {known}")


def people_names(connection: Connection) -> dict[str, str]:
    """Id -> name of every person."""
    return {row.id: row.name for row in connection.execute(select(Person.id, Person.name))}


def _acts(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(select(DeploymentRow.__table__).order_by(DeploymentRow.id)).mappings()
    return [dict(row) for row in rows]


def _serving(acts: Sequence[dict[str, Any]]) -> int | None:
    return next((act["version"] for act in reversed(acts) if act["act"] != "refuse"), None)


def _stack(acts: Sequence[dict[str, Any]]) -> list[int]:
    """The versions that a rollback goes back through, the one that serves last."""
    stack: list[int] = []
    for act in acts:
        number = act["version"]
        if act["act"] == "rollback" and number in stack:
            del stack[stack.index(number) :]
        if act["act"] != "refuse":
            stack = [*(one for one in stack if one != number), number]
    return stack


def _version(row: dict[str, Any], acts: Sequence[dict[str, Any]], names: dict[str, str], root: Path) -> Version:
    number = row["number"]
    own = [act for act in acts if act["version"] == number]
    return Version(
        number, row["how"], row["model"], root / row["policy_path"], row["policy_sha256"],
        row["reward_path"] and root / row["reward_path"], row["reward_sha256"], row["n"], row["temperature"],
        row["index_sha256"], row["came_from"], row["job_id"], names.get(row["person_id"], row["person_id"]),
        _learned(row["learned"], names), row["report"], row["created_at"].isoformat(), _state(number, own, acts),
        [_act_row(act, names) for act in own],
    )  # fmt: skip


def _without_names(learned: dict[str, Any] | None) -> dict[str, Any] | None:
    """As it is stored, for ever: who is forgotten later is named nowhere."""
    if learned is None or "people" not in learned:
        return learned
    people = [{key: value for key, value in one.items() if key != "name"} for one in learned["people"]]
    return {**learned, "people": people}


def _learned(learned: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Under the names that people have now."""
    if learned is None or "people" not in learned:
        return None if learned is None else dict(learned)
    return {**learned, "people": [{**one, "name": names.get(one["id"], one["id"])} for one in learned["people"]]}


def _state(number: int, own: Sequence[dict[str, Any]], acts: Sequence[dict[str, Any]]) -> State:
    if number == _serving(acts):
        return "in_service"
    if not own:
        return "candidate"
    return "refused" if own[-1]["act"] == "refuse" else "earlier"


def _act_row(act: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    instead = act["instead_of"]
    return {
        "act": act["act"], "version": f"v{act['version']}", "instead_of": instead and f"v{instead}",
        "by": names.get(act["person_id"], act["person_id"]), "at": act["created_at"].isoformat(),
        "knowingly": act["knowingly"], "verdict": act["verdict"],
    }  # fmt: skip
