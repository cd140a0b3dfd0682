"""What people are asked to judge: questions with several answers, from 👎 with consent and from people who write some.

The answers of an item are sampled later, when the machine is free; until then nobody is asked.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, and_, insert, or_, select, update

from malmoi.feedback.asked import asked_of
from malmoi.feedback.chats import checked_text
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.settings import PEOPLE, settings_in
from malmoi.inference.grounded import with_documents
from malmoi.retrieval.question import language_of
from malmoi.text import canonical_question
from malmoi.workspace.base import now
from malmoi.workspace.database import insert_missing, lock_table, writing
from malmoi.workspace.ledger import Ledger, digest_of
from malmoi.workspace.schema import Generation, Prompt, RunOutput
from malmoi.workspace.service_schema import RANK, WRITE, Chat, TeachItem

N_ANSWERS = 4
"""Answers of an item."""
AGAIN_WITHIN = timedelta(minutes=1)
LONGEST_QUESTION = 4000


@dataclass(frozen=True)
class Sampled:
    """An answer that was sampled for an item, with what it takes to make it again."""

    text: str
    token_ids: Sequence[int]
    finish: str
    model_sha256: str | None
    sampling: Mapping[str, Any]


def add_disliked(ledger: Ledger, person_id: str, chat_id: str, message: Mapping[str, Any]) -> None:
    """Ask people about the question of an answer that somebody did not like; once for each answer."""
    said = asked_of(ledger, person_id, chat_id, message["id"]).messages
    prompt_id = f"chat-{message['id']}"
    answer = message["answer"]
    how = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 0, "seed": answer.get("seed")}
    disliked = Sampled(message["text"], [], message["finish"] or "stop", answer.get("hash"), how)
    with writing(ledger.engine) as connection:
        lock_table(connection, TeachItem)
        if connection.scalar(select(Prompt.id).where(Prompt.id == prompt_id)) is not None:
            return
        _add_prompt(connection, prompt_id, said, "chat")
        answers = [_add_generation(connection, prompt_id, disliked)] if message["text"] else []
        _add_item(connection, RANK, prompt_id, person_id, chat_id, answers)


def add_question(ledger: Ledger, person_id: str, text: str) -> str:
    """A question that a person wrote, to be answered and ranked by others. Returns its id.

    The same text from the same person within a minute is the same question: it was sent twice.
    """
    text = checked_text(text, "text", may_be_empty=False).strip()
    if len(text) > LONGEST_QUESTION:
        raise RefusedError("invalid", f"text: expected at most {LONGEST_QUESTION} characters", "text")
    prompt_id, messages = f"asked-{secrets.token_hex(12)}", [{"role": "user", "content": text}]
    latest = select(Prompt.id, Prompt.messages).join(TeachItem, TeachItem.prompt_id == Prompt.id)
    latest = latest.where(TeachItem.author_id == person_id, TeachItem.created_at > now() - AGAIN_WITHIN)
    with writing(ledger.engine) as connection:
        lock_table(connection, TeachItem)
        for row in connection.execute(latest.where(Prompt.source == "people")):
            if row.messages == messages:
                return str(row.id)
        _add_prompt(connection, prompt_id, messages, "people")
        for kind in (RANK, WRITE):
            _add_item(connection, kind, prompt_id, person_id, None, [])
    return prompt_id


def next_to_sample(ledger: Ledger) -> dict[str, Any] | None:
    """The oldest item whose answers are still to be sampled: {"id", "messages", "texts"}, None if there is none.

    texts: of the answers that it has already
    """
    query = select(TeachItem.id, TeachItem.prompt_id, TeachItem.generation_ids, Prompt.messages)
    query = query.join(Prompt, Prompt.id == TeachItem.prompt_id).where(TeachItem.status == "making", allowed())
    query = query.join(Chat, Chat.id == TeachItem.chat_id, isouter=True)
    with ledger.engine.connect() as connection:
        row = connection.execute(query.order_by(TeachItem.created_at, TeachItem.id).limit(1)).first()
        if row is None:
            return None
        texts = answers_of(connection, row.generation_ids)
    return {"id": row.id, "messages": row.messages, "texts": [texts[id] for id in row.generation_ids]}


def add_answers(
    ledger: Ledger, item_id: str, answers: Sequence[Sampled], documents: Sequence[Mapping[str, str]] | None = None
) -> bool:
    """Give an item its answers; whether it can be ranked now: there are at least two that differ.

    documents: what the answers read; from now on they belong to the question
    """
    with writing(ledger.engine) as connection:
        item = connection.execute(select(*TeachItem.__table__.c).where(TeachItem.id == item_id)).first()
        if item is None or item.status != "making":
            return False
        ids = list(item.generation_ids)
        # Answers that differ in spaces or case only are alike to who ranks them.
        seen = {canonical_question(text) for text in answers_of(connection, ids).values()}
        for answer in answers:
            if len(ids) < N_ANSWERS and (words := canonical_question(answer.text)) and words not in seen:
                seen.add(words)
                ids.append(_add_generation(connection, item.prompt_id, answer))
        _add_documents(connection, item.prompt_id, documents)
        status = "ready" if len(ids) >= 2 else "failed"
        if status == "failed":  # there is nothing to rank: somebody may write an answer
            _add_item(connection, WRITE, item.prompt_id, item.author_id, item.chat_id, [])
        values = {"generation_ids": ids, "status": status}
        connection.execute(update(TeachItem).where(TeachItem.id == item_id).values(values))
    return status == "ready"


def _add_documents(connection: Connection, prompt_id: str, documents: Sequence[Mapping[str, str]] | None) -> None:
    said = connection.scalar(select(Prompt.messages).where(Prompt.id == prompt_id)) or []
    if documents and "documents" not in said[-1]:
        values = {"messages": [dict(one) for one in with_documents(said, documents)]}
        connection.execute(update(Prompt).where(Prompt.id == prompt_id).values(values))


def allowed() -> Any:
    """Whether an item may be shown: its chat, if it is from one, still may teach. The query joins `Chat`."""
    return or_(TeachItem.chat_id.is_(None), and_(Chat.id.is_not(None), Chat.may_teach.is_(True)))


def answers_of(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """The texts of answers by their ids."""
    rows = connection.execute(select(Generation.id, Generation.text).where(Generation.id.in_(ids)))
    return {row.id: row.text for row in rows}


def add_written(connection: Connection, prompt_id: str, person_id: str, text: str) -> str:
    """An answer that a person wrote, as a generation; returns its id."""
    row: dict[str, Any] = {
        "id": digest_of([prompt_id, person_id, text])[:32],
        "prompt_id": prompt_id,
        "person_id": person_id,
    }
    row |= {"run_id": None, "model_sha256": None, "text": text, "token_ids": [], "temperature": 0.0, "top_p": 1.0}
    insert_missing(connection, Generation, [row | {"seed": 0, "max_tokens": 0, "finish_reason": "stop"}])
    return str(row["id"])


def split_of(asked: str) -> str:
    """heldout | train. One tenth is held out, by a hash of what was asked: the same question is always on one side."""
    return "heldout" if hashlib.sha256(asked.encode()).digest()[0] < 26 else "train"


def _add_prompt(connection: Connection, id: str, messages: Sequence[Mapping[str, Any]], source: str) -> None:
    asked = str(messages[-1]["content"])
    row: dict[str, Any] = {"id": id, "messages": [*map(dict, messages)], "lang": language_of(asked), "source": source}
    row |= {"split": split_of(asked), "item": "", "kind": ""}
    connection.execute(insert(Prompt).values(row))


def _add_item(
    connection: Connection, kind: str, prompt_id: str, author_id: str, chat_id: str | None, answers: list[str]
) -> None:
    row: dict[str, Any] = {
        "id": f"t-{secrets.token_hex(12)}",
        "kind": kind,
        "prompt_id": prompt_id,
        "generation_ids": answers,
    }
    row["status"] = "making" if kind == RANK else "ready"
    row["n_people"] = settings_in(connection)[PEOPLE] if kind == RANK else 1
    row |= {"author_id": author_id, "chat_id": chat_id, "created_at": now()}
    connection.execute(insert(TeachItem).values(row))


def _add_generation(connection: Connection, prompt_id: str, answer: Sampled) -> str:
    known = None
    if answer.model_sha256 is not None:
        made = select(RunOutput.run_id).where(RunOutput.sha256 == answer.model_sha256)
        known = connection.scalar(made.order_by(RunOutput.id.desc()).limit(1))
    how: dict[str, Any] = {name: float(answer.sampling.get(name, 1.0)) for name in ("temperature", "top_p")}
    how |= {"seed": int(answer.sampling.get("seed") or 0), "max_tokens": int(answer.sampling.get("max_tokens", 0))}
    key = [prompt_id, answer.model_sha256, how, answer.text]
    row: dict[str, Any] = {
        "id": digest_of(key)[:32],
        "prompt_id": prompt_id,
        "run_id": known,
        "person_id": None,
        "text": answer.text,
    }
    row |= {"model_sha256": answer.model_sha256 if known else None, "token_ids": list(answer.token_ids), **how}
    row["finish_reason"] = answer.finish if answer.finish in ("stop", "length") else "length"
    insert_missing(connection, Generation, [row])
    return str(row["id"])
