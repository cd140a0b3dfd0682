"""Accounts: names that cannot be confused, passwords that cannot be read, links that work once."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, update

from malmoi.errors import WorkspaceError
from malmoi.feedback import accounts, sessions
from malmoi.feedback.accounts import Member
from malmoi.feedback.refusals import RefusedError
from malmoi.workspace.base import now
from malmoi.workspace.database import writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.service_schema import Account, ApiKey, Invite, SignedIn

PASSWORD = "correct horse"


@pytest.fixture
def mina(ledger: Ledger) -> Member:
    return accounts.add_member(ledger, "Mina", PASSWORD, "owner")


def refused(code: str) -> "pytest.RaisesExc[RefusedError]":
    return pytest.raises(RefusedError, check=lambda error: error.code == code)


def test_a_login_needs_the_right_name_and_password(ledger: Ledger, mina: Member) -> None:
    assert accounts.check_login(ledger, "MINA", PASSWORD) == mina
    for name, password in (("Mina", "correct horsf"), ("Mina", ""), ("Nobody", PASSWORD), ("Mina", "x" * 5000)):
        with refused("wrong_login"):
            accounts.check_login(ledger, name, password)


def test_the_database_holds_no_secret(ledger: Ledger, mina: Member) -> None:
    token = sessions.begin_session(ledger, mina)
    key = sessions.make_key(ledger, mina, "editor")["key"]
    code = accounts.invite(ledger, "user")["code"]
    with ledger.engine.connect() as connection:
        everything = "".join(str(connection.execute(select(t)).all()) for t in (Account, SignedIn, ApiKey, Invite))
    assert not [secret for secret in (PASSWORD, token, key, code) if secret in everything]


@pytest.mark.parametrize("name", ["mina", " MINA ", "Ｍｉｎａ", "Mina\t"])
def test_two_names_never_look_alike(ledger: Ledger, mina: Member, name: str) -> None:
    with refused("name_taken"):
        accounts.add_member(ledger, name, PASSWORD, "user")


@pytest.mark.parametrize(
    ("name", "password", "param"),
    [("", PASSWORD, "name"), ("x" * 61, PASSWORD, "name"), ("a\u202eb", PASSWORD, "name"), ("a\0", PASSWORD, "name"),
     ("Ann", "1234567", "password"), ("Ann", "x" * 201, "password")],
)  # fmt: skip
def test_a_name_or_password_that_is_none_is_refused(ledger: Ledger, name: str, password: str, param: str) -> None:
    with pytest.raises(RefusedError, check=lambda error: error.param == param):
        accounts.add_member(ledger, name, password, "user")


def test_a_korean_password_is_the_same_however_it_is_typed(ledger: Ledger) -> None:
    accounts.add_member(ledger, "지훈", "비밀번호입니다요", "user")
    decomposed = "비밀번호입니다요".encode().decode()
    import unicodedata

    assert accounts.check_login(ledger, "지훈", unicodedata.normalize("NFD", decomposed)).name == "지훈"


def test_the_link_of_the_first_start_makes_one_owner(ledger: Ledger) -> None:
    old, code = accounts.invite_owner(ledger), accounts.invite_owner(ledger)
    with refused("wrong_setup_link"):
        accounts.accept_invite(ledger, old, "Eve", PASSWORD)
    assert accounts.needs_owner(ledger)
    assert accounts.accept_invite(ledger, code, "Mina", PASSWORD).role == "owner"
    assert not accounts.needs_owner(ledger)
    with refused("wrong_setup_link"):
        accounts.accept_invite(ledger, code, "Eve", PASSWORD)


def test_an_invitation_is_for_one_role_and_ends(ledger: Ledger, mina: Member) -> None:
    code = accounts.invite(ledger, "labeler", "Ann")["code"]
    with refused("wrong_setup_link"):
        accounts.accept_invite(ledger, code, "Ann", PASSWORD, {"owner"})
    with refused("name_taken"):  # it is not used up by a mistake
        accounts.accept_invite(ledger, code, "mina", PASSWORD)
    assert accounts.find_invite(ledger, code)["role"] == "labeler"
    with writing(ledger.engine) as connection:
        connection.execute(update(Invite).values(expires_at=now() - timedelta(seconds=1)))
    with refused("wrong_setup_link"):
        accounts.accept_invite(ledger, code, "Ann", PASSWORD)


def test_the_last_owner_stays(ledger: Ledger, mina: Member) -> None:
    with refused("conflict"):
        accounts.remove_member(ledger, mina.id)
    with refused("conflict"):
        accounts.set_role(ledger, mina.id, "admin")
    other = accounts.add_member(ledger, "Ann", PASSWORD, "user")
    assert accounts.set_role(ledger, other.id, "owner").role == "owner"
    accounts.remove_member(ledger, mina.id)
    assert [row["name"] for row in accounts.members(ledger)] == ["Ann"]


def test_who_is_removed_is_signed_out_and_has_no_key(ledger: Ledger, mina: Member) -> None:
    ann = accounts.add_member(ledger, "Ann", PASSWORD, "user")
    token, key = sessions.begin_session(ledger, ann), sessions.make_key(ledger, ann, "editor")["key"]
    accounts.remove_member(ledger, ann.id)
    assert sessions.member_of_session(ledger, token) is None
    assert sessions.member_of_key(ledger, key) is None


def test_a_session_ends_when_it_is_ended_or_left_alone(ledger: Ledger, mina: Member) -> None:
    here, there = sessions.begin_session(ledger, mina), sessions.begin_session(ledger, mina)
    assert sessions.member_of_session(ledger, here) == mina
    assert sessions.member_of_session(ledger, here + "x") is None
    sessions.end_other_sessions(ledger, mina, here)
    assert sessions.member_of_session(ledger, there) is None
    with writing(ledger.engine) as connection:
        connection.execute(update(SignedIn).values(seen_at=now() - sessions.IDLE - timedelta(seconds=1)))
    assert sessions.member_of_session(ledger, here) is None


def test_a_changed_password_needs_the_old_one(ledger: Ledger, mina: Member) -> None:
    with refused("wrong_login"):
        accounts.change_password(ledger, mina, "wrong", "another horse")
    accounts.change_password(ledger, mina, PASSWORD, "another horse")
    assert accounts.check_login(ledger, "Mina", "another horse") == mina


def test_a_key_answers_to_its_person_until_it_is_revoked(ledger: Ledger, mina: Member) -> None:
    made = sessions.make_key(ledger, mina, "editor")
    assert made["key"].startswith(made["prefix"]) and sessions.member_of_key(ledger, made["key"]) == mina
    ann = accounts.add_member(ledger, "Ann", PASSWORD, "user")
    with refused("not_found"):
        sessions.revoke_key(ledger, made["id"], ann.id)
    assert [row["id"] for row in sessions.list_keys(ledger)] == [made["id"]]
    assert sessions.list_keys(ledger, ann.id) == []
    sessions.revoke_key(ledger, made["id"], mina.id)
    assert sessions.member_of_key(ledger, made["key"]) is None


def test_who_only_reads_may_come_in_where_nothing_can_be_written(ledger: Ledger) -> None:
    if ledger.engine.dialect.name != "sqlite":
        pytest.skip("a full disk ends a server of PostgreSQL")
    member = accounts.add_member(ledger, "Mina", "correct horse", "owner")
    token, key = sessions.begin_session(ledger, member), sessions.make_key(ledger, member, "a program")["key"]
    with writing(ledger.engine) as connection:
        connection.execute(update(SignedIn).values(seen_at=now() - 2 * sessions.NOTED_EVERY))

    @event.listens_for(ledger.engine, "checkout")
    def refuse(connection: Any, *_: object) -> None:
        connection.execute("PRAGMA query_only = ON").close()

    with pytest.raises(WorkspaceError), writing(ledger.engine) as connection:
        connection.execute(update(SignedIn).values(seen_at=now()))
    assert sessions.member_of_session(ledger, token) == member
    assert sessions.member_of_key(ledger, key) == member
