"""Who sits at the terminal: a person by name, for what is said there; and what is typed there for a workspace."""

import os
import shlex
from pathlib import Path

from sqlalchemy import select

from malmoi.feedback.judgements import record_person
from malmoi.workspace.ledger import Ledger, digest_of
from malmoi.workspace.schema import Person


def workspace_option(workspace: Path, *, tell_place: bool) -> str:
    """What a command needs to find a workspace from the folder in which this process runs: " --workspace demo", or "".

    tell_place: a workspace elsewhere is given by its whole path; without it by its name, which tells nobody where it is
    """
    if Path(os.path.abspath(workspace)) == Path.cwd() / "workspace" and "MALMOI_WORKSPACE" not in os.environ:
        return ""
    return " " + shlex.join(["--workspace", place_at_terminal(workspace, tell_place=tell_place)])


def place_at_terminal(workspace: Path, *, tell_place: bool) -> str:
    """How a command calls a workspace from the folder in which this process runs; tell_place: see `workspace_option`"""
    here, place = Path.cwd(), Path(os.path.abspath(workspace))
    if place.is_relative_to(here) and place != here:
        shown = str(place.relative_to(here))
    else:
        shown = str(place) if tell_place else place.name
    return f"./{shown}" if shown.startswith("-") else shown


def person_at_terminal(ledger: Ledger, name: str) -> str:
    """The id of the person of this name; the first time, the person is recorded."""
    query = select(Person.id).where(Person.name == name, Person.kind == "human").order_by(Person.created_at)
    with ledger.engine.connect() as connection:
        known = connection.scalar(query.limit(1))
    if known is not None:
        return known
    person_id = f"terminal-{digest_of(name)[:8]}"
    record_person(ledger, person_id, name, "human", "at the terminal")
    return person_id
