"""The schedule, the parameter groups, and Muon beside its definition."""

import math

import pytest
import torch
from torch import nn

from malmoi.errors import ConfigError
from malmoi.model.config import ModelConfig
from malmoi.model.lora import LoraConfig, add_lora
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.train.optim import Muon, OptimConfig, lr_ratio, make_optimizers, orthogonalise

pytestmark = pytest.mark.usefixtures("float32")


def ratios(n_steps: int, **given: object) -> list[float]:
    config = OptimConfig.model_validate(given)
    return [lr_ratio(config, step, n_steps) for step in range(1, n_steps + 1)]


def test_the_schedule_rises_linearly_and_falls_as_asked() -> None:
    assert ratios(4, decay="constant") == [1, 1, 1, 1]
    assert ratios(4, decay="linear") == [1, 0.75, 0.5, 0.25]
    assert ratios(6, decay="linear", warmup_steps=2, final_lr_ratio=0.2) == pytest.approx([0.5, 1, 1, 0.8, 0.6, 0.4])
    cosine = [0.5 * (1 + math.cos(math.pi * i / 5)) for i in range(5)]
    assert ratios(5, decay="cosine") == pytest.approx(cosine)
    assert ratios(3, warmup_steps=5) == pytest.approx([0.2, 0.4, 0.6])


@pytest.mark.parametrize("decay", ["constant", "linear", "cosine"])
def test_no_step_is_without_effect(decay: str) -> None:
    for n_steps in (1, 2, 7):
        found = ratios(n_steps, decay=decay, warmup_steps=min(2, n_steps - 1))
        assert all(0 < ratio <= 1 for ratio in found)


@pytest.mark.parametrize("shape", [(8, 8), (16, 64), (4, 100), (1, 5)])
def test_orthogonalised_matrices_have_singular_values_about_1(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(5, shape[0], shape[0], generator=generator))
    right, _ = torch.linalg.qr(torch.randn(5, shape[1], shape[0], generator=generator))
    values = torch.linspace(0.05, 1, shape[0]) * torch.tensor([1e-3, 0.1, 1.0, 10.0, 1e3])[:, None]
    found = orthogonalise(left @ torch.diag_embed(values) @ right.mT)
    singular = torch.linalg.svdvals(found)
    assert singular.min() > 0.65 and singular.max() < 1.25
    # The singular directions are kept: Uᵀ X V is diagonal still.
    core = left.mT @ found @ right
    torch.testing.assert_close(core, torch.diag_embed(core.diagonal(dim1=1, dim2=2)), atol=1e-3, rtol=0)


def test_muon_is_nesterov_momentum_orthogonalised_and_scaled() -> None:
    """Two steps over tall, wide and square matrices, stacked inside, beside one matrix after another."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 4), (4, 6), (6, 4), (4, 4)]
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    expected = [parameter.detach().clone() for parameter in parameters]
    momenta = [torch.zeros(shape) for shape in shapes]
    muon = Muon(parameters, lr=0.1, momentum=0.9, weight_decay=0.5)
    for _ in range(2):
        for i, parameter in enumerate(parameters):
            gradient = torch.randn(shapes[i], generator=generator)
            parameter.grad = gradient.clone()
            momenta[i] = 0.9 * momenta[i] + 0.1 * gradient
            update = 0.1 * gradient + 0.9 * momenta[i]
            is_tall = shapes[i][0] > shapes[i][1]
            update = orthogonalise((update.T if is_tall else update)[None])[0]
            scale = math.sqrt(shapes[i][0] / shapes[i][1]) if is_tall else 1.0
            expected[i] = expected[i] * (1 - 0.1 * 0.5) - 0.1 * scale * (update.T if is_tall else update)
        muon.step()
    for parameter, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("kind", [LanguageModel, ScalarModel])
def test_every_weight_is_moved_by_one_optimizer_at_its_own_rate(shape: ModelConfig, kind: type, name: str) -> None:
    model = kind(shape)
    config = OptimConfig.model_validate(
        {"name": name, "lr": 0.1, "embedding_lr": 0.2, "head_lr": 0.3, "weight_decay": 0.01}
    )
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {}
    for optimizer in make_optimizers(model, config):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                assert names[parameter] not in found
                found[names[parameter]] = (type(optimizer).__name__, group["peak_lr"], group["weight_decay"])
    assert found.keys() == set(names.values())
    matrices = {"adamw": "AdamW", "muon": "Muon"}[name]
    for parameter, group in found.items():
        if parameter.endswith("_proj.weight"):
            assert group == (matrices, 0.1, 0.01), parameter
        elif "embed_tokens" in parameter:
            assert group == ("AdamW", 0.2, 0.0), parameter
        else:
            assert group == ("AdamW", 0.3, 0.0), parameter


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_adapters_need_no_second_optimizer(shape: ModelConfig, name: str) -> None:
    model = LanguageModel(shape)
    add_lora(model, LoraConfig(rank=2))
    [optimizer] = make_optimizers(model, OptimConfig.model_validate({"name": name}))
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(moved) == sum(parameter.requires_grad for parameter in model.parameters()) > 0


def test_where_every_weight_is_frozen_there_is_nothing_to_train(shape: ModelConfig) -> None:
    model = LanguageModel(shape)
    add_lora(model, LoraConfig(rank=2, projections=()))
    with pytest.raises(ConfigError, match="nothing is left to train"):
        make_optimizers(model, OptimConfig())


def test_learned_positions_move_as_embeddings_do(shape: ModelConfig) -> None:
    model = LanguageModel(shape.model_copy(update={"positions": "learned"}))
    optimizers = make_optimizers(model, OptimConfig(lr=0.1, embedding_lr=0.2, head_lr=0.3))
    rates = {id(p): group["peak_lr"] for o in optimizers for group in o.param_groups for p in group["params"]}
    assert rates[id(model.model.embed_positions.weight)] == rates[id(model.model.embed_tokens.weight)] == 0.2


def test_frozen_weights_have_no_optimizer(shape: ModelConfig) -> None:
    model = LanguageModel(shape)
    model.model.layers.requires_grad_(False)
    for name in ("adamw", "muon"):
        [optimizer] = make_optimizers(model, OptimConfig.model_validate({"name": name}))
        moved = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        assert moved == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
