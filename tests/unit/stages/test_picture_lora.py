"""A LoRA of one's own pictures: it learns, goes on after a stop, is drawn with, and diffusers loads it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from malmoi.algorithms.picture_lora import Config, Inputs, build
from malmoi.cli import app
from malmoi.errors import UserError
from malmoi.files import read_json
from malmoi.formats.pictures import save_pictures
from malmoi.image.lora import adapters_of
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig, Step, fit
from malmoi.train.optim import OptimConfig
from malmoi.workspace.folder import Workspace
from tests.tiny_pictures import UNET, tiny_model, write_tiny_pictures
from tests.unit.stages.test_pictures import own_folder

RECIPE = """
name = "tiny-lora"
stages = ["pictures", "picture_lora"]
[pictures]
size = 32
n = 40
[picture_lora]
base = "tiny"
n_steps = 4
batch_size = 4
micro_batch_size = 2
rank = 2
n_shown = 1
loop = { checkpoint_every_s = 0, optim = { lr = 2e-2 } }
"""


def call(*words: Any, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora")
    own_folder(folder / "own", [f"my cat number {number}" for number in range(12)])
    (folder / "recipe.toml").write_text(RECIPE)
    write_tiny_pictures(Workspace.open(folder / "home").models / "tiny")
    return folder


@pytest.fixture(scope="module")
def home(place: Path, float32: None) -> Path:
    at = ("--workspace", place / "home", "--set", f"pictures.source={place / 'own'}")
    assert "to draw with it: --lora" in call("run", place / "recipe.toml", *at)
    return place / "home"


def test_it_is_made_drawn_with_and_traced(home: Path, tmp_path: Path) -> None:
    words = ("my cat number 1", "tiny", "--steps", 2, "--seed", 3, "--out", tmp_path, "--workspace", home)
    call("draw", *words)
    call("draw", *words, "--lora", "picture_lora:0.7")
    files = sorted(tmp_path.glob("*.png"))
    assert len(files) == 2 and files[0].read_bytes() != files[1].read_bytes()
    about = read_json(home / "models" / "picture_lora" / "malmoi.json")
    assert (
        about["kind"] == "picture lora" and about["base"] == "tiny" and {"pictures", "model"} == set(about["parents"])
    )
    assert "LoRA for tiny" in call("models", "list", "--workspace", home)
    assert "copy that folder" in call("models", "export", "picture_lora", "--workspace", home, code=2)
    page = (home / "report.html").read_text()
    assert "LoRA of pictures" in page and "without" in page


def test_diffusers_loads_what_was_trained_and_computes_the_same(home: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    pytest.importorskip("peft")
    from malmoi.formats.picture_lora import apply_loras
    from malmoi.formats.pictures import load_pictures

    file = home / "models" / "picture_lora" / "pytorch_lora_weights.safetensors"
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(home / "models" / "tiny")
    pipe.load_lora_weights(file.parent, weight_name=file.name)
    model = load_pictures(home / "models" / "tiny", torch.float32)
    x, t, states = torch.ones(1, 4, 16, 16), torch.tensor([300]), torch.ones(1, 5, 16)
    plain = model.denoiser(x, t, states)
    apply_loras(model, [str(file)], "tiny")
    with torch.no_grad():
        wanted = pipe.unet(x, t, states).sample
    torch.testing.assert_close(model.denoiser(x, t, states), wanted, rtol=1e-5, atol=2e-5)
    assert (wanted - plain).abs().max() > 1e-3


def error_of(job: Job, batches: list[Any]) -> float:
    """The same pictures, times and noise each time."""
    torch.manual_seed(0)
    with torch.no_grad():
        return sum(float(job.loss(job.model, batch)[0]) for batch in batches)


def test_it_learns_and_a_resumed_training_ends_with_the_same_adapters(home: Path, tmp_path: Path) -> None:
    inputs = Inputs(pictures=next(home.glob("runs/*-pictures/out")), model=home / "models" / "tiny")
    loop = LoopConfig(checkpoint_every_s=0, optim=OptimConfig(lr=2e-2, decay="constant"))
    config = Config(rank=2, n_steps=16, batch_size=8, micro_batch_size=8, loop=loop)
    batches = [next(iter(build(config, inputs).steps))[0] for _ in range(2)]
    job = build(config, inputs)
    frozen = {name: one.clone() for name, one in job.model.named_parameters() if not one.requires_grad}
    before = error_of(job, batches)
    torch.manual_seed(config.seed)
    fit(job, loop, [], tmp_path / "whole")
    assert error_of(job, batches) < 0.98 * before
    after = dict(job.model.named_parameters())
    assert len(frozen) > 50 and all(torch.equal(one, after[name]) for name, one in frozen.items())

    class Stopped(Exception):
        pass

    def stop(step: Step) -> None:
        if step.step == 7:
            raise Stopped

    with pytest.raises(Stopped):
        fit(build(config, inputs), loop, [stop], tmp_path / "stopped")
    again = build(config, inputs)
    fit(again, loop, [], tmp_path / "stopped")
    whole, resumed = adapters_of(job.model), adapters_of(again.model)
    for name, adapter in whole.items():
        assert torch.equal(adapter.up, resumed[name].up) and torch.equal(adapter.down, resumed[name].down)


def test_what_it_cannot_train_is_one_line(home: Path, place: Path, tmp_path: Path) -> None:
    pictures = next(home.glob("runs/*-pictures/out"))
    save_pictures(tmp_path / "inpaint", tiny_model(unet=UNET.model_copy(update={"in_channels": 9})))
    with pytest.raises(UserError, match="inpaint: is made for inpainting"):
        build(Config(n_steps=1), Inputs(pictures=pictures, model=tmp_path / "inpaint"))
    at = ("--workspace", tmp_path / "empty", "--set", f"pictures.source={place / 'own'}")
    said = call("run", place / "recipe.toml", *at, code=2)
    assert "tiny: no such picture model" in said
