"""Settings of the service that its owner changes."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, select

from malmoi.feedback.refusals import invalid
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.service_schema import Setting

DEFAULTS: dict[str, Any] = {"may_teach_default": False, "taught_answers": True}
"""may_teach_default: whether a new chat may be learned from, until its person says otherwise.
taught_answers: whether better answers that people wrote are looked up, and so work at once."""


def get_settings(ledger: Ledger) -> dict[str, Any]:
    with ledger.engine.connect() as connection:
        found = {row.name: row.value for row in connection.execute(select(Setting.name, Setting.value))}
    return {name: found.get(name, default) for name, default in DEFAULTS.items()}


def change_settings(ledger: Ledger, values: Mapping[str, Any]) -> dict[str, Any]:
    """All settings after the change. Raises RefusedError for an unknown one, or a value of another kind."""
    for name, value in values.items():
        if name not in DEFAULTS or type(value) is not type(DEFAULTS[name]):
            raise invalid(name, "is no setting, or has no such value")
    with writing(ledger.engine) as connection:
        lock_table(connection, Setting)
        for name, value in values.items():
            connection.execute(delete(Setting).where(Setting.name == name))
            connection.execute(insert(Setting).values(name=name, value=value))
    return get_settings(ledger)
