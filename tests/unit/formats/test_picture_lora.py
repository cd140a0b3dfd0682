"""A LoRA that is broken, of another model or of another kind is refused in one line, and changes nothing."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from malmoi.errors import UserError
from malmoi.formats.picture_lora import apply_loras, parse_lora, read_lora, write_lora
from malmoi.image.model import PictureModel
from malmoi.workspace.transfer import import_model
from tests.tiny_pictures import tiny_model

STEM = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
GOOD = {f"{STEM}.lora_down.weight": torch.ones(2, 16), f"{STEM}.lora_up.weight": torch.ones(16, 2)}


@pytest.fixture(scope="module")
def model() -> PictureModel:
    return tiny_model()


def refused(path: Path, tensors: dict[str, Tensor], model: PictureModel) -> str:
    save_file(tensors, path)
    before = {name: one.clone() for name, one in model.denoiser.state_dict().items()}
    with pytest.raises(UserError) as error:
        apply_loras(model, [str(path)], "tiny")
    assert all(torch.equal(one, before[name]) for name, one in model.denoiser.state_dict().items())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({f"{STEM}.lora_up.weight": torch.ones(24, 2)}, "is a LoRA of another model than tiny: its unet.mid_block"),
        ({f"{STEM}.lora_down.weight": torch.ones(3, 16)}, "of another model than tiny"),
        ({f"{STEM}.lora_down.weight": torch.full((2, 16), float("nan"))}, "values that are not numbers"),
        ({f"{STEM}.alpha": torch.tensor(float("inf"))}, "values that are not numbers"),
        ({f"{STEM}.dora_scale": torch.ones(16)}, "is of another kind of adapter than LoRA"),
        ({f"{STEM}.lora_mid.weight": torch.ones(2, 2)}, "is of another kind of adapter than LoRA"),
        ({"lora_te2_text_model_x.lora_up.weight": torch.ones(2, 2)}, "is a LoRA of a Stable Diffusion XL"),
        ({"unet.down_blocks.7.to_q.lora_A.weight": torch.ones(2, 2)}, "that has no unet.down_blocks.7.to_q"),
        ({"unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 16)}, "there are two"),  # noqa: E501
        ({f"{STEM}.lora_down.weight": torch.ones(2, 16, dtype=torch.int32)}, "is stored as torch.int32"),
        ({f"{STEM}.alpha": torch.zeros(0)}, "its alpha is no number"),
    ],
)  # fmt: skip
def test_it_is_refused(tmp_path: Path, model: PictureModel, changes: dict[str, Tensor], said: str) -> None:
    assert said in refused(tmp_path / "bad.safetensors", GOOD | changes, model)


def test_half_an_adapter_an_empty_file_and_other_files_are_refused(tmp_path: Path, model: PictureModel) -> None:
    path = tmp_path / "bad.safetensors"
    half = {f"{STEM}.lora_down.weight": torch.ones(2, 16)}
    assert "its up matrix is missing" in refused(path, half, model)
    assert "holds no LoRA" in refused(path, {"conv_in.weight": torch.ones(2)}, model)
    save_file(GOOD, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="is cut off: 236 of 256 bytes"):
        read_lora(path, model, "tiny")
    with pytest.raises(UserError, match="no such file"):
        read_lora(tmp_path / "none.safetensors", model, "tiny")
    with pytest.raises(UserError, match="pickled weights"):
        (tmp_path / "old.pt").write_bytes(b"x")
        read_lora(tmp_path / "old.pt", model, "tiny")
    with pytest.raises(UserError, match="holds no pytorch_lora_weights"):
        (tmp_path / "empty").mkdir()
        read_lora(tmp_path / "empty", model, "tiny")
    save_file(GOOD, path)
    with pytest.raises(UserError, match="is a LoRA, which changes a model and is none"):
        import_model(tmp_path / "home", str(path), "style", reserved=())


def test_how_much_of_it_may_be_said(tmp_path: Path) -> None:
    assert parse_lora("a.safetensors") == (Path("a.safetensors"), 1.0)
    assert parse_lora("a.safetensors:-0.5") == (Path("a.safetensors"), -0.5)
    (tmp_path / "b:1").write_bytes(b"")
    assert parse_lora(str(tmp_path / "b:1")) == (tmp_path / "b:1", 1.0)
    for wrong in ("a.safetensors:", "a.safetensors:nan", "a.safetensors:much", "a.safetensors:11"):
        with pytest.raises(UserError, match="expected FILE or FILE:SCALE"):
            parse_lora(wrong)


def test_two_add_up_and_what_is_written_is_read(tmp_path: Path) -> None:
    save_file(GOOD | {f"{STEM}.alpha": torch.tensor(4.0)}, tmp_path / "one.safetensors")
    model = tiny_model()
    write_lora(tmp_path / "two.safetensors", read_lora(tmp_path / "one.safetensors", model, "tiny"))
    module = model.denoiser.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q")
    before = module.weight.clone()
    told = apply_loras(model, [f"{tmp_path}/one.safetensors:0.5", f"{tmp_path}/two.safetensors:2"], "tiny")
    torch.testing.assert_close(module.weight.detach(), before + 2.5 * 2 * 2)
    assert told[0].startswith("one.safetensors:0.5 (SHA-256 ") and len(told) == 2


def test_a_model_of_our_own_takes_none(tmp_path: Path, model: PictureModel) -> None:
    save_file(GOOD, tmp_path / "one.safetensors")
    other = PictureModel(model.process, torch.nn.Linear(1, 1), model.text, None, (16, 16), 3, 16)
    with pytest.raises(UserError, match="nano: takes no LoRA; only a Stable Diffusion does"):
        apply_loras(other, [str(tmp_path / "one.safetensors")], "nano")
