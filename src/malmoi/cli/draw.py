"""`malmoi draw`: pictures from a sentence, from another picture, or into a part of one."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malmoi.cli import completion
from malmoi.cli.options import MOST_SEED, Json, WorkspaceOption, a_path
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from malmoi.image.draw import Picture, Request
    from malmoi.image.files import Given
    from malmoi.image.model import PictureModel
    from malmoi.workspace.folder import Workspace

Prompt = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPT",
        help="What to draw; with --from, by default the words of that picture.",
        show_default=False,
    ),
]
PictureModelName = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="A picture model of the workspace, or a folder; default: the newest.",
        show_default=False,
        autocompletion=completion.picture_models,
    ),
]
N = Annotated[int, typer.Option("--n", metavar="N", help="Pictures, each with the next seed.")]
MODELS = "the model's"
Steps = Annotated[int | None, typer.Option(metavar="N", help="Steps from noise to picture.", show_default=MODELS)]
Guidance = Annotated[
    float | None, typer.Option(metavar="X", help="How closely to follow the prompt.", show_default=MODELS)
]
Negative = Annotated[str, typer.Option(metavar="TEXT", help="What should not be in the picture.", show_default=False)]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, max=MOST_SEED, help="Seed of the first picture.", show_default="random"),
]
Size = Annotated[str | None, typer.Option(metavar="WxH", help="Width and height in pixels.", show_default=MODELS)]
SamplerName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="One of diffusers, such as ddim or dpmpp_2m; flow_euler or flow_ancestral.",
        show_default=MODELS,
    ),
]
Start = Annotated[
    Path | None,
    typer.Option("--from", metavar="IMAGE", parser=a_path, help="A picture to begin with.", show_default=False),
]
Strength = Annotated[
    float | None,
    typer.Option(metavar="X", help="How much of it to draw again, to 1.", show_default="0.6; with --mask 1"),
]
MaskFile = Annotated[
    Path | None,
    typer.Option(
        metavar="IMAGE", parser=a_path, help="Draw only where this is white or transparent.", show_default=False
    ),
]
LoraFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="FILE[:X]",
        help="A LoRA (or the name of one), and how much of it, if not 1; may be repeated.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(metavar="DIR", parser=a_path, help="Folder for the pictures.")]
LONGEST_NAME = 40
SMALL_WORDS = frozenset({"a", "an", "the"})


def draw(
    prompt: Prompt = None,
    model: PictureModelName = None,
    n: N = 1,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = "",
    seed: Seed = None,
    size: Size = None,
    sampler: SamplerName = None,
    start: Start = None,
    strength: Strength = None,
    mask: MaskFile = None,
    lora: LoraFiles = None,
    out: Out = Path("."),
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Draw pictures of a sentence; with --from a picture is changed or varied, with --mask only a part of it.

    Each picture is a PNG file that says how it was drawn. The same model and seed draw it again. In a
    workspace `malmoi lineage FILE` follows it to its model, and to what that was trained on.

    \b
    Example:
      malmoi draw "a red circle left of a blue square" --workspace picture --n 4 --seed 1
      malmoi draw "a green circle" --workspace picture --from circle-1.png --strength 0.5
      malmoi draw "a blue square" --workspace picture --from circle-1.png --mask mask.png --out pictures
      malmoi draw "a castle" sd-1.5 --lora style.safetensors:0.8
    """
    import secrets

    from malmoi.formats.picture_lora import apply_loras, parse_lora
    from malmoi.formats.pictures import load_pictures
    from malmoi.image.draw import parse_size, request_for
    from malmoi.image.files import read_mask, read_picture
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.hashes import sha256_in
    from malmoi.workspace.picture_models import find_picture_model

    asked_size = None if size is None else parse_size(size)
    given = None if start is None else read_picture(start)
    covered = None if mask is None else read_mask(read_picture(mask))
    words = _words(prompt, given)
    _check_out(out)
    here = Workspace(workspace)
    name, folder = find_picture_model(here, model)
    network = load_pictures(folder)
    loras = apply_loras(network, lora or [], name, here.models)
    request = request_for(
        network, words, negative=negative, n=n, steps=steps, guidance=guidance, sampler=sampler,
        seed=secrets.randbelow(2**31) if seed is None else seed, size=asked_size,
        start=None if given is None else given.pixels, strength=strength, mask=covered,
    )  # fmt: skip
    about = {"model": name, "model_sha256": sha256_in(here, folder)} | ({"lora": "; ".join(loras)} if loras else {})
    of_here = [sha256_in(here, path) for text in lora or () if (path := parse_lora(text, here.models).path).is_dir()]
    rows = _draw(network, request, out, about)
    drawing = _record(here, request, about, of_here, rows, start, mask)
    _remark(network, request, start, given)
    _tell(rows, drawing, request, as_json, workspace, model)


def _words(prompt: str | None, given: "Given | None") -> str:
    """What is to be drawn: without words, what the picture to begin with says of itself. Raises ConfigError."""
    if prompt is not None and prompt.strip():
        return prompt
    if given is None:  # known before a large model is loaded
        raise ConfigError("prompt: is empty; say what to draw")
    return given.about.get("prompt", "")


def _check_out(out: Path) -> None:
    """Known before what may take minutes is drawn. Raises ConfigError for a folder that cannot be written into."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ConfigError(f"--out {out}: {there} is a file; give a folder")
    if not os.access(there, os.W_OK):
        raise ConfigError(f"--out {out}: {there} may not be written; give another folder")


def _draw(network: "PictureModel", request: "Request", out: Path, about: Mapping[str, str]) -> list[dict[str, Any]]:
    """Draw, and write each picture as soon as it is there."""
    from rich.console import Console

    from malmoi import device
    from malmoi.cli.sheet import drawing_bar, sheet, shows_colour
    from malmoi.files import sha256_of
    from malmoi.image.draw import draw
    from malmoi.image.files import write_png
    from malmoi.image.packed import for_drawing

    network = for_drawing(network)
    rows: list[dict[str, Any]] = []
    drawn: list[Picture] = []
    device.keep_freed_memory()  # every step takes the same large blocks
    with drawing_bar() as follow:
        for picture in draw(network, request, follow):
            path = free_name(out, request.prompt)
            write_png(path, picture.pixels, {**request.about(picture.seed), **about})
            rows.append({"path": str(path), "seed": picture.seed, "sha256": sha256_of(path)})
            drawn.append(picture)
    console = Console(stderr=True, highlight=False)
    if shows_colour(console):
        console.print(sheet([one.pixels for one in drawn], console.width), end="")
    return rows


def free_name(folder: Path, prompt: str) -> Path:
    """The next name that no file has: red-circle-1.png, red-circle-2.png, …"""
    words = [word for word in re.findall(r"\w+", prompt.lower()) if word not in SMALL_WORDS]
    stem = ""
    for word in words or ["picture"]:
        if stem and len(stem) + len(word) + 1 > LONGEST_NAME:
            break
        stem = f"{stem}-{word[:LONGEST_NAME]}".lstrip("-")
    number = 1
    while (path := folder / f"{stem}-{number}.png").exists():
        number += 1
    return path


def _record(
    here: "Workspace", request: "Request", about: Mapping[str, str], loras: list[str], rows: list[dict[str, Any]],
    start: Path | None, mask: Path | None,
) -> str | None:  # fmt: skip
    """The name under which the workspace records it; None outside of one. loras: SHA-256 of their folders"""
    from malmoi.cli.answers import remark
    from malmoi.files import sha256_of
    from malmoi.workspace.drawings import NewDrawing, NewPicture, record_in

    pictures = [NewPicture(Path(row["path"]), row["seed"]) for row in rows]
    start_sha256, mask_sha256 = (None if path is None else sha256_of(path) for path in (start, mask))
    settings = request.settings() | ({"lora": about["lora"], "lora_sha256": loras} if "lora" in about else {})
    drawing = NewDrawing(
        request.prompt, settings, about["model"], about["model_sha256"], pictures, start_sha256, mask_sha256
    )  # fmt: skip
    name, problem = record_in(here, drawing)
    if problem and here.exists:
        remark(f"(the drawing is not recorded: {problem})")
    return name


def _remark(network: "PictureModel", request: "Request", start: Path | None, given: "Given | None") -> None:
    """What was done otherwise than asked."""
    from malmoi.cli.answers import remark
    from malmoi.image.draw import remarks_of

    of_file = [f"{start}: {said}" for said in given.remarks] if given is not None else []
    for line in (*of_file, *(said.text for said in remarks_of(network, request, given.size if given else None))):
        remark(f"({line})")


def _tell(
    rows: list[dict[str, Any]], drawing: str | None, request: "Request", as_json: bool, workspace: Path,
    model: str | None,
) -> None:  # fmt: skip
    """model: as the person named it"""
    from malmoi.cli.answers import remark
    from malmoi.cli.next_commands import after_drawing
    from malmoi.cli.printing import print_json

    if as_json:
        print_json({"drawing": drawing, "prompt": request.prompt, **request.settings(), "pictures": rows})
        return
    for row in rows:
        print(f"{row['path']}  (seed {row['seed']})")
    for command in after_drawing(rows[0]["path"], drawing is not None, workspace, model):
        remark(command)
