"""The two sides of `benchmarks.pictures`: Malmoi and diffusers, or a plain loop, on the same random weights.

A side is a process that measures once for each line that it reads, and answers with seconds, what it computed, and its
peak memory.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from malmoi import device
from malmoi.image.autoencoder import Autoencoder, AutoencoderConfig
from malmoi.image.captions import Captions
from malmoi.image.draw import draw, request_for
from malmoi.image.model import ClipText, PictureModel
from malmoi.image.packed import for_drawing, pack
from malmoi.image.schedule import Process
from malmoi.image.text_encoder import TextEncoder, TextEncoderConfig
from malmoi.image.unet import UNet, UNetConfig

N = TypeVar("N", bound=nn.Module)
Measure = Callable[[], float]
"""Does the work once, and returns a number of what it computed."""
LATENT, STEPS, GUIDANCE = 32, 20, 7.5
PROMPT = "a red circle left of a blue square"
BLOCKS: dict[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
UNETS = {
    "unet": UNetConfig(),
    "generation": UNetConfig(sample_size=LATENT, block_out_channels=(64, 128, 256, 256), cross_attention_dim=256),
    "tiny": UNetConfig(
        sample_size=16, block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=32, attention_head_dim=2,
        norm_num_groups=8, **BLOCKS,
    ),
}  # fmt: skip
VAES = {
    "generation": AutoencoderConfig(block_out_channels=(32, 64, 128, 128)),
    "tiny": AutoencoderConfig(block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8),
}
TEXTS = {
    "generation": TextEncoderConfig(
        hidden_size=256, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=4
    ),
    "tiny": TextEncoderConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2),
}


def empty(build: Callable[[], N], dtype: torch.dtype, memory_format: torch.memory_format) -> N:
    """A network with random weights, the same on both sides whatever the order of their modules, and small, so that
    numbers stay small. Nothing is made twice: its memory counts."""
    with torch.device("meta"):
        network = build()
    for name, weight in sorted(network.named_parameters()):
        generator = torch.Generator().manual_seed(len(name))
        is_norm = weight.ndim == 1 and name.endswith("weight")
        scale = 0.1 if weight.ndim == 1 else 1 / weight[0].numel() ** 0.5
        values = torch.empty(weight.shape).normal_(generator=generator).mul_(scale).add_(float(is_norm)).to(dtype)
        values = values.contiguous(memory_format=memory_format) if values.ndim == 4 else values
        above, _, last = name.rpartition(".")
        network.get_submodule(above).register_parameter(last, nn.Parameter(values, requires_grad=False))
    for name, buffer in list(network.named_buffers()):  # positions, in transformers
        above, _, last = name.rpartition(".")
        network.get_submodule(above).register_buffer(last, torch.arange(buffer.numel()).view(buffer.shape), False)
    return network.eval()


def unet_input(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Both halves of a guided step."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, LATENT, LATENT, generator=generator)
    return x.to(dtype), torch.tensor([500, 500]), torch.randn(2, 77, 768, generator=generator).to(dtype)


def ours_unet(dtype: torch.dtype) -> Measure:
    network = empty(lambda: UNet(UNETS["unet"]), dtype, torch.channels_last)
    pack(network)
    x, t, states = unet_input(dtype)
    x = x.to(memory_format=torch.channels_last)

    def once() -> float:
        with torch.inference_mode():
            return float(network(x, t, states).float().abs().mean())

    return once


def theirs_unet(dtype: torch.dtype, layout: torch.memory_format) -> Measure:
    from diffusers import UNet2DConditionModel

    network = empty(lambda: UNet2DConditionModel(cross_attention_dim=768), dtype, layout)
    x, t, states = unet_input(dtype)
    x = x.to(memory_format=layout)

    def once() -> float:
        with torch.inference_mode():
            return float(network(x, t, states).sample.float().abs().mean())

    return once


def picture_model(row: str, dtype: torch.dtype) -> PictureModel:
    """What draws, as `malmoi draw` loads it."""
    layout = torch.channels_last
    unet = empty(lambda: UNet(UNETS[row]), dtype, layout)
    vae = empty(lambda: Autoencoder(VAES[row]), dtype, layout)
    text = empty(lambda: TextEncoder(TEXTS[row]), dtype, layout)
    side = UNETS[row].sample_size * vae.factor
    model = PictureModel(
        Process(), unet, ClipText(Captions.of_clip(), text), vae, (side, side), 4, vae.factor, {"sampler": "ddim"}
    )
    return for_drawing(model)


def ours_pictures(row: str, dtype: torch.dtype, n: int) -> Measure:
    model = picture_model(row, dtype)

    def once() -> float:
        request = request_for(model, PROMPT, negative="", n=n, steps=STEPS, guidance=GUIDANCE, seed=1)
        return sum(float(one.pixels.mean()) for one in draw(model, request)) / n

    return once


def theirs_pictures(row: str, dtype: torch.dtype, n: int, layout: torch.memory_format) -> Measure:
    """diffusers' pipeline, made of its own networks with the same weights."""
    import tempfile
    from pathlib import Path

    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    n_blocks = len(VAES[row].block_out_channels)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * n_blocks, "up_block_types": ["UpDecoderBlock2D"] * n_blocks}
    unet = empty(lambda: UNet2DConditionModel(**UNETS[row].model_dump()), dtype, layout)
    vae = empty(lambda: AutoencoderKL(**VAES[row].model_dump(), **blocks), dtype, layout)
    text = CLIPTextModel(CLIPTextConfig(**TEXTS[row].model_dump(), eos_token_id=2))
    ours = empty(lambda: TextEncoder(TEXTS[row]), dtype, layout).state_dict()
    prefix = "text_model." if any(name.startswith("text_model.") for name in text.state_dict()) else ""
    text.load_state_dict({prefix + name: tensor for name, tensor in ours.items()}, strict=False)
    with tempfile.TemporaryDirectory() as folder:
        Captions.of_clip().save(Path(folder))
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False,
        set_alpha_to_one=False,
    )  # fmt: skip
    pipe = StableDiffusionPipeline(vae, text.eval(), tokenizer, unet, scheduler, None, None, requires_safety_checker=False)  # fmt: skip # noqa: E501
    pipe.set_progress_bar_config(disable=True)
    pipe.to(dtype)

    def once() -> float:
        generators = [torch.Generator().manual_seed(1 + i) for i in range(n)]
        made = pipe(
            PROMPT, negative_prompt="", num_images_per_prompt=n, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
            generator=generators, output_type="np",
        )  # fmt: skip
        return float(made.images.mean()) * 255

    return once


def measure_for(side: str, row: str, dtype: torch.dtype) -> Measure:
    """side: malmoi, diffusers or diffusers-last (channels last in memory)"""
    is_last = side.endswith("-last")
    layout = torch.channels_last if is_last else torch.contiguous_format
    name, _, number = row.partition("_")
    if name == "training":
        from benchmarks.picture_training import ours_training, theirs_training

        return ours_training() if side == "malmoi" else theirs_training(is_last)
    if name == "unet":
        return ours_unet(dtype) if side == "malmoi" else theirs_unet(dtype, layout)
    n = int(number or 1)
    return ours_pictures(name, dtype, n) if side == "malmoi" else theirs_pictures(name, dtype, n, layout)


def main(side: str, row: str, dtype: str, n_threads: int) -> None:
    device.current()
    torch.set_num_threads(n_threads)
    once = measure_for(side, row, getattr(torch, dtype))
    if side == "malmoi":
        device.keep_freed_memory()  # once weights are there, as `malmoi draw` does
    once()
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        computed = once()
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "computed": computed, "peak_bytes": peak}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
