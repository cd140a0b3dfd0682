"""Adapters change nothing at first, then only what they say, and can be taken off or worked in without a trace."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from malmoi.algorithms import sft
from malmoi.files import write_jsonl
from malmoi.model.lora import LoraConfig, LoraLinear, WithoutAdapters, adapters_off, add_lora, merged
from malmoi.model.transformer import LanguageModel
from malmoi.train.loop import LoopConfig, fit
from malmoi.train.optim import OptimConfig

pytestmark = pytest.mark.usefixtures("float32")
IDS = torch.randint(0, 300, (2, 9), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def adapted(policy: LanguageModel) -> LanguageModel:
    """Adapters that have learned something."""
    made = copy.deepcopy(policy)
    add_lora(made, LoraConfig(rank=3, alpha=6))
    generator = torch.Generator().manual_seed(2)
    for module in made.modules():
        if isinstance(module, LoraLinear):
            module.lora_B.data.normal_(0, 0.3, generator=generator)
    return made


def test_new_adapters_change_nothing_and_only_they_learn(policy: LanguageModel) -> None:
    before = policy(IDS)
    add_lora(policy, LoraConfig(rank=4, projections=("q_proj", "down_proj")))
    torch.testing.assert_close(policy(IDS), before)
    names = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert {name.rpartition(".")[2] for name in names} == {"lora_A", "lora_B"}
    assert {name.split(".")[-2] for name in names} == {"q_proj", "down_proj"} and len(names) == 2 * 2 * 2


def test_the_frozen_share_of_the_blocks_stays_as_it_is(policy: LanguageModel) -> None:
    add_lora(policy, LoraConfig(rank=2, frozen_share=0.5))
    trained = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert trained and all(name.startswith("model.layers.1.") for name in trained)
    policy(IDS).sum().backward()
    assert all(parameter.grad is not None for parameter in policy.parameters() if parameter.requires_grad)


def test_switched_off_the_model_is_to_the_bit_what_it_was(policy: LanguageModel, adapted: LanguageModel) -> None:
    changed = adapted(IDS)
    assert not torch.allclose(changed, policy(IDS), atol=1e-2)
    with adapters_off(adapted):
        off = adapted(IDS)
    untouched = copy.deepcopy(policy)
    add_lora(untouched, LoraConfig(rank=1))
    with adapters_off(untouched):
        assert torch.equal(off, untouched(IDS))
    torch.testing.assert_close(off, policy(IDS))
    assert torch.equal(adapted(IDS), changed)
    mask = torch.ones(2, 8, dtype=torch.bool)
    reference = WithoutAdapters(adapted).logps(IDS[:, :-1], IDS[:, 1:], mask)[0]
    torch.testing.assert_close(reference, policy.logps(IDS[:, :-1], IDS[:, 1:], mask)[0])


def test_merged_does_the_same_without_adapters_and_leaves_the_model_alone(
    policy: LanguageModel, adapted: LanguageModel
) -> None:
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    plain = merged(adapted)
    assert plain.state_dict().keys() == policy.state_dict().keys()
    torch.testing.assert_close(plain(IDS), adapted(IDS), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in adapted.state_dict().items())


def test_sft_with_adapters_learns_resumes_and_keeps_no_frozen_weights(tmp_path: Path, policy_folder: Path) -> None:
    said = [("cat", "sat on the mat"), ("낱말", "모으던 일"), ("list", "holds values")]
    rows = ({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in said)
    write_jsonl(tmp_path / "chats.jsonl", rows)
    loop = LoopConfig(optim=OptimConfig(lr=3e-2, decay="constant"), checkpoint_every_s=0)
    checkpoint = tmp_path / "checkpoint.safetensors"

    def train(n_steps: int, path: Path) -> tuple[list[float], LanguageModel]:
        config = sft.Config(n_steps=n_steps, batch_size=3, loop=loop, lora=LoraConfig(rank=8))
        job, seen = sft.build(config, sft.Inputs(model=policy_folder, data=tmp_path / "chats.jsonl")), []
        fit(job, loop, [lambda step: seen.append(step.metrics["loss"])], path)
        assert isinstance(job.model, LanguageModel)
        return seen, job.model

    train(10, checkpoint)
    with safe_open(checkpoint, framework="pt") as file:
        names = {name for name in file.keys() if name.startswith("model.")}  # noqa: SIM118 (not a dict)
    assert names and all(name.endswith(("lora_A", "lora_B")) for name in names)
    resumed, model = train(20, checkpoint)
    whole, same = train(20, tmp_path / "other.safetensors")
    assert resumed == whole[10:] and whole[-1] < whole[0] / 1.3
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))


@pytest.mark.parametrize("recompute", [False, True])
def test_recomputing_blocks_gives_the_same_gradients(policy: LanguageModel, recompute: bool) -> None:
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[1, 5:] = False
    policy.model.recompute = recompute
    policy.cross_entropy(IDS[:, :-1], IDS[:, 1:], mask).backward()
    found = [parameter.grad for parameter in policy.parameters()]
    plain = copy.deepcopy(policy)
    plain.zero_grad()
    plain.model.recompute = False
    plain.cross_entropy(IDS[:, :-1], IDS[:, 1:], mask).backward()
    for a, b in zip(found, (parameter.grad for parameter in plain.parameters()), strict=True):
        torch.testing.assert_close(a, b)
