"""A picture model of our own comes in from a folder and goes out again, on the command line too."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.errors import CheckpointError, UserError
from malmoi.formats.own_pictures import save_own
from malmoi.formats.pictures import load_pictures
from malmoi.image.dit import Denoiser, DenoiserConfig
from malmoi.image.model import PictureModel
from malmoi.image.schedule import Process, Schedule
from malmoi.image.towers import CaptionIds, ClipConfig, TextTower, TowerText
from malmoi.tokenizer.bpe import train_bpe
from malmoi.workspace.transfer import import_model
from tests.tiny_pictures import randomise

ABOUT = {"en": "Knows shapes.", "ko": "도형을 압니다.", "steps": 2, "guidance": 2.0, "sampler": "flow_euler"}


def write_own(folder: Path) -> PictureModel:
    tokenizer = train_bpe(["a red circle", "빨간 원"], 300)
    tower = TextTower(ClipConfig(vocab_size=tokenizer.vocab_size, n_embd=16, n_layer=1, n_head=2))
    network = Denoiser(
        DenoiserConfig(
            patch=4, n_embd=16, n_layer=1, n_head=2, n_text_layer=1, n_channels=3, size=16, n_context=32,
        )
    )  # fmt: skip
    for index, one in enumerate((tower, network)):
        randomise(one, index)
    text, process = TowerText(CaptionIds(tokenizer, 40), tower), Process("flow", "sample", Schedule(shift=3.0))
    model = PictureModel(process, network, text, None, (16, 16), 3, 16, ABOUT)
    save_own(folder, model, {"run": "0001-denoiser", "parents": {}})
    return model


def run(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == code, done.output
    return done.output


def test_it_comes_in_goes_out_and_draws(tmp_path: Path, float32: None) -> None:
    model, at = write_own(tmp_path / "nano"), ("--workspace", tmp_path / "home")
    told = run("models", "import", tmp_path / "nano", "--name", "shapes", *at)
    assert "shapes  MalmoiPicturePipeline" in told and 'next    malmoi draw "…" shapes' in told
    run("models", "export", "shapes", "--dtype", "bfloat16", "--out", tmp_path / "out", *at)
    after = load_pictures(tmp_path / "out", torch.float32)
    assert after.size == (16, 16) and after.about == ABOUT and after.process == model.process
    for name, weight in after.denoiser.state_dict().items():
        assert torch.equal(weight, model.denoiser.state_dict()[name].bfloat16().float())
    known = model.embed(["a red circle"])
    assert known.states.shape[-1] == 32
    assert torch.equal(after.embed(["a red circle"]).states, known.states)
    run("draw", "a red circle", tmp_path / "out", "--out", tmp_path, *at)
    assert (tmp_path / "red-circle-1.png").is_file()
    told = run("draw", "a red circle", tmp_path / "out", "--size", "32x32", "--out", tmp_path / "none", *at, code=2)
    assert "size 32x32: this model draws pictures of 16x16 and no others" in told and not (tmp_path / "none").exists()


@pytest.mark.parametrize("lost", ["scheduler", "denoiser", "text_encoder", "tokenizer"])
def test_without_one_of_its_parts_it_is_refused(tmp_path: Path, lost: str) -> None:
    write_own(tmp_path / "nano")
    (tmp_path / "nano" / lost).rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=lost) as error:
        import_model(tmp_path / "home", str(tmp_path / "nano"), reserved=())
    assert "\n" not in str(error.value)


def test_a_denoiser_for_other_words_is_refused(tmp_path: Path) -> None:
    write_own(tmp_path / "nano")
    path = tmp_path / "nano" / "text_encoder" / "config.json"
    path.write_text(path.read_text().replace('"n_tokens": 40', '"n_tokens": 30'))
    with pytest.raises(UserError) as error:
        import_model(tmp_path / "home", str(tmp_path / "nano"), reserved=())
    assert "\n" not in str(error.value)


def test_a_tokenizer_with_more_tokens_than_the_tower_is_refused(tmp_path: Path) -> None:
    write_own(tmp_path / "nano")
    train_bpe(["other words of another tokenizer, which has more of them"] * 9, 320).save(tmp_path / "nano/tokenizer")
    with pytest.raises(CheckpointError, match=r"the tokenizer has \d+ tokens, the text encoder \d+") as error:
        load_pictures(tmp_path / "nano")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0), ("steps", -3), ("steps", 10**9), ("steps", 2.5), ("steps", None),
        ("guidance", -1), ("guidance", 1e9),
        ("guidance", float("nan")), ("sampler", "dpmpp_2m"), ("sampler", []), ("en", "a\nb"), ("ko", "\x1b[2J"),
        ("en", "\ud800"), ("en", "x" * 1001), ("size", [0, 0]), ("size", 16), ("few_steps", "?"), ("more", 1),
    ],
)  # fmt: skip
def test_an_index_with_a_value_that_cannot_be_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    write_own(tmp_path / "nano")
    path = tmp_path / "nano" / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(UserError) as error:
        load_pictures(tmp_path / "nano")
    assert "nano" in str(error.value) and "\n" not in str(error.value) and "\x1b" not in str(error.value)
