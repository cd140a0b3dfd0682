"""What people said in this workspace until one moment, frozen, to learn from: rankings, better answers, votes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from malmoi import config
from malmoi.cost import Cost, Sizes
from malmoi.data.comparisons import EDITED
from malmoi.errors import ConfigError, DataError
from malmoi.facts import Facts, Listing, Section
from malmoi.feedback.judgements import freeze_rows
from malmoi.feedback.learning import Lesson, Whose, lesson
from malmoi.files import read_json, write_json, write_jsonl
from malmoi.stage import POLICY, Context, Finished
from malmoi.stages._as_read import readable
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes
from malmoi.workspace.ledger import Ledger

FILE = "judgements.json"


class Settings(config.Settings):
    """Whose judgements, and until when."""

    whose: Whose = "people"
    """Of people, of simulated labelers, or of all."""
    until: str = ""
    """A time in ISO 8601 with its zone: what is said later is not learned from. Empty: all that is said by now."""
    typical: int = Field(64, gt=0)
    """Tokens of a typical ranked conversation, for the estimate of memory and time."""
    longest: int = Field(256, gt=0)
    """Tokens of the longest one, for the estimate."""
    n_answers: int = Field(4, gt=0)
    """Answers to one prompt, for the estimate."""
    n_prompts: int = Field(0, ge=0)
    """Prompts, for the estimate."""


READS = {"policy": POLICY}
MAKES = {
    "rankings": {"train": "train.jsonl", "heldout": "heldout.jsonl", "facts": FILE},
    "demonstrations": {"train": "demonstrations.jsonl"},
    "prompts": {"train": "prompts.train.jsonl", "heldout": "prompts.heldout.jsonl"},
    "judge rankings": "judge.jsonl",
    "votes": {"train": "votes.jsonl"},
}


def expects(settings: Settings, sizes: Sizes) -> Sizes:
    """As the settings say."""
    return replace(
        sizes, ranked=settings.typical, prompt=settings.typical, chat=settings.typical, longest=settings.longest,
        n_ranked=settings.n_answers, n_prompts=settings.n_prompts,
    )  # fmt: skip


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Reading the database."""
    return Cost(fixed_s=1.0, holds_model=False)


def external_hashes(settings: Settings, workspace: Workspace, hashes: Hashes) -> dict[str, str]:
    """The hash of what was said: when somebody withdraws a judgement, the work is another one."""
    with Ledger.open(workspace, only_read=True) as ledger:
        return {"judgements": _lesson(ledger, settings).digest}


def run(context: Context, settings: Settings) -> None:
    """Freeze what the policy can read; say whose it is."""
    found, folder = _lesson(context.ledger, settings), context.reads("policy").path
    train, heldout, written, votes = (
        readable(folder, rows) for rows in (found.train, found.heldout, found.demonstrations, found.votes)
    )
    if not train and not votes:
        raise DataError("judgements: nobody has said anything of answers that this model can read; rank some first")
    how = {"whose": settings.whose, "until": settings.until, "cap": found.cap}
    for name, rows in (("train", train), ("heldout", heldout)):
        if rows:
            freeze_rows(
                context.ledger, rows, how | {"part": name}, context.out / f"{name}.jsonl", run_id=context.run_id
            )
            write_jsonl(context.out / f"prompts.{name}.jsonl", _prompts(rows))
    # Where nobody wrote an answer, the best ones that there are set the zero of the reward model's scores.
    if shown := written or [_best(row) for row in train]:
        write_jsonl(context.out / "demonstrations.jsonl", shown)
    if votes:
        write_jsonl(context.out / "votes.jsonl", votes)
    if judged := for_judge(heldout):
        write_jsonl(context.out / "judge.jsonl", judged)
    n_long = sum(map(len, (found.rows, found.demonstrations, found.votes)))
    n_long -= sum(map(len, (train, heldout, written, votes)))
    # Under their ids: a run is never deleted, and a person who is forgotten later is named only in the database.
    people = [one if one["simulated"] else one | {"name": one["id"]} for one in found.people]
    found = replace(found, people=people)
    write_json(context.out / FILE, found.to_row() | {"n_too_long": n_long})
    context.say(_said(found, n_long))


def for_judge(heldout: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the judge learns from: rankings of other questions than the policy's, and none that shows who wrote what."""
    return [row for row in heldout if row["source"] != EDITED]


def facts(finished: Finished) -> Facts:
    """Who said how much."""
    found = read_json(finished.out / FILE)
    rows = [(_name(one), f"{one['n']:,}" + _left_out(one)) for one in found["people"]]
    lead = f"{found['n_rankings']:,} rankings of {found['n_prompts']:,} prompts, {found['n_heldout']:,} held out"
    more = others(found)
    return Facts([Section("What people said", f"{lead}{'; ' + more if more else ''}.", [Listing(rows)])])


def others(found: Mapping[str, Any]) -> str:
    """What was said in addition to rankings, in words; "" if nothing. found: of `Lesson.to_row`"""
    parts = []
    if n := found.get("n_better"):
        parts.append(f"{n:,} of the rankings are better answers that people wrote")
    if n := found.get("n_compared"):
        parts.append(f"{n:,} are comparisons in chats")
    if n := found.get("n_demonstrations"):
        parts.append(f"{n:,} answers to imitate")
    votes = found.get("votes", {})
    if any(votes.values()):
        parts.append(f"votes on answers: {votes['up']:,} up, {votes['down']:,} down")
    return "; ".join(parts)


def _lesson(ledger: Ledger, settings: Settings) -> Lesson:
    return lesson(ledger, settings.whose, _moment(settings.until))


def _moment(until: str) -> datetime:
    if not until:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(until)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise ConfigError(f"judgements.until: {until!r}: expected a time such as 2026-05-17T12:00:00+00:00")
    return moment


def _prompts(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each prompt once."""
    return list(
        {row["prompt_id"]: {"prompt_id": row["prompt_id"], "messages": row["messages"]} for row in rows}.values()
    )


def _best(row: dict[str, Any]) -> dict[str, Any]:
    """A conversation with the answer that was ranked first: the zero of the reward model's scores."""
    answer = row["answers"][row["ranks"].index(min(row["ranks"]))]
    return {"messages": [*row["messages"], {"role": "assistant", "content": answer}]}


def _name(one: dict[str, Any]) -> str:
    return f"{one['name']} (simulated)" if one["simulated"] else str(one["name"])


def _left_out(one: dict[str, Any]) -> str:
    return f" ({one['n_left_out']:,} more are over the cap)" if one["n_left_out"] else ""


def _said(found: Lesson, n_long: int) -> str:
    by = ", ".join(
        f"{one['name']}{' (simulated)' if one['simulated'] else ''} {one['n']:,}{_left_out(one)}"
        for one in found.people
    )
    long = f"; {n_long:,} are too long for this model and left out" if n_long else ""
    more = others(found.to_row())
    return f"{len(found.rows):,} rankings ({len(found.heldout):,} held out) by {by}{'; ' + more if more else ''}{long}"
