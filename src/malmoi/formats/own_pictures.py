"""Folders of picture models trained from nothing: a transformer on pixels, with the caption tower of CLIP.

The layout is that of diffusers' folders, with `denoiser` in place of `unet`, and no `vae`, since pixels are denoised.
CLIP has a folder of its own, with both towers and `tokenizer`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from malmoi import __version__, device
from malmoi.config import Settings, parse
from malmoi.errors import CheckpointError, ConfigError
from malmoi.files import folder_atomic, write_json
from malmoi.formats.folder import check_architecture, check_numbers, read_object, read_weights, write_weights
from malmoi.formats.huggingface import Dtype
from malmoi.formats.inspect import ABOUT, PICTURE_MODEL
from malmoi.formats.locate import CONFIG, PICTURES
from malmoi.formats.picture_schedule import FILE
from malmoi.image.dit import Denoiser, DenoiserConfig
from malmoi.image.draw import MOST_GUIDANCE
from malmoi.image.model import PictureModel
from malmoi.image.samplers import Sampler, check_sampler
from malmoi.image.schedule import Kind, Prediction, Process, Schedule
from malmoi.image.towers import CaptionIds, Clip, ClipConfig, TextTower, TowerText
from malmoi.tokenizer.bpe import Tokenizer

S = TypeVar("S", bound=Settings)
N = TypeVar("N", bound=nn.Module)
OWN = "MalmoiPicturePipeline"
Line = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""What pages and terminals show."""
DENOISER_WEIGHTS, TEXT_WEIGHTS = "diffusion_pytorch_model.safetensors", "model.safetensors"


class _Index(Settings):
    """`model_index.json` of such a folder."""

    size: tuple[int, int]
    few_steps: bool = False
    en: Line
    ko: Line
    steps: int
    guidance: float = Field(ge=0, le=MOST_GUIDANCE)
    sampler: Sampler


class _Scheduler(Settings):
    """`scheduler/scheduler_config.json` of such a folder."""

    kind: Kind
    prediction: Prediction
    shift: float = Field(1.0, gt=0)
    """Of a flow: how its steps are spaced. A folder that does not say it has even steps."""


def save_clip(folder: Path, clip: Clip, tokenizer: Tokenizer) -> None:
    """Write both towers and the captions' vocabulary."""
    with folder_atomic(folder) as partial:
        write_json(partial / CONFIG, clip.config.model_dump(mode="json"))
        write_weights(partial / TEXT_WEIGHTS, clip.state_dict())
        tokenizer.save(partial / "tokenizer")


def load_clip(folder: Path) -> tuple[Clip, CaptionIds]:
    """Both towers, frozen, and what makes ids of captions. Raises CheckpointError for a broken folder."""
    config = parse(ClipConfig, read_object(folder / CONFIG), str(folder / CONFIG))
    clip = _network(folder / TEXT_WEIGHTS, lambda: Clip(config), torch.float32)
    return clip, _captions(folder, config)


def load_tower(folder: Path) -> TowerText:
    """What reads captions for a new denoiser, with CLIP's tower, frozen. Raises CheckpointError for a broken folder."""
    clip, captions = load_clip(folder)
    return TowerText(captions, clip.text)


def own_files(folder: Path) -> list[Path]:
    """The files that `load_own` reads, relative to the folder."""
    named = [PICTURES, f"scheduler/{FILE}", f"denoiser/{DENOISER_WEIGHTS}", f"text_encoder/{TEXT_WEIGHTS}"]
    named += [f"denoiser/{CONFIG}", f"text_encoder/{CONFIG}"]
    tokenizer = (path.relative_to(folder) for path in (folder / "tokenizer").iterdir() if path.is_file())
    return sorted({*map(Path, named), *tokenizer})


def save_own(
    folder: Path, model: PictureModel, about: Mapping[str, Any] | None = None, dtype: Dtype = "float32"
) -> None:
    """Write a picture model. It appears complete or not at all.

    about: further content of `malmoi.json`; dtype: of the denoiser's weights
    Raises CheckpointError for weights that `dtype` cannot hold.
    """
    denoiser, text = model.denoiser, model.text
    assert isinstance(denoiser, Denoiser) and isinstance(text, TowerText)
    with folder_atomic(folder) as partial:
        facts = {**model.about, "sampler": model.sampler, "size": list(model.size), "few_steps": model.few_steps}
        write_json(partial / PICTURES, {"_class_name": OWN, **facts})
        process = model.process
        scheduler = {"kind": process.kind, "prediction": process.prediction, "shift": process.schedule.shift}
        write_json(partial / "scheduler" / FILE, scheduler)
        write_json(partial / "denoiser" / CONFIG, denoiser.config.model_dump(mode="json"))
        write_weights(partial / "denoiser" / DENOISER_WEIGHTS, denoiser.state_dict(), dtype)
        write_json(partial / "text_encoder" / CONFIG, text.tower.config.model_dump(mode="json"))
        write_weights(partial / "text_encoder" / TEXT_WEIGHTS, text.tower.state_dict())
        text.captions.tokenizer.save(partial / "tokenizer")
        write_json(partial / ABOUT, {"malmoi": __version__, "kind": PICTURE_MODEL, **(about or {})})


def load_own(folder: Path, dtype: torch.dtype | None = None) -> PictureModel:
    """A picture model on this process's device, frozen.

    Raises CheckpointError for missing, truncated, forged or pickled weights, and for parts of different models.
    """
    dtype = dtype or device.current().compute_dtype
    index = {key: value for key, value in read_object(folder / PICTURES).items() if key != "_class_name"}
    facts = parse(_Index, index, str(folder / PICTURES))
    where = folder / "scheduler" / FILE
    scheduler = parse(_Scheduler, read_object(where), str(where))
    process = Process(scheduler.kind, scheduler.prediction, Schedule(shift=scheduler.shift))
    tower_config, config = _config(folder / "text_encoder", ClipConfig), _config(folder / "denoiser", DenoiserConfig)
    tower = _network(folder / "text_encoder" / TEXT_WEIGHTS, lambda: TextTower(tower_config), torch.float32)
    text = TowerText(_captions(folder, tower_config), tower)
    denoiser = _network(folder / "denoiser" / DENOISER_WEIGHTS, lambda: Denoiser(config), dtype)
    drawn = (config.size, config.size)
    fits = config.n_context == text.width and config.n_caption == tower_config.n_tokens
    if config.n_channels != 3 or facts.size != drawn or not fits:
        raise CheckpointError(f"{folder}: its denoiser and its text encoder do not belong together")
    try:
        check_sampler(facts.sampler, process, facts.steps)
    except ConfigError as error:
        raise CheckpointError(f"{folder / PICTURES}: {error}") from None
    about = facts.model_dump(include={"en", "ko", "steps", "guidance", "sampler"})
    # Positions are learned: a picture of another size has no places for its patches.
    return PictureModel(
        process, denoiser, text, None, drawn, config.n_channels, config.size, about, facts.few_steps, has_one_size=True
    )


def _captions(folder: Path, config: ClipConfig) -> CaptionIds:
    """Raises CheckpointError for a tokenizer with tokens that the tower does not know."""
    tokenizer = Tokenizer.load(folder / "tokenizer")
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the text encoder {config.vocab_size}; they do "
            "not belong together"
        )
    return CaptionIds(tokenizer, config.n_tokens)


def _config(folder: Path, schema: type[S]) -> S:
    return parse(schema, read_object(folder / CONFIG), str(folder / CONFIG))


def _network(path: Path, build: Callable[[], N], dtype: torch.dtype) -> N:
    return with_weights(path, build, read_weights(path), dtype)


def with_weights(path: Path, build: Callable[[], N], found: Mapping[str, Tensor], dtype: torch.dtype) -> N:
    """A network with these weights, frozen. path: for errors; build: makes it, without memory for its weights"""
    check_numbers(path, found)
    with torch.device("meta"):
        network = build()
    check_architecture(path, ((name, tuple(one.shape)) for name, one in network.state_dict().items()), found)
    where = device.current().torch_device
    # Mapped from the file, they would change with it.
    network.load_state_dict({name: tensor.to(where, dtype, copy=True) for name, tensor in found.items()}, assign=True)
    return network.requires_grad_(False).eval()
