"""Our Stable Diffusion beside diffusers and transformers: samplers step by step, networks, captions, whole pictures."""

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from malmoi.errors import ConfigError
from malmoi.files import read_json, write_json
from malmoi.formats.pictures import load_pictures, save_pictures
from malmoi.image import samplers
from malmoi.image.autoencoder import Autoencoder, AutoencoderConfig
from malmoi.image.captions import Captions
from malmoi.image.draw import draw, request_for
from malmoi.image.files import values_of
from malmoi.image.model import guided
from malmoi.image.samplers import Sampler, begin, levels, sample
from malmoi.image.schedule import Prediction, Process, Schedule
from malmoi.image.text_encoder import TextEncoder, TextEncoderConfig
from malmoi.image.unet import UNet, UNetConfig
from tests.tiny_pictures import UNET, randomise, tiny_model, write_tiny_pictures

diffusers = pytest.importorskip("diffusers", reason="diffusers, the witness of pictures, is not installed")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CLASSES = {
    "ddpm": "DDPMScheduler", "ddim": "DDIMScheduler", "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler", "dpmpp_2m": "DPMSolverMultistepScheduler",
    "lcm": "LCMScheduler",
}  # fmt: skip
VARIANTS: list[dict[str, Any]] = [
    {"steps_offset": 1},
    {"timestep_spacing": "trailing", "prediction_type": "v_prediction"},
    {"timestep_spacing": "linspace", "clip_sample": True},
    {"timestep_spacing": "trailing", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
    {"beta_schedule": "squaredcos_cap_v2", "set_alpha_to_one": False},
    {"use_karras_sigmas": True, "beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
]


def network(x: Tensor, t: Tensor) -> Tensor:
    """Any smooth function of both."""
    return torch.tanh(x.flip(-1) + 0.001 * t.reshape(-1, 1, 1, 1).float()) * 0.9


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("variant", range(len(VARIANTS)))
@pytest.mark.parametrize("n_steps", [1, 4, 17])
def test_a_sampler_takes_the_steps_of_diffusers(
    name: Sampler, variant: int, n_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SD, "timestep_spacing": "leading", "clip_sample": False, "set_alpha_to_one": True, "steps_offset": 0}
    settings |= VARIANTS[variant]
    kind = getattr(diffusers, CLASSES[name])
    known = set(kind.__init__.__wrapped__.__code__.co_varnames)
    theirs = kind(**{key: value for key, value in settings.items() if key in known})
    prediction = "v" if settings.pop("prediction_type", "epsilon") == "v_prediction" else "epsilon"
    process = Process("ddpm", prediction, Schedule(**settings))  # type: ignore[arg-type]
    noises = [torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(n_steps + 2)]
    drawn = iter(noises[1:])
    module = __import__(kind.__module__, fromlist=["randn_tensor"])
    if hasattr(module, "randn_tensor"):
        monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(drawn))
    theirs.set_timesteps(n_steps)
    x = noises[0] * theirs.init_noise_sigma
    wanted = []
    for t in theirs.timesteps:
        given = theirs.scale_model_input(x, t)
        x = theirs.step(network(given, t.reshape(1)), t, x).prev_sample
        wanted.append(x)
    ours_drawn = iter(noises[1:])
    start = begin(name, process, noises[0], n_steps)
    steps = list(sample(name, process, network, start, n_steps, lambda: next(ours_drawn)))
    ladder = levels(name, process, n_steps)
    assert [level.t for level in ladder[:-1]] == pytest.approx(theirs.timesteps.tolist(), rel=1e-6, abs=1e-4)
    for step, there in zip(steps, wanted, strict=True):
        # Euler keeps x / signal there.
        scale = step.level.signal if name in ("euler", "euler_ancestral") else 1.0
        # Without signal at the end, they begin at 4096 times the noise, and round at that size.
        limit = 1e-3 if settings.get("rescale_betas_zero_snr") else 2e-4
        torch.testing.assert_close(step.x, there * scale, rtol=limit, atol=limit)


@pytest.mark.parametrize("beta_schedule", ["scaled_linear", "squaredcos_cap_v2"])
def test_steps_by_karras_are_told_to_the_network_as_diffusers_tells_them(beta_schedule: Any) -> None:
    theirs = diffusers.DPMSolverMultistepScheduler(beta_schedule=beta_schedule, use_karras_sigmas=True)
    schedule = Schedule(beta_start=0.0001, beta_end=0.02, beta_schedule=beta_schedule, use_karras_sigmas=True, timestep_spacing="linspace")  # fmt: skip # noqa: E501
    for n_steps in (1, 2, 5, 12, 30):
        theirs.set_timesteps(n_steps)
        found = levels("dpmpp_2m", Process("ddpm", "v", schedule), n_steps)[:-1]
        assert [level.t for level in found] == theirs.timesteps.tolist()


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("offset", [0, 1])
def test_all_numbers_of_steps_that_are_taken_lead_to_a_clean_picture(name: Sampler, spacing: Any, offset: int) -> None:
    process = Process("ddpm", "epsilon", Schedule(steps_offset=offset, timestep_spacing=spacing, set_alpha_to_one=True))
    refused = []
    for n_steps in (1, 2, 37, 50, 497, 499, 994, 998, 999, 1000):
        try:
            ladder = levels(name, process, n_steps)
        except ConfigError:
            refused.append(n_steps)
            continue
        sigmas = [level.sigma for level in ladder]
        assert len(sigmas) == n_steps + 1 and sigmas[-1] == 0
        assert all(before > after for before, after in pairwise(sigmas))
    assert 37 not in refused and (name == "lcm" or 998 not in refused)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_for_flows_takes_the_steps_of_diffusers(shift: float) -> None:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(sigmas=np.linspace(1, 1 / 5, 5).tolist())
    x = start = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    process = Process("flow", "v", Schedule(shift=shift))
    steps = list(sample("flow_euler", process, network, start, 5, lambda: start))
    for t, step in zip(theirs.timesteps, steps, strict=True):
        x = theirs.step(network(x, t.reshape(1) / 1000), t, x).prev_sample
        torch.testing.assert_close(step.x, x, rtol=1e-5, atol=1e-5)


def test_flow_ancestral_is_what_diffusers_calls_stochastic_if_all_noise_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "FRESH", 1.0)
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=True)
    theirs.set_timesteps(sigmas=np.linspace(1, 1 / 5, 5).tolist())
    process = Process("flow", "v", Schedule(shift=3.0))
    x = start = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    steps = list(sample("flow_ancestral", process, network, start, 5, lambda: torch.randn(start.shape)))
    torch.manual_seed(1)
    for t, step in zip(theirs.timesteps, steps, strict=True):
        x = theirs.step(network(x, t.reshape(1) / 1000), t, x).prev_sample
        torch.testing.assert_close(step.x, x, rtol=1e-5, atol=1e-5)


def test_new_noise_is_as_strong_as_the_noise_that_it_replaces() -> None:
    x0, draw = torch.tensor(0.5).expand(1, 3, 100, 100), torch.Generator().manual_seed(0)
    noise = lambda: torch.randn(x0.shape, generator=draw)  # noqa: E731
    process = Process("flow", "sample", Schedule(shift=3.0))
    first = noise()
    steps = list(sample("flow_ancestral", process, lambda x, t: x0, first, 8, noise))
    for step in steps[:-1]:
        left = (step.x - step.level.signal * x0) / step.level.spread
        assert float(left.std()) == pytest.approx(1, abs=0.02)
    assert float((first * left).mean()) == pytest.approx((1 - samplers.FRESH**2) ** (7 / 2), abs=0.02)
    torch.testing.assert_close(steps[-1].x, x0)


def outputs(module: torch.nn.Module, names: set[str]) -> dict[str, Tensor]:
    """Fills with what each of the named modules returns."""
    found: dict[str, Tensor] = {}
    for name, part in module.named_modules():
        if name in names:
            part.register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, first(out)))
    return found


def first(out: Any) -> Tensor:
    while not isinstance(out, Tensor):
        out = out[0]
    return out


def check_same(here: dict[str, Tensor], there: dict[str, Tensor], names: list[str]) -> None:
    """What modules of these names returned is the same."""
    for name in names:
        wanted = there[name].reshape(here[name].shape)
        # In the middle numbers are larger than 1, and so is what float32 rounds off.
        limit = 1e-5 * max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(here[name], wanted, rtol=1e-5, atol=limit)


def a_config(seed: int) -> dict[str, Any]:
    draw = random.Random(seed)
    n_blocks = draw.choice([1, 2, 3])
    widths = [draw.choice([8, 16, 24]) for _ in range(n_blocks)]
    has_attention = [draw.random() < 0.6 for _ in range(n_blocks)]
    return {
        "block_out_channels": widths, "layers_per_block": draw.choice([1, 2]), "norm_num_groups": draw.choice([2, 4]),
        "cross_attention_dim": draw.choice([8, 12]), "attention_head_dim": [draw.choice([1, 2, 4]) for _ in widths],
        "down_block_types": ["CrossAttnDownBlock2D" if yes else "DownBlock2D" for yes in has_attention],
        "up_block_types": ["CrossAttnUpBlock2D" if yes else "UpBlock2D" for yes in has_attention[::-1]],
        "use_linear_projection": draw.random() < 0.5, "flip_sin_to_cos": draw.random() < 0.7,
        "freq_shift": draw.choice([0, 1]), "sample_size": draw.choice([8, 12]),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_every_block_of_the_unet_computes_what_diffusers_does(seed: int) -> None:
    settings = a_config(seed)
    ours, theirs = UNet(UNetConfig(**settings)), diffusers.UNet2DConditionModel(**settings).eval()
    randomise(ours, seed)
    theirs.load_state_dict(ours.state_dict())
    names = {name for name, _ in ours.named_modules() if name} & {name for name, _ in theirs.named_modules()}
    here, there = outputs(ours, names), outputs(theirs, names)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 4, 10, 14, generator=generator)
    states = torch.randn(2, 5, settings["cross_attention_dim"], generator=generator)
    t = torch.tensor([3.0, 700.0])
    with torch.no_grad():
        out, wanted = ours(x, t, states), theirs(x, t, states).sample
    torch.testing.assert_close(out, wanted, rtol=1e-5, atol=1e-5)
    # A block that goes down gives all that the way up needs; theirs gives its last output first.
    shared = [name for name in here.keys() & there.keys() if "down_blocks" not in name or name.count(".") > 1]
    assert len(shared) > 20
    check_same(here, there, shared)


@pytest.mark.parametrize("seed", range(4))
def test_every_block_of_the_autoencoder_computes_what_diffusers_does(seed: int) -> None:
    n_blocks = 1 + seed % 3
    settings: dict[str, Any] = {
        "block_out_channels": [8 * (1 + index % 2) for index in range(n_blocks)], "layers_per_block": 1 + seed % 2,
        "norm_num_groups": 4, "latent_channels": 3 + seed % 2,
    }  # fmt: skip
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * n_blocks, "up_block_types": ["UpDecoderBlock2D"] * n_blocks}
    ours = Autoencoder(AutoencoderConfig(**settings))
    randomise(ours, seed)
    theirs = diffusers.AutoencoderKL(**settings, **blocks).eval()
    theirs.load_state_dict(ours.state_dict())
    names = {name for name, _ in ours.named_modules() if name} & {name for name, _ in theirs.named_modules()}
    here, there = outputs(ours, names), outputs(theirs, names)
    pixels = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        spread = theirs.encode(pixels).latent_dist
        noise = torch.randn(spread.mean.shape, generator=torch.Generator().manual_seed(1))
        drawn = (spread.mean + spread.std * noise) * 0.18215
        torch.testing.assert_close(ours.encode(pixels, noise), drawn, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.decode(drawn), theirs.decode(drawn / 0.18215).sample, rtol=1e-5, atol=2e-5)
    shared = sorted(here.keys() & there.keys())
    assert {"encoder.mid_block", "decoder.mid_block", "decoder.up_blocks.0", "quant_conv"} <= {*shared}
    check_same(here, there, shared)


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_every_layer_of_the_text_encoder_computes_what_transformers_does(act: str) -> None:
    settings: dict[str, Any] = {
        "vocab_size": 99, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
        "hidden_act": act,
    }  # fmt: skip
    ours = TextEncoder(TextEncoderConfig(**settings))
    randomise(ours, 1)
    theirs = transformers.CLIPTextModel(transformers.CLIPTextConfig(**settings, eos_token_id=98)).eval()
    prefix = "text_model." if any(name.startswith("text_model.") for name in theirs.state_dict()) else ""
    theirs.load_state_dict({prefix + name: tensor for name, tensor in ours.state_dict().items()}, strict=False)
    inner = theirs.get_submodule(prefix.rstrip("."))
    names = {name for name, _ in ours.named_modules() if name} & {name for name, _ in inner.named_modules()}
    here, there = outputs(ours, names), outputs(inner, names)
    ids = torch.randint(0, 99, (2, 77), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).last_hidden_state, rtol=1e-5, atol=1e-5)
    shared = sorted(here.keys() & there.keys())
    assert {"embeddings", "encoder.layers.2.self_attn", "encoder.layers.2.mlp"} <= {*shared}
    check_same(here, there, shared)


@pytest.mark.parametrize(("pad", "n"), [("<|endoftext|>", 10_000), ("!", 1_000)], ids=["1.x", "2.x"])
def test_captions_have_the_ids_of_transformers(tmp_path: Path, pad: str, n: int) -> None:
    captions = Captions.of_clip(pad)
    captions.save(tmp_path)
    theirs = transformers.CLIPTokenizer.from_pretrained(tmp_path)
    draw = random.Random(3)
    parts = ["red", "Circle", "빨간", "동그라미", "😀", "👩‍👩‍👧", "isn't", "café", "1234", "…", "  ", "\n", "ÀÉ", "漢字", "#@", "it's", "e\u0301", "!"]  # fmt: skip # noqa: E501
    texts = ["".join(draw.choice(["", " "]) + draw.choice(parts) for _ in range(draw.randrange(12))) for _ in range(n * 9 // 10)]  # fmt: skip # noqa: E501
    planes = ((0x20, 0x250), (0xAC00, 0xD7A4), (0x1100, 0x1200), (0x1F000, 0x1FB00), (0x300, 0x370), (0x21, 0xD800), (0xE000, 0x2FFFF))  # fmt: skip # noqa: E501
    texts += ["".join(chr(draw.randrange(*draw.choice(planes))) for _ in range(draw.randrange(60))) for _ in range(n // 10)]  # fmt: skip # noqa: E501
    wanted = theirs(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    assert torch.equal(captions.encode(texts), wanted)


@pytest.mark.parametrize("settings", [{}, {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}], ids=["1.5", "2.1"])  # fmt: skip # noqa: E501
def test_names_and_shapes_at_full_size_are_those_of_diffusers(settings: dict[str, Any]) -> None:
    config = UNetConfig(**settings)
    with torch.device("meta"):
        theirs = diffusers.UNet2DConditionModel(**{"cross_attention_dim": 768, **settings})
        vae = AutoencoderConfig()
        blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
        pairs = ((UNet(config), theirs), (Autoencoder(vae), diffusers.AutoencoderKL(**vae.model_dump(), **blocks)))
        for pair in pairs:
            ours, peers = ({name: one.shape for name, one in network.state_dict().items()} for network in pair)
            assert ours == peers


def test_diffusers_loads_what_is_written_and_draws_the_same_picture(tmp_path: Path) -> None:
    write_tiny_pictures(tmp_path / "tiny")
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "tiny")
    theirs.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    wanted = theirs("a red circle", height=32, width=32, num_inference_steps=4, guidance_scale=3.0, generator=generator, output_type="pt", negative_prompt="").images  # fmt: skip # noqa: E501
    model = load_pictures(tmp_path / "tiny", torch.float32)
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    predict = guided(model, model.embed(["a red circle"]), model.embed([""]), 3.0)
    x = begin("ddim", model.process, noise, 4)
    *_, last = sample("ddim", model.process, predict, x, 4, lambda: noise)
    torch.testing.assert_close(model.decode(last.x) / 2 + 0.5, wanted, rtol=0, atol=2e-5)
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_pictures(tmp_path / "theirs", torch.float32)
    states = [one.embed(["red"]).states for one in (model, again)]
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_diffusers_reads_the_process_that_is_written(tmp_path: Path, name: Sampler, prediction: Prediction) -> None:
    schedule = Schedule(timestep_spacing="trailing", rescale_betas_zero_snr=prediction == "v")
    model = tiny_model(process=Process("ddpm", prediction, schedule))
    save_pictures(tmp_path / "tiny", replace(model, about={**model.about, "sampler": name}))
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "tiny").scheduler
    again = load_pictures(tmp_path / "tiny", torch.float32)
    assert type(theirs).__name__ == CLASSES[name] and again.sampler == name and again.process == model.process
    theirs.set_timesteps(4)
    found = [level.t for level in levels(name, again.process, 4)[:-1]]
    assert found == pytest.approx(theirs.timesteps.tolist(), rel=1e-6, abs=1e-4)


@pytest.mark.parametrize("name", ["ddim", "euler", "dpmpp_2m"])
def test_early_files_of_a_process_are_read_as_the_pipelines_of_diffusers_read_them(
    tmp_path: Path, name: Sampler
) -> None:
    model = tiny_model()
    save_pictures(tmp_path / "tiny", replace(model, about={**model.about, "sampler": name}))
    path = tmp_path / "tiny" / "scheduler" / "scheduler_config.json"
    early = {key: value for key, value in read_json(path).items() if key not in ("clip_sample", "steps_offset")}
    write_json(path, early)
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "tiny")
    theirs.set_progress_bar_config(disable=True)
    wanted = theirs(
        "a red circle", height=32, width=32, num_inference_steps=4, guidance_scale=3.0, output_type="np",
        generator=torch.Generator().manual_seed(1),
    ).images[0]  # fmt: skip
    ours = load_pictures(tmp_path / "tiny", torch.float32)
    [picture] = draw(ours, request_for(ours, "a red circle", steps=4, guidance=3.0, seed=1))
    assert np.abs(picture.pixels / 255 - wanted).max() < 0.6 / 255


@pytest.mark.parametrize("how", [{"variant": "fp16"}, {"max_shard_size": "20KB"}, {"variant": "fp16", "max_shard_size": "10KB"}], ids=str)  # fmt: skip # noqa: E501
def test_shards_and_variants_that_diffusers_writes_are_read(tmp_path: Path, how: dict[str, Any]) -> None:
    write_tiny_pictures(tmp_path / "tiny")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "tiny", torch_dtype=torch.float16)
    pipe.save_pretrained(tmp_path / "theirs", **how)
    if "max_shard_size" in how:
        assert len(list((tmp_path / "theirs" / "unet").glob("*-of-*.safetensors"))) > 1
    model = load_pictures(tmp_path / "theirs", torch.float16)
    for part, there in ((model.denoiser, pipe.unet), (model.autoencoder, pipe.vae)):
        state = part.state_dict()  # type: ignore[union-attr]
        assert all(torch.equal(state[name], tensor) for name, tensor in there.state_dict().items())


A_MASK = np.zeros((32, 32), dtype=bool)
A_MASK[6:20, 8:] = True


@pytest.mark.parametrize("strength", [0.4, 1.0])
@pytest.mark.parametrize("masked", [False, True], ids=["image-to-image", "inpainting"])
def test_a_picture_is_changed_as_diffusers_changes_it(tmp_path: Path, masked: bool, strength: float) -> None:
    write_tiny_pictures(tmp_path / "tiny")
    ours = load_pictures(tmp_path / "tiny", torch.float32)
    start = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = A_MASK if masked else None
    how: dict[str, Any] = {"steps": 5, "guidance": 3.0, "seed": 1, "sampler": "ddim"}
    [picture] = draw(ours, request_for(ours, "a red circle", start=start, strength=strength, mask=mask, **how))
    kind = diffusers.StableDiffusionInpaintPipeline if masked else diffusers.StableDiffusionImg2ImgPipeline
    theirs = kind.from_pretrained(tmp_path / "tiny", safety_checker=None)
    theirs.set_progress_bar_config(disable=True)
    # Latents as pictures: else theirs draws them, and ours takes their mean.
    latents = ours.encode(torch.from_numpy(values_of(start))[None])
    extra: dict[str, Any] = {"height": 32, "width": 32, "masked_image_latents": latents} if masked else {}
    extra |= {"mask_image": torch.from_numpy(A_MASK)[None, None].float()} if masked else {}
    wanted = theirs(
        "a red circle", image=latents, strength=strength, num_inference_steps=5, guidance_scale=3.0, output_type="np",
        generator=torch.Generator().manual_seed(1), **extra,
    ).images[0]  # fmt: skip
    difference = np.abs(picture.pixels / 255 - wanted)[A_MASK if masked else ...]
    assert difference.max() < 0.6 / 255  # half of what a byte rounds off, and a little


def test_an_inpainting_model_draws_into_a_picture_as_diffusers_does(tmp_path: Path) -> None:
    model = tiny_model(3, unet=UNET.model_copy(update={"in_channels": 9}))
    save_pictures(tmp_path / "tiny", model)
    theirs = diffusers.StableDiffusionInpaintPipeline.from_pretrained(tmp_path / "tiny", safety_checker=None)
    theirs.set_progress_bar_config(disable=True)
    ours = load_pictures(tmp_path / "tiny", torch.float32)
    assert ours.inpaints and ours.n_channels == 4
    start = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = A_MASK
    request = request_for(ours, "a red circle", steps=4, guidance=3.0, seed=1, start=start, mask=mask)
    [picture] = draw(ours, request)
    values = torch.from_numpy(values_of(start))[None]
    around = ours.encode(values * ~torch.from_numpy(mask))
    wanted = theirs(
        "a red circle", image=values, mask_image=torch.from_numpy(mask)[None, None].float(), height=32, width=32,
        masked_image_latents=around, num_inference_steps=4, guidance_scale=3.0, strength=1.0,
        latents=torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1)), output_type="np",
    ).images[0]  # fmt: skip
    difference = np.abs(picture.pixels / 255 - wanted)[mask]
    assert difference.max() < 0.6 / 255  # half of what a byte rounds off, and a little
    assert np.array_equal(picture.pixels[~mask], start[~mask])
    [free] = draw(ours, request_for(ours, "a red circle", steps=2, seed=1))
    assert free.pixels.shape == (32, 32, 3)
