"""A GAN's one loss holds two: each network gets the gradient of its own part, and the critic's slope is right."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.algorithms import gan
from malmoi.data.pictures import PixelBatch
from malmoi.image.gan import Gan, GanShape

CONFIG = gan.Config(n_steps=1, gamma=3.0)


@pytest.fixture
def model() -> Gan:
    torch.manual_seed(0)
    return Gan(GanShape(n_code=4, n_channels=8), 16)


def gradients(network: nn.Module, total: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(total, list(network.parameters())))


def test_each_network_learns_from_its_own_part(model: Gan) -> None:
    x = torch.rand(8, 3, 16, 16) * 2 - 1
    ours, metrics = [], {}
    for network in (model.generator, model.critic):
        torch.manual_seed(1)
        total, metrics = gan.loss(model, PixelBatch(x), CONFIG)
        ours.append(gradients(network, total))
    torch.manual_seed(1)
    drawn = model.generator(torch.randn(8, 4))
    (slope,) = torch.autograd.grad(model.critic(leaf := x[:1].clone().requires_grad_()).sum(), leaf, create_graph=True)
    penalty = CONFIG.gamma / 2 * slope.square().sum() * 8
    of_critic = F.softplus(-model.critic(x)).sum() + F.softplus(model.critic(drawn.detach())).sum() + penalty
    theirs = [
        gradients(model.generator, F.softplus(-model.critic(drawn)).sum()),
        gradients(model.critic, of_critic),
    ]  # fmt: skip
    for own, other in zip(ours, theirs, strict=True):
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(own, other, strict=True))
    assert float(metrics["slope"]) == pytest.approx(float(slope.detach().square().sum()) * 8, rel=1e-5)


def test_the_slope_of_a_plane_is_its_steepness(model: Gan) -> None:
    plane = nn.Linear(3 * 16 * 16, 1)
    model.critic = nn.Sequential(nn.Flatten(), plane)
    found = gan.steepness(model, torch.rand(5, 3, 16, 16))
    assert float(found.detach()) == pytest.approx(float(plane.weight.detach().square().sum()), rel=1e-5)
