"""Three items to practise with, before a new labeler's rankings count: each explains what to look at."""

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from sqlalchemy import func, insert, select

from malmoi.errors import DataError
from malmoi.feedback.judgements import check_ranks
from malmoi.feedback.refusals import invalid, missing
from malmoi.workspace.base import now
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.service_schema import Practised

NAMED = "practice-"
LANGUAGES = ("en", "ko")


@cache
def items() -> list[dict[str, Any]]:
    """Each has a question, answers and an explanation in every language, and `better`: pairs of (better, worse)."""
    text = resources.files("malmoi.feedback").joinpath("practice.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)
    return found


def n_left(ledger: Ledger, person_id: str) -> int:
    """How many this person has still to do."""
    with ledger.engine.connect() as connection:
        done = connection.scalar(select(func.count()).select_from(Practised).where(Practised.person_id == person_id))
    return max(0, len(items()) - (done or 0))


def next_practice(ledger: Ledger, person_id: str, lang: str) -> dict[str, Any] | None:
    """The next item to practise with; None if all are done. Its id begins with `NAMED`, see `practise`."""
    left = n_left(ledger, person_id)
    return _item(len(items()) - left, lang, None) if left else None


def practise(
    ledger: Ledger, person_id: str, id: str, ranks: Sequence[int], unrankable: str | None, lang: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Note that an item was practised with. Returns it, and whether the ranking was right, with the explanation.

    A ranking is right if it turns none of the pairs that are plain around, and does not tie them.
    """
    number = _number(id)
    try:
        check_ranks(ranks, 0 if unrankable else len(items()[number]["en"]["answers"]))
    except DataError as error:
        raise invalid("ranks", str(error)) from None
    is_right = unrankable is None and all(ranks[one] < ranks[other] for one, other in items()[number]["better"])
    with writing(ledger.engine) as connection:
        lock_table(connection, Practised)
        known = (Practised.person_id == person_id, Practised.number == number)
        if connection.scalar(select(Practised.number).where(*known)) is None:
            row = {"person_id": person_id, "number": number, "is_right": is_right, "created_at": now()}
            connection.execute(insert(Practised).values(row))
    said = {"ranks": list(ranks), "unrankable": unrankable, "text": None, "note": "", "version": 1}
    explanation = {language: items()[number][language]["explanation"] for language in LANGUAGES}
    saved = _item(number, lang, {**said, "saved_at": now().isoformat()})
    return saved, {"right": is_right, "explanation": explanation}


def is_practice(id: str) -> bool:
    return id.startswith(NAMED)


def _number(id: str) -> int:
    number = id.removeprefix(NAMED)
    if not number.isdecimal() or not 1 <= int(number) <= len(items()):
        raise missing("item")
    return int(number) - 1


def _item(number: int, lang: str, saved: dict[str, Any] | None) -> dict[str, Any]:
    lang = lang if lang in LANGUAGES else "en"
    shown = items()[number][lang]
    return {
        "id": f"{NAMED}{number + 1}", "kind": "rank", "messages": [{"role": "user", "content": shown["question"]}],
        "lang": lang, "answers": [{"id": str(at), "text": text} for at, text in enumerate(shown["answers"])],
        "expires_at": None, "practice": {"number": number + 1, "of": len(items())}, "draft": None, "saved": saved,
    }  # fmt: skip
