"""The tables of pages of a corpus that people are asked about, keep or drop, and of what they said."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from malmoi.workspace.base import Base, now


class LabelCorpus(Base):
    """A corpus of which pages were drawn."""

    __tablename__ = "label_corpus"

    name: Mapped[str] = mapped_column(primary_key=True)
    """A run, or a folder of the workspace."""
    n_asked: Mapped[int]
    """Pages that were asked for."""
    n_found: Mapped[int]
    """Pages that there were; fewer than were asked for: there are no more."""


class LabelPage(Base):
    """A page that people are asked about. Its text is kept, so that what was said of it stays of use."""

    __tablename__ = "label_page"

    id: Mapped[str] = mapped_column(primary_key=True)
    """A hash of the text: a page that is in several corpora is asked about once."""
    corpus: Mapped[str] = mapped_column(ForeignKey("label_corpus.name"), index=True)
    page_id: Mapped[str]
    """Its id in the corpus."""
    place: Mapped[str]
    """Pages come in this order, which is random and always the same."""
    text: Mapped[str] = mapped_column(JSON)
    """A JSON string, as in `Generation`."""
    title: Mapped[str]
    source: Mapped[str]
    """An address, or a file and the byte in it."""
    language: Mapped[str]
    """An ISO 639 code; empty if unknown."""
    held_by: Mapped[str | None]
    """In whose hands it is: nobody else is asked meanwhile."""
    held_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class PageLabel(Base):
    """What a person said of a page. The database refuses updates: a correction is added as the next version."""

    __tablename__ = "page_label"
    __table_args__ = (UniqueConstraint("page_id", "person_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    """Increases with time."""
    page_id: Mapped[str] = mapped_column(ForeignKey("label_page.id"), index=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    version: Mapped[int]
    """1, 2, …; the latest counts."""
    label: Mapped[int | None]
    """1: keep; 0: drop; None: the person could not tell"""
    withdrawn: Mapped[bool]
    """Taken back: nothing learns from it."""
    active_ms: Mapped[int | None]
    input: Mapped[str | None]
    """mouse | keyboard | touch"""
    app_version: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
