"""Take a version elsewhere: a folder for transformers and vLLM, or a GGUF file; and what that costs in quality."""

import shutil
from pathlib import Path
from typing import Any

from malmoi.errors import ConfigError, UserError
from malmoi.evals.quantised import compare_networks
from malmoi.formats.folder import load_model, load_text
from malmoi.formats.gguf.read import import_gguf
from malmoi.model.transformer import LanguageModel
from malmoi.units import size
from malmoi.workspace.folder import Workspace
from malmoi.workspace.heldout import heldout_text
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.transfer import export_folder
from malmoi.workspace.versions import Version, find_version

FORMS = {"hf": ("hf", None), "gguf": ("gguf", None), "gguf-q8_0": ("gguf", "q8_0")}
"""Name of a form -> `to` and `quant` of `export_folder`."""


def export_version(ledger: Ledger, name: str, form: str = "gguf-q8_0", out: Path | None = None) -> dict[str, Any]:
    """Write a version's policy; returns what was written, and its cost. The same again writes nothing.

    form: one of `FORMS`; out: by default in the workspace's `exports`, named by the version and its hash
    Returns {"path", "n_bytes", "form", "cost", "alone"}. cost: None where the weights stay as they are, else {"text",
    "bits_per_byte", "bits_per_byte_before", "agreement"} on held-out text; alone: whether the version also has a reward
    model that picks the best of n, which stays here
    Raises ConfigError for an unknown form, UserError if the weights are gone or the disk is too full.
    """
    if form not in FORMS:
        raise ConfigError(f"{form}: expected {', '.join(FORMS)}")
    version = find_version(ledger, name)
    if version.missing:
        raise UserError(f"{version.name}: {version.missing}; it cannot be exported")
    to, quant = FORMS[form]
    path = out if out is not None else export_path(ledger, version, form)
    if out is not None or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_room(version, path.parent)
        export_folder(version.policy, version.name, to, path, None, quant)
    files = path.rglob("*") if path.is_dir() else [path]
    return {
        "path": str(path), "n_bytes": sum(one.stat().st_size for one in files if one.is_file()), "form": form,
        "cost": _cost(ledger, version, path) if quant else None, "alone": version.n is not None,
    }  # fmt: skip


def export_path(ledger: Ledger, version: Version, form: str) -> Path:
    """Where an export is, or will be, unless another place is asked for. form: one of `FORMS`"""
    ending = {"hf": "", "gguf": ".gguf", "gguf-q8_0": ".q8_0.gguf"}[form]
    return ledger.root / "exports" / f"{version.name}-{version.policy_sha256[:12]}{ending}"


def _check_room(version: Version, folder: Path) -> None:
    """Raises UserError unless there is room for the weights as float32, before anything is written."""
    needs = 2 * sum(path.stat().st_size for path in version.policy.glob("*.safetensors"))
    if (free := shutil.disk_usage(folder).free) < needs:
        raise UserError(f"{folder}: {size(free)} are free, and the export may take {size(needs)}; make room first")


def _cost(ledger: Ledger, version: Version, path: Path) -> dict[str, Any]:
    """How the written file predicts held-out text, next to the version."""
    source, documents = heldout_text(Workspace(ledger.root))
    network, written = load_model(version.policy, LanguageModel), import_gguf(path).network()
    return {"text": source, **compare_networks(network, written, load_text(version.policy)[0], source, documents)}
