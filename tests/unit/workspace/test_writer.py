"""Writes of many callers: each is stored before it is told, and one that fails takes no other with it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, func, insert, select

from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Person, now
from malmoi.workspace.writer import Writer


def adding(name: str, fails: bool = False) -> Callable[[Connection], str]:
    def add(connection: Connection) -> str:
        row = {"id": f"p-{name}", "name": name, "kind": "human", "description": "", "created_at": now()}
        connection.execute(insert(Person).values(row))
        if fails:
            raise ValueError(name)
        return name

    return add


def test_those_that_wait_are_stored_together_and_each_is_told_its_own(tmp_path: Path) -> None:
    with Ledger.open(Workspace.open(tmp_path)) as ledger:
        begun, go_on, n_commits = threading.Event(), threading.Event(), [0]

        def hold(connection: Connection) -> None:
            begun.set()
            assert go_on.wait(60)

        event.listen(ledger.engine, "commit", lambda _: n_commits.__setitem__(0, n_commits[0] + 1))
        writer = Writer(ledger.engine)
        held = writer.write(hold)
        assert begun.wait(60)
        told: list[Future[str]] = [writer.write(adding(f"{i}", fails=i == 3)) for i in range(6)]
        go_on.set()
        assert held.result(60) is None
        assert [one.result(60) for i, one in enumerate(told) if i != 3] == ["0", "1", "2", "4", "5"]
        with pytest.raises(ValueError, match="3"):
            told[3].result(60)
        with ledger.engine.connect() as connection:
            names = set(connection.scalars(select(Person.name).where(Person.id.in_([f"p-{i}" for i in range(6)]))))
        assert names == {"0", "1", "2", "4", "5"}
        n_commits[0] = 0
        begun.clear()
        go_on.clear()
        held = writer.write(hold)
        assert begun.wait(60)
        told = [writer.write(adding(f"more {i}")) for i in range(6)]
        go_on.set()
        assert [one.result(60) for one in told] == [f"more {i}" for i in range(6)] and n_commits == [2]
        writer.close()


def test_one_that_is_cancelled_while_it_waits_is_left_out(tmp_path: Path) -> None:
    with Ledger.open(Workspace.open(tmp_path)) as ledger:
        begun, go_on = threading.Event(), threading.Event()

        def hold(connection: Connection) -> None:
            begun.set()
            assert go_on.wait(60)

        writer = Writer(ledger.engine)
        held = writer.write(hold)
        assert begun.wait(60) and not held.cancel()
        given_up, kept = writer.write(adding("given up")), writer.write(adding("kept"))
        assert given_up.cancel()
        go_on.set()
        assert kept.result(60) == "kept" and writer.write(adding("later")).result(60) == "later"
        with ledger.engine.connect() as connection:
            assert "given up" not in set(connection.scalars(select(Person.name)))
        writer.close()


def test_what_waits_is_stored_when_it_is_closed(tmp_path: Path) -> None:
    with Ledger.open(Workspace.open(tmp_path)) as ledger:
        writer = Writer(ledger.engine)
        told = [writer.write(adding(f"{i}")) for i in range(100)]
        writer.close()
        assert all(one.done() for one in told)
        with ledger.engine.connect() as connection:
            assert connection.scalar(select(func.count()).select_from(Person)) == 100
