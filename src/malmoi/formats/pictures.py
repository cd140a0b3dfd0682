"""Folders of picture models: Stable Diffusion 1.x and 2.x as diffusers writes them, and Malmoi's own (`own_pictures`).

A folder with `model_index.json` has a folder for each part: `unet`, `vae`, `text_encoder`, `tokenizer`, `scheduler`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from malmoi import __version__, device
from malmoi.config import Settings, parse
from malmoi.errors import CheckpointError
from malmoi.files import folder_atomic, write_json
from malmoi.formats.folder import read_object, read_shards, read_weights, write_weights
from malmoi.formats.huggingface import Dtype
from malmoi.formats.inspect import ABOUT, PICTURE_MODEL
from malmoi.formats.locate import CONFIG, PICKLES, PICTURES, check_pointer, pickled
from malmoi.formats.own_pictures import OWN, load_own, own_files, save_own, with_weights
from malmoi.formats.picture_schedule import VERSION, read_process, write_schedule
from malmoi.image.autoencoder import Autoencoder, AutoencoderConfig
from malmoi.image.captions import Captions
from malmoi.image.model import ClipText, PictureModel
from malmoi.image.text_encoder import TextEncoder, TextEncoderConfig
from malmoi.image.towers import TowerText
from malmoi.image.unet import UNet, UNetConfig

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
FAMILY = "Stable Diffusion"
INPAINTS = "StableDiffusionInpaintPipeline"
KNOWN = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", INPAINTS)
PICTURE_WEIGHTS, TEXT_WEIGHTS = "diffusion_pytorch_model", "model"
PREFIX = "text_model."
ABOUT_IT = {
    "en": "Knows most things that can be photographed or painted, from captions in English.",
    "ko": "사진이나 그림에 나올 만한 것은 대부분 압니다. 영어로 써야 알아듣습니다.",
    "steps": 20,
    "guidance": 7.5,
}
S = TypeVar("S", bound=Settings)
N = TypeVar("N", bound=nn.Module)

# Settings that diffusers has and every Stable Diffusion 1.x and 2.x has alike.
_UNET_SAME: dict[str, Any] = {
    "act_fn": "silu", "mid_block_type": "UNetMidBlock2DCrossAttn", "downsample_padding": 1, "mid_block_scale_factor": 1,
    "resnet_time_scale_shift": "default", "resnet_out_scale_factor": 1.0, "time_embedding_type": "positional",
    "conv_in_kernel": 3, "conv_out_kernel": 3, "attention_type": "default", "addition_embed_type_num_heads": 64,
    "dropout": 0.0,
}  # fmt: skip
_VAE_SAME: dict[str, Any] = {
    "act_fn": "silu", "mid_block_add_attention": True, "use_quant_conv": True, "use_post_quant_conv": True,
    "in_channels": 3, "out_channels": 3,
}  # fmt: skip
# Says in which precision to compute; both give the same numbers in float32.
_NO_MATTER = {"upcast_attention", "force_upcast", "down_block_types", "up_block_types"}
_OLD_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def is_pictures(folder: Path) -> bool:
    """Whether a folder is meant to be a picture model."""
    return (folder / PICTURES).is_file()


def is_own(folder: Path) -> bool:
    """Whether a picture model is one that Malmoi trained from nothing."""
    return is_pictures(folder) and read_object(folder / PICTURES).get("_class_name") == OWN


def load_pictures(folder: Path, dtype: torch.dtype | None = None) -> PictureModel:
    """A picture model on this process's device, frozen.

    dtype: of its weights; None: the device's compute type
    Raises CheckpointError for another family, and for missing, truncated, forged or pickled weights.
    """
    if is_own(folder):
        return load_own(folder, dtype)
    check_family(folder)
    dtype = dtype or device.current().compute_dtype
    encoder = load_text_encoder(folder / "text_encoder", dtype)
    captions = Captions.load(folder / "tokenizer", encoder.config.max_position_embeddings)
    if captions.n_tokens > encoder.config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {captions.n_tokens} tokens, the text encoder {encoder.config.vocab_size}; "
            "they do not belong together"
        )
    autoencoder = load_autoencoder(folder / "vae", dtype)
    unet = load_unet(folder / "unet", dtype)
    check_fit(folder, unet.config, autoencoder.config, encoder.config)
    process, sampler = read_process(folder / "scheduler")
    side = unet.config.sample_size * autoencoder.factor
    return PictureModel(
        process, unet, ClipText(captions, encoder), autoencoder, (side, side), unet.config.out_channels,
        autoencoder.factor, {**ABOUT_IT, "sampler": sampler}, inpaints=inpaints(unet.config),
    )  # fmt: skip


def check_family(folder: Path) -> None:
    """Raises CheckpointError for a folder of another family, or without one of the parts."""
    if not is_pictures(folder):
        raise CheckpointError(f"{folder}: is not a picture model (no {PICTURES})")
    index = read_object(folder / PICTURES)
    name = index.get("_class_name")
    if name not in KNOWN:
        raise CheckpointError(f"{folder}: is a {name}; {FAMILY} 1.x and 2.x are read, and Malmoi's own")
    for part in PARTS:
        if not (folder / part).is_dir():
            raise CheckpointError(f"{folder}: has no folder {part}; download the model again")


def inpaints(unet: UNetConfig) -> bool:
    """Whether a denoiser also sees where to draw, and the latents of what is around it."""
    return unet.in_channels == 2 * unet.out_channels + 1


def check_fit(folder: Path, unet: UNetConfig, vae: AutoencoderConfig, text: TextEncoderConfig) -> None:
    """Raises CheckpointError if the parts are not of one model."""
    fits = unet.in_channels == unet.out_channels or inpaints(unet)
    if not fits or unet.out_channels != vae.latent_channels:
        raise CheckpointError(
            f"{folder}: the unet has {unet.in_channels} channels in and {unet.out_channels} out, the vae "
            f"{vae.latent_channels}; they do not belong together"
        )
    if unet.cross_attention_dim != text.hidden_size:
        raise CheckpointError(
            f"{folder}: the unet reads states of width {unet.cross_attention_dim}, the text encoder gives "
            f"{text.hidden_size}; they do not belong together"
        )


def load_unet(folder: Path, dtype: torch.dtype) -> UNet:
    """A folder's denoiser. Raises CheckpointError as `load_pictures`."""
    config = read_part(folder / CONFIG, UNetConfig, _UNET_SAME)
    return load_part(folder, PICTURE_WEIGHTS, lambda: UNet(config), dtype)


def load_autoencoder(folder: Path, dtype: torch.dtype) -> Autoencoder:
    """A folder's autoencoder. Raises CheckpointError as `load_pictures`."""
    config = read_part(folder / CONFIG, AutoencoderConfig, _VAE_SAME)
    return load_part(folder, PICTURE_WEIGHTS, lambda: Autoencoder(config), dtype, new_attention)


def load_text_encoder(folder: Path, dtype: torch.dtype) -> TextEncoder:
    """A folder's text encoder. Raises CheckpointError as `load_pictures`."""
    settings = read_object(folder / CONFIG)
    if settings.get("model_type", "clip_text_model") not in ("clip_text_model", "clip"):
        raise CheckpointError(f"{folder / CONFIG}: model_type {settings['model_type']!r} is not supported")
    known = {key: value for key, value in settings.items() if key in TextEncoderConfig.model_fields}
    config = parse(TextEncoderConfig, known, str(folder / CONFIG))
    return load_part(folder, TEXT_WEIGHTS, lambda: TextEncoder(config), dtype, without_prefix)


def read_part(path: Path, schema: type[S], same: Mapping[str, Any]) -> S:
    """A part's settings. Raises CheckpointError for one that the schema lacks, unless it is off or as always.

    same: what settings must be, if they are there
    """
    settings = {key: value for key, value in read_object(path).items() if not key.startswith("_")}
    for key, value in settings.items():
        is_known = key in schema.model_fields or key in _NO_MATTER or value in (None, False)
        if (key in same and value not in (same[key], None)) or not (is_known or key in same):
            raise CheckpointError(f"{path}: {key} {value!r:.60}: not supported; {FAMILY} 1.x and 2.x are read")
    known = {key: value for key, value in settings.items() if key in schema.model_fields and value is not None}
    return parse(schema, known, str(path))


def load_part(
    folder: Path, stem: str, build: Callable[[], N], dtype: torch.dtype,
    renamed: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda tensors: tensors,
) -> N:  # fmt: skip
    """A network with a folder's weights, frozen. build: makes it, without memory for its weights"""
    path = find_weights(folder, stem)
    found = read_shards(path) if path.suffix == ".json" else read_weights(path)
    return channels_last(path, build, renamed(found), dtype)


def channels_last(path: Path, build: Callable[[], N], found: dict[str, Tensor], dtype: torch.dtype) -> N:
    """As `own_pictures.with_weights`, in the layout of memory in which convolutions are fastest."""
    return with_weights(path, build, found, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def find_weights(folder: Path, stem: str) -> Path:
    """The weights file or index of shards of a part: full precision first, then the only variant, such as fp16.

    Raises CheckpointError if there is none that can be read.
    """
    for name in (f"{stem}.safetensors", f"{stem}.safetensors.index.json"):
        check_pointer(folder / name)
        if (folder / name).exists():
            return folder / name
    variants = [path for path in sorted(folder.glob(f"{stem}.*.safetensors")) if "-of-" not in path.name]
    indices = sorted({*folder.glob(f"{stem}.*.index.json"), *folder.glob(f"{stem}.safetensors.index.*.json")})
    found = variants or indices
    if len(found) == 1:
        check_pointer(found[0])
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        raise CheckpointError(f"{folder}: holds several variants ({names}); leave one of them there")
    for other in sorted(folder.iterdir()):
        if other.suffix in PICKLES:
            raise pickled(other, "diffusers.StableDiffusionPipeline.from_pretrained(FOLDER)")
    raise CheckpointError(f"{folder / stem}.safetensors: no such file")


def files_of(folder: Path) -> list[Path]:
    """The files that `load_pictures` reads, relative to the folder, with the licence and what is told of the model."""
    if is_own(folder):
        return own_files(folder)
    found = [folder / PICTURES, *folder.glob("*.md"), *folder.glob("LICENSE*")]
    for part in PARTS:
        found += [path for path in (folder / part).iterdir() if path.suffix in (".json", ".txt")]
    for part, stem in (("unet", PICTURE_WEIGHTS), ("vae", PICTURE_WEIGHTS), ("text_encoder", TEXT_WEIGHTS)):
        weights = find_weights(folder / part, stem)
        shards = set(read_object(weights)["weight_map"].values()) if weights.suffix == ".json" else {weights.name}
        found += [folder / part / name for name in sorted(shards)]
    return sorted({path.relative_to(folder) for path in found if path.is_file()})


def new_attention(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """An autoencoder's weights under today's names: in early files the attention had others, and convolutions."""
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in _OLD_ATTENTION.items():
            name = name.replace(old, new)
        is_linear = ".attentions." in name and tensor.ndim == 4
        renamed[name] = tensor[:, :, 0, 0] if is_linear else tensor
    return renamed


def without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A text encoder's weights, of a file that names them with `text_model.` or without."""
    left_out = ("position_ids", "text_projection.weight")
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(left_out)}
    return {name.removeprefix(PREFIX): tensor for name, tensor in kept.items()}


def save_pictures(
    folder: Path, model: PictureModel, about: Mapping[str, Any] | None = None, dtype: Dtype = "float32"
) -> None:
    """Write a Stable Diffusion as diffusers reads it, or a model of our own. It appears complete or not at all.

    about: further content of `malmoi.json`; None: without that file
    Raises CheckpointError for weights that `dtype` cannot hold.
    """
    if isinstance(model.text, TowerText):
        save_own(folder, model, about, dtype)
        return
    unet, vae, text = model.denoiser, model.autoencoder, model.text
    assert isinstance(unet, UNet) and isinstance(vae, Autoencoder) and isinstance(text, ClipText)
    with folder_atomic(folder) as partial:
        scheduler = write_schedule(partial / "scheduler", model.process, model.sampler)
        write_json(partial / PICTURES, _index(scheduler, INPAINTS if model.inpaints else KNOWN[0]))
        config = unet.config.model_dump(mode="json")
        named = {"_class_name": "UNet2DConditionModel", "_diffusers_version": VERSION}
        write_json(partial / "unet" / CONFIG, {**named, **config})
        write_weights(partial / "unet" / f"{PICTURE_WEIGHTS}.safetensors", unet.state_dict(), dtype)
        n_blocks = len(vae.config.block_out_channels)
        blocks = {
            "down_block_types": ["DownEncoderBlock2D"] * n_blocks, "up_block_types": ["UpDecoderBlock2D"] * n_blocks
        }  # fmt: skip
        config = vae.config.model_dump(mode="json")
        named = {"_class_name": "AutoencoderKL", "_diffusers_version": VERSION}
        write_json(partial / "vae" / CONFIG, {**named, **config, **blocks})
        write_weights(partial / "vae" / f"{PICTURE_WEIGHTS}.safetensors", vae.state_dict(), dtype)
        ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
        names = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model"}
        config = text.encoder.config.model_dump(mode="json")
        write_json(partial / "text_encoder" / CONFIG, {**names, **config, **ids})
        prefixed = {PREFIX + name: tensor for name, tensor in text.encoder.state_dict().items()}
        write_weights(partial / "text_encoder" / f"{TEXT_WEIGHTS}.safetensors", prefixed, dtype)
        text.captions.save(partial / "tokenizer")
        if about is not None:
            write_json(partial / ABOUT, {"malmoi": __version__, "kind": PICTURE_MODEL, **about})


def _index(scheduler: str, pipeline: str) -> dict[str, Any]:
    return {
        "_class_name": pipeline,
        "_diffusers_version": VERSION,
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
