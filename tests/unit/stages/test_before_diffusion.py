"""The stages of what came before diffusion: they train, draw, and say what is lost."""

from pathlib import Path
from typing import Any

import pytest

from malmoi.errors import ConfigError, DataError
from malmoi.files import read_json
from malmoi.image.towers import ClipConfig
from malmoi.stages import autoencoder, clip, gan, pictures, vae
from tests.unit.stages.test_drawings import run

pytestmark = pytest.mark.usefixtures("float32")
SMALL = {"n_steps": 1, "batch_size": 4}
TABLES: dict[str, dict[str, Any]] = {
    "vae": {"model": {"n_code": 4, "n_channels": 8}}, "gan": {"model": {"n_code": 4, "n_channels": 8}},
    "autoencoder": {"channels": [8, 8], "n_latent": 1},
}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> dict[str, tuple[str, Path]]:
    drawn = run(pictures, tmp_path / "pictures", pictures.Settings(n=200, size=16, n_heldout=40))
    found = {"pictures": ("pictures", drawn.out)}
    run(
        clip,
        tmp_path / "clip",
        clip.Settings(model=ClipConfig(n_embd=16, n_layer=1, channels=(8, 8)), **SMALL),
        **found,
    )
    return found | {"clip": ("clip", tmp_path / "clip" / "out" / "clip")}


def test_each_trains_draws_and_is_measured_beside_real_pictures(
    made: dict[str, tuple[str, Path]], tmp_path: Path
) -> None:  # fmt: skip
    for stage, name in ((vae, "vae"), (gan, "gan")):
        finished = run(stage, tmp_path / name, stage.Settings.model_validate(TABLES[name] | SMALL), **made)
        found = read_json(finished.out / f"{name}.json")
        assert found["real"]["precision"] > found["drawn"]["precision"] and found["drawn"]["sharpness"] >= 0
        assert stage.facts(finished).sections[0].blocks
        with pytest.raises(ConfigError, match=f"{name}: pictures of"):
            odd = run(pictures, tmp_path / f"odd-{name}", pictures.Settings(n=60, size=20))
            run(stage, tmp_path / f"{name}-odd", stage.Settings(**SMALL), **{**made, "pictures": ("pictures", odd.out)})
    finished = run(
        autoencoder, tmp_path / "ae", autoencoder.Settings.model_validate(TABLES["autoencoder"] | SMALL), **made
    )
    found = read_json(finished.out / "autoencoder.json")
    assert found["latents"] == [1, 8, 8] and found["real"]["psnr"] is None and found["scaled"]["psnr"] > 10
    assert found["real"]["shape"] >= found["kept"]["shape"] and autoencoder.facts(finished).sections
    assert (finished.out / "autoencoder" / "diffusion_pytorch_model.safetensors").exists()
    with pytest.raises(ConfigError, match=r"autoencoder\.channels"):
        run(autoencoder, tmp_path / "ae-odd", autoencoder.Settings(channels=(8, 12), **SMALL), **made)


def test_too_few_held_out_pictures_are_one_line(made: dict[str, tuple[str, Path]], tmp_path: Path) -> None:
    few = run(pictures, tmp_path / "few", pictures.Settings(n=200, size=16, n_heldout=3))
    with pytest.raises(DataError, match="vae: needs 16 held-out pictures, and 3 are here"):
        run(
            vae,
            tmp_path / "vae-few",
            vae.Settings.model_validate(TABLES["vae"] | SMALL),
            **{**made, "pictures": ("pictures", few.out)},
        )
