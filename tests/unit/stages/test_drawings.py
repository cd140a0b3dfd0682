"""The stage `drawings` for pictures of one's own, of which no oracle says anything; few ones, too."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from malmoi.config import parse
from malmoi.errors import ConfigError, DataError
from malmoi.evals.drawings import draw_captions
from malmoi.facts import Note
from malmoi.files import read_json
from malmoi.formats.inspect import ABOUT
from malmoi.image.dit import Denoiser, DenoiserConfig, DenoiserShape
from malmoi.image.towers import ClipConfig
from malmoi.stage import Finished, Input, InputsByRole
from malmoi.stages import clip, consistency, denoiser, drawings, gan, pictures, vae
from tests.tiny_pictures import tiny_model
from tests.unit.stages.test_pictures import own_folder

pytestmark = pytest.mark.usefixtures("float32")
TOWERS = ClipConfig(n_embd=16, n_layer=1, channels=(8, 8))
SHAPE = DenoiserShape(patch=8, n_embd=16, n_layer=1, n_head=2, n_text_layer=0)


def run(stage: Any, folder: Path, settings: Any, **reads: tuple[str, Path]) -> Finished:
    found = InputsByRole({role: (Input(kind, role, {"": path}),) for role, (kind, path) in reads.items()})
    context: Any = SimpleNamespace(
        run_id=folder.name, folder=folder, out=folder / "out", reads=found, parents={}, hooks=[], say=lambda line: None
    )
    folder.mkdir()
    stage.run(context, settings)
    return Finished(folder.name, folder.name, folder, settings, found)


@pytest.mark.parametrize("n", [3, 60])
def test_pictures_of_ones_own_go_through_all_stages_without_an_oracle(tmp_path: Path, n: int) -> None:
    folder = own_folder(tmp_path / "own", [f"thing {number}" for number in range(n)])
    first = run(pictures, tmp_path / "pictures", pictures.Settings(source=str(folder), size=16))
    made = {"pictures": ("pictures", first.out)}
    small = {"n_steps": 1, "batch_size": 4}
    run(clip, tmp_path / "clip", clip.Settings(model=TOWERS, **small), **made)
    made["clip"] = ("clip", tmp_path / "clip" / "out" / "clip")
    run(denoiser, tmp_path / "denoiser", denoiser.Settings(model=SHAPE, **small), **made)
    model = tmp_path / "denoiser" / "out" / "model"
    assert read_json(model / ABOUT)["trained_on"]["licences"].keys() == {"not stated"}
    assert "Knows what is in the" in read_json(model / "model_index.json")["en"]
    settings = drawings.Settings(n=4, n_sweep=4, guidances=(1.0,), steps=(1,))
    last = run(drawings, tmp_path / "drawings", settings, **made, model=("picture model", model))
    found = read_json(last.out / "drawings.json")
    assert "oracle" not in found and "drawn" not in found and ("distance" in found) == (n == 60)
    blocks = [block for section in drawings.facts(last).sections for block in section.blocks]
    notes = [block.text for block in blocks if isinstance(block, Note)]
    assert any(note.startswith("No oracle") for note in notes)
    assert any(note.startswith("Distances are left out") for note in notes) == (n == 3)
    assert pictures.facts(first).sections


def test_a_model_of_ones_own_also_draws_in_bfloat16() -> None:
    """Its times are computed in float32, whatever its weights are in."""
    network = Denoiser(DenoiserConfig(**SHAPE.model_dump(), n_channels=3, size=16, n_context=32)).to(torch.bfloat16)
    x, states = torch.randn(2, 3, 16, 16).bfloat16(), torch.randn(2, 5, 32).bfloat16()
    assert network(x, torch.rand(2), states).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (drawings.Settings, {"steps": [4, 0]}),
        (drawings.Settings, {"guidances": [1.0, -1.0]}),
        (drawings.Settings, {"guidances": [float("nan")]}),
        (consistency.Settings, {"n_steps": 1, "few": [0]}),
        (consistency.Settings, {"n_steps": 1, "many": []}),
        (clip.Settings, {"n_steps": 1, "model": {"n_head": 3}}),
        (clip.Settings, {"n_steps": 1, "model": {"channels": []}}),
        (vae.Settings, {"n_steps": 1, "model": {"n_channels": 12}}),
        (gan.Settings, {"n_steps": 1, "model": {"n_channels": 4}}),
    ],
    ids=lambda value: "" if isinstance(value, type) else str(value),
)
def test_settings_that_no_run_could_end_with_are_refused_before_it(schema: type[Any], given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        parse(schema, given, "recipe")
    assert "\n" not in str(error.value)


def test_values_that_are_not_numbers_are_no_pictures_to_measure() -> None:
    model = tiny_model(seed=2)
    next(model.denoiser.parameters()).data.fill_(float("nan"))
    with pytest.raises(DataError, match="drew values that are not numbers"):
        draw_captions(model, ["a red circle"], 1, 1.0, "ddim")
