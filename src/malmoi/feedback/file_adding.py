"""Files that people add: rankings, answers, questions and chats become rows of the ledger, documents are looked up.

Nothing that a person with an account here said is added to or changed by a file: nobody speaks in another's name.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from malmoi.data.formats import RowReport, conversations, prompts, rankings
from malmoi.data.table import iterate_rows
from malmoi.errors import DataError
from malmoi.feedback.chat_files import import_chats
from malmoi.feedback.exchange import from_pairs, is_answer, is_pair, is_ranked, is_whole, plain_row
from malmoi.feedback.file_preview import CHATS, CONVERSATIONS, DOCUMENTS, PROMPTS, RANKINGS, named, preview
from malmoi.feedback.judgements import NewJudgement, append_judgements, competition_ranks, is_latest
from malmoi.feedback.snapshots import answer_id
from malmoi.feedback.teach_items import add_question, split_of
from malmoi.feedback.written_answers import WRITTEN
from malmoi.files import read_json
from malmoi.retrieval.question import language_of
from malmoi.workspace.base import now
from malmoi.workspace.database import chunks, insert_missing, lock_table, writing
from malmoi.workspace.documents import add_documents
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger, digest_of
from malmoi.workspace.schema import Assignment, Generation, Judgement, Person, Prompt
from malmoi.workspace.service_schema import WRITE, Account, Lease, TeachItem

MOST_QUESTIONS = 1000
ACCOUNT = "said by somebody who has an account here"
OTHER = "the same id with other contents"
MALFORMED = "not as a workspace writes it"
OTHERWISE = "ranked otherwise before, by the same person"


@dataclass
class Added:
    """What became of a file. n: rows that are new; n_known: that were there already; left_out: reason -> rows"""

    kind: str
    n: int = 0
    n_known: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def to_row(self) -> dict[str, Any]:
        return {"kind": self.kind, "n": self.n, "n_known": self.n_known, "left_out": dict(self.left_out)}


def add_file(ledger: Ledger, path: Path, person_id: str, *, by_program: bool = False) -> Added:
    """Add a file as what it is, see `file_preview.KINDS`. The same file again adds nothing.

    person_id: who adds it; by_program: a program ranked in people's place, or wrote the answers
    Raises DataError if it holds nothing that can be added; the error has only the file's name.
    """
    try:
        found = preview(path)
        if found.problem is not None:
            raise DataError(f"{path.name}: {found.problem['message']}")
        if found.kind == DOCUMENTS:
            indexed = add_documents(Workspace(ledger.root), [path])
            return Added(DOCUMENTS, 1, 0, Counter(indexed.updated.report.skipped))
        if found.kind == CHATS:
            return _add_chats(ledger, path, person_id)
        if found.kind == PROMPTS:
            return _add_questions(ledger, path, person_id)
        if found.kind == RANKINGS:
            return _add_rankings(ledger, path, by_program)
        return _add_answers(ledger, path, by_program)
    except DataError as error:
        raise DataError(named(str(error), path)) from None


def _add_chats(ledger: Ledger, path: Path, person_id: str) -> Added:
    held = read_json(path)
    counts = import_chats(ledger, person_id, held["chats"] if isinstance(held, dict) else held)
    return Added(CHATS, counts["n_chats"], 0, Counter({"messages without words": counts["n_left_out"]}))


def _add_questions(ledger: Ledger, path: Path, person_id: str) -> Added:
    added, report = Added(PROMPTS), RowReport()
    with ledger.engine.connect() as connection:
        query = select(Prompt.messages).where(Prompt.source == "people")
        known = {str(messages[-1]["content"]) for messages in connection.scalars(query)}
    for _, row in prompts(path, "skip", report):
        text = row["messages"][-1]["content"].strip()
        if len(row["messages"]) > 1:
            added.left_out["a question within a conversation"] += 1
        elif text in known:
            added.n_known += 1
        elif added.n == MOST_QUESTIONS:
            added.left_out[f"more than {MOST_QUESTIONS:,} questions"] += 1
        else:
            add_question(ledger, person_id, text)
            known.add(text)
            added.n += 1
    added.left_out.update(report.skipped)
    return added


def _add_rankings(ledger: Ledger, path: Path, by_program: bool) -> Added:
    added, report = Added(RANKINGS), RowReport()
    rows = _own_rows(path, lambda row: is_ranked(row) or is_pair(row), added)
    if rows:
        ranked, pairs = ([row for row in rows if is_ranked(row) is wanted] for wanted in (True, False))
        rows = _whole([*ranked, *from_pairs(pairs)], added)
    else:
        rows = [_ranking(row, path, by_program) for _, row in rankings(path, "skip", report)]
        added.left_out.update(report.skipped)
    with writing(ledger.engine) as connection:
        lock_table(connection, Judgement)
        known = _known_rankings(connection, [row["prompt_id"] for row in rows])
        accounts = set(connection.scalars(select(Account.person_id)))
        kept = []
        for row in rows:
            key = row["prompt_id"], row["person"], tuple(row["generation_ids"])
            if known.setdefault(key, row["ranks"]) is not row["ranks"]:
                if known[key] == row["ranks"]:
                    added.n_known += 1
                else:
                    added.left_out[OTHERWISE] += 1
            elif row["person"] in accounts:
                added.left_out[ACCOUNT] += 1
            elif len({*row["generation_ids"]}) < len(row["answers"]):
                added.left_out["the same answer twice"] += 1
            else:
                kept.append(row)
        kept = _with_answers(connection, kept, path.name, added)
        added.n = append_judgements(connection, [_judgement(row) for row in kept], {"file": path.name})
    return added


def _own_rows(path: Path, is_own: Callable[[Any], bool], added: Added) -> list[dict[str, Any]]:
    """The rows that a workspace exported, if the file has any; other rows next to them are left out."""
    rows = [row for _, row in iterate_rows(path)]
    own = [plain_row(row) for row in rows if is_own(row)]
    if own and len(own) < len(rows):
        added.left_out[MALFORMED] += len(rows) - len(own)
    return own


def _whole(rows: Sequence[dict[str, Any]], added: Added) -> list[dict[str, Any]]:
    kept = [row for row in rows if is_whole(row)]
    if len(kept) < len(rows):
        added.left_out[MALFORMED] += len(rows) - len(kept)
    return kept


def _ranking(row: Mapping[str, Any], path: Path, by_program: bool) -> dict[str, Any]:
    """A ranking of another tool in our form. The same contents have the same ids."""
    prompt_id = f"file-{digest_of(row['messages'])[:24]}"
    return {
        **_by(path, by_program), "prompt_id": prompt_id, "messages": row["messages"], "answers": row["answers"],
        "ranks": competition_ranks(row["ranks"]), "split": split_of(str(row["messages"][-1]["content"])),
        "generation_ids": [answer_id(prompt_id, answer) for answer in row["answers"]],
    }  # fmt: skip


def _by(path: Path, by_program: bool) -> dict[str, Any]:
    """Who is taken to speak in a file that names nobody: people, or a program, known by the file."""
    kind = "simulated" if by_program else "human"
    return {
        "person": f"f-{digest_of([path.name, kind])[:16]}", "person_name": path.name, "simulated": by_program
    }  # fmt: skip


def _judgement(row: Mapping[str, Any]) -> NewJudgement:
    return NewJudgement(
        person_id=row["person"], prompt_id=row["prompt_id"], generation_ids=row["generation_ids"], ranks=row["ranks"]
    )


def _known_rankings(
    connection: Connection, prompt_ids: Iterable[str]
) -> dict[tuple[str, str, tuple[str, ...]], list[int]]:
    """(prompt, person, answers) -> the ranks that count"""
    columns = (Assignment.prompt_id, Assignment.person_id, Assignment.generation_ids, Judgement.ranks)
    query = select(*columns).join(Judgement, Judgement.assignment_id == Assignment.id).where(is_latest())
    return {
        (row.prompt_id, row.person_id, tuple(row.generation_ids)): row.ranks
        for part in chunks(prompt_ids)
        for row in connection.execute(query.where(Assignment.prompt_id.in_(part)))
    }


def _with_answers(
    connection: Connection, rows: Sequence[dict[str, Any]], source: str, added: Added
) -> list[dict[str, Any]]:
    """Record people, prompts and answers; returns the rows whose ids stand for what they hold."""
    _add_people(connection, rows, source)
    insert_missing(
        connection, Prompt, [_prompt(row["prompt_id"], row["messages"], row["split"], source) for row in rows]
    )
    answers = {
        id: _generation(id, row["prompt_id"], text, None)
        for row in rows
        for id, text in zip(row["generation_ids"], row["answers"], strict=True)
    }
    insert_missing(connection, Generation, list(answers.values()))
    texts: dict[str, tuple[str, str]] = {}
    asked: dict[str, Any] = {}
    for part in chunks(answers):
        columns = (Generation.id, Generation.prompt_id, Generation.text)
        found = connection.execute(select(*columns).where(Generation.id.in_(part)))
        texts |= {row.id: (row.prompt_id, row.text) for row in found}
    for part in chunks(row["prompt_id"] for row in rows):
        found = connection.execute(select(Prompt.id, Prompt.messages).where(Prompt.id.in_(part)))
        asked |= {row.id: row.messages for row in found}
    kept = []
    for row in rows:
        same = all(
            texts[id] == (row["prompt_id"], text)
            for id, text in zip(row["generation_ids"], row["answers"], strict=True)
        )
        if same and asked[row["prompt_id"]] == row["messages"]:
            kept.append(row)
        else:
            added.left_out[OTHER] += 1
    return kept


def _add_people(connection: Connection, rows: Sequence[Mapping[str, Any]], source: str) -> None:
    people = {}
    for row in rows:
        kind = "simulated" if row["simulated"] else "human"
        about = {"name": str(row.get("person_name") or row["person"]), "kind": kind, "description": f"from {source}"}
        people[row["person"]] = {"id": row["person"], **about, "created_at": now()}
    insert_missing(connection, Person, list(people.values()))


def _prompt(id: str, messages: Sequence[Mapping[str, Any]], split: str, source: str) -> dict[str, Any]:
    lang = language_of(str(messages[-1]["content"]))
    row = {"id": id, "messages": [*map(dict, messages)], "lang": lang, "source": source, "split": split}
    return row | {"item": "", "kind": ""}


def _generation(id: str, prompt_id: str, text: str, person_id: str | None) -> dict[str, Any]:
    row = {"id": id, "prompt_id": prompt_id, "run_id": None, "model_sha256": None, "person_id": person_id}
    how = {"temperature": 0.0, "top_p": 1.0, "seed": 0, "max_tokens": 0, "finish_reason": "stop"}
    return row | {"text": text, "token_ids": []} | how


def _add_answers(ledger: Ledger, path: Path, by_program: bool) -> Added:
    added, report = Added(CONVERSATIONS), RowReport()
    rows = _own_rows(path, is_answer, added)
    if rows:
        rows = [{**row, "simulated": False} for row in _whole(rows, added)]
    else:
        for _, row in conversations(path, "skip", report):
            rows += _answers_in(row["messages"], _by(path, by_program))
        added.left_out.update(report.skipped)
    with writing(ledger.engine) as connection:
        accounts = set(connection.scalars(select(Account.person_id)))
        kept = []
        for row in rows:
            if row["person"] in accounts:
                added.left_out[ACCOUNT] += 1
            else:
                kept.append(row)
        _add_people(connection, kept, path.name)
        lock_table(connection, Lease)
        for row in kept:
            is_new = _add_answer(connection, row, path.name)
            added.n, added.n_known = added.n + is_new, added.n_known + (not is_new)
    return added


def _answers_in(messages: Sequence[Mapping[str, Any]], by: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each answer of a conversation that is to be learned."""
    plain = [{name: value for name, value in one.items() if name != "trained"} for one in messages]
    return [
        {"messages": plain[: number + 1], "kind": WRITTEN, "instead_of": None, **by}
        for number, one in enumerate(messages)
        if one["role"] == "assistant" and one.get("trained", True)
    ]


def _add_answer(connection: Connection, row: Mapping[str, Any], source: str) -> bool:
    """Record an answer as one that was written under Teach; whether it is new."""
    *asked, answer = row["messages"]
    asked = [{name: value for name, value in one.items() if name != "weight"} for one in asked]
    prompt_id = f"file-{digest_of(asked)[:24]}"
    id = digest_of([prompt_id, row["person"], row["kind"], row["instead_of"], answer["content"]])[:24]
    if connection.scalar(select(TeachItem.id).where(TeachItem.id == f"t-{id}")) is not None:
        return False
    insert_missing(connection, Prompt, [_prompt(prompt_id, asked, split_of(str(asked[-1]["content"])), source)])
    insert_missing(connection, Generation, [_generation(id, prompt_id, answer["content"], row["person"])])
    item = {"id": f"t-{id}", "kind": WRITE, "prompt_id": prompt_id, "generation_ids": [], "status": "ready"}
    connection.execute(insert(TeachItem).values(**item, n_people=1, author_id=row["person"], created_at=now()))
    said = {"ranks": [], "unrankable": None, "text": answer["content"], "note": "", "version": 1}
    said |= {"kind": row["kind"], "instead_of": row["instead_of"], "saved_at": now().isoformat()}
    lease = {"id": f"l-{id}", "item_id": f"t-{id}", "person_id": row["person"], "shown": [], "status": "saved"}
    connection.execute(insert(Lease).values(**lease, said=said, issued_at=now(), expires_at=now(), saved_at=now()))
    return True
