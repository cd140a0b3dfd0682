"""Cross-entropy in chunks beside PyTorch's over all logits at once."""

import pytest
import torch
import torch.nn.functional as F

from malmoi.model.cross_entropy import CHUNK, cross_entropy_sum, token_logps

pytestmark = pytest.mark.usefixtures("float32")


@pytest.mark.parametrize("n", [0, 1, 7, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_value_and_gradients_are_those_of_pytorch(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    hidden = torch.randn(n, 12, generator=generator, requires_grad=True)
    weight = torch.randn(31, 12, generator=generator, requires_grad=True)
    targets = torch.randint(31, (n,), generator=generator)
    ours = cross_entropy_sum(hidden, weight, targets)
    theirs = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(loss * 0.3, [hidden, weight]) for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_without_gradients_the_value_is_the_same() -> None:
    hidden, weight, targets = torch.randn(9, 4), torch.randn(5, 4), torch.arange(9) % 5
    with torch.no_grad():
        alone = cross_entropy_sum(hidden, weight, targets)
    assert not alone.requires_grad
    assert torch.equal(alone, cross_entropy_sum(hidden, weight.requires_grad_(), targets).detach())


def test_gradients_that_are_scaled_in_place_are_given_out_once() -> None:
    hidden = torch.randn(9, 4, requires_grad=True)
    loss = cross_entropy_sum(hidden, torch.randn(5, 4), torch.arange(9) % 5)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        loss.backward()


def test_under_autocast_products_are_bfloat16_and_gradients_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(40, 64, generator=generator, requires_grad=True)
    weight = (torch.randn(100, 64, generator=generator) / 8).requires_grad_()
    targets = torch.randint(100, (40,), generator=generator)
    exact = cross_entropy_sum(hidden, weight, targets)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = cross_entropy_sum(hidden, weight, targets)
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=5e-3)
    gradients = [torch.autograd.grad(loss, [hidden, weight]) for loss in (rounded, exact)]
    for found, expected in zip(*gradients, strict=True):
        assert found.dtype == torch.float32
        assert float((found - expected).norm() / expected.norm()) < 0.02


def test_an_impossible_target_costs_a_finite_number_of_nats() -> None:
    hidden, weight = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[0.0], [500.0]])
    loss = cross_entropy_sum(hidden, weight, torch.tensor([0]))
    loss.backward()
    assert 80 < loss.item() <= 500 and hidden.grad is not None and hidden.grad.item() == 500


@pytest.mark.parametrize("n", [0, 1, CHUNK + 1])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_token_logps_and_their_gradients_are_those_of_log_softmax(n: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(n)
    hidden = torch.randn(n, 12, generator=generator, requires_grad=True)
    weight = torch.randn(31, 12, generator=generator, requires_grad=True)
    targets = torch.randint(31, (n,), generator=generator)
    found, entropy = token_logps(hidden, weight, targets, temperature)
    everything = (hidden @ weight.T / temperature).log_softmax(-1)
    expected = everything.gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(entropy, -(everything.exp() * everything).sum(1).detach())
    upstream = torch.randn(n, generator=generator)
    gradients = [torch.autograd.grad((logps * upstream).sum(), [hidden, weight]) for logps in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_a_frozen_head_gets_no_gradient_and_hidden_states_theirs() -> None:
    hidden, weight, targets = torch.randn(5, 4, requires_grad=True), torch.randn(7, 4), torch.arange(5)
    for loss in (cross_entropy_sum(hidden, weight, targets), -token_logps(hidden, weight, targets)[0].sum()):
        expected = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
        found = [torch.autograd.grad(value, hidden)[0] for value in (loss, expected)]
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
