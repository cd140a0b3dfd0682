"""Find the model that a path names: a Hugging Face folder or a GGUF file. For other paths, say what they are."""

import json
import re
from pathlib import Path
from typing import Any

from malmoi.errors import CheckpointError, excerpt
from malmoi.formats.header import tensor_names

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICTURES, LORA_WEIGHTS = "model_index.json", "pytorch_lora_weights.safetensors"
"""The files that every picture model has, and every LoRA for one: ours and those that diffusers reads."""
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
GGUF_MAGIC = b"GGUF"
LDM = b'"model.diffusion_model.'
"""In the header of a safetensors file: it is a whole Stable Diffusion."""
LORA = re.compile(rb'[._]lora[_.][^"]*"|"lora_[^"]*"')
_HEADER_BYTES = 1 << 26
_POINTERS = (b"version https://git-lfs.github.com/spec/", b"# xet version")
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_CACHED = "models--"
_N_SHOWN = 5


def locate(path: Path) -> Path:
    """The folder or GGUF file that a path names: itself, the snapshot in a hub's cache folder, or a folder's only GGUF.

    A picture model's folder is found as it is.

    Raises CheckpointError that says what the path is and what to do.
    """
    if path.is_file():
        return _file(path)
    if (snapshot := _snapshot(path)) is not None:
        return locate(snapshot)
    if (path / PICTURES).is_file():
        return path
    ggufs = _ggufs(path)
    if len(ggufs) == 1 and not has_weights(path):
        return _file(ggufs[0])
    if not (path / CONFIG).exists() or ((path / "adapter_config.json").exists() and not has_weights(path)):
        raise CheckpointError(f"{path}: {explain(path)}")
    return path


def has_weights(folder: Path) -> bool:
    return (folder / WEIGHTS).exists() or (folder / INDEX).exists()


def explain(folder: Path) -> str:
    """What a folder is that is not a model folder, and what to do."""
    adapter = folder / "adapter_config.json"
    if adapter.exists():
        base = _object(adapter).get("base_model_name_or_path") or "another model"
        return (
            f"is a PEFT adapter of {base}, not a model; merge the two: "
            "peft.AutoPeftModelForCausalLM.from_pretrained(FOLDER).merge_and_unload().save_pretrained(NEW_FOLDER), and "
            "copy the base model's tokenizer there"
        )
    if (folder / PICTURES).exists():
        return "draws pictures and writes no text; use `malmoi draw`"
    if (folder / "params.json").exists() and any(folder.glob("consolidated.*")):
        return "holds weights in their maker's own format; use the model's Hugging Face folder"
    if (folder / CONFIG).is_symlink():
        return f"its {CONFIG} links to a file that does not exist; download the model again"
    if (snapshot := _snapshot(folder)) is not None:
        return f"is a hub's cache folder; the model is {snapshot}"
    if ggufs := _ggufs(folder):
        return f"holds {_some(ggufs)}; import one of them: malmoi models import {ggufs[0]}"
    below = sorted({*(path.parent for path in folder.glob(f"*/{CONFIG}")), *folder.glob(f"{_CACHED}*")})
    if below:
        return f"is not a model folder (no {CONFIG}), but holds {_some(below)}; give one of them"
    return f"is not a model folder (no {CONFIG})"


def check_pointer(path: Path) -> None:
    """Raises CheckpointError for a Git LFS pointer, the placeholder of a large file."""
    if path.is_file() and path.stat().st_size < 1024 and _begin(path).startswith(_POINTERS):
        raise CheckpointError(
            f"{path}: is a Git LFS pointer, not the file itself; run `git lfs pull` in the folder, or download it again"
        )


def is_gguf(path: Path) -> bool:
    """Whether the file begins as a GGUF file does, or has its suffix."""
    return path.is_file() and (_begin(path).startswith(GGUF_MAGIC) or path.suffix.lower() == ".gguf")


def is_single_file(path: Path) -> bool:
    """Whether a safetensors file holds a whole Stable Diffusion, under LDM's names. Reads its header."""
    return LDM in _header(path) and not is_lora(path)


def is_lora(path: Path) -> bool:
    """Whether a safetensors file holds adapters, as far as its names tell. Reads its header."""
    return LORA.search(_header(path)) is not None


def _header(path: Path) -> bytes:
    """Of a safetensors file; empty for another one."""
    if path.suffix != ".safetensors" or not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(min(int.from_bytes(file.read(8), "little"), _HEADER_BYTES))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None


def pickled(path: Path, how: str = "") -> CheckpointError:
    """What to say of a file of pickled weights. how: to load it; "": as one that such a file usually is"""
    if not how:
        is_picture = path.suffix == ".ckpt"
        how = (
            "diffusers.StableDiffusionPipeline.from_single_file(FILE)"
            if is_picture
            else "transformers.AutoModelForCausalLM.from_pretrained(FOLDER)"
        )
    return CheckpointError(
        f"{path}: pickled weights can run code when they are read; only safetensors is read; if you trust the file, "
        f"convert it: {how}.save_pretrained(NEW_FOLDER)"
    )


def _file(path: Path) -> Path:
    check_pointer(path)
    if is_gguf(path):
        return path
    if path.suffix in PICKLES:
        raise pickled(path)
    if path.suffix == ".safetensors":
        raise _part_of_a_model(path)
    if path.name == CONFIG:
        raise CheckpointError(f"{path}: is one file of a model; give its folder, {path.parent}")
    if _begin(path).startswith(_ARCHIVES):
        raise CheckpointError(f"{path}: is an archive; unpack it and give the folder")
    raise CheckpointError(f"{path}: not a model; give a Hugging Face folder (safetensors) or a GGUF file")


def _part_of_a_model(path: Path) -> CheckpointError:
    """What to say of a safetensors file that is no whole model. Raises CheckpointError for a broken one."""
    names = tensor_names(path)
    if is_lora(path):
        how = f"malmoi draw … --lora {path.name}"
        return CheckpointError(f"{path}: is a LoRA, which changes a model and is none; {how}")
    folder = path.absolute().parent
    whole = folder.parent if (folder.parent / PICTURES).is_file() else folder
    if (whole / PICTURES).is_file() or (whole / CONFIG).is_file():
        return CheckpointError(f"{path}: is one file of a model; give its folder, {whole}")
    some = ", ".join(map(excerpt, names[:3])) + (", …" if len(names) > 3 else "")
    return CheckpointError(
        f"{path}: is not a whole Stable Diffusion (it holds {some or 'no tensors'}), and no {CONFIG} next to it says "
        "what it is; give the model's whole folder"
    )


def _snapshot(folder: Path) -> Path | None:
    """The snapshot in a hub's cache folder (models--OWNER--NAME): the one that `main` names, or the only one."""
    if not folder.absolute().name.startswith(_CACHED):
        return None
    found = sorted(path for path in folder.glob("snapshots/*") if path.is_dir())
    main = folder / "refs" / "main"
    named = folder / "snapshots" / main.read_text(errors="replace").strip() if main.is_file() else folder
    if named in found:
        return named
    if len(found) > 1:
        raise CheckpointError(f"{folder}: holds {len(found)} snapshots; give one of them: {_some(found)}")
    return found[0] if found else None


def _ggufs(folder: Path) -> list[Path]:
    """GGUF files of a folder, without vision projectors."""
    found = (path for path in folder.glob("*") if path.suffix.lower() == ".gguf" and path.is_file())
    return sorted(path for path in found if not path.name.lower().startswith("mmproj"))


def _some(paths: list[Path]) -> str:
    rest = f" and {len(paths) - _N_SHOWN} more" if len(paths) > _N_SHOWN else ""
    return ", ".join(path.name for path in paths[:_N_SHOWN]) + rest


def _begin(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None


def _object(path: Path) -> dict[str, Any]:
    """A small JSON object; empty if it cannot be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
