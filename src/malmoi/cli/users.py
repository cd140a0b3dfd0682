"""`malmoi users` and `malmoi keys`: who may use the service, and with which keys programs do."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from malmoi.cli.next_commands import placed
from malmoi.cli.options import HELP, Json, WorkspaceOption

users = typer.Typer(no_args_is_help=True, context_settings=HELP, help="People who may use `malmoi serve`.")
keys = typer.Typer(no_args_is_help=True, context_settings=HELP, help="Keys with which programs use the API.")
Name = Annotated[str, typer.Argument(help="The person's name.", show_default=False)]


@users.command("add")
def add_user(
    name: Name,
    role: Annotated[str, typer.Option(metavar="ROLE", help="owner, admin, labeler or user.")] = "user",
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Make an account. The password is asked for; in a pipe it is the first line.

    A labeler ranks answers, a user also chats, an admin also sees people and settings, an owner may do everything.

    \b
    Example:
      malmoi users add Mina --role labeler --workspace demo
    """
    from malmoi.feedback.accounts import add_member, checked_name, checked_role
    from malmoi.workspace.ledger import Ledger
    from malmoi.workspace.opening import opened

    checked_name(name), checked_role(role)
    password = _password()
    with opened(workspace) as here, Ledger.open(here) as ledger:
        member = add_member(ledger, name, password, role)
    print(f"{member.name} is {member.role}")


@users.command("role")
def set_user_role(
    name: Name,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="owner, admin, labeler or user.", show_default=False)],
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Give a person another role. The last owner stays one.

    \b
    Example:
      malmoi users role Mina admin --workspace demo
    """
    from malmoi.cli.options import open_workspace
    from malmoi.feedback.accounts import checked_role, id_of_name, set_role
    from malmoi.workspace.ledger import Ledger

    checked_role(role)
    with Ledger.open(open_workspace(workspace)) as ledger:
        member = set_role(ledger, id_of_name(ledger, name), role)
    print(f"{member.name} is {member.role}")


@users.command("password")
def set_user_password(name: Name, workspace: WorkspaceOption = Path("workspace")) -> None:
    """Give a person a new password; it is asked for. Their browsers are signed out.

    \b
    Example:
      malmoi users password Mina --workspace demo
    """
    from malmoi.cli.options import open_workspace
    from malmoi.feedback.accounts import id_of_name, set_password
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        id = id_of_name(ledger, name)
        set_password(ledger, id, _password())
    print(f"{name} has a new password")


@users.command("list")
def list_users(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List the people who have an account.

    \b
    Example:
      malmoi users list --workspace demo
    """
    from malmoi.cli.options import open_ledger
    from malmoi.feedback.accounts import members

    with open_ledger(workspace) as ledger:
        rows = members(ledger)
    _show([{**row, "created_at": row["created_at"].isoformat(), "seen_at": _day(row["seen_at"])} for row in rows],
          ("name", "role", "seen_at"), as_json)  # fmt: skip


@users.command("remove")
def remove_user(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it without asking.")] = False,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Remove an account with its chats and keys, after a question. What the person ranked stays.

    \b
    Example:
      malmoi users remove Mina --workspace demo
      malmoi users remove Mina --yes --workspace demo
    """
    from malmoi.cli.options import open_workspace
    from malmoi.feedback.accounts import id_of_name, remove_member
    from malmoi.feedback.forgetting import backups_with
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        id = id_of_name(ledger, name)
        if not (yes or _confirmed(name)):
            return
        remove_member(ledger, id)
        files = backups_with(ledger, id)
    print(placed(f"{name} is removed; what {name} ranked stays, with the name: malmoi data forget {name} deletes both"))
    if files:
        print(f"copies of the database that keep the account and its chats until you delete them: {', '.join(files)}")


@keys.command("add")
def add_key(
    person: Annotated[str, typer.Argument(help="Whose key it is.", show_default=False)],
    name: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "key",
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Make a key for a person's programs. It is shown once.

    \b
    Example:
      malmoi keys add Mina --name "my editor" --workspace demo
    """
    from malmoi.cli.options import open_workspace
    from malmoi.feedback.accounts import id_of_name, member_of_id
    from malmoi.feedback.sessions import make_key
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        made = make_key(ledger, member_of_id(ledger, id_of_name(ledger, person)), name)
    print(made["key"])


@keys.command("list")
def list_keys_(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List keys: whose they are, how they begin, and when they were last used.

    \b
    Example:
      malmoi keys list --workspace demo
    """
    from malmoi.cli.options import open_ledger
    from malmoi.feedback.sessions import list_keys

    with open_ledger(workspace) as ledger:
        rows = list_keys(ledger)
    _show([{**row, "created_at": row["created_at"].isoformat(), "used_at": _day(row["used_at"])} for row in rows],
          ("id", "person", "name", "prefix", "used_at"), as_json)  # fmt: skip


@keys.command("revoke")
def revoke_key_(
    id: Annotated[str, typer.Argument(help="The key's id, as `malmoi keys list` shows it.", show_default=False)],
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Revoke a key: it is good for nothing from now on.

    \b
    Example:
      malmoi keys revoke k-0123456789ab --workspace demo
    """
    from malmoi.cli.options import open_workspace
    from malmoi.feedback.sessions import revoke_key
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        revoke_key(ledger, id)
    print(f"{id} is revoked")


def _confirmed(name: str) -> bool:
    """Whether the person at the terminal wants it. Raises ConfigError where nobody can be asked."""
    if not sys.stdin.isatty():
        from malmoi.errors import ConfigError

        raise ConfigError(f"{name}: nobody can be asked here; --yes removes the account, its chats and its keys")
    return typer.confirm(f"remove {name}, with all chats and keys?")


def _password() -> str:
    """Asked for; in a pipe it is the first line."""
    if sys.stdin.isatty():
        return str(typer.prompt("password", hide_input=True, confirmation_prompt="again"))
    from malmoi.errors import ConfigError

    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ConfigError("password: none is given; type it on a terminal, or pass it as the first line of the input")
    return password


def _show(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    from malmoi.cli.printing import print_json, printable

    if as_json:
        print_json(rows)
        return
    for row in rows:
        print("  ".join(printable(str(row[name])) for name in columns))


def _day(at: Any) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M}"
