"""`malmoi users` and `malmoi keys`: what the pages do, from a terminal."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from malmoi.cli import app
from malmoi.feedback.accounts import check_login
from malmoi.feedback.sessions import member_of_key
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger


def run(workspace: Path, *words: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, [*words, "--workspace", str(workspace)], input=typed)


def test_accounts_are_made_listed_and_removed(tmp_path: Path) -> None:
    place = tmp_path / "workspace"
    assert run(place, "users", "add", "미나", "--role", "owner", typed="correct horse\n").stdout == "미나 is owner\n"
    assert run(place, "users", "add", "Ann", "--role", "labeler", typed="correct horse\n").exit_code == 0
    with Ledger.open(Workspace.open(place)) as ledger:
        assert check_login(ledger, "ann", "correct horse").role == "labeler"
    rows = json.loads(run(place, "users", "list", "--json").stdout)
    assert [(row["name"], row["role"], row["seen_at"]) for row in rows] == [
        ("미나", "owner", "never"), ("Ann", "labeler", "never"),
    ]  # fmt: skip
    assert run(place, "users", "role", "Ann", "user").stdout == "Ann is user\n"
    assert run(place, "users", "password", "Ann", typed="another horse\n").exit_code == 0
    with Ledger.open(Workspace.open(place)) as ledger:
        assert check_login(ledger, "ann", "another horse").role == "user"
    (place / "malmoi.db.bak-0001").write_bytes((place / "malmoi.db").read_bytes())
    unasked = run(place, "users", "remove", "ANN")
    assert unasked.exit_code == 2 and "--yes" in unasked.stderr and "Ann" in run(place, "users", "list").stdout
    removed = run(place, "users", "remove", "ANN", "--yes").stdout
    assert "ANN is removed; what" in removed and "malmoi.db.bak-0001" in removed
    assert "Ann" not in run(place, "users", "list").stdout
    for words, said in (
        (("users", "remove", "Ann"), "nobody here has this name"),
        (("users", "remove", "미나", "--yes"), "the last owner"),
        (("users", "role", "미나", "user"), "the last owner"),
        (("users", "add", "미나"), "somebody has this name"),
        (("users", "add", "Bob", "--role", "king"), "one of owner"),
    ):  # fmt: skip
        refused = run(place, *words, typed="correct horse\n")
        assert refused.exit_code == 2 and said in refused.stderr
    assert "8 to 200 characters" in run(place, "users", "add", "Bob", typed="short\n").stderr
    assert "first line of the input" in run(place, "users", "add", "Bob", typed="").stderr


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    place = tmp_path / "workspace"
    run(place, "users", "add", "Mina", "--role", "owner", typed="correct horse\n")
    key = run(place, "keys", "add", "Mina", "--name", "editor").stdout.strip()
    (row,) = json.loads(run(place, "keys", "list", "--json").stdout)
    assert (row["person"], row["name"]) == ("Mina", "editor") and key.startswith(row["prefix"]) and key not in str(row)
    with Ledger.open(Workspace.open(place)) as ledger:
        member = member_of_key(ledger, key)
        assert member is not None and member.name == "Mina"
        assert run(place, "keys", "revoke", row["id"]).exit_code == 0
        assert member_of_key(ledger, key) is None
    assert f"no such key; malmoi keys list --workspace {place} shows" in run(place, "keys", "revoke", row["id"]).stderr


def test_settings_are_shown_and_changed(tmp_path: Path) -> None:
    place = tmp_path / "workspace"
    run(place, "users", "add", "미나", "--role", "owner", typed="correct horse\n")
    assert run(place, "settings").stdout == "may_teach_default = off\ntaught_answers = on\npeople_per_question = 2\n"
    changed = run(place, "settings", "people_per_question=3", "may_teach_default=on", "--json").stdout
    assert json.loads(changed) == {"may_teach_default": True, "taught_answers": True, "people_per_question": 3}
    for wrong, said in (
        ("people=3", "no such setting"), ("people_per_question=ten", "expected a number"),
        ("people_per_question=0", "expected 1 to 9"), ("taught_answers=1", "expected on or off"),
    ):  # fmt: skip
        refused = run(place, "settings", "may_teach_default=off", wrong)
        assert refused.exit_code == 2 and said in refused.stderr
    assert "may_teach_default = on" in run(place, "settings").stdout
