"""Model folders as the ecosystem expects them: transformers, vLLM and llama.cpp load them as they are.

`config.json`, `model.safetensors`, `generation_config.json`, `tokenizer.json`, `tokenizer_config.json`,
`chat_template.jinja`, and beside them `malmoi.json`, which names the run that made the model and its parents.
"""

import shutil
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from malmoi import __version__, device
from malmoi.errors import CheckpointError, UserError
from malmoi.files import disk_errors, read_json, write_bytes, write_json
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.tokenizer.bpe import END_OF_TURN, PAD, Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

WEIGHTS = "model.safetensors"
Model = TypeVar("Model", LanguageModel, ScalarModel)


def save_model(
    folder: Path,
    model: LanguageModel | ScalarModel,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    about: dict[str, Any],
) -> None:
    """Write a whole model folder beside its place and rename it there. `about` goes into `malmoi.json`."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with disk_errors(folder):
        try:
            partial.mkdir(parents=True)
            _write_files(partial, model, tokenizer, template, about)
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _write_files(
    folder: Path,
    model: LanguageModel | ScalarModel,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    about: dict[str, Any],
) -> None:
    is_reward = isinstance(model, ScalarModel)
    special = {"eos_token_id": tokenizer.end_of_turn_id, "pad_token_id": tokenizer.pad_id}
    write_json(folder / "config.json", model.config.to_hf(reward=is_reward, **special))
    write_json(folder / "generation_config.json", {"do_sample": True, "temperature": 1.0, **special})
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END_OF_TURN, "pad_token": PAD,
         "model_max_length": model.config.seq_len, "clean_up_tokenization_spaces": False},
    )  # fmt: skip
    tokenizer.save(folder)
    template.save(folder)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_embeddings:
        state.pop("lm_head.weight", None)
    write_bytes(folder / WEIGHTS, to_bytes(state, {"format": "pt"}))
    write_json(folder / "malmoi.json", {"malmoi": __version__, "kind": "reward" if is_reward else "policy", **about})


def load_model(folder: Path, kind: type[Model] = LanguageModel, seed: int = 0) -> Model:  # type: ignore[assignment]
    """Load weights onto this process's device. seed: of a scalar head that the folder lacks.

    kind: LanguageModel, or ScalarModel for a reward model or a value network; a ScalarModel can start from a language
    model's folder (its head is then new), a LanguageModel not from a reward model's.
    Raises CheckpointError for a missing, truncated or forged file and for weights of another architecture.
    """
    config_path = folder / "config.json"
    if not config_path.exists():
        raise CheckpointError(f"{folder}: is not a model folder (no config.json)")
    config = ModelConfig.from_hf(read_json(config_path), str(config_path))
    tensors = read_weights(folder / WEIGHTS)
    if kind is LanguageModel and "score.weight" in tensors:
        raise CheckpointError(f"{folder}: is a reward model; it scores answers and cannot write them")
    torch.manual_seed(seed)
    model = kind(config)
    if config.tie_embeddings and kind is LanguageModel:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    if isinstance(model, ScalarModel) and "score.weight" not in tensors:
        tensors.pop("lm_head.weight", None)
        tensors |= {"score.weight": model.score.weight.detach(), "score_bias": torch.zeros(())}
    check_architecture(folder / WEIGHTS, dict(model.state_dict()), tensors)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return model.to(device.current().torch_device)


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; CheckpointError when it is truncated, forged or no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or not safetensors ({error})") from None


def check_architecture(path: Path, expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Name the first tensor that is missing, unknown, or of another shape."""
    for name in sorted(expected.keys() ^ found.keys()):
        state = "missing" if name in expected else "unknown"
        raise CheckpointError(f"{path}: of another architecture: {name} is {state}; does config.json belong to it?")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: of another architecture: {name} is {tuple(tensor.shape)}, config.json says "
                f"{tuple(expected[name].shape)}"
            )


def load_text(folder: Path) -> tuple[Tokenizer, ChatTemplate]:
    """The tokenizer and the chat template of a model folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such model folder")
    return Tokenizer.load(folder), ChatTemplate.load(folder)
