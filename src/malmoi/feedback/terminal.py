"""Who sits at the terminal: a person by name, for what is said there."""

from sqlalchemy import select

from malmoi.feedback.judgements import record_person
from malmoi.workspace.ledger import Ledger, digest_of
from malmoi.workspace.schema import Person


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
