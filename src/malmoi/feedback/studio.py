"""The picture model in service: what it may be asked for, and the thread that draws."""

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from malmoi.errors import UserError, without_folders
from malmoi.feedback.refusals import RefusedError, invalid
from malmoi.workspace.drawings import NewDrawing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import sha256_in
from malmoi.workspace.models import model_folder
from malmoi.workspace.picture_models import find_picture_model, lora_names, picture_model_names

if TYPE_CHECKING:  # torch takes seconds
    from malmoi.image.draw import Request
    from malmoi.image.lora import Lora
    from malmoi.image.model import PictureModel
    from malmoi.image.painter import Painter, Sketch

MOST_PICTURES, MOST_STEPS, MOST_SIDE = 8, 100, 1024


@dataclass(frozen=True)
class Asked:
    """What a person asks for; None is the model's default. start, mask: picture files"""

    prompt: str = ""
    negative: str = ""
    n: int = 1
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    seed: int | None = None
    size: str | None = None
    start: bytes | None = None
    strength: float | None = None
    mask: bytes | None = None
    lora: str | None = None
    """NAME, or NAME:SCALE."""


class Lent(NamedTuple):
    """A LoRA that a drawing is made with. said: its name, scale and hash, as pictures have it; sha256: of its folder"""

    lora: "Lora"
    scale: float
    said: str
    sha256: str


@dataclass(eq=False)
class Order:
    """A drawing in the making, of a person. remarks: what is done otherwise than asked, as `image.draw.Remark`"""

    sketch: "Sketch"
    studio: "Studio"
    drawing: NewDrawing
    remarks: list[dict[str, str]]

    @property
    def place(self) -> int:
        return self.studio.painter.place(self.sketch)

    def cancel(self) -> None:
        self.studio.painter.cancel(self.sketch)

    def previews(self) -> tuple[int, list[bytes]]:
        """Which pictures are drawn now, and how they look: small PNG files."""
        from malmoi.image.files import png_of

        return self.sketch.first, [png_of(pixels, {}) for pixels in self.sketch.previews]

    def files(self) -> list[tuple[str, int, bytes]]:
        """(id, seed, PNG file) of each finished picture."""
        from malmoi.image.files import png_of

        model = {"model": self.studio.name, "model_sha256": self.studio.sha256}
        model |= {key: self.drawing.settings[key] for key in ("lora",) if key in self.drawing.settings}
        about = self.sketch.request.about
        return [
            (uuid4().hex, one.seed, png_of(one.pixels, {**about(one.seed), **model})) for one in self.sketch.pictures
        ]  # fmt: skip


@dataclass(eq=False)
class Studio:
    """A loaded picture model.

    name, folder, sha256: of the model
    reading: held while a person's picture is read: of phones' pictures each takes hundreds of megabytes for it
    """

    workspace: Workspace
    name: str
    folder: Path
    sha256: str
    model: "PictureModel"
    painter: "Painter"
    reading: threading.Lock = field(default_factory=threading.Lock)

    def about(self) -> dict[str, Any]:
        """What a page needs to ask for pictures."""
        from malmoi.image.draw import request_for, size_text
        from malmoi.image.samplers import samplers_of

        usual = request_for(self.model, "x")
        known = {language: str(self.model.about.get(language, "")) for language in ("en", "ko")}
        sides = [side for side in (0.5, 0.75, 1, 1.5) if not self.model.size[0] * side % self.model.multiple]
        sizes = {size_text((int(h * self.model.size[0]), int(w * self.model.size[1]))) for h in sides for w in sides}
        return {
            "name": self.name, "hash": self.sha256, "knows": known, "size": size_text(self.model.size),
            "sizes": sorted(sizes, key=lambda text: [int(side) for side in text.split("x")]),
            "steps": usual.steps, "guidance": usual.guidance, "sampler": usual.sampler,
            "samplers": list(samplers_of(self.model.process)), "few_steps": self.model.few_steps,
            "loras": self.loras(), "n_waiting": self.painter.n_waiting,
            "most_pictures": MOST_PICTURES, "most_steps": MOST_STEPS,
        }  # fmt: skip

    def loras(self) -> list[str]:
        """Names of the LoRAs that may be asked for."""
        from malmoi.image.lora import networks_of

        try:
            networks_of(self.model, self.name)
        except UserError:
            return []
        return lora_names(self.workspace)

    def order(self, asked: Asked, person_id: str, request_id: str, wake: Callable[[], None]) -> Order:
        """Queue what is asked for. Raises RefusedError, or BusyError if too many wait."""
        from malmoi.image.draw import remarks_of

        request, given, said = self._request(asked)
        lent = None if asked.lora is None else self._lent(asked.lora)
        settings = request.settings() | ({"lora": lent.said, "lora_sha256": [lent.sha256]} if lent else {})
        drawing = NewDrawing(
            request.prompt, settings, self.name, self.sha256, (), _digest(asked.start), _digest(asked.mask),
            person_id, request_id,
        )  # fmt: skip
        remarks = [*said, *(one._asdict() for one in remarks_of(self.model, request, given))]
        loras = [(lent.lora, lent.scale)] if lent else []
        return Order(self.painter.submit(request, wake, loras), self, drawing, remarks)

    def _lent(self, text: str) -> Lent:
        """A LoRA of the workspace, read. text: NAME or NAME:SCALE. Raises RefusedError."""
        from malmoi.formats.picture_lora import Chosen, in_words, parse_scale, read_lora

        name, colon, scale = text.partition(":")
        if name not in (known := self.loras()):
            raise invalid("lora", f"no such LoRA here; there is {', '.join(known) or 'none for this model'}")
        folder = self.workspace.models / name
        try:
            model_folder(self.workspace, name)  # none that leads out of the workspace
            chosen = Chosen(folder, parse_scale(scale) if colon else 1.0)
            lora = read_lora(folder, self.model, self.name)
        except UserError as error:
            said = without_folders(str(error), folder)
            raise RefusedError("cannot_draw", said, "lora", reason=said) from None
        return Lent(lora, chosen.scale, in_words(chosen), sha256_in(self.workspace, folder))

    def _request(self, asked: Asked) -> "tuple[Request, tuple[int, int] | None, list[dict[str, str]]]":
        from malmoi.image.draw import parse_size, request_for
        from malmoi.image.files import decode, read_mask

        if not 1 <= asked.n <= MOST_PICTURES:
            raise invalid("n", f"expected 1 to {MOST_PICTURES}", most=MOST_PICTURES)
        if asked.steps is not None and asked.steps > MOST_STEPS:
            raise invalid("steps", f"at most {MOST_STEPS}", most=MOST_STEPS)
        try:
            size = parse_size(asked.size) if asked.size else None
            if max(size or (0,)) > MOST_SIDE:
                raise invalid("size", f"at most {MOST_SIDE} pixels a side", most=MOST_SIDE)
            with self.reading:
                start = None if asked.start is None else decode(asked.start, "image")
                mask = None if asked.mask is None else read_mask(decode(asked.mask, "mask"))
            request = request_for(
                self.model, asked.prompt or (start.about.get("prompt", "") if start else ""), negative=asked.negative,
                n=asked.n, steps=asked.steps, guidance=asked.guidance, sampler=asked.sampler, size=size,
                seed=secrets.randbelow(2**31) if asked.seed is None else asked.seed,
                start=None if start is None else start.pixels, strength=asked.strength, mask=mask,
            )  # fmt: skip
        except RefusedError:
            raise
        except UserError as error:
            param = str(error).split(":")[0].split(" ")[0]
            raise RefusedError("cannot_draw", str(error), param, reason=str(error)) from None
        frames = [{"code": "frames", "text": text} for text in (start.remarks if start else ())]
        return request, None if start is None else start.size, frames

    def close(self) -> None:
        self.painter.close()


def _digest(file: bytes | None) -> str | None:
    return None if file is None else hashlib.sha256(file).hexdigest()


def open_studio(workspace: Workspace) -> Studio:
    """Load the newest picture model. Raises RefusedError `no_picture_model` if there is none, UserError if it is
    broken."""
    if not picture_model_names(workspace):
        raise RefusedError("no_picture_model", "there is no picture model here yet")
    from malmoi.formats.pictures import load_pictures
    from malmoi.image.packed import for_drawing
    from malmoi.image.painter import Painter

    name, folder = find_picture_model(workspace, None)
    sha256 = sha256_in(workspace, folder)
    model = for_drawing(load_pictures(folder))
    return Studio(workspace, name, folder.resolve(), sha256, model, Painter(model))


def newest(workspace: Workspace) -> Path | None:
    """The folder that `open_studio` would load."""
    names = picture_model_names(workspace)
    return (workspace.models / names[-1]).resolve() if names else None
