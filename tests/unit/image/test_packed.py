"""Packed weights give the numbers of plain ones."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from malmoi.image.draw import draw, request_for
from malmoi.image.files import Pixels
from malmoi.image.lora import Adapter, lent, merge
from malmoi.image.model import PictureModel
from malmoi.image.packed import PackedConv, PackedLinear, for_drawing, pack
from tests.tiny_pictures import tiny_model

pytestmark = pytest.mark.usefixtures("float32")
NAME = "mid_block.attentions.0.transformer_blocks.0.attn1.to_v"
LORA = {
    f"unet.{NAME}": Adapter(torch.ones(2, 16), torch.ones(16, 2), 1.0),
    "unet.mid_block.attentions.0.proj_in": Adapter(torch.ones(2, 16, 1, 1), torch.ones(16, 2, 1, 1), 0.1),
    "unet.conv_in": Adapter(torch.ones(2, 4, 3, 3), torch.ones(8, 2, 1, 1), 0.1),
}


def drawn(model: PictureModel, **how: Any) -> list[Pixels]:
    return [one.pixels for one in draw(model, request_for(model, "red circle", steps=3, **how))]


def farthest(these: list[Pixels], those: list[Pixels]) -> int:
    return max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(these, those, strict=True))


def shapes() -> dict[str, nn.Linear | nn.Conv2d]:
    return {
        "linear": nn.Linear(7, 5), "no bias": nn.Linear(16, 32, bias=False), "places": nn.Conv2d(5, 16, 1),
        "around": nn.Conv2d(3, 8, 3, padding=1), "half": nn.Conv2d(8, 8, 3, stride=2),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", shapes())
def test_a_packed_layer_is_the_plain_one(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    plain = shapes()[name].to(dtype)
    holder, n_in, near = nn.ModuleDict({"layer": plain}), plain.weight.shape[1], 4 * torch.finfo(dtype).eps
    inputs = [torch.randn(3, n_in), torch.randn(2, n_in, 4).transpose(1, 2)]
    if isinstance(plain, nn.Conv2d):
        inputs = [torch.randn(2, n_in, 9, 5), torch.randn(1, n_in, 16, 16).to(memory_format=torch.channels_last)]
    pack(holder)
    with torch.inference_mode():
        for x in inputs:
            torch.testing.assert_close(holder["layer"](x.to(dtype)), plain(x.to(dtype)), rtol=near, atol=near)
    packed = holder["layer"].weight
    assert isinstance(packed, Tensor) and torch.equal(packed.detach().to_dense().view_as(plain.weight), plain.weight)


def test_all_products_are_packed_where_this_processor_can() -> None:
    model = for_drawing(for_drawing(tiny_model()))
    assert isinstance(model.autoencoder, nn.Module)
    layers = [*model.denoiser.modules(), *model.autoencoder.modules()]
    products = [one for one in layers if isinstance(one, nn.Linear | nn.Conv2d)]
    assert len({isinstance(one, PackedLinear | PackedConv) for one in products}) == 1


def test_a_packed_model_draws_the_same_alone_and_among_others() -> None:
    plain, packed = tiny_model(), for_drawing(tiny_model())
    photo = np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for how in ({"n": 3, "seed": 5}, {"size": (16, 48)}, {"start": photo}):
        assert farthest(drawn(packed, **how), drawn(plain, **how)) <= 1, how
    together = drawn(packed, n=3, seed=5)
    assert farthest(together, [drawn(packed, seed=seed)[0] for seed in (5, 6, 7)]) <= 1


def test_a_lora_changes_a_packed_model_as_a_plain_one_and_leaves_nothing() -> None:
    plain, packed = tiny_model(), for_drawing(tiny_model())
    before = drawn(packed)
    with lent(packed, [(LORA, 0.5), (LORA, 0.5)]):
        inside = drawn(packed)
    assert farthest(drawn(packed), before) == 0
    merge(plain, LORA, 1.0)
    assert farthest(inside, drawn(plain)) <= 1 and farthest(inside, before) > 10
