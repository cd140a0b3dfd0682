"""What people drew in the service: each sees the own pictures only, deletes them, and takes them along when leaving."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select

from malmoi.errors import without_folders
from malmoi.feedback.refusals import RefusedError, missing
from malmoi.files import write_bytes
from malmoi.workspace.database import writing
from malmoi.workspace.drawing_schema import Drawing, DrawnPicture
from malmoi.workspace.drawings import (
    FOLDER,
    SUFFIX,
    AlreadyDrawnError,
    NewDrawing,
    NewPicture,
    record_drawing,
    trace_drawing,
)
from malmoi.workspace.ledger import Ledger, Lineage
from malmoi.workspace.runs import status_of

MOST_KEPT = 1000
"""Pictures of one person: a picture of 512 × 512 pixels has half a megabyte."""
PAGE = 24


def check_room(ledger: Ledger, person_id: str, n: int) -> None:
    """Raises RefusedError if a person would keep too many pictures."""
    with ledger.engine.connect() as connection:
        own = select(func.count()).select_from(DrawnPicture).join(Drawing, Drawing.id == DrawnPicture.drawing_id)
        kept = connection.scalar(own.where(Drawing.person_id == person_id)) or 0
    if kept + n > MOST_KEPT:
        raise RefusedError("too_many_pictures", f"{kept} pictures are kept; delete some first", most=MOST_KEPT)


def store_drawing(ledger: Ledger, drawing: NewDrawing, files: Sequence[tuple[str, int, bytes]]) -> dict[str, Any]:
    """Write the pictures of a drawing, and record it; what was recorded first stays. Returns the row of `find_drawing`.

    files: (id, seed, PNG file) of each
    """
    pictures = [NewPicture(ledger.root / FOLDER / f"{id}{SUFFIX}", seed, id) for id, seed, _ in files]
    try:
        for picture, (_, _, png) in zip(pictures, files, strict=True):
            write_bytes(picture.path, png)
        record_drawing(ledger, NewDrawing(**(vars(drawing) | {"pictures": pictures})))
    except BaseException as error:
        for picture in pictures:
            picture.path.unlink(missing_ok=True)
        if not isinstance(error, AlreadyDrawnError):
            raise
    found = find_drawing(ledger, str(drawing.person_id), drawing.request_id)
    assert found is not None
    return found


def find_drawing(ledger: Ledger, person_id: str, request_id: str) -> dict[str, Any] | None:
    """A person's drawing by the id that the client chose; None if there is none yet."""
    found, _ = _rows(ledger, (Drawing.person_id == person_id) & (Drawing.request_id == request_id), 1)
    return found[0] if found else None


def list_drawings(ledger: Ledger, person_id: str, before: int | None = None) -> dict[str, Any]:
    """A page of a person's drawings, the latest first. before: the number from which the last page asks for more"""
    own = Drawing.person_id == person_id
    found, more = _rows(ledger, own if before is None else own & (Drawing.id < before), PAGE)
    return {"drawings": found, "next": found[-1]["number"] if more else None}


def picture_file(ledger: Ledger, person_id: str, picture_id: str) -> Path:
    """The PNG file of a person's picture. Raises RefusedError."""
    with ledger.engine.connect() as connection:
        own = select(DrawnPicture.path).join(Drawing, Drawing.id == DrawnPicture.drawing_id)
        path = connection.scalar(own.where(DrawnPicture.id == picture_id, Drawing.person_id == person_id))
    if path is None or not (ledger.root / path).is_file():
        raise missing("picture")
    return ledger.root / path


def delete_drawing(ledger: Ledger, person_id: str, request_id: str) -> None:
    """Raises RefusedError if the person has none of this id."""
    if find_drawing(ledger, person_id, request_id) is None:
        raise missing("drawing")
    with writing(ledger.engine) as connection:
        paths = delete_drawings(connection, (Drawing.person_id == person_id) & (Drawing.request_id == request_id))
    remove_files(ledger, paths)


def delete_picture(ledger: Ledger, person_id: str, picture_id: str) -> None:
    """Delete one picture; its drawing goes with the last one. Raises RefusedError."""
    path = picture_file(ledger, person_id, picture_id)
    with writing(ledger.engine) as connection:
        of = connection.scalar(select(DrawnPicture.drawing_id).where(DrawnPicture.id == picture_id))
        connection.execute(delete(DrawnPicture).where(DrawnPicture.id == picture_id))
        if not connection.scalar(select(func.count()).where(DrawnPicture.drawing_id == of)):
            connection.execute(delete(Drawing).where(Drawing.id == of))
    path.unlink(missing_ok=True)


def delete_drawings(connection: Connection, which: ColumnElement[bool]) -> list[str]:
    """Delete drawings; returns the paths of their pictures, for `remove_files`. which: a condition on `Drawing`"""
    ids = select(Drawing.id).where(which)
    paths = [*connection.scalars(select(DrawnPicture.path).where(DrawnPicture.drawing_id.in_(ids)))]
    connection.execute(delete(DrawnPicture).where(DrawnPicture.drawing_id.in_(ids)))
    connection.execute(delete(Drawing).where(which))
    return paths


def remove_files(ledger: Ledger, paths: Sequence[str]) -> None:
    """Remove pictures that nothing names any more."""
    for path in paths:
        (ledger.root / path).unlink(missing_ok=True)


def sweep(ledger: Ledger) -> None:
    """Remove pictures that were written, but not recorded, when a server was killed."""
    with ledger.engine.connect() as connection:
        known = set(connection.scalars(select(DrawnPicture.path)))
    for path in (ledger.root / FOLDER).glob(f"*{SUFFIX}"):
        if ledger.stored_path(path) not in known:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def drawn_from(ledger: Ledger, person_id: str, request_id: str) -> dict[str, Any]:
    """Where a drawing comes from: its model, and the runs that led to it, the latest first. Raises RefusedError."""
    row = find_drawing(ledger, person_id, request_id)
    if row is None:
        raise missing("drawing")
    found = trace_drawing(ledger, f"drawing-{row['number']}")
    return {
        "name": found.name, "model": found.drawing.model, "hash": found.drawing.model_sha256,
        "runs": _runs(ledger, [found.model] if found.model else []), "lora": found.drawing.settings.get("lora"),
        "lora_runs": _runs(ledger, found.loras),
        "start_sha256": found.drawing.start_sha256, "mask_sha256": found.drawing.mask_sha256,
        "began": [{"drawing": one.name, "prompt": one.prompt, "picture": one.picture_id} for one in found.began],
    }  # fmt: skip


def _runs(ledger: Ledger, lineages: Sequence[Lineage]) -> list[dict[str, Any]]:
    return [
        {"id": node.run.id, "stage": node.run.stage, "status": status_of(node.run, ledger),
         "kind": node.artefact.kind if node.artefact else None, "source": _source(node.run.settings.get("source"))}
        for lineage in lineages for node in lineage.walk()
    ]  # fmt: skip


def _source(given: Any) -> Any:
    """Where pictures are from, without their place on this machine."""
    return without_folders(given) if isinstance(given, str) else given


def _rows(ledger: Ledger, which: ColumnElement[bool], most: int) -> tuple[list[dict[str, Any]], bool]:
    """Drawings with their pictures, the latest first, and whether there are more."""
    with ledger.engine.connect() as connection:
        query = select(Drawing.__table__).where(which).order_by(Drawing.id.desc()).limit(most + 1)
        drawings = connection.execute(query).mappings().all()
        ids = [row["id"] for row in drawings[:most]]
        columns = (DrawnPicture.id, DrawnPicture.drawing_id, DrawnPicture.seed)
        own = select(*columns).where(DrawnPicture.drawing_id.in_(ids)).order_by(DrawnPicture.seed)
        pictures = connection.execute(own).all()
        begun = _begun_with(connection, drawings[:most])
    rows = [
        _row(
            row,
            [one for one in pictures if one.drawing_id == row["id"]],
            begun.get((row["person_id"], row["start_sha256"])),
        )
        for row in drawings[:most]
    ]
    return rows, len(drawings) > most


def _begun_with(connection: Connection, drawings: Sequence[Mapping[Any, Any]]) -> dict[tuple[str, str], str]:
    """(person, SHA-256 of a picture to begin with) -> id of that picture, if it is one of the person's own."""
    hashes = {row["start_sha256"] for row in drawings} - {None}
    query = select(Drawing.person_id, DrawnPicture.sha256, DrawnPicture.id).join(
        Drawing, Drawing.id == DrawnPicture.drawing_id
    )
    found = (
        connection.execute(query.where(DrawnPicture.sha256.in_(hashes), Drawing.person_id.is_not(None))).all()
        if hashes
        else ()
    )
    return {(one.person_id, one.sha256): one.id for one in found}


def _row(drawing: Mapping[Any, Any], pictures: Sequence[Any], start_id: str | None) -> dict[str, Any]:
    return {
        "id": drawing["request_id"], "number": drawing["id"], "prompt": drawing["prompt"], **drawing["settings"],
        "model": drawing["model"], "hash": drawing["model_sha256"], "created_at": drawing["created_at"].isoformat(),
        "pictures": [{"id": one.id, "seed": one.seed} for one in pictures], "start_id": start_id,
    }  # fmt: skip
