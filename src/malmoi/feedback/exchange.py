"""The forms in which rankings and answers leave a workspace, and how they are read again without loss.

ranked    one row for each ranking: {"prompt_id", "messages", "answers", "generation_ids", "ranks", "person",
          "simulated", "split"}, as snapshots have it
pairs     one row for each pair of answers of which one is better: {"prompt", "chosen", "rejected"} as messages, and
          what puts the ranking together again: "group_id", places, ranks and ids of the two answers
messages  one row for each answer that somebody wrote: {"messages", "person", "kind", "instead_of"}
labels    one row for each page of a corpus and person: {"id", "url", "language", "label": 1 keep, 0 drop or null,
          "text", "person"}, as a classifier of pages learns from
Each row also has "person_name".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from malmoi.errors import ConfigError, DataError
from malmoi.feedback.judgements import answer_pairs, check_ranks
from malmoi.feedback.snapshots import What
from malmoi.files import write_jsonl
from malmoi.tokenizer.chat_template import check_messages
from malmoi.workspace.ledger import digest_of

Form = Literal["ranked", "pairs", "messages"]
FORMS: dict[What, tuple[Form, ...]] = {"rankings": ("ranked", "pairs"), "answers": ("messages",)}
LABELS = "labels"
"""The form of what people said of pages; no snapshot holds it."""
FORMATS = ("jsonl", "parquet")


class Ranked(BaseModel):
    """A row of `ranked`, with `person_name` and nothing else that is read."""

    model_config = ConfigDict(strict=True)
    prompt_id: str
    messages: list[dict[str, Any]]
    answers: list[str]
    generation_ids: list[str]
    ranks: list[int]
    person: str
    simulated: bool
    split: str


class Answered(BaseModel):
    """A row of `messages`; it may be without `person_name`."""

    model_config = ConfigDict(strict=True)
    messages: list[dict[str, Any]]
    person: str
    kind: str
    instead_of: str | None


def exported(
    what: What, form: str, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The rows in one of the forms. names: of people by their ids. Raises ConfigError for an unknown form."""
    if form not in FORMS[what]:
        raise ConfigError(f"{form}: {what} are exported as {' or '.join(FORMS[what])}")
    named = [{**row, "person_name": names.get(row["person"], row["person"])} for row in rows]
    return [pair for row in named for pair in _pairs(row)] if form == "pairs" else named


def write_exported(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, or as Parquet if the name ends so. Raises ConfigError if pyarrow is missing for it."""
    if path.suffix != ".parquet":
        write_jsonl(path, rows)
        return
    try:
        import pyarrow
        from pyarrow.parquet import write_table
    except ImportError:
        raise ConfigError('Parquet needs pyarrow; pip install "malmoi[parquet]", or export JSON lines') from None
    write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), path, compression="zstd")


def group_of(row: Mapping[str, Any]) -> str:
    """The name of a ranking: what was ranked, and by whom."""
    return digest_of([row["prompt_id"], row["person"], list(row["generation_ids"])])[:16]


def _pairs(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The pairs of a ranking. Answers that tie have none, and a ranking in which all tie has no pair at all."""
    answers, ids, ranks = row["answers"], row["generation_ids"], row["ranks"]
    about = {name: row[name] for name in ("prompt_id", "person", "person_name", "simulated", "split")}
    for better, worse in answer_pairs(ranks).ordered:
        yield {
            "prompt": row["messages"], "chosen": [_said(answers[better])], "rejected": [_said(answers[worse])],
            "group_id": group_of(row), "n_answers": len(answers), "chosen_place": better, "rejected_place": worse,
            "chosen_rank": ranks[better], "rejected_rank": ranks[worse], "chosen_id": ids[better],
            "rejected_id": ids[worse], **about,
        }  # fmt: skip


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def is_ranked(row: Any) -> bool:
    return isinstance(row, dict) and row.keys() >= {*Ranked.model_fields}


def is_pair(row: Any) -> bool:
    return isinstance(row, dict) and row.keys() >= {"prompt", "group_id", "chosen_place", "rejected_place", "n_answers"}


def is_answer(row: Any) -> bool:
    return isinstance(row, dict) and row.keys() >= {*Answered.model_fields}


def is_whole(row: Mapping[str, Any]) -> bool:
    """Whether a row of `ranked` or `messages` is as a workspace writes it, and not as somebody changed it."""
    try:
        if not is_ranked(row):
            answered = Answered.model_validate(row)
            check_messages(answered.messages)
            return len(answered.messages) > 1 and answered.messages[-1]["role"] == "assistant"
        ranked = Ranked.model_validate(row)
        check_messages(ranked.messages)
        check_ranks(ranked.ranks, len(ranked.answers))
    except (ValidationError, DataError):
        return False
    return len(ranked.answers) == len(ranked.generation_ids) > 1 and ranked.messages[-1]["role"] == "user"


def from_pairs(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rankings that were exported as pairs, whole again. Raises DataError for a group that lacks pairs."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row["group_id"]), []).append(row)
    return [_together(name, group) for name, group in groups.items()]


def _together(name: str, group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = group[0]
    n = first["n_answers"]
    texts: dict[int, str] = {}
    ids: dict[int, str] = {}
    ranks: dict[int, int] = {}
    try:
        for row in group:
            for side in ("chosen", "rejected"):
                place = row[f"{side}_place"]
                texts[place], ids[place] = row[side][-1]["content"], row[f"{side}_id"]
                ranks[place] = row[f"{side}_rank"]
        made: dict[str, Any] = {"answers": [texts[place] for place in range(n)]}
        made |= {"generation_ids": [ids[place] for place in range(n)], "ranks": [ranks[place] for place in range(n)]}
        about = {key: first[key] for key in ("prompt_id", "person", "person_name", "simulated", "split")}
        check_ranks(made["ranks"], n)
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(f"group {name}: pairs of it are missing ({error}); export the whole ranking again") from None
    return plain_row({"messages": first["prompt"], **made, **about})


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as it was: Parquet gives each message every field that one of them has."""
    return {name: value for name, value in message.items() if value is not None}


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its messages as they were."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return dict(row)
    return {**row, "messages": [_plain(one) if isinstance(one, Mapping) else one for one in messages]}


def what_of(form: str) -> What:
    """What a form of rankings or answers holds. Raises ConfigError."""
    for what, forms in FORMS.items():
        if form in forms:
            return what
    raise ConfigError(f"{form}: expected ranked, pairs, messages or labels")
