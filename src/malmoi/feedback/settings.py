"""Settings of the service that its owner changes."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from malmoi.feedback.refusals import invalid
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.service_schema import RANK, Setting, TeachItem

PEOPLE = "people_per_question"
MOST_PEOPLE = 9
DEFAULTS: dict[str, Any] = {"may_teach_default": False, "taught_answers": True, PEOPLE: 2}
"""may_teach_default: whether a new chat may be learned from, until its person says otherwise.
taught_answers: whether better answers that people wrote are looked up, and so work at once.
people_per_question: how many people rank the answers to a question, from 1 to `MOST_PEOPLE`."""


def get_settings(ledger: Ledger) -> dict[str, Any]:
    with ledger.engine.connect() as connection:
        return settings_in(connection)


def settings_in(connection: Connection) -> dict[str, Any]:
    """The settings, as a transaction sees them."""
    found = {row.name: row.value for row in connection.execute(select(Setting.name, Setting.value))}
    return {name: found.get(name, default) for name, default in DEFAULTS.items()}


def change_settings(ledger: Ledger, values: Mapping[str, Any]) -> dict[str, Any]:
    """All settings after the change. Raises RefusedError for an unknown one, or a value of another kind.

    Another number of people holds for all questions: those that had enough people before wait again if it is higher.
    """
    for name, value in values.items():
        if name not in DEFAULTS or type(value) is not type(DEFAULTS[name]):
            raise invalid(name, "is no setting, or has no such value")
        if name == PEOPLE and not 1 <= value <= MOST_PEOPLE:
            raise invalid(name, f"expected 1 to {MOST_PEOPLE}", most=MOST_PEOPLE)
    with writing(ledger.engine) as connection:
        lock_table(connection, Setting)
        for name, value in values.items():
            connection.execute(delete(Setting).where(Setting.name == name))
            connection.execute(insert(Setting).values(name=name, value=value))
        if PEOPLE in values:
            connection.execute(update(TeachItem).where(TeachItem.kind == RANK).values(n_people=values[PEOPLE]))
    return get_settings(ledger)
