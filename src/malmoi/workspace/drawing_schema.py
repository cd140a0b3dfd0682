"""The tables of what was drawn: a request, and its pictures."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from malmoi.workspace.base import Base, now


class Drawing(Base):
    """What was drawn at one request, with everything needed to draw it again.

    The model is named by its hash. No run of the workspace made it if it is from elsewhere.
    """

    __tablename__ = "drawing"
    __table_args__ = (UniqueConstraint("person_id", "request_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    """People call it drawing-12. Once deleted, it is no other one's."""
    request_id: Mapped[str]
    """Chosen by the client, so that a request that is sent twice is drawn once: no other one of this person has it."""
    person_id: Mapped[str | None] = mapped_column(ForeignKey("account.person_id"), index=True)
    """Whose it is; only that person sees it. None: it was drawn on the command line."""
    prompt: Mapped[str]
    settings: Mapped[dict[str, Any]]
    """{"negative", "steps", "guidance", "sampler", "size", "seed", "kind"}, and "strength", "lora" and "lora_sha256"
    (of folders of this workspace) if used"""
    model: Mapped[str]
    model_sha256: Mapped[str | None] = mapped_column(index=True)
    start_sha256: Mapped[str | None]
    """Of the file with the picture that it began with."""
    mask_sha256: Mapped[str | None]
    version: Mapped[str]
    """Of Malmoi."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class DrawnPicture(Base):
    """A picture of a drawing."""

    __tablename__ = "drawn_picture"

    id: Mapped[str] = mapped_column(primary_key=True)
    drawing_id: Mapped[int] = mapped_column(ForeignKey("drawing.id"), index=True)
    sha256: Mapped[str] = mapped_column(index=True)
    """Of its PNG file."""
    seed: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str]
    """Relative to the workspace; absolute if it is outside."""
