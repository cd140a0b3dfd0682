"""A model that others pretrained, as the base: its files are linked, not copied."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from malmoi import config
from malmoi.cost import Sizes
from malmoi.errors import ConfigError
from malmoi.facts import Facts, Listing, Section
from malmoi.files import disk_errors, read_json, write_json
from malmoi.formats.folder import load_config, load_text
from malmoi.formats.inspect import ABOUT, DOCUMENTS, kind_of, reading_of
from malmoi.formats.locate import CONFIG
from malmoi.model.config import ModelConfig
from malmoi.stage import BASE, MODEL, ONLY, Context, ExternalInput, Finished, Input, Role
from malmoi.workspace.folder import Workspace
from malmoi.workspace.models import model_folder

SMOLLM2_135M = ModelConfig(
    vocab_size=49152, n_layer=30, n_embd=576, n_head=9, n_kv_head=3, head_dim=64, n_ff=1536, seq_len=8192,
    tie_embeddings=True, qk_norm=False,
)  # fmt: skip
KNOWN_SHAPES = {"smollm2-135m": SMOLLM2_135M}
"""Shapes of base models that may not be downloaded yet."""


class Settings(config.Settings):
    """The pretrained model to start from."""

    model: str = "smollm2-135m"
    """A model of the workspace, a short name that `malmoi models pull` knows, or a model folder."""


READS: dict[str, Role] = {}
MAKES = {BASE: MODEL}


def folder_of(model: str, workspace: Workspace) -> Path:
    """The model's folder. Raises UserError if it is missing."""
    path = Path(model)
    return path if path.is_dir() else model_folder(workspace, model)


def external_inputs(settings: Settings, workspace: Workspace) -> dict[str, ExternalInput]:
    """The model, in the workspace or elsewhere."""
    folder = folder_of(settings.model, workspace).resolve()
    return {MODEL: ExternalInput(Input(MODEL, MODEL, {ONLY: folder}), folder)}


def models(settings: Settings) -> list[str]:
    """The model; it is downloaded if it has a short name and is missing."""
    return [settings.model]


def expects(settings: Settings, sizes: Sizes) -> Sizes:
    """The network. Raises ConfigError if the model is missing and its shape is unknown."""
    if sizes.folder is None:
        return sizes
    places = (Path(settings.model), sizes.folder / "models" / settings.model)
    found = next((path for path in places if (path / CONFIG).exists()), None)
    if found is None and settings.model not in KNOWN_SHAPES:
        raise ConfigError(f"base.model: {settings.model} is not here yet; malmoi models pull {settings.model}")
    return replace(sizes, shape=KNOWN_SHAPES[settings.model] if found is None else load_config(found))


def run(context: Context, settings: Settings) -> None:
    """Link the model's files into the run."""
    source, folder = context.reads(MODEL).path, context.out / MODEL
    if kind_of(source) == "reward":
        raise ConfigError(f"base.model: {settings.model}: is a reward model; name a model that writes text")
    model, (tokenizer, _) = load_config(source), load_text(source)
    with disk_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)  # left by an interrupted run
        shutil.copytree(source, folder, copy_function=_link, ignore=shutil.ignore_patterns(ABOUT))
    about = read_json(source / ABOUT) if (source / ABOUT).exists() else {}
    own = {"run": context.run_id, "parents": context.parents}
    write_json(folder / ABOUT, {**about, **own, DOCUMENTS: reading_of(source)})
    context.say(f"{model.n_parameters() / 1e6:.0f} million weights, {tokenizer.vocab_size:,} tokens, from {source}")


def facts(finished: Finished) -> Facts:
    """The model's name."""
    lead = "A model that others pretrained. Everything below starts from it."
    return Facts([Section("Base model", lead, [Listing([("model", finished.settings.model)])])])


def _link(source: str, target: str) -> None:
    """Hard-link a file, since a model's files never change; copy it if the disk does not support links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
