"""Files of LoRA for Stable Diffusion: under the names of diffusers (old and new), of kohya's scripts, and of PEFT.

What is written has diffusers' names, and its `load_lora_weights` loads it.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from malmoi.errors import CheckpointError, ConfigError
from malmoi.files import sha256_of
from malmoi.formats.folder import DTYPES, check_numbers, read_object, read_weights, write_weights
from malmoi.formats.header import tensor_names
from malmoi.formats.ldm import unet_names
from malmoi.formats.locate import LORA_WEIGHTS, is_lora
from malmoi.image.lora import PARTS, Adapter, Lora, merge, networks_of, targets
from malmoi.image.model import PictureModel
from malmoi.image.unet import UNet

PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
MOST_SCALE = 10.0
METADATA = "lora_adapter_metadata"
"""Key of the file's metadata under which diffusers keeps the adapters' alpha."""
_ENDINGS = (
    # Of diffusers' first files: the adapter was the attention processor's.
    (re.compile(r"(?:\.processor)?\.(to_[qkv]|to_out)_lora\.(down|up)\.weight"), r".\1"),
    (re.compile(r"\.lora(?:_linear_layer)?\.(down|up)\.weight"), ""),
    (re.compile(r"\.lora_(down|up)\.weight"), ""),
    (re.compile(r"\.lora_([AB])(?:\.\w+)?\.weight"), ""),
    (re.compile(r"\.(alpha)"), ""),
)
_ROLES = {"down": "down", "A": "down", "up": "up", "B": "up", "alpha": "alpha"}
_OLD_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
_PEFT = "base_model.model."
_STARTS = {
    "unet": ("unet.", "lora_unet_", "", _PEFT, f"{_PEFT}unet."),
    "text_encoder": ("text_encoder.", "lora_te_", "lora_te1_", "", _PEFT, f"{_PEFT}text_encoder."),
}
_XL = ("lora_te2_", "text_encoder_2.", "lora_unet_label_emb", "unet.add_embedding.")


class Chosen(NamedTuple):
    """A LoRA that a person names. scale: how much of it"""

    path: Path
    scale: float

    def __str__(self) -> str:
        return f"{self.path.name}:{self.scale:g}"


def parse_lora(text: str, models: Path | None = None) -> Chosen:
    """FILE or FILE:SCALE. models: a folder in which names are looked up, too. Raises ConfigError."""
    name, colon, scale = text.rpartition(":")
    if not colon or Path(text).exists():
        return Chosen(_named(text, models), 1.0)
    try:
        return Chosen(_named(name, models), parse_scale(scale))
    except ConfigError as error:
        raise ConfigError(f"--lora {text!r:.80}: expected FILE or FILE:SCALE, {error}") from None


def parse_scale(text: str) -> float:
    """How much of a LoRA. Raises ConfigError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= MOST_SCALE:  # true for NaN too
        raise ConfigError("with a scale from -10 to 10, such as 0.8")
    return value


def _named(name: str, models: Path | None) -> Path:
    if models is None or "/" in name or Path(name).exists() or not (models / name / LORA_WEIGHTS).is_file():
        return Path(name)
    return models / name


def apply_loras(model: PictureModel, texts: Sequence[str], name: str, models: Path | None = None) -> list[str]:
    """Change a model by what a person names, one after the other; returns each with the SHA-256 of its file.

    Nothing is changed if one of them cannot be read. name: the model's; models: as `parse_lora`
    Raises as `parse_lora` and `read_lora`.
    """
    chosen = [parse_lora(text, models) for text in texts]
    read = [read_lora(one.path, model, name) for one in chosen]
    for one, lora in zip(chosen, read, strict=True):
        merge(model, lora, one.scale)
    return [in_words(one) for one in chosen]


def in_words(one: Chosen) -> str:
    """Name, scale and the SHA-256 of its file, as pictures have it."""
    return f"{one} (SHA-256 {sha256_of(_file(one.path))})"


def read_lora(path: Path, model: PictureModel, name: str) -> Lora:
    """The adapters in a file, or in a folder of diffusers or PEFT.

    name: the model's, for errors
    Raises CheckpointError for a broken file, for another kind of adapter, and for a LoRA of another model; DataError
    for a model that takes none.
    """
    networks = networks_of(model, name)
    file = _file(path)
    tensors = read_weights(file)
    check_numbers(file, tensors)
    if any(key.startswith(_XL) for key in tensors):
        raise CheckpointError(f"{file}: is a LoRA of a Stable Diffusion XL; {name} is none")
    known = _modules(networks)
    settings = _settings(path, file)
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        module, role = _split(file, key)
        if (found := known.get(_plain(module))) is None:
            raise CheckpointError(f"{file}: is a LoRA of another model than {name}: that has no {module}")
        if parts.setdefault(found, {}).setdefault(role, tensor) is not tensor:
            raise CheckpointError(f"{file}: {key}: there are two of {found}; it is broken")
    if not parts:
        raise CheckpointError(f"{file}: holds no LoRA")
    shapes = {f"{part}.{module}": one.weight.shape for part in networks for module, one in targets(networks[part])}
    return {found: _adapter(file, name, found, one, settings, shapes[found]) for found, one in sorted(parts.items())}


def write_lora(path: Path, lora: Lora) -> None:
    """Write a file that diffusers loads, and `read_lora`: alpha is part of the up matrices. Raises CheckpointError."""
    tensors = {}
    for name, adapter in lora.items():
        tensors[f"{name}.lora_A.weight"] = adapter.down
        tensors[f"{name}.lora_B.weight"] = adapter.up * adapter.scale
    write_weights(path, tensors)


def _file(path: Path) -> Path:
    """The file with the weights. Raises CheckpointError."""
    if not path.is_dir():
        if path.suffix == ".safetensors" and path.is_file() and tensor_names(path) and not is_lora(path):
            raise CheckpointError(f"{path}: holds no LoRA")
        return path
    for name in (LORA_WEIGHTS, PEFT_FILE):
        if (path / name).is_file():
            return path / name
    others = sorted(path.glob("*.safetensors"))
    if len(others) != 1:
        raise CheckpointError(f"{path}: holds no {LORA_WEIGHTS}; give the file itself")
    return others[0]


def _plain(name: str) -> str:
    """Kohya's scripts write `_` for every dot."""
    return name.replace(".", "_")


def _modules(networks: Mapping[str, nn.Module]) -> dict[str, str]:
    """All names that a module may have in a file, plain -> our part and module."""
    known: dict[str, str] = {}
    for part, network in networks.items():
        theirs = unet_names(network.config) if isinstance(network, UNet) else lambda name: f"text_model.{name}"
        for name, _ in targets(network):
            spoken = {name, theirs(name)}
            spoken |= {one.replace("to_out.0", "to_out") for one in spoken}
            for start in _STARTS[part]:
                known |= {_plain(start + one): f"{part}.{name}" for one in spoken}
    return known


def _split(file: Path, key: str) -> tuple[str, str]:
    """The module that a tensor is for, and which of its three it is."""
    for pattern, kept in _ENDINGS:
        if match := re.fullmatch(rf"(.+?){pattern.pattern}", key):
            module, role = match[1], match[match.re.groups]
            if kept:  # a text encoder's projections had the U-Net's names
                last = match[2]
                is_text = "self_attn" in module
                module = f"{module}.{_OLD_TEXT[last] if is_text else last}"
            return module, _ROLES[role]
    raise CheckpointError(
        f"{file}: {key}: is of another kind of adapter than LoRA; only matrices A and B with alpha are read"
    )


def _adapter(
    file: Path, model: str, name: str, parts: Mapping[str, Tensor], settings: Mapping[str, Mapping[str, Any]],
    shape: torch.Size,
) -> Adapter:  # fmt: skip
    """A module's adapter. name: part and module; shape: of the model's weight"""
    for role in ("down", "up"):
        if role not in parts:
            raise CheckpointError(f"{file}: {name}: its {role} matrix is missing; download the file again")
        if parts[role].dtype not in DTYPES:
            raise CheckpointError(f"{file}: {name}: is stored as {parts[role].dtype}; that is not read")
    down, up = parts["down"], parts["up"]
    rank = down.shape[0] if down.ndim else 0
    places = down.shape[1:].numel() if down.ndim > 1 else 0
    if (
        up.ndim < 2
        or not rank
        or up.shape[1:].numel() != rank
        or (up.shape[0], places) != (shape[0], shape[1:].numel())
    ):
        sizes = f"{tuple(up.shape)} times {tuple(down.shape)}"
        raise CheckpointError(
            f"{file}: is a LoRA of another model than {model}: its {name} is {sizes}, the model's {tuple(shape)}"
        )
    part, _, module = name.partition(".")
    said = settings.get(part, {})
    if "alpha" in parts and parts["alpha"].numel() != 1:
        raise CheckpointError(f"{file}: {name}: its alpha is no number; download the file again")
    alpha = float(parts["alpha"]) if "alpha" in parts else _alpha(file, said, module, rank)
    return Adapter(down, up, alpha / (rank**0.5 if said.get("use_rslora") else rank))


def _settings(path: Path, file: Path) -> dict[str, dict[str, Any]]:
    """What PEFT's config or the file's metadata say of each network's adapters. Raises CheckpointError."""
    if path.is_dir() and (path / PEFT_CONFIG).is_file():
        said = read_object(path / PEFT_CONFIG)
        if said.get("peft_type", "LORA") != "LORA" or said.get("use_dora"):
            raise CheckpointError(f"{path / PEFT_CONFIG}: another kind of adapter than LoRA; that is not read")
        return dict.fromkeys(PARTS, said)
    try:
        with safe_open(file, framework="pt") as opened:
            raw = (opened.metadata() or {}).get(METADATA)
        found = json.loads(raw) if raw else {}
    except (SafetensorError, OSError, ValueError, RecursionError):
        raise CheckpointError(f"{file}: its metadata are broken; download the file again") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: its metadata are broken; download the file again")
    return {
        part: {key.removeprefix(f"{part}."): value for key, value in found.items() if key.startswith(f"{part}.")}
        for part in PARTS
    }


def _alpha(file: Path, said: Mapping[str, Any], module: str, rank: int) -> float:
    """By the settings of PEFT; a file that says nothing was trained with alpha = rank."""
    value = said.get("lora_alpha", rank)
    patterns = said.get("alpha_pattern")
    for pattern, other in (patterns if isinstance(patterns, dict) else {}).items():
        if module == pattern or module.endswith(f".{pattern}"):
            value = other
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise CheckpointError(f"{file}: lora_alpha {value!r:.40}: must be a number")
    return float(value)
