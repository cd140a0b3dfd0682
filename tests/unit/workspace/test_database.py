import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, func, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session

import malmoi.workspace.migrations
from malmoi.errors import WorkspaceError
from malmoi.workspace import database
from malmoi.workspace.answers import NewAnswer, insert_answer
from malmoi.workspace.database import chunks, insert_missing, lock_table, open_database, writing
from malmoi.workspace.drawing_schema import Drawing, DrawnPicture
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.ring_schema import VersionRow
from malmoi.workspace.schema import Answer, Base, Person, RunInput, now
from malmoi.workspace.service_schema import Account, Chat, ChatMessage

HEAD = ScriptDirectory(str(Path(malmoi.workspace.migrations.__file__).parent)).get_current_head()
NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("person", sa.Column("colour", sa.Text()))
    {then}
"""


def person(id: str = "ann", **values: object) -> dict[str, object]:
    return {"id": id, "name": "Ann", "kind": "human", "description": ""} | values


def next_version(tmp_path: Path, then: str = "pass") -> str:
    """The migrations of a Malmoi that has one more."""
    folder = tmp_path / "migrations"
    shutil.copytree(Path(malmoi.workspace.migrations.__file__).parent, folder)
    (folder / "versions" / "next.py").write_text(NEXT_REVISION.format(then=then, head=HEAD))
    return str(folder)


def earlier_layout(tmp_path: Path, newest: str) -> str:
    """The migrations up to one of them."""
    folder = tmp_path / "earlier"
    shutil.copytree(Path(malmoi.workspace.migrations.__file__).parent, folder)
    for later in folder.glob("versions/[0-9]*_*.py"):
        if later.name[:4] > newest:
            later.unlink()
    return str(folder)


def insert_early_answer(connection: Connection, number: int) -> None:
    """Into the table as it first was. The number is taken from the same sequence as those of later answers."""
    columns = "messages, text, voice, sources, quoted, sampling, version, created_at"
    said = (
        """'[{"role": "user", "content": "?"}]', '"!"', 'none', '[]', FALSE, '{}', '1', '2026-01-01 00:00:00.000000'"""
    )
    connection.exec_driver_sql(f"INSERT INTO answer ({columns}) VALUES ({said})")
    assert connection.scalar(select(func.max(Answer.id))) == number


def insert_drawing(connection: Connection, request_id: str) -> int:
    row = {"request_id": request_id, "prompt": "a", "settings": {}, "model": "tiny", "version": "1"}
    made = connection.execute(insert(Drawing).values(row | {"created_at": now()})).inserted_primary_key
    return int(made[0]) if made is not None else 0


def test_the_models_and_the_migrations_agree(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_opening_twice_keeps_what_is_there(database_url: str) -> None:
    for expected in (0, 1):
        engine = open_database(database_url)
        with writing(engine) as connection:
            assert connection.scalar(select(func.count()).select_from(Person)) == expected
            insert_missing(connection, Person, [person()])
        engine.dispose()


def test_a_newer_database_is_refused(database_url: str) -> None:
    engine = open_database(database_url)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(WorkspaceError, match="revision 9999 is newer than this Malmoi"):
        open_database(database_url)


def test_an_older_database_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'malmoi.db'}"
    engine = open_database(url)
    with writing(engine) as connection:
        insert_missing(connection, Person, [person()])
    # Not disposed of: what was written still lies in the write-ahead log.
    newer = open_database(url, next_version(tmp_path))
    with newer.connect() as connection:
        assert connection.execute(text("SELECT id, colour FROM person")).all() == [("ann", None)]
    newer.dispose()
    engine.dispose()
    copy = sqlite3.connect(tmp_path / f"malmoi.db.bak-{HEAD}")
    assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
    assert copy.execute("SELECT * FROM person").fetchall()[0][:2] == ("ann", "Ann")
    copy.close()
    assert list(tmp_path.glob("*.partial*")) == []


def test_the_first_layout_becomes_the_newest_with_everything_in_it(database_url: str, tmp_path: Path) -> None:
    engine = open_database(database_url, earlier_layout(tmp_path, "0001"))
    with writing(engine) as connection:
        insert_missing(connection, Person, [person()])
        assert "answer" not in inspect(connection).get_table_names()
    engine.dispose()
    engine = open_database(database_url)
    with engine.connect() as connection:
        assert connection.scalars(select(Person.id)).all() == ["ann"]
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_answers_of_an_earlier_layout_keep_their_numbers_and_their_messages(tmp_path: Path) -> None:
    """SQLite gave the number of the last answer again, once it was deleted."""
    url = f"sqlite:///{tmp_path / 'malmoi.db'}"
    engine = open_database(url, earlier_layout(tmp_path, "0005"))
    with writing(engine) as connection:
        insert_missing(connection, Person, [person()])
        account = {"person_id": "ann", "name_key": "ann", "role": "user", "password_hash": "", "created_at": now()}
        connection.execute(insert(Account).values(account))
        chat = {"id": "c", "person_id": "ann", "title": None, "system": "", "sampling": {}, "may_teach": False}
        connection.execute(insert(Chat).values(**chat, head=None, updated_at=now(), created_at=now()))
        for number in range(1, 4):
            insert_early_answer(connection, number)
            row = {"id": f"m{number}", "chat_id": "c", "parent_id": None, "role": "assistant", "text": "!"}
            connection.execute(insert(ChatMessage).values(row | {"answer_id": number}))
    engine.dispose()
    engine = open_database(url)
    links = select(ChatMessage.id, ChatMessage.answer_id).order_by(ChatMessage.id)
    with writing(engine) as connection:
        assert connection.execute(links).all() == [("m1", 1), ("m2", 2), ("m3", 3)]
        assert connection.scalars(select(Answer.text).order_by(Answer.id)).all() == ["!"] * 3
        connection.execute(delete(ChatMessage).where(ChatMessage.id == "m3"))
        connection.execute(delete(Answer).where(Answer.id == 3))
    with writing(engine) as connection:
        assert insert_answer(connection, NewAnswer([{"role": "user", "content": "?"}], "!", "none")) == 4
    with pytest.raises(IntegrityError, match="never"), writing(engine) as connection:
        connection.execute(update(ChatMessage).values(text="other"))
    engine.dispose()


def test_answers_of_the_layout_before_documents_keep_what_they_have(database_url: str, tmp_path: Path) -> None:
    engine = open_database(database_url, earlier_layout(tmp_path, "0007"))
    with writing(engine) as connection:
        insert_early_answer(connection, 1)
    engine.dispose()
    engine = open_database(database_url)
    said = [{"title": "a", "text": "가"}]
    with writing(engine) as connection:
        insert_answer(connection, NewAnswer([{"role": "user", "content": "?"}], "2", "none", documents=said))
        found = connection.execute(select(Answer.text, Answer.documents).order_by(Answer.id)).all()
        assert found == [("!", None), ("2", said)]
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    if database_url.startswith("sqlite"):
        assert [path.name for path in tmp_path.glob("*.bak*")] == ["malmoi.db.bak-0007"]


def test_drawings_of_the_layout_before_keep_their_pictures_and_their_numbers(database_url: str, tmp_path: Path) -> None:
    engine = open_database(database_url, earlier_layout(tmp_path, "0011"))
    picture = {"sha256": "0", "seed": 2**62, "path": "x.png"}
    with writing(engine) as connection:
        for number in (1, 2, 3):
            insert_drawing(connection, f"r{number}")
            connection.execute(insert(DrawnPicture).values(picture | {"id": f"p{number}", "drawing_id": number}))
        connection.execute(delete(DrawnPicture).where(DrawnPicture.drawing_id == 3))
        connection.execute(delete(Drawing).where(Drawing.id == 3))
    engine.dispose()
    engine = open_database(database_url)
    with writing(engine) as connection:
        kept = connection.execute(select(Drawing.id, Drawing.request_id).order_by(Drawing.id)).all()
        assert kept == [(1, "r1"), (2, "r2")]
        pictures = select(DrawnPicture.id, DrawnPicture.drawing_id, DrawnPicture.seed).order_by(DrawnPicture.id)
        assert connection.execute(pictures).all() == [("p1", 1, 2**62), ("p2", 2, 2**62)]
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert insert_drawing(connection, "r4") == 4
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(insert(DrawnPicture).values(picture | {"id": "p9", "drawing_id": 9}))
    engine.dispose()


def test_versions_of_the_layout_before_lose_the_names_of_those_who_taught(database_url: str, tmp_path: Path) -> None:
    engine = open_database(database_url, earlier_layout(tmp_path, "0011"))
    people = [{"id": "p-1", "name": "미나", "n": 3, "simulated": False}]
    about = {"how": "train", "model": "m", "policy_sha256": "0", "policy_path": "models/m"}
    learned = [{"n_rankings": 3, "people": people}, {"n": 1}, None]
    with writing(engine) as connection:
        for one in learned:
            connection.execute(insert(VersionRow).values(about | {"learned": one}))
    engine.dispose()
    engine = open_database(database_url)
    with writing(engine) as connection:
        kept = connection.scalars(select(VersionRow.learned).order_by(VersionRow.number)).all()
        told = [{"id": "p-1", "n": 3, "simulated": False}]
        assert kept == [{"n_rankings": 3, "people": told}, {"n": 1}, None]
    with pytest.raises(IntegrityError, match="never"), writing(engine) as connection:
        connection.execute(update(VersionRow).values(how="first"))
    engine.dispose()


def test_a_new_database_has_no_copy(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path / 'malmoi.db'}").dispose()
    assert list(tmp_path.glob("*.bak*")) == []


def test_a_migration_that_fails_leaves_the_database_as_it_was(database_url: str, tmp_path: Path) -> None:
    open_database(database_url).dispose()
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        open_database(database_url, next_version(tmp_path, then='op.execute("INSERT INTO nowhere VALUES (1)")'))
    engine = open_database(database_url)
    with engine.connect() as connection:
        assert "colour" not in connection.execute(text("SELECT * FROM person")).keys()  # noqa: SIM118
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no url, but a secret", "not a database URL"),
        ("mysql://host/name", "mysql is not supported"),
        ("sqlite:////nowhere/at/all.db", "/nowhere/at/all.db: cannot be opened"),
    ],
)
def test_a_database_that_cannot_be_opened_is_named(url: str, message: str) -> None:
    with pytest.raises(WorkspaceError, match=message) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_no_server_is_one_line_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(WorkspaceError, match="cannot be opened") as caught:
        open_database("postgresql://ann:secret@127.0.0.1:1/name")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "malmoi.db").write_text("words " * 1000)
    with pytest.raises(WorkspaceError, match="file is not a database"):
        open_database(f"sqlite:///{tmp_path / 'malmoi.db'}")
    assert (tmp_path / "malmoi.db").read_text() == "words " * 1000


def test_links_are_enforced(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError), writing(ledger.engine) as connection:
        insert_missing(connection, RunInput, [{"run_id": "0001-none", "role": "data", "sha256": "00"}])


def test_a_transaction_happens_as_a_whole_or_not_at_all(ledger: Ledger) -> None:
    with pytest.raises(KeyError), writing(ledger.engine) as connection:
        insert_missing(connection, Person, [person()])
        raise KeyError
    with Session(ledger.engine) as session:
        assert session.get(Person, "ann") is None


def test_insert_missing_keeps_the_first(ledger: Ledger) -> None:
    with writing(ledger.engine) as connection:
        insert_missing(connection, Person, [person(name="first")])
        insert_missing(connection, Person, [person(name="second"), person("bob"), person("bob", name="again")])
    with Session(ledger.engine) as session:
        assert {p.id: p.name for p in session.scalars(select(Person))} == {"ann": "first", "bob": "Ann"}


def test_times_keep_their_moment_and_come_back_in_utc(ledger: Ledger) -> None:
    seoul = now().astimezone(timezone(timedelta(hours=9)))
    with writing(ledger.engine) as connection:
        insert_missing(connection, Person, [person(created_at=seoul)])
    with Session(ledger.engine) as session:
        found = session.get_one(Person, "ann").created_at
    assert found == seoul
    assert found.utcoffset() == timedelta(0)


def test_a_time_without_zone_is_refused(ledger: Ledger) -> None:
    with pytest.raises(StatementError, match="without a time zone"), writing(ledger.engine) as connection:
        insert_missing(connection, Person, [person(created_at=datetime(2026, 1, 1))])


def test_a_reader_neither_waits_for_a_writer_nor_sees_half_of_its_work(ledger: Ledger) -> None:
    with writing(ledger.engine) as connection:
        insert_missing(connection, Person, [person()])
        with Session(ledger.engine) as session:
            assert session.get(Person, "ann") is None


def test_a_database_that_stays_locked_or_goes_away_is_one_line(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    if ledger.engine.dialect.name == "postgresql":
        with pytest.raises(WorkspaceError, match="check the database") as caught, writing(ledger.engine) as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    else:
        ledger.engine.dispose()
        monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 10)
        with (
            contextlib.closing(sqlite3.connect(str(ledger.engine.url.database))) as other,
            pytest.raises(WorkspaceError, match=r"malmoi\.db: database is locked; check") as caught,
        ):
            other.execute("BEGIN IMMEDIATE")
            with writing(ledger.engine):
                pass
    assert "\n" not in str(caught.value)


def test_a_database_that_has_no_room_says_that_the_disk_is_full(ledger: Ledger) -> None:
    if ledger.engine.dialect.name == "postgresql":
        pytest.skip("a server's disk is not filled")
    with (
        pytest.raises(WorkspaceError, match=r"malmoi\.db: the disk is full; free"),
        writing(ledger.engine) as connection,
    ):
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.execute(insert(Person), [person(f"{i}", description="x" * 5000) for i in range(9)])


def test_a_wrong_statement_is_a_mistake_of_ours(ledger: Ledger) -> None:
    with pytest.raises(DBAPIError), writing(ledger.engine) as connection:
        connection.execute(text("SELECT * FROM nowhere"))


OPEN = """
import sys
from malmoi.workspace.database import open_database
sys.stdin.readline()
open_database(sys.argv[1], sys.argv[2]).dispose()
"""


@pytest.mark.parametrize("is_new", [True, False])
def test_processes_that_open_a_database_at_once_migrate_it_once(
    database_url: str, tmp_path: Path, is_new: bool
) -> None:
    if not is_new:
        open_database(database_url).dispose()
    words = [sys.executable, "-c", OPEN, database_url, next_version(tmp_path)]
    processes = [subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [process.communicate("go\n", timeout=120)[1] for process in processes]
    assert ended == [""] * 3
    engine = open_database(database_url, str(tmp_path / "migrations"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [("next",)]
    engine.dispose()
    assert list(tmp_path.glob("*.partial*")) == []


def test_two_that_insert_the_same_rows_in_other_orders_do_not_wait_in_a_circle(ledger: Ledger) -> None:
    def insert_both() -> None:
        with writing(ledger.engine) as connection:
            insert_missing(connection, Person, [person("bob"), person("ann")])

    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor(1) as pool:
        with writing(ledger.engine) as connection:
            insert_missing(connection, Person, [person("ann")])
            other = pool.submit(insert_both)
            while ledger.engine.dialect.name == "postgresql" and not connection.scalar(waits):
                time.sleep(0.01)
            insert_missing(connection, Person, [person("bob", name="first")])
        other.result(timeout=120)
    with Session(ledger.engine) as session:
        assert {p.id: p.name for p in session.scalars(select(Person))} == {"ann": "Ann", "bob": "first"}


def test_a_table_is_locked_for_one_writer(ledger: Ledger) -> None:
    """Each of the threads counts, then inserts as many as it counted and one more."""

    def add(_: int) -> None:
        with writing(ledger.engine) as connection:
            lock_table(connection, Person)
            n = connection.scalar(select(func.count()).select_from(Person))
            connection.execute(insert(Person), [person(f"number {n}")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(20)))
    with ledger.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Person)) == 20


def test_between_transactions_nothing_is_held(ledger: Ledger, database_url: str) -> None:
    """Hours of work may lie there."""
    with writing(ledger.engine) as connection:
        insert_missing(connection, Person, [person()])
        is_server = connection.dialect.name == "postgresql"
        session = connection.scalar(text("SELECT pg_backend_pid()")) if is_server else None
    if is_server:
        other = open_database(database_url)
        count = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
        deadline = time.monotonic() + 60
        with other.connect() as connection:
            while connection.scalar(count, {"pid": session}):
                assert time.monotonic() < deadline
        return
    with contextlib.closing(sqlite3.connect(str(ledger.engine.url.database), timeout=0)) as file:
        file.execute("BEGIN EXCLUSIVE")


def test_chunks_are_sorted_and_hold_each_value_once() -> None:
    assert list(chunks(["c", "a", "b", "a"], size=2)) == [["a", "b"], ["c"]]
    assert list(chunks([])) == []
