"""`malmoi improve` and `malmoi jobs`: make a better version out of what people said, in a process of its own."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malmoi.cli.next_commands import placed
from malmoi.cli.options import HELP, Json, On, Ranks, WorkspaceOption, open_ledger, open_workspace
from malmoi.errors import ConfigError, UserError

if TYPE_CHECKING:
    from malmoi.workspace.ledger import Ledger

jobs = typer.Typer(
    no_args_is_help=True, context_settings=HELP, help="Jobs that improve the assistant: list, show, stop."
)
Number = Annotated[int, typer.Argument(metavar="JOB", min=1, help="A job's number.", show_default=False)]
How = Annotated[
    str,
    typer.Option(metavar="HOW", help="best-of-n: a reward model picks the best of n answers; train: train the policy."),
]
POLL_S = 0.5
ENDED = ("done", "failed", "stopped", "thrown_away", "interrupted")


def improve(
    how: How = "best-of-n",
    whose: Annotated[
        str, typer.Option("--from", metavar="WHOSE", help="Learn from what people said, simulated labelers, or all.")
    ] = "people",
    n: Annotated[int, typer.Option("--n", metavar="N", help="Answers to pick from, with best-of-n.")] = 4,
    algorithm: Annotated[
        str, typer.Option(metavar="NAME", help="With train: dpo, ppo, or kto, which learns from votes.")
    ] = "dpo",
    on: On = None,
    ranks: Ranks = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the job to its end; Ctrl-C leaves it running.")
    ] = True,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Learn from what people said, and make a candidate for service.

    First it says what there is to learn from, and the minutes and the memory that it takes here. The job has a process
    of its own: closing the terminal does not touch it. At its end `malmoi versions compare` decides.

    \b
    Example:
      malmoi improve --workspace demo
      malmoi improve --how train --algorithm ppo --yes --no-wait --workspace demo
      malmoi improve --how train --on ray://10.0.0.1:6379 --ranks 8 --workspace demo
    """  # fmt: skip
    from malmoi.cli.printing import print_json
    from malmoi.pipeline.improve import Wanted, begin, preview
    from malmoi.pipeline.there import asked_place
    from malmoi.workspace.jobs import find_job
    from malmoi.workspace.ledger import Ledger

    wanted = Wanted(how=how, whose=whose, n=n, algorithm=algorithm)  # type: ignore[arg-type]
    wanted.check()
    opened = open_workspace(workspace)
    place = asked_place(opened, on, ranks)
    with Ledger.open(opened) as ledger:
        shown = preview(ledger, wanted, place=place)
        if not as_json:
            _show_preview(shown)
        if shown["problems"]:
            raise UserError(f"improve: {shown['problems'][0]['message']}")
        if not yes and not _agreed():
            if as_json:
                print_json(shown)
            return
        number = begin(ledger, wanted, place=place)
        if wait:
            _follow(ledger, number, quiet=as_json)
        row = find_job(ledger, number)
    if as_json:
        print_json(row)
    elif wait and row["status"] not in ("running", "queued"):
        _tell_end(row)
    else:
        print(placed(f"job {number} is {row['status']}; malmoi jobs show {number}"))


@jobs.command("list")
def list_(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List the jobs, the newest first.

    \b
    Example:
      malmoi jobs list --workspace demo
    """
    from malmoi.cli.printing import print_json, show, table
    from malmoi.workspace.jobs import list_jobs

    with open_ledger(workspace) as ledger:
        rows = list_jobs(ledger)
    if as_json:
        print_json(rows)
        return
    if not rows:
        print(placed("no job yet; malmoi improve begins one"))
        return
    shown = [
        (row["id"], row["how"] or row["kind"], _status(row), row["version"] or "", row["created_at"][:19])
        for row in rows
    ]
    show(table(["job", "what", "status", "version", "asked for"], shown))


@jobs.command("show")
def show_(job: Number, workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """Show a job: how far it is, and the end of its log.

    \b
    Example:
      malmoi jobs show 1 --workspace demo
    """
    from malmoi.cli.printing import print_json, printable
    from malmoi.workspace.jobs import find_job, log_of

    with open_ledger(workspace) as ledger:
        row = find_job(ledger, job)
    row["log"] = log_of(open_workspace(workspace), job)
    if as_json:
        print_json(row)
        return
    print(f"job {job}: {_status(row)}{'; made ' + row['version'] if row['version'] else ''}")
    for stage in row["stages"]:
        print(f"  {stage['name']:<12}{stage['status'].replace('_', ' ')}")
    print(printable(placed("\n".join(row["log"]))))


@jobs.command()
def stop(
    job: Number,
    throw_away: Annotated[
        bool, typer.Option("--throw-away", help="Do not keep the unfinished part, and never go on.")
    ] = False,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Stop a job after its step, and keep what it did: `malmoi jobs resume` goes on there.

    \b
    Example:
      malmoi jobs stop 1 --workspace demo
    """
    from malmoi.workspace.jobs import ask
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        row = ask(ledger, job, "throw_away" if throw_away else "stop")
        deadline = time.monotonic() + 60
        while row["status"] == "running" and time.monotonic() < deadline:
            time.sleep(POLL_S)
            row = _found(ledger, job)
    print(f"job {job} is {_status(row)}")


@jobs.command()
def resume(job: Number, workspace: WorkspaceOption = Path("workspace")) -> None:
    """Go on with a job that was stopped or killed, or that failed; it goes on where it was.

    \b
    Example:
      malmoi jobs resume 1 --workspace demo
    """
    from malmoi.workspace.jobs import resume as go_on
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        row = go_on(ledger, job)
    print(placed(f"job {job} is {_status(row)}; malmoi jobs show {job}"))


@jobs.command(hidden=True)
def work(workspace: WorkspaceOption = Path("workspace")) -> None:
    """Do the jobs of the queue; `malmoi improve` starts this by itself.

    \b
    Example:
      malmoi jobs work --workspace demo
    """
    from malmoi.pipeline.work import work as do
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        do(ledger)


def _show_preview(shown: dict[str, Any]) -> None:
    from malmoi.cli.printing import printable
    from malmoi.stages.judgements import others
    from malmoi.units import size

    learned, cost = shown["learned"], shown["cost"]
    by = ", ".join(
        f"{one['name']}{' (simulated)' if one['simulated'] else ''} {one['n']:,}" for one in learned["people"]
    )
    lines = [f"{learned['n_rankings']:,} rankings of {learned['n_prompts']:,} prompts{f': {by}' if by else ''}"]
    lines += [f"  {more}" for more in (others(learned), _withheld(learned)) if more]
    lines += [f"  {one['message']}" for one in shown["remarks"]]
    if cost is not None:
        low, high = (max(1, round(cost[name] / 60)) for name in ("low_s", "high_s"))
        minutes = f"{low} min" if low == high else f"{low} to {high} min"
        fits = "" if cost["fits"] else ", which is too much"
        lines.append(
            f"{shown['how']} from {shown['start']}: {', '.join(shown['stages'])}; about {minutes}, "
            f"{size(cost['memory_bytes'])} of {size(cost['free_memory_bytes'])} free memory{fits}"
        )
        lines.append(placed(f"the same again: {shown['command']}"))
    print(printable("\n".join(lines)), flush=True)


def _withheld(learned: dict[str, Any]) -> str:
    """What is not learned from, in words; "" if nothing."""
    waiting, withheld = learned["n_waiting_votes"], learned["n_withheld_chats"]
    parts = [f"disliked answers that wait to be ranked: {waiting:,}"] if waiting else []
    parts += [f"chats that may not teach: {withheld:,}"] if withheld else []
    return "; ".join(parts)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("improve: give --yes to start where nobody can be asked")
    return typer.confirm("start?")


def _follow(ledger: "Ledger", number: int, *, quiet: bool) -> None:
    """Print the log as it grows, until the job ends. Ctrl-C leaves the job running."""
    from malmoi.cli.printing import printable
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.jobs import folder_of

    path, n_read, began = folder_of(Workspace(ledger.root), number) / "log.txt", 0, time.monotonic()
    try:
        while True:
            row = _found(ledger, number)
            text = path.read_text("utf-8", "replace") if path.exists() else ""
            if not quiet and (new := text[n_read:].rstrip("\n")):
                print(printable(placed(new)), flush=True)
            n_read = len(text)
            # A process that has just begun holds no lock yet.
            if row["status"] in ENDED and not (row["status"] == "interrupted" and time.monotonic() - began < 5):
                return
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        print()


def _found(ledger: "Ledger", number: int) -> dict[str, Any]:
    from malmoi.workspace.jobs import find_job

    return find_job(ledger, number)


def _status(row: dict[str, Any]) -> str:
    status = str(row["status"]).replace("_", " ")
    if row["status"] == "queued":
        return f"queued, place {row['place']}"
    if row["status"] == "running":
        return f"running, {row['percent'] or 0} %{', ' + row['stage'] if row['stage'] else ''}"
    if row["status"] == "interrupted":
        return placed("interrupted (its process was killed); malmoi jobs resume goes on")
    return f"{status}: {row['error']}" if row["error"] else status


def _tell_end(row: dict[str, Any]) -> None:
    if row["status"] == "done":
        print(placed(f"{row['version']} is a candidate; next: malmoi versions compare {row['version']}"))
        return
    if row["status"] == "failed":
        raise UserError(f"job {row['id']}: {row['error']}")
    print(f"job {row['id']} is {_status(row)}")
