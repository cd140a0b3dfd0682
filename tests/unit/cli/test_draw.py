"""`malmoi draw`: pictures of a tiny random model, their names, their chunks, their lineage."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.cli.draw import free_name
from malmoi.cli.sheet import sheet
from malmoi.files import sha256_of, write_bytes
from malmoi.image.files import read_picture
from malmoi.workspace.drawings import NewDrawing, NewPicture, record_drawing, trace_drawing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from tests.tiny_pictures import write_tiny_pictures

pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two picture models, of which a run made the first."""
    folder = tmp_path_factory.mktemp("drawn")
    workspace = Workspace.open(folder / "workspace")
    write_tiny_pictures(workspace.models / "tiny")
    with Ledger.open(workspace) as ledger:
        ledger.import_artefact(workspace.models / "tiny", "tiny", "picture model", "a test")
    write_tiny_pictures(folder / "other", seed=1)
    return folder


def run(place: Path, *words: Any, code: int = 0) -> Any:
    done = CliRunner().invoke(app, ["draw", *map(str, words), "--workspace", str(place / "workspace")])
    assert done.exit_code == code, done.output
    return done


def test_pictures_get_sensible_names_and_none_is_overwritten(place: Path, tmp_path: Path) -> None:
    first = run(place, "a red circle", "--n", 2, "--steps", 2, "--seed", 7, "--out", tmp_path).stdout
    assert [line.split("  ")[0] for line in first.splitlines()] == [f"{tmp_path}/red-circle-{i}.png" for i in (1, 2)]
    before = (tmp_path / "red-circle-1.png").read_bytes()
    run(place, "a red circle", "--steps", 2, "--seed", 9, "--out", tmp_path)
    assert (tmp_path / "red-circle-1.png").read_bytes() == before and (tmp_path / "red-circle-3.png").exists()
    assert free_name(tmp_path, "빨간 동그라미!").name == "빨간-동그라미-1.png"
    assert free_name(tmp_path, "/../ ").name == "picture-1.png"
    assert len(free_name(tmp_path, "word " * 100).name) < 60


def test_a_picture_says_how_it_was_drawn_and_is_drawn_again_by_that(place: Path, tmp_path: Path) -> None:
    run(place, "빨간 circle", "--negative", "blue", "--steps", 3, "--guidance", 2, "--seed", 5, "--out", tmp_path)
    [path] = tmp_path.glob("*.png")
    about = read_picture(path).about
    assert {key: about[key] for key in ("prompt", "negative", "seed", "steps", "guidance", "size", "model")} == {
        "prompt": "빨간 circle", "negative": "blue", "seed": "5", "steps": "3", "guidance": "2", "size": "32x32",
        "model": "tiny",
    }  # fmt: skip
    assert about["model_sha256"] == sha256_of(place / "workspace" / "models" / "tiny")
    run(place, about["prompt"], "--negative", "blue", "--steps", 3, "--guidance", 2, "--seed", 5, "--out", tmp_path)
    again = sorted(tmp_path.glob("*.png"))
    assert len({one.read_bytes() for one in again}) == 1 and len(again) == 2


def test_a_picture_leads_to_its_model_and_its_run(place: Path, tmp_path: Path) -> None:
    done = run(place, "circle", "--n", 2, "--steps", 2, "--out", tmp_path)
    assert f"malmoi lineage {tmp_path}/circle-1.png" in done.stderr
    words = ["lineage", str(tmp_path / "circle-2.png"), "--workspace", str(place / "workspace")]
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert found["drawing"]["prompt"] == "circle" and len(found["pictures"]) == 2
    assert found["picture"] == sha256_of(tmp_path / "circle-2.png")
    assert found["model"]["name"] == "tiny" and found["model"]["lineage"][0]["run"]["stage"] == "import"
    shown = CliRunner().invoke(app, words).stdout
    assert "circle-2.png" in shown and "circle-1.png" not in shown and "0001-import" in shown
    both = CliRunner().invoke(app, ["lineage", found["drawing"]["id"], *words[2:]]).stdout
    assert "circle-1.png" in both and "circle-2.png" in both
    Image.new("RGB", (3, 3)).save(tmp_path / "alien.png")
    alien = CliRunner().invoke(app, ["lineage", str(tmp_path / "alien.png"), *words[2:]])
    assert alien.exit_code == 2 and "was not drawn in this workspace" in alien.stderr


def test_variations_take_the_words_of_the_picture(place: Path, tmp_path: Path) -> None:
    run(place, "circle", "--steps", 2, "--out", tmp_path)
    words = ("--from", tmp_path / "circle-1.png", "--steps", 4, "--n", 2, "--out", tmp_path, "--json")
    made = json.loads(run(place, *words).stdout)
    assert made["prompt"] == "circle" and made["kind"] == "image" and made["strength"] == 0.6
    assert [Path(one["path"]).name for one in made["pictures"]] == ["circle-2.png", "circle-3.png"]
    done = run(
        place, "", place / "other", "--from", tmp_path / "circle-1.png", "--steps", 2, "--out", tmp_path, "--n", 2
    )
    assert f"malmoi draw '' {place / 'other'} --from {tmp_path}/circle-4.png --n 4" in done.stderr
    run(place, "red", "--from", tmp_path / "circle-3.png", "--steps", 2, "--out", tmp_path)
    words = ["lineage", str(tmp_path / "red-1.png"), "--workspace", str(place / "workspace")]
    began = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["began"]
    assert [one["sha256"] for one in began] == [sha256_of(tmp_path / f"circle-{n}.png") for n in (3, 1)]
    shown = CliRunner().invoke(app, words).stdout
    assert all(f"{one['drawing']}, circle" in shown for one in began)


def test_a_picture_that_is_drawn_from_itself_has_a_beginning(tmp_path: Path) -> None:
    write_bytes(tmp_path / "same.png", b"as it was")
    sha256 = sha256_of(tmp_path / "same.png")
    picture = NewPicture(tmp_path / "same.png", 1)
    with Ledger.open(Workspace.open(tmp_path / "workspace")) as ledger:
        for start in (None, sha256, sha256):
            name = record_drawing(ledger, NewDrawing("circle", {}, "tiny", None, [picture], start))
        assert [one.name for one in trace_drawing(ledger, name).began] == ["drawing-2", "drawing-1"]


def test_a_mask_says_where_to_draw(place: Path, tmp_path: Path) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    mask.save(tmp_path / "mask.png")
    run(
        place,
        "a blue",
        "--from",
        tmp_path / "photo.png",
        "--mask",
        tmp_path / "mask.png",
        "--steps",
        2,
        "--out",
        tmp_path,
    )
    drawn = read_picture(tmp_path / "blue-1.png").pixels
    assert np.array_equal(drawn[:, 16:], photo[:, 16:]) and not np.array_equal(drawn[:, :16], photo[:, :16])


def test_a_lora_changes_what_is_drawn_and_the_picture_says_so(place: Path, tmp_path: Path) -> None:
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_v"
    file, words = tmp_path / "style.safetensors", ("a red circle", "--steps", 2, "--seed", 7, "--out", tmp_path)
    save_file({f"{stem}.lora_down.weight": torch.ones(2, 16), f"{stem}.lora_up.weight": torch.ones(16, 2)}, file)
    run(place, *words)
    run(place, *words, "--lora", file)
    run(place, *words, "--lora", f"{file}:0")
    plain, changed, none = (read_picture(tmp_path / f"red-circle-{i}.png") for i in (1, 2, 3))
    assert (plain.pixels == none.pixels).all() and (plain.pixels != changed.pixels).any()
    assert changed.about["lora"] == f"style.safetensors:1 (SHA-256 {sha256_of(file)})" and "lora" not in plain.about
    at = ["--workspace", str(place / "workspace")]
    traced = CliRunner().invoke(app, ["lineage", str(tmp_path / "red-circle-2.png"), "--json", *at])
    assert json.loads(traced.stdout)["drawing"]["lora"] == changed.about["lora"]
    merged = CliRunner().invoke(app, ["models", "export", "tiny", "--lora", str(file), "--out", str(tmp_path / "out"), *at])  # fmt: skip # noqa: E501
    assert merged.exit_code == 0, merged.output
    run(place, *words[:1], tmp_path / "out", *words[1:])
    assert (read_picture(tmp_path / "red-circle-4.png").pixels == changed.pixels).all()


def test_another_folder_of_a_model_is_used_and_named(place: Path, tmp_path: Path) -> None:
    made = json.loads(run(place, "circle", place / "other", "--steps", 1, "--out", tmp_path, "--json").stdout)
    assert read_picture(Path(made["pictures"][0]["path"])).about["model"] == "other"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a", "missing"], "missing: no such picture model; the workspace has tiny"),
        ([], "prompt: is empty"),
        (["a", "--size", "33x32"], "the nearest is 32x32"),
        (["a", "--size", "big"], "expected width x height"),
        (["a", "--from", "missing.png"], "missing.png: no such file"),
        (["a", "--from", "/dev/null"], "/dev/null: is empty"),
        (["a", "--mask", "{}/p.png"], "mask: is for a picture to begin with"),
        (["a", "--from", "{}/p.png", "--strength", "2"], "strength 2"),
        (["a", "--guidance", "nan"], "guidance nan"),
        (["a", "--sampler", "magic"], "there is none of this name"),
        (["a", "--n", "0"], "1 to 100"),
        (["a", "missing", "--out", "{}/p.png"], "p.png is a file; give a folder"),
        (["a", "missing", "--out", "{}/p.png/below"], "p.png is a file; give a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_drawn_is_one_line_and_writes_nothing(
    place: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    given = ("--out", tmp_path / "out", *(word.format(tmp_path) for word in words))
    done = run(place, *given, code=2)
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_workspace_without_a_picture_model_says_how_to_get_one(tmp_path: Path) -> None:
    Workspace.open(tmp_path / "workspace")
    said = run(tmp_path, "a", code=2).stderr
    assert "no picture model here yet" in said and "malmoi run picture" in said and "malmoi models import" in said


def test_a_sheet_shows_two_pixels_a_character() -> None:
    red = np.full((40, 20, 3), (255, 0, 0), dtype=np.uint8)
    shown = sheet([red, red, red], columns=44)
    lines = shown.plain.splitlines()
    assert len(lines) == 40 and lines[0].count("▀") == 40 and lines[-1].count("▀") == 20
    assert {str(span.style) for span in shown.spans} >= {"#ff0000 on #ff0000"}
