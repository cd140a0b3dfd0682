"""`malmoi versions`: what is in service, what can be put in service, and the blind comparisons that decide."""

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malmoi.cli.next_commands import placed
from malmoi.cli.options import HELP, Json, WorkspaceOption, a_path, open_ledger, open_workspace
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from malmoi.feedback.gate_comparisons import GateVerdict

app = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP,
    help="Versions of the assistant: list, compare, put in service, go back.",
)
Name = Annotated[str, typer.Argument(metavar="VERSION", help="A version, such as v3.", show_default=False)]
By = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who decides or compares; default: the name of this account.")
]
KEYS = {
    "a": "a", "1": "a", "b": "b", "2": "b", "t": "tie", "=": "tie", "tie": "tie", "same": "tie", "x": "both_bad",
    "both bad": "both_bad",
}  # fmt: skip


@app.command("list")
def list_(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List the versions: in service, candidates, refused, earlier.

    \b
    Example:
      malmoi versions list --workspace demo
    """
    from malmoi.cli.printing import print_json, show, table
    from malmoi.workspace.versions import list_versions

    with open_ledger(workspace) as ledger:
        rows = [version.to_row() for version in list_versions(ledger)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        print(placed("no version yet: the newest policy answers; malmoi improve makes a candidate"))
        return
    shown = [(row["name"], row["state"].replace("_", " "), _how(row), row["hash"][:12], row["created_at"][:19])
             for row in reversed(rows)]  # fmt: skip
    show(table(["version", "state", "what", "hash", "made"], shown))


@app.command("show")
def show_(version: Name, workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """Show a version: what it learned from, its report, the verdict, and its history.

    \b
    Example:
      malmoi versions show v2 --workspace demo
    """
    from malmoi.cli.printing import print_json
    from malmoi.feedback.gate_comparisons import verdict_of
    from malmoi.workspace.versions import find_version, in_service

    with open_ledger(workspace) as ledger:
        found, serving = find_version(ledger, version), in_service(ledger)
        is_other = serving is not None and serving.number != found.number
        verdict = verdict_of(ledger, found, serving) if serving is not None and is_other else None
    row = found.to_row() | {"verdict": verdict and verdict.to_row()}
    print_json(row) if as_json else _print(row, verdict)


@app.command("add")
def add(
    model: Annotated[str, typer.Argument(help="A policy of the workspace or a model folder.", show_default=False)],
    best_by: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A reward model that picks the best of n answers.")
    ] = None,
    n: Annotated[int, typer.Option("--n", metavar="N", min=2, max=16, help="Answers to pick from.")] = 4,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Make a model a candidate, as it is or with a reward model that picks the best of n answers.

    \b
    Example:
      malmoi versions add sft --best-by reward --n 4 --workspace demo
    """
    from malmoi.cli.printing import print_json
    from malmoi.pipeline.improve import TEMPERATURE
    from malmoi.workspace.ledger import Ledger
    from malmoi.workspace.models import find_model
    from malmoi.workspace.versions import NewVersion, add_version, begin_versions

    here = open_workspace(workspace)
    with Ledger.open(here) as ledger:
        name, folder = find_model(here, model)
        judge = find_model(here, best_by)[1].resolve() if best_by is not None else None
        serving = begin_versions(ledger)
        made = add_version(
            ledger,
            NewVersion(
                how="added", model=name, policy=folder.resolve(), reward_model=judge, n=n if judge else None,
                temperature=TEMPERATURE if judge else None, came_from=serving.number,
            ),
        )  # fmt: skip
    if as_json:
        print_json(made.to_row())
    else:
        print(placed(f"{made.name} is a candidate; next: malmoi versions compare {made.name}"))


@app.command()
def promote(
    version: Name,
    knowingly: Annotated[
        bool, typer.Option("--knowingly", help="Also if it is not known whether it is better; the ledger records it.")
    ] = False,
    by: By = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Put a version in service, if people find it better. Running chats answer with it from their next message on.

    \b
    Example:
      malmoi versions promote v2 --workspace demo
    """
    from malmoi.feedback.promotion import promote as put
    from malmoi.feedback.terminal import person_at_terminal
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        made = put(ledger, version, knowingly=knowingly, person_id=person_at_terminal(ledger, who(by)))
    _told(made.to_row(), f"{made.name} is in service; back: malmoi versions rollback", as_json)


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="An earlier version.")] = None,
    by: By = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Go back to the version that was in service before, at once and in every running chat.

    \b
    Example:
      malmoi versions rollback --workspace demo
    """
    from malmoi.feedback.promotion import rollback as back
    from malmoi.feedback.terminal import person_at_terminal
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        made = back(ledger, to, person_id=person_at_terminal(ledger, who(by)))
    _told(made.to_row(), f"{made.name} is in service again", as_json)


@app.command()
def refuse(
    version: Name, by: By = None, workspace: WorkspaceOption = Path("workspace"), as_json: Json = False
) -> None:  # fmt: skip
    """Decide against a version: it stays in the list, as refused.

    \b
    Example:
      malmoi versions refuse v2 --workspace demo
    """
    from malmoi.feedback.promotion import refuse as put_away
    from malmoi.feedback.terminal import person_at_terminal
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        made = put_away(ledger, version, person_id=person_at_terminal(ledger, who(by)))
    _told(made.to_row(), f"{made.name} is refused", as_json)


@app.command()
def compare(
    version: Name,
    questions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=a_path, help="Ask these questions first, one on each line."),
    ] = None,
    most: Annotated[int, typer.Option("--most", metavar="N", min=1, help="End after this many comparisons.")] = 20,
    by: By = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Compare a candidate with the version in service, blind: two answers, and you say which one is better.

    Type a, b, t (about the same), x (both bad), or q to end; what you said is kept. The questions are those that people
    asked here, then held-out ones. The verdict is valid at every moment, so stop whenever you like.

    \b
    Example:
      malmoi versions compare v2 --workspace demo
      malmoi versions compare v2 --questions mine.txt --workspace demo
    """
    from malmoi.cli.printing import print_json
    from malmoi.feedback.contenders import Match
    from malmoi.feedback.gate_comparisons import record_answer, verdict_of
    from malmoi.feedback.terminal import person_at_terminal
    from malmoi.workspace.ledger import Ledger
    from malmoi.workspace.versions import find_version, in_service

    with Ledger.open(open_workspace(workspace)) as ledger:
        candidate, serving = find_version(ledger, version), in_service(ledger)
        if serving is None or serving.number == candidate.number:
            raise ConfigError(f"{version}: is in service, and there is nothing to compare it with")
        person = person_at_terminal(ledger, who(by))
        match = Match(ledger, candidate, serving, _questions(questions))
        for number in range(1, most + 1):
            pair = match.next_pair(person)
            if pair is None:
                typer.secho("(no question is left; ask the assistant more, or give --questions)", err=True, dim=True)
                break
            if (answer := _asked(pair, number)) is None:
                break
            record_answer(ledger, pair["id"], answer, person)
            typer.secho(_short(verdict_of(ledger, candidate, serving)), err=True, dim=True)
        verdict = verdict_of(ledger, candidate, serving)
    print_json(verdict.to_row()) if as_json else print("\n".join(verdict_lines(verdict)))


def verdict_lines(verdict: "GateVerdict") -> list[str]:
    """The verdict in words, and what it rests on."""
    found = verdict.verdict
    lines = [_short(verdict)]
    if verdict.people:
        by = ", ".join(f"{one['name']} {one['n']}{' (it learned from theirs)' if one['taught'] else ''}"
                       for one in verdict.people)  # fmt: skip
        lines.append(f"  {found.n} prompts, {verdict.ties} about the same, {verdict.both_bad} both bad; by {by}")
    if verdict.alike:
        lines.append(f"  {verdict.alike} more questions were answered alike by both, and shown to nobody")
    lines += gate_lines(verdict)
    lengths = verdict.length
    if lengths["candidate"] is not None:
        lines.append(f"  mean length: {lengths['candidate']:.0f} characters, in service {lengths['in_service']:.0f}")
    for title, shown in (("wins", verdict.wins), ("losses", verdict.losses)):
        for one in shown:
            lines.append(f"  {title}: {one['question']}\n    candidate:  {_line(one['candidate'])}\n"
                         f"    in service: {_line(one['in_service'])}")  # fmt: skip
    return lines


def gate_lines(verdict: "GateVerdict") -> list[str]:
    """What is shown next to people's comparisons: pinned questions, people it did not learn from, the judge."""
    lines = []
    if (others := verdict.others) is not None:
        lines.append(f"  the {others['people']} people it did not learn from: wins {others['win_rate']:.0%} of "
                     f"{others['n']} prompts [{others['low']:.0%}, {others['high']:.0%}]")  # fmt: skip
    pinned = verdict.regression
    if pinned["n"]:
        fell = f", a loss of more than {pinned['margin']:.0%}: it is not put in service" if pinned["fell"] else ""
        lines.append(f"  pinned questions answered correctly: {pinned['candidate']} of {pinned['n']}, in service "
                     f"{pinned['in_service']}{fell}")  # fmt: skip
        lines += [f"  lost: {one['question']} ({', '.join(one['must'])})\n    candidate:  {_line(one['candidate'])}"
                  for one in pinned["lost"]]  # fmt: skip
    if pinned["unasked"]:
        lines.append(placed(f"  {pinned['unasked']} pinned questions were not asked; malmoi versions check"))
    if (judge := verdict.judge) is not None and judge["n"]:
        agrees = judge["accuracy"]
        counts = "" if judge["counts"] else f"; that counts for nothing: {judge['alarm']}"
        lines.append(f"  the judge finds it better on {judge['win_rate']:.0%} of {judge['n']} [{judge['low']:.0%}, "
                     f"{judge['high']:.0%}]; it orders {agrees['mean']:.0%} [{agrees['low']:.0%}, "
                     f"{agrees['high']:.0%}] of {judge['n_pairs']:,} pairs as people did{counts}")  # fmt: skip
    return lines


def _short(verdict: "GateVerdict") -> str:
    found = verdict.verdict
    if not found.n:
        return f"not known yet: nobody has compared it with {verdict.against}"
    rate = (
        f"wins {found.win_rate:.0%} of {found.n} prompts [{found.low:.0%}, {found.high:.0%}] against {verdict.against}"
    )
    if verdict.outcome != "not known yet":
        return f"{verdict.outcome}: {rate}"
    if found.outcome == "better":
        return f"not known yet: only people who taught it find it better ({rate})"
    more = f"about {found.n_more:,} more comparisons would settle it" if found.n_more else "they seem alike"
    return f"not known yet: {more} ({rate})"


def _asked(pair: dict[str, Any], number: int) -> str | None:
    """What the person says of a pair; None to end."""
    from malmoi.cli.printing import printable

    print(f"\n{number}.")
    for message in pair["messages"]:
        print(f"  {message['role']}: {printable(message['content'])}")
    for letter, one in zip("AB", pair["shown"], strict=True):
        print(f"\n  {letter}: {printable(one['text']) or '(no word)'}")
    while True:
        sys.stdout.flush()
        try:
            typed = input("\nbetter (a, b, t same, x both bad, q end)> ").strip().lower()
        except (EOFError, KeyboardInterrupt):
            print()
            return None
        if typed in ("q", "quit"):
            return None
        if typed in KEYS:
            return KEYS[typed]


def _questions(path: Path | None) -> list[list[dict[str, str]]]:
    if path is None:
        return []
    from malmoi.files import disk_errors

    try:
        with disk_errors(path):
            lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    return [[{"role": "user", "content": line.strip()}] for line in lines if line.strip()]


def _print(row: dict[str, Any], verdict: "GateVerdict | None") -> None:
    from malmoi.cli.printing import printable

    lines = [f"{row['name']}: {row['state'].replace('_', ' ')}; {_how(row)}; weights {row['hash'][:12]}"]
    if row["missing"]:
        lines.append(f"  {row['missing']}")
    if learned := row["learned_from"]:
        by = ", ".join(
            f"{one['name']}{' (simulated)' if one['simulated'] else ''} {one['n']:,}" for one in learned["people"]
        )
        lines.append(f"  learned from {learned['n_rankings']:,} rankings, {learned['n_heldout']:,} held out: {by}")
    if report := (row["report"] or {}).get("reward_model"):
        lines += report_lines(report)
    if earlier := (row["report"] or {}).get("earlier"):
        lines.append(earlier_line(earlier))
    lines += verdict_lines(verdict) if verdict is not None else []
    for act in row["history"]:
        how = ", knowingly" if act["knowingly"] else ""
        lines.append(f"  {act['at'][:19]}  {act['act']}{how}{' by ' + act['by'] if act['by'] else ''}")
    print(printable("\n".join(lines)))


def earlier_line(found: dict[str, Any]) -> str:
    """What a trained version lost of what was taught before."""
    more = found["more"]
    lost = "it has lost some of what it had learned: " if more["low"] > 0 else ""
    by = f"{more['mean']:+.3f} [{more['low']:+.3f}, {more['high']:+.3f}] nats per token"
    return (
        f"  {lost}{found['n']} held-out answers of earlier data: loss {found['before']:.3f} before, "
        f"{found['after']:.3f} now, {by}"
    )


def report_lines(report: dict[str, Any]) -> list[str]:
    """A reward model next to what it must beat."""
    rows = [("reward model", report["accuracy"]), *((one["name"], one["accuracy"]) for one in report["baselines"])]
    said = "; ".join(f"{name} {value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]" for name, value in rows)
    lines = [f"  {report['n_pairs']:,} held-out pairs, ordered as ranked: {said}"]
    return lines if report["counts"] else [*lines, f"  its own verdict counts for nothing: {report['alarm']}"]


def _how(row: dict[str, Any]) -> str:
    best = f", best of {row['n']}" if row["n"] else ""
    return f"{row['model']}{best} ({row['how']}{' from ' + row['from'] if row['from'] else ''})"


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def who(by: str | None) -> str:
    if by is not None and not by.strip():
        raise ConfigError("--by: is empty; give a name")
    try:
        return by.strip() if by is not None else getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def _told(row: dict[str, Any], line: str, as_json: bool) -> None:
    from malmoi.cli.printing import print_json

    print_json(row) if as_json else print(placed(line))
