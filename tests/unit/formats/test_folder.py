"""Model folders: what is saved is what is loaded, and anything else is refused by name."""

import copy
import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from malmoi import device
from malmoi.errors import CheckpointError, DataError, UserError
from malmoi.files import read_json, write_json
from malmoi.formats.folder import load_model, load_reward_model, load_text, save_model
from malmoi.formats.huggingface import Dtype
from malmoi.model.config import ModelConfig
from malmoi.model.finite import is_finite
from malmoi.model.lora import LoraConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel, initialise, keep_layers
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.reference import policy_and_reference

pytestmark = pytest.mark.usefixtures("float32")
FILES = {
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja", "malmoi.json",
}  # fmt: skip


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_comes_back(
    tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate, tied: bool
) -> None:
    model = LanguageModel(shape.model_copy(update={"tie_embeddings": tied}))
    save_model(tmp_path / "model", model, tokenizer, template, {"run": "r7", "parents": {"a": "b"}})
    assert {path.name for path in (tmp_path / "model").iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    loaded = load_model(tmp_path / "model")
    assert loaded.config == model.config
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    about = read_json(tmp_path / "model" / "malmoi.json")
    assert (about["run"], about["parents"], about["kind"]) == ("r7", {"a": "b"}, "policy")
    text = load_text(tmp_path / "model")
    assert text[0].encode("낱말 cat") == tokenizer.encode("낱말 cat") and text[1] == template


def test_matrices_can_stay_in_the_format_of_the_file(
    tmp_path: Path, policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    save_model(tmp_path / "model", policy, tokenizer, template, {}, "bfloat16")
    whole, loaded = load_model(tmp_path / "model"), load_model(tmp_path / "model", dtype=None)
    assert {parameter.dtype for parameter in whole.parameters()} == {torch.float32}
    for name, parameter in loaded.named_parameters():
        assert parameter.dtype == (torch.bfloat16 if parameter.ndim > 1 else torch.float32)
        assert torch.equal(parameter.float(), whole.get_parameter(name))


def test_a_folder_is_replaced_as_a_whole(
    tmp_path: Path, policy: LanguageModel, reward_folder: Path, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    (reward_folder / "old file").touch()
    save_model(reward_folder, policy, tokenizer, template, {})
    assert {path.name for path in reward_folder.iterdir()} == FILES
    assert isinstance(load_model(reward_folder), LanguageModel)


def test_a_folder_that_cannot_be_written_leaves_the_old_one(
    policy: LanguageModel, policy_folder: Path, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    before = (policy_folder / "malmoi.json").read_bytes()
    with pytest.raises(TypeError):
        save_model(policy_folder, policy, tokenizer, template, {"not JSON": object()})
    assert (policy_folder / "malmoi.json").read_bytes() == before
    assert {path.name for path in policy_folder.parent.iterdir()} == {"policy"}


@pytest.mark.parametrize("n_synced", range(7))
def test_a_disk_that_fills_up_leaves_what_was_there(
    policy: LanguageModel, policy_folder: Path, tokenizer: Tokenizer, template: ChatTemplate, n_synced: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Whichever of the seven files the disk has no room for."""
    before = {path.name: path.read_bytes() for path in policy_folder.iterdir()}
    n_left, really_sync = [n_synced], os.fsync

    def sync(descriptor: int) -> None:
        if not n_left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        n_left[0] -= 1
        really_sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    for name in ("policy", "another"):
        n_left[0] = n_synced
        with pytest.raises(UserError, match="the disk is full"):
            save_model(policy_folder.with_name(name), policy, tokenizer, template, {"run": "r8"})
    assert [path.name for path in policy_folder.parent.iterdir()] == ["policy"]
    assert {path.name: path.read_bytes() for path in policy_folder.iterdir()} == before


def test_a_reward_model_comes_back_with_its_bias(
    reward_model: ScalarModel, reward_folder: Path, tmp_path: Path
) -> None:
    tensors = load_file(reward_folder / "model.safetensors")
    save_file(tensors | {"score_bias": torch.tensor(1.5)}, reward_folder / "model.safetensors")
    loaded = load_model(reward_folder, ScalarModel)
    ids = torch.tensor([[7, 8, 9]])
    torch.testing.assert_close(loaded(ids), reward_model(ids) + 1.5)
    with pytest.raises(CheckpointError, match="is a reward model"):
        load_model(reward_folder)


def test_a_frozen_model_takes_half_and_says_the_same(policy_folder: Path, reward_folder: Path) -> None:
    ids = torch.arange(7, 27).view(2, 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MALMOI_DTYPE", "bfloat16")
        device.current.cache_clear()
        with device.autocast():
            assert torch.equal(load_reward_model(reward_folder)(ids), load_model(reward_folder, ScalarModel)(ids))
            policy, ref = policy_and_reference(policy_folder, LoraConfig())
            assert torch.equal(ref(ids), policy(ids))
    device.current.cache_clear()
    kept = {name: parameter.dtype for name, parameter in load_reward_model(reward_folder).named_parameters()}
    assert set(kept.values()) == {torch.float32}
    assert isinstance(ref, LanguageModel)
    halved = {name for name, parameter in ref.named_parameters() if parameter.dtype == torch.bfloat16}
    assert halved == {name for name in kept if name.endswith("_proj.weight")}
    assert not any(parameter.requires_grad for parameter in ref.parameters())


def test_an_ensemble_comes_back_head_by_head(
    tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    ensemble = ScalarModel(shape, n_heads=3)
    ensemble.score_bias.copy_(torch.tensor([0.5, -1.0, 2.0]))
    save_model(tmp_path / "ensemble", ensemble, tokenizer, template, {})
    loaded, ids = load_model(tmp_path / "ensemble", ScalarModel), torch.tensor([[7, 8, 9]])
    assert loaded.n_heads == 3 and torch.equal(loaded.scores(ids), ensemble.scores(ids))
    torch.testing.assert_close(loaded(ids), loaded.scores(ids).mean(-1))
    heads = loaded.score.weight
    assert not torch.equal(heads[0], heads[1]) and not torch.equal(heads[1], heads[2])
    one = load_model(tmp_path / "ensemble", ScalarModel)
    one.score.weight.data, one.score_bias, one.n_heads = heads[:1].data, torch.tensor(0.5), 1
    torch.testing.assert_close(one(ids), loaded.scores(ids)[..., 0])


def test_a_classifier_of_several_labels_is_no_reward_model(
    tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    save_model(tmp_path / "labels", ScalarModel(shape, n_heads=2), tokenizer, template, {})
    config = json.loads((tmp_path / "labels" / "config.json").read_text())
    config["problem_type"] = "single_label_classification"
    (tmp_path / "labels" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"scores 2 labels; a reward model has one score"):
        load_model(tmp_path / "labels", ScalarModel)


@pytest.mark.parametrize("tied", [False, True])
def test_a_reward_model_starts_from_a_language_model_with_a_new_head(
    tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate, tied: bool
) -> None:
    policy = LanguageModel(shape.model_copy(update={"tie_embeddings": tied}))
    save_model(tmp_path / "policy", policy, tokenizer, template, {})
    one, same, other = (load_model(tmp_path / "policy", ScalarModel, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.model.layers[0].mlp.up_proj.weight, policy.model.layers[0].mlp.up_proj.weight)
    assert torch.equal(one.score.weight, same.score.weight) and not torch.equal(one.score.weight, other.score.weight)
    assert one.score_bias == 0


@pytest.mark.parametrize("kept", [0, 8, 0.5, -1])
def test_truncated_weights_are_refused(policy_folder: Path, kept: float) -> None:
    path = policy_folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 if kept == 0.5 else int(kept)])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated or not safetensors"):
        load_model(policy_folder)


def test_forged_weights_are_refused(policy_folder: Path) -> None:
    """A header that points behind the file's end, and a pickle under the name."""
    path = policy_folder / "model.safetensors"
    header = json.dumps({"lm_head.weight": {"dtype": "F32", "shape": [300, 16], "data_offsets": [0, 300 * 16 * 4]}})
    for data in (len(header).to_bytes(8, "little") + header.encode() + b"\0" * 8, b"\x80\x04\x95boom."):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load_model(policy_folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(
    policy_folder: Path, reward_folder: Path, dtype: torch.dtype, value: float
) -> None:
    for folder, kind, name in (
        (policy_folder, LanguageModel, "model.layers.1.mlp.up_proj.weight"),
        (reward_folder, ScalarModel, "score.weight"),
        (reward_folder, ScalarModel, "model.norm.weight"),
    ):
        path = folder / "model.safetensors"
        whole = {key: tensor.to(dtype) for key, tensor in load_file(path).items()}
        spoilt = {**whole, name: whole[name].clone()}
        spoilt[name].view(-1)[-1] = value
        save_file(spoilt, path)
        with pytest.raises(CheckpointError, match=rf"model\.safetensors: {name} has values that are not numbers"):
            load_model(folder, kind)
        save_file(whole, path)
        load_model(folder, kind)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_that_are_no_numbers_are_not_written(
    policy: LanguageModel, policy_folder: Path, tokenizer: Tokenizer, template: ChatTemplate, dtype: Dtype
) -> None:
    before = (policy_folder / "model.safetensors").read_bytes()
    policy.model.norm.weight.data[3] = float("nan")
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight: has values that are not numbers"):
        save_model(policy_folder, policy, tokenizer, template, {}, dtype)
    assert (policy_folder / "model.safetensors").read_bytes() == before


def test_one_wrong_value_is_found_wherever_it_is() -> None:
    assert is_finite(torch.empty(0)) and is_finite(torch.tensor(3.0))
    large = torch.full((3, 2**20), torch.finfo(torch.float32).max)
    assert is_finite(large)  # though their sum is not
    for index in (0, 2**20 - 1, 2**20, 3 * 2**20 - 1):
        for value in (float("nan"), float("-inf")):
            spoilt = large.clone()
            spoilt.view(-1)[index] = value
            assert not is_finite(spoilt) and not is_finite(spoilt.T)


def test_weights_of_another_architecture_are_refused_by_name(policy_folder: Path) -> None:
    path, config = policy_folder / "model.safetensors", policy_folder / "config.json"
    tensors, settings = load_file(path), read_json(config)
    write_json(config, settings | {"intermediate_size": 48})
    with pytest.raises(CheckpointError, match=r"down_proj\.weight is \(16, 24\), config\.json says \(16, 48\)"):
        load_model(policy_folder)
    write_json(config, settings | {"num_hidden_layers": 3})
    with pytest.raises(CheckpointError, match=r"layers\.2\.input_layernorm\.weight is missing"):
        load_model(policy_folder)
    write_json(config, settings)
    save_file(tensors | {"adapter": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="adapter is unknown"):
        load_model(policy_folder)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("config.json", "is not a model folder"),
        ("model.safetensors", "no such file"),
        ("tokenizer.json", "holds its tokenizer"),
        ("chat_template.jinja", "holds its template"),
    ],
)
def test_a_missing_file_is_named(policy_folder: Path, name: str, says: str) -> None:
    (policy_folder / name).unlink()
    with pytest.raises(CheckpointError, match=says):
        load_model(policy_folder)
        load_text(policy_folder)


def test_what_is_no_folder_or_no_json_is_named(policy_folder: Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        load_text(policy_folder / "nowhere")
    (policy_folder / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json: not valid JSON"):
        load_model(policy_folder)


@pytest.mark.parametrize("wrong", [{"n_head": 3, "n_kv_head": 2}, {"head_dim": 7}])
def test_shapes_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"n_head 3 is not a multiple|head_dim 7 is odd"):
        ModelConfig.model_validate(wrong)


def test_a_new_network_predicts_every_token_alike_and_depends_on_its_seed_alone(shape: ModelConfig) -> None:
    one, same, other = (LanguageModel(shape) for _ in range(3))
    initialise(one, 3)
    torch.manual_seed(99)
    initialise(same, 3)
    initialise(other, 4)
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in one.state_dict().items())
    assert not torch.equal(one.model.embed_tokens.weight, other.model.embed_tokens.weight)
    ids = torch.arange(10)[None]
    nats = one.cross_entropy(ids, ids, torch.ones_like(ids, dtype=torch.bool)).item() / 10
    assert nats == pytest.approx(torch.tensor(float(shape.vocab_size)).log().item(), rel=1e-5)


def test_new_heads_are_as_large_as_asked_and_a_learned_one_stays(tmp_path: Path, policy_folder: Path) -> None:
    full, tenth, none = (
        load_model(policy_folder, ScalarModel, seed=3, n_heads=2, head_scale=scale) for scale in (1.0, 0.1, 0.0)
    )
    torch.testing.assert_close(tenth.score.weight, full.score.weight / 10)
    assert not none.score.weight.any()
    save_model(tmp_path / "reward", full, *load_text(policy_folder), {})
    again = load_model(tmp_path / "reward", ScalarModel, head_scale=0.0)
    assert torch.equal(again.score.weight, full.score.weight)


def test_a_network_of_the_first_blocks_is_what_the_whole_has_there(
    tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    smollm3 = {"qk_norm": False, "qkv_bias": False, "no_rope_layers": (1, 4)}
    whole = ScalarModel(shape.model_copy(update={"n_layer": 5, **smollm3}))
    ids, seen = torch.arange(4, 13)[None], []
    whole.model.layers[2].register_forward_hook(lambda module, given, out: seen.append(out))
    short = copy.deepcopy(whole)
    keep_layers(short, 3)
    whole(ids)
    assert torch.equal(short.model(ids), whole.model.norm(seen[0]))
    save_model(tmp_path / "reward", short, tokenizer, template, {})
    again = load_model(tmp_path / "reward", ScalarModel)
    assert (again.config.n_layer, again.config.no_rope_layers, whole.config.n_layer) == (3, (1,), 5)
    assert torch.equal(again(ids), short(ids))
