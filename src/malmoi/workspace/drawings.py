"""Drawings: recorded with all that is needed to draw them again, and followed down to the model and its captions."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from malmoi import __version__
from malmoi.errors import UserError, WorkspaceError
from malmoi.files import sha256_of
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.drawing_schema import Drawing, DrawnPicture
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger, Lineage
from malmoi.workspace.runs import lineage_of, lineage_rows

NAMED = re.compile(r"drawing-([1-9][0-9]{0,17})")
FOLDER = "drawings"
"""Where the service keeps pictures, in the workspace."""
SUFFIX = ".png"


class AlreadyDrawnError(WorkspaceError):
    """The same request of the same person was recorded already."""


@dataclass(frozen=True)
class NewPicture:
    """A picture whose file is written."""

    path: Path
    seed: int
    id: str = ""


@dataclass(frozen=True)
class NewDrawing:
    """A drawing to record; see `drawing_schema.Drawing`."""

    prompt: str
    settings: Mapping[str, Any]
    model: str
    model_sha256: str | None
    pictures: Sequence[NewPicture]
    start_sha256: str | None = None
    mask_sha256: str | None = None
    person_id: str | None = None
    request_id: str = ""


def record_drawing(ledger: Ledger, drawing: NewDrawing) -> str:
    """Record a drawing; returns its name, such as drawing-12. Raises WorkspaceError if that is impossible.

    Raises AlreadyDrawnError if the person has a drawing of this id.
    """
    kept = {key: value for key, value in vars(drawing).items() if key != "pictures"}
    kept |= {"request_id": drawing.request_id or uuid4().hex, "settings": dict(drawing.settings)}
    pictures = [
        {"id": one.id or uuid4().hex, "sha256": sha256_of(one.path), "seed": one.seed,
         "path": ledger.stored_path(one.path)}
        for one in drawing.pictures
    ]  # fmt: skip
    same = select(Drawing.id).where(Drawing.person_id == drawing.person_id, Drawing.request_id == kept["request_id"])
    with writing(ledger.engine) as connection:
        lock_table(connection, Drawing)
        if connection.scalar(same) is not None:
            raise AlreadyDrawnError(f"{kept['request_id']}: is drawn already")
        made = connection.execute(insert(Drawing), kept | {"version": __version__})
        assert made.inserted_primary_key is not None
        id = int(made.inserted_primary_key[0])
        if pictures:
            connection.execute(insert(DrawnPicture), [row | {"drawing_id": id} for row in pictures])
    return f"drawing-{id}"


def is_drawing(what: str) -> bool:
    """Whether this names a drawing (drawing-12), or is the path of a picture file."""
    return NAMED.fullmatch(what) is not None or (what.lower().endswith(SUFFIX) and Path(what).is_file())


@dataclass(frozen=True)
class Beginning:
    """A picture that a drawing began with, and the drawing that it is of. picture: SHA-256 of its file"""

    name: str
    picture: str
    picture_id: str
    prompt: str


@dataclass(frozen=True)
class DrawingLineage:
    """A drawing and what it came from.

    picture: the one that was asked for; None: all
    began: the picture that it began with, the one with which that one began, …, as far as this workspace drew them
    model: its lineage; None if no run of this workspace made it
    loras: lineages of those that it was drawn with, as far as runs of this workspace made them
    """

    name: str
    drawing: Drawing
    pictures: list[DrawnPicture]
    picture: DrawnPicture | None
    model: Lineage | None
    loras: Sequence[Lineage] = ()
    began: Sequence[Beginning] = ()


def trace_drawing(ledger: Ledger, what: str) -> DrawingLineage:
    """The lineage of a drawing by its name, or of a picture by its file. Raises WorkspaceError if it is not known."""
    named = NAMED.fullmatch(what)
    with Session(ledger.engine, expire_on_commit=False) as session:
        picture = None
        if named is None:
            same = select(DrawnPicture).where(DrawnPicture.sha256 == sha256_of(Path(what)))
            picture = session.scalars(same.order_by(DrawnPicture.drawing_id.desc()).limit(1)).first()
            if picture is None:
                raise WorkspaceError(
                    f"{what}: was not drawn in this workspace, or was changed; if Malmoi drew it, its own text says how"
                )
        drawing = session.get(Drawing, picture.drawing_id if picture else int(named[1]) if named else 0)
        if drawing is None:
            raise WorkspaceError(f"{what}: no such drawing in this workspace")
        own = select(DrawnPicture).where(DrawnPicture.drawing_id == drawing.id).order_by(DrawnPicture.seed)
        pictures = list(session.scalars(own))
    model = lineage_of(ledger, drawing.model_sha256)
    loras = [one for sha256 in drawing.settings.get("lora_sha256", ()) if (one := lineage_of(ledger, sha256))]
    began = beginnings(ledger, drawing)
    return DrawingLineage(f"drawing-{drawing.id}", drawing, pictures, picture, model, loras, began)


def beginnings(ledger: Ledger, drawing: Drawing) -> list[Beginning]:
    """See `DrawingLineage`. A person's drawing leads to own ones only, since others' are not to be seen."""
    found: list[Beginning] = []
    id, sha256 = drawing.id, drawing.start_sha256
    columns = (Drawing.id, Drawing.start_sha256, Drawing.prompt, DrawnPicture.id.label("picture_id"))
    whose = [] if drawing.person_id is None else [Drawing.person_id == drawing.person_id]
    with ledger.engine.connect() as connection:
        while sha256 is not None:
            # Earlier ones: a picture that is drawn from itself, and not changed, has its own hash.
            which = (DrawnPicture.sha256 == sha256, Drawing.id < id, *whose)
            query = select(*columns).join(DrawnPicture, DrawnPicture.drawing_id == Drawing.id).where(*which)
            row = connection.execute(query.order_by(Drawing.id.desc()).limit(1)).first()
            if row is None:
                break
            found.append(Beginning(f"drawing-{row.id}", sha256, row.picture_id, row.prompt))
            id, sha256 = row.id, row.start_sha256
    return found


def drawing_rows(found: DrawingLineage, ledger: Ledger) -> dict[str, Any]:
    """The same as plain values, for JSON."""
    drawing = found.drawing
    about = {"id": found.name, "time": drawing.created_at.isoformat(), "prompt": drawing.prompt, **drawing.settings}
    return {
        "drawing": about | {"version": drawing.version},
        "pictures": [{"path": one.path, "seed": one.seed, "sha256": one.sha256} for one in found.pictures],
        "picture": found.picture and found.picture.sha256,
        "start_sha256": drawing.start_sha256,
        "began": [{"drawing": one.name, "prompt": one.prompt, "sha256": one.picture} for one in found.began],
        "mask_sha256": drawing.mask_sha256,
        "model": {
            "name": drawing.model, "sha256": drawing.model_sha256,
            "lineage": found.model and lineage_rows(found.model, ledger),
        },
        "loras": [lineage_rows(one, ledger) for one in found.loras],
    }  # fmt: skip


def record_in(workspace: Workspace, drawing: NewDrawing) -> tuple[str | None, str]:
    """The recorded drawing's name, or None and why it could not be recorded."""
    if not workspace.exists:
        return None, "there is no workspace here"
    if not os.access(workspace.path, os.W_OK):
        return None, f"{workspace.path} may not be written"
    try:
        with Ledger.open(workspace) as ledger:
            return record_drawing(ledger, drawing), ""
    except UserError as error:
        return None, str(error)
