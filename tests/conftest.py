"""The database for tests: SQLite, and PostgreSQL too where MALMOI_TEST_DATABASE_URL names a server."""

import functools
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.testing
from hypothesis import settings

if TYPE_CHECKING:
    from malmoi.workspace.ledger import Ledger

# No test depends on the speed of a machine, or on its other work.
settings.register_profile("malmoi", deadline=None)
settings.load_profile("malmoi")

# Tests run side by side, and the networks are tiny: more threads would only wait for each other.
os.environ.setdefault("MALMOI_THREADS", "1")

# The tree of commands takes longer to build than most of them to run; a test's runner builds it for each call.
typer.testing._get_command = functools.cache(typer.testing._get_command)

# A suite that a shell starts in the background, and all that it starts, ignores Ctrl-C, which some tests press.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A file stays in one process: one that takes minutes goes first, so that no process works alone at the end. Of the two
# that begin a Ray, of which there is one at a time, the second comes when the first has ended.
FIRST = ("unit/test_odd_input.py", "e2e/test_ray_run.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.path.as_posix().endswith(FIRST))


POSTGRES = os.environ.get("MALMOI_TEST_DATABASE_URL")
ENGINES = ["sqlite", *([pytest.param("postgresql", marks=pytest.mark.postgres)] if POSTGRES else [])]


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database: a file, or a schema of its own that is dropped afterwards."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'malmoi.db'}"
        return
    from sqlalchemy import create_engine, make_url, text

    url = make_url(str(POSTGRES))
    name = f"test_{uuid.uuid4().hex}"
    server = create_engine(url)
    with server.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    try:
        yield url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)
    finally:
        with server.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
        server.dispose()


@pytest.fixture
def ledger(database_url: str, tmp_path: Path) -> "Iterator[Ledger]":
    """The ledger of an empty workspace."""
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(Workspace.open(tmp_path / "workspace"), database_url) as opened:
        yield opened
