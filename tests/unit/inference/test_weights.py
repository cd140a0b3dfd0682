"""Models as they answer say what the trained ones say, as nearly as their number format can."""

import pytest
import torch

from malmoi.inference.weights import GROUP, Int4Linear, Int8Linear, for_inference
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel, initialise

pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    made = LanguageModel(
        ModelConfig(vocab_size=96, n_layer=2, n_embd=64, n_head=4, n_kv_head=2, head_dim=16, n_ff=128,
                    tie_embeddings=request.param)
    )  # fmt: skip
    initialise(made, 1)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.1, generator=generator)
    return made


TOLERANCES = [("float32", 1e-5), ("bfloat16", 0.03), ("int8", 0.03), ("int4", 0.3)]


@pytest.mark.parametrize(("weights", "tolerance"), TOLERANCES)
def test_logits_stay_near(model: LanguageModel, weights: str, tolerance: float) -> None:
    ids = torch.randint(0, 96, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(ids)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=weights != "float32"):
            found = for_inference(model, weights)(ids).float()  # type: ignore[arg-type]
    assert (found - expected).norm() < tolerance * expected.norm()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_int8_rounds_to_the_nearest_of_255_steps() -> None:
    weight = torch.randn(48, 64, generator=torch.Generator().manual_seed(2))
    linear = Int8Linear(weight, None)
    steps = weight.abs().amax(dim=1, keepdim=True) / 127
    assert ((linear.weight * steps - weight).abs() <= steps / 2 + 1e-6).all()
    found = linear(torch.eye(64)).float().T
    assert ((found - weight).abs() <= steps / 2 + weight.abs() * 2**-7 + 1e-6).all()


def test_int4_rounds_to_the_nearest_of_16_steps_of_its_group() -> None:
    weight = torch.randn(64, 4 * GROUP, generator=torch.Generator().manual_seed(3))
    bias = torch.randn(64, generator=torch.Generator().manual_seed(4))
    groups = weight.unflatten(1, (-1, GROUP))
    steps = (groups.amax(2) - groups.amin(2)).repeat_interleave(GROUP, 1) / 15
    found = Int4Linear(weight, bias)(torch.eye(4 * GROUP)[None])[0].float().T - bias[:, None]
    # Scale, zero, product and sum are rounded to bfloat16's 8 bits too.
    assert ((found - weight).abs() <= steps / 2 + 0.05).all()
