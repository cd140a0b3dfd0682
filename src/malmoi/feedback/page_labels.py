"""Keep or drop: pages of the workspace's corpora, one after the other, and what people say of them.

A page is in one person's hands for a while; others get other pages. One person's keep or drop is enough for a page; one
that somebody could not tell goes on to another. What is said is kept in versions: the latest counts, and may be taken
back. A classifier learns from these labels, see `malmoi.corpus.labels`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Subquery, and_, func, insert, or_, select, update

from malmoi import __version__
from malmoi.corpus.form import INDEX, PLAN
from malmoi.corpus.labelling import DOCUMENTS, draw_pages, label_row
from malmoi.corpus.labels import LEAST
from malmoi.corpus.steps.page import Page
from malmoi.errors import without_folders
from malmoi.feedback.refusals import invalid, missing
from malmoi.text import text_digest
from malmoi.workspace.base import now
from malmoi.workspace.database import insert_missing, lock_table, writing
from malmoi.workspace.label_schema import LabelCorpus, LabelPage, PageLabel
from malmoi.workspace.ledger import OUT, Ledger
from malmoi.workspace.versions import people_names

N_DRAWN = 300
"""Pages that are drawn at once."""
HELD = timedelta(minutes=30)
SAID = {"keep": 1, "drop": 0, "unsure": None}
NAMES = {label: name for name, label in SAID.items()}
STAGE = "corpus"


@dataclass(frozen=True)
class Corpus:
    """name: of its run, or its folder in the workspace"""

    name: str
    path: Path


def corpora(ledger: Ledger) -> list[Corpus]:
    """What there is to ask about: corpora that were built in the workspace, and those of runs; the latest first."""
    built = [
        index.parent for pattern in (f"*/{INDEX}", f"*/*/{INDEX}") for index in ledger.root.glob(pattern)
        if (index.parent / PLAN).exists()
    ]  # fmt: skip
    built.sort(key=lambda folder: ((folder / INDEX).stat().st_mtime, folder), reverse=True)
    found = [Corpus(folder.relative_to(ledger.root).as_posix(), folder) for folder in built]
    for run in reversed(ledger.runs()):
        if run.stage == STAGE and run.status == "done":
            made = ledger.artefacts_of(run.id).get(OUT)
            if made is not None and (made.path / DOCUMENTS).exists():
                found.append(Corpus(run.id, made.path))
    return found


def next_page(ledger: Ledger, person_id: str, corpus: str = "") -> dict[str, Any] | None:
    """The page that this person should judge: the one in their hands, else the first that nobody has judged.

    corpus: a name; default: the latest. Where all drawn pages are judged, more are drawn; this takes seconds. Nobody is
    shown a page twice that they have judged. None if there is no corpus, or no page is left.
    Raises RefusedError if there is no such corpus.
    """
    place = _find_corpus(ledger, corpus)
    if place is None:
        return None
    while True:
        with writing(ledger.engine) as connection:
            lock_table(connection, LabelPage)
            row = connection.execute(_waiting(person_id, place.name).limit(1)).first()
            if row is not None:
                _hold(connection, row.id, person_id)
                return _page(row)
        if not _draw(ledger, place):
            return None


def save_label(
    ledger: Ledger, person_id: str, page_id: str, said: str, active_ms: int | None = None, input: str | None = None
) -> dict[str, Any]:
    """Record what a person says of a page; the same again adds nothing, anything else is the next version.

    said: keep, drop or unsure; input: mouse, keyboard or touch. Returns the page. Raises RefusedError.
    """
    if said not in SAID:
        raise invalid("label", f"expected one of {', '.join(SAID)}")
    with writing(ledger.engine) as connection:
        lock_table(connection, PageLabel)
        row = _find(connection, page_id)
        latest = _latest_of(connection, person_id, page_id)
        if latest is None or latest.withdrawn or latest.label != SAID[said]:
            _add(connection, person_id, page_id, latest, label=SAID[said], active_ms=active_ms, input=input)
        if row.held_by == person_id:
            _hold(connection, page_id, None)
        return _page(row, said)


def withdraw_label(ledger: Ledger, person_id: str, page_id: str) -> dict[str, Any]:
    """Take back what was said of a page. It is in the person's hands again; returns it. Raises RefusedError."""
    with writing(ledger.engine) as connection:
        lock_table(connection, PageLabel)
        row = _find(connection, page_id)
        latest = _latest_of(connection, person_id, page_id)
        if latest is None:
            raise missing("label")
        if not latest.withdrawn:
            _add(connection, person_id, page_id, latest, label=latest.label, withdrawn=True)
        # In no other's hands: nobody else is asked about two pages at once.
        mine = (LabelPage.held_by == person_id) & (LabelPage.corpus == row.corpus)
        connection.execute(update(LabelPage).where(mine).values(held_by=None, held_until=None))
        _hold(connection, page_id, person_id)
        return _page(row)


def labels_overview(ledger: Ledger, person_id: str, corpus: str = "", leads: bool = False) -> dict[str, Any]:
    """What was said of all corpora, and what waits in one.

    {"corpora": names, "corpus", "n_waiting", "n_drawn", "keep", "drop", "unsure": pages by what people said, "mine",
    "least": labels of each kind without which nothing is trained, "last": the page that this person judged last,
    "people" (for those who lead): [{"name", "n"}]}
    """
    found = corpora(ledger)
    place = _find_corpus(ledger, corpus, found)
    latest = latest_labels()
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(latest.c.person_id, latest.c.label).where(latest.c.withdrawn.is_(False))).all()
        said, by = Counter(NAMES[row.label] for row in rows), Counter(row.person_id for row in rows)
        mine = (latest.c.person_id == person_id) & latest.c.withdrawn.is_(False)
        last = connection.scalar(select(latest.c.page_id).where(mine).order_by(latest.c.id.desc()).limit(1))
        drawn = select(func.count()).select_from(LabelPage).where(LabelPage.corpus == (place.name if place else ""))
        waiting = 0
        if place is not None:
            inside = _waiting(person_id, place.name).order_by(None).subquery()
            waiting = connection.scalar(select(func.count()).select_from(inside)) or 0
        names = people_names(connection) if leads else {}
        n_drawn = connection.scalar(drawn) or 0
    people = [{"name": names.get(id, id), "n": n} for id, n in by.most_common()] if leads else None
    return {
        "corpora": [one.name for one in found], "corpus": place and place.name,
        "n_waiting": waiting, "n_drawn": n_drawn,
        **{name: said[name] for name in SAID}, "mine": by[person_id], "least": LEAST, "last": last, "people": people,
    }  # fmt: skip


def label_rows(ledger: Ledger) -> list[dict[str, Any]]:
    """What people said, in the form of a file of labels, in the order in which they said it; of one text the last label
    counts. {"id", "url", "language", "label": 1, 0 or None, "text", "person"}"""
    latest = latest_labels()
    columns = (latest.c.label, latest.c.person_id, *LabelPage.__table__.c)
    query = select(*columns).join(LabelPage, LabelPage.id == latest.c.page_id).where(latest.c.withdrawn.is_(False))
    with ledger.engine.connect() as connection:
        found = connection.execute(query.order_by(latest.c.id)).mappings().all()
    return [
        label_row(row["page_id"], row["text"], row["label"], {"url": row["source"], "language": row["language"]})
        | {"person": row["person_id"]}
        for row in found
    ]


def n_labels(ledger: Ledger) -> int:
    """How many labels count: of each person and page one."""
    latest = latest_labels()
    with ledger.engine.connect() as connection:
        counted = select(func.count()).select_from(latest).where(latest.c.withdrawn.is_(False))
        return connection.scalar(counted) or 0


def _find_corpus(ledger: Ledger, name: str, found: Sequence[Corpus] | None = None) -> Corpus | None:
    found = corpora(ledger) if found is None else found
    if name == "":
        return found[0] if found else None
    place = next((one for one in found if one.name == name), None)
    if place is None:
        raise missing("corpus")
    return place


def _draw(ledger: Ledger, place: Corpus) -> bool:
    """Draw more pages of a corpus; whether there were more. The same ones come first, however many are drawn."""
    with ledger.engine.connect() as connection:
        before = connection.execute(select(*LabelCorpus.__table__.c).where(LabelCorpus.name == place.name)).first()
    if before is not None and before.n_found < before.n_asked:
        return False
    n_asked = N_DRAWN + (before.n_asked if before is not None else 0)
    pages = draw_pages(place.path, n_asked)
    counts = {"n_asked": n_asked, "n_found": len(pages)}
    with writing(ledger.engine) as connection:
        insert_missing(connection, LabelCorpus, [{"name": place.name, **counts}])
        connection.execute(update(LabelCorpus).where(LabelCorpus.name == place.name).values(counts))
        insert_missing(connection, LabelPage, [_drawn(place.name, at, page) for at, page in enumerate(pages)])
    return len(pages) > (before.n_found if before is not None else 0)


def _drawn(corpus: str, at: int, page: Page) -> dict[str, Any]:
    known = page.metadata
    source = known["url"] or f"{known['archive']}@{known['offset']}"
    row: dict[str, Any] = {"id": text_digest(page.text).hex(), "corpus": corpus, "page_id": page.id}
    row |= {"place": f"{at:08d}", "text": page.text, "language": known.get("language") or ""}
    # PostgreSQL's text cannot contain NUL.
    shown = {"title": known.get("title", ""), "source": source}
    row |= {name: str(value).replace("\0", " ") for name, value in shown.items()}
    return row | {"held_by": None, "held_until": None, "created_at": now()}


def latest_labels() -> Subquery:
    """The latest version of what each person said of each page."""
    by = (PageLabel.page_id, PageLabel.person_id)
    newest = select(func.max(PageLabel.id)).group_by(*by)
    return select(*PageLabel.__table__.c).where(PageLabel.id.in_(newest)).subquery()


def _latest_of(connection: Connection, person_id: str, page_id: str) -> Any:
    own = (PageLabel.person_id == person_id, PageLabel.page_id == page_id)
    return connection.execute(select(*PageLabel.__table__.c).where(*own).order_by(PageLabel.id.desc()).limit(1)).first()


def _waiting(person_id: str, corpus: str) -> Any:
    """The pages that this person may be asked about: the one in their hands first."""
    latest = latest_labels()
    told = latest.c.withdrawn.is_(False) & or_(latest.c.label.is_not(None), latest.c.person_id == person_id)
    free = or_(LabelPage.held_until.is_(None), LabelPage.held_until <= now(), LabelPage.held_by == person_id)
    held = and_(LabelPage.held_by == person_id, LabelPage.held_until > now())
    query = select(*LabelPage.__table__.c).where(LabelPage.corpus == corpus, free)
    query = query.where(LabelPage.id.not_in(select(latest.c.page_id).where(told)))
    return query.order_by(func.coalesce(held, False).desc(), LabelPage.place)


def _hold(connection: Connection, page_id: str, person_id: str | None) -> None:
    values = {"held_by": person_id, "held_until": None if person_id is None else now() + HELD}
    connection.execute(update(LabelPage).where(LabelPage.id == page_id).values(values))


def _find(connection: Connection, page_id: str) -> Any:
    row = connection.execute(select(*LabelPage.__table__.c).where(LabelPage.id == page_id)).first()
    if row is None:
        raise missing("page")
    return row


def _add(connection: Connection, person_id: str, page_id: str, latest: Any, **said: Any) -> None:
    row = {"page_id": page_id, "person_id": person_id, "version": 1 if latest is None else latest.version + 1}
    row |= {"withdrawn": False, "app_version": __version__, "created_at": now(), **said}
    connection.execute(insert(PageLabel).values(row))


def _page(row: Any, said: str | None = None) -> dict[str, Any]:
    """A page as it is shown."""
    shown = {name: getattr(row, name) for name in ("id", "corpus", "text", "title", "language")}
    return {**shown, "source": without_folders(row.source), "label": said}
