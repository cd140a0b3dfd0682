"""Stable Diffusion with the numbers of diffusers and transformers: networks, samplers, folders, whole pictures."""

import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from malmoi.formats.pictures import load_pictures, save_pictures
from malmoi.image.autoencoder import Autoencoder, AutoencoderConfig
from malmoi.image.model import guided
from malmoi.image.samplers import Sampler, begin, sample
from malmoi.image.schedule import Process, Schedule
from malmoi.image.text_encoder import TextEncoder, TextEncoderConfig
from malmoi.image.unet import UNet, UNetConfig
from tests.tiny_pictures import randomise, tiny_captions, tiny_model, write_tiny_pictures

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers", reason="pip install diffusers")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")

pytestmark = pytest.mark.filterwarnings("ignore")  # of the peers
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SD1: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def noise_of(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unet_config(seed: int) -> UNetConfig:
    """A small U-Net of 2 or 3 levels, drawn by the seed."""
    rng = random.Random(seed)
    n = rng.choice([2, 3])
    has_text = [rng.random() < 0.7 for _ in range(n)]
    heads = tuple(rng.choice([1, 2, 4]) for _ in range(n))
    return UNetConfig(
        sample_size=16, layers_per_block=rng.choice([1, 2]), block_out_channels=tuple(8 * (i + 1) for i in range(n)),
        cross_attention_dim=rng.choice([12, 16]), norm_num_groups=4, use_linear_projection=rng.random() < 0.5,
        attention_head_dim=heads if rng.random() < 0.5 else 2, flip_sin_to_cos=rng.random() < 0.5,
        freq_shift=rng.choice([0, 1]), transformer_layers_per_block=rng.choice([1, 2]),
        down_block_types=tuple("CrossAttnDownBlock2D" if one else "DownBlock2D" for one in has_text),
        up_block_types=tuple("CrossAttnUpBlock2D" if one else "UpBlock2D" for one in reversed(has_text)),
    )  # fmt: skip


def their_unet(config: UNetConfig) -> Any:
    return diffusers.UNet2DConditionModel(**config.model_dump()).eval()


def activations(network: torch.nn.Module, names: set[str]) -> dict[str, list[Tensor]]:
    """What each named module gives, in the order of the calls; filled when the network is called."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}

    def keep(name: str) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            tensor = output
            while not isinstance(tensor, Tensor):
                tensor = tensor[0]
            found[name].append(tensor)

        return hook

    for name, module in network.named_modules():
        if name in names:
            module.register_forward_hook(keep(name))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_every_block_of_the_unet(seed: int) -> None:
    config = unet_config(seed)
    ours, theirs = UNet(config), their_unet(config)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    randomise(ours, seed)
    theirs.load_state_dict(ours.state_dict())
    kinds = ("resnets", "attentions", "downsamplers", "upsamplers", "conv_in", "time_embedding", "conv_out")
    names = {name for name, _ in ours.named_modules() if any(part in kinds for part in name.split(".")[-2:])}
    names &= {name for name, module in ours.named_modules() if not isinstance(module, torch.nn.ModuleList)}
    mine, others = activations(ours, names), activations(theirs, names)
    x, states = noise_of(2, 4, 16, 16, seed=seed), noise_of(2, 7, config.cross_attention_dim, seed=seed + 1)
    t = torch.tensor([3.0, 981.0])
    with torch.no_grad():
        torch.testing.assert_close(ours(x, t, states), theirs(x, t, states).sample, **CLOSE)
    assert len(names) > 10
    for name in sorted(names):
        for one, other in zip(mine[name], others[name], strict=True):
            largest = max(1.0, float(other.abs().max()))
            assert float((one - other).abs().max()) <= 1e-5 * largest, name


@pytest.mark.parametrize("seed", range(4))
def test_the_autoencoder(seed: int) -> None:
    rng = random.Random(seed)
    widths = rng.choice([(8, 16), (4, 8, 12)])
    config = AutoencoderConfig(block_out_channels=widths, layers_per_block=rng.choice([1, 2]), norm_num_groups=4)
    ours = Autoencoder(config)
    n = len(widths)
    theirs = diffusers.AutoencoderKL(
        **config.model_dump(), down_block_types=["DownEncoderBlock2D"] * n, up_block_types=["UpDecoderBlock2D"] * n
    ).eval()
    randomise(ours, seed)
    theirs.load_state_dict(ours.state_dict())
    pixels = noise_of(2, 3, 32, 32, seed=seed).clamp(-1, 1)
    scale = theirs.config.scaling_factor
    with torch.no_grad():
        latents = ours.encode(pixels, None)
        torch.testing.assert_close(latents, theirs.encode(pixels).latent_dist.mode() * scale, **CLOSE)
        torch.testing.assert_close(ours.decode(latents), theirs.decode(latents / scale).sample, **CLOSE)


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_the_text_encoder(act: str) -> None:
    captions = tiny_captions()
    sizes: dict[str, Any] = {"vocab_size": captions.n_tokens, "hidden_size": 16, "intermediate_size": 32,
                             "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": act}  # fmt: skip
    ours = TextEncoder(TextEncoderConfig(**sizes))
    theirs = transformers.CLIPTextModel(transformers.CLIPTextConfig(**sizes)).eval()
    randomise(ours, 1)
    state = ours.state_dict()
    is_prefixed = any(name.startswith("text_model.") for name in theirs.state_dict())
    prefix = "text_model." if is_prefixed else ""
    missing, unexpected = theirs.load_state_dict({prefix + k: v for k, v in state.items()}, strict=False)
    assert not unexpected and all("position_ids" in name for name in missing)
    ids = captions.encode(["a red circle", "빨간 원"])
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).last_hidden_state, **CLOSE)


@pytest.mark.parametrize(
    ("widths", "heads", "states", "linear"),
    [((320, 640, 1280, 1280), 8, 768, False), ((320, 640, 1280, 1280), (5, 10, 20, 20), 1024, True)],
    ids=["sd-1.5", "sd-2.1"],
)
def test_names_and_shapes_at_full_size(widths: tuple[int, ...], heads: Any, states: int, linear: bool) -> None:
    config = UNetConfig(
        block_out_channels=widths, attention_head_dim=heads, cross_attention_dim=states, use_linear_projection=linear
    )
    with torch.device("meta"):
        pairs = [(UNet(config), their_unet(config))]
        vae = AutoencoderConfig()
        blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
        pairs.append((Autoencoder(vae), diffusers.AutoencoderKL(**vae.model_dump(), **blocks)))
    for ours, theirs in pairs:
        expected = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
        assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == expected
    assert sum(tensor.numel() for tensor in pairs[0][0].parameters()) > 859_000_000


SCHEDULERS: dict[Sampler, tuple[str, dict[str, Any]]] = {
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}),
    "euler": ("EulerDiscreteScheduler", {"timestep_spacing": "linspace"}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "linspace"}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"timestep_spacing": "linspace"}),
    "lcm": ("LCMScheduler", {}),
}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("n_steps", [1, 4, 20])
def test_samplers_step_by_step(
    name: Sampler, prediction: str, n_steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from malmoi.formats.picture_schedule import read_process

    kind, settings = SCHEDULERS[name]
    theirs = getattr(diffusers, kind)(**SD1, **settings, prediction_type=prediction)
    theirs.save_pretrained(tmp_path)
    process, named = read_process(tmp_path)
    assert named == name
    drawn = [noise_of(1, 4, 8, 8, seed=100 + i) for i in range(n_steps + 1)]
    ours_left, theirs_left = iter(drawn), iter(drawn)
    for module in ("ddpm", "euler_ancestral_discrete", "lcm"):
        place = f"diffusers.schedulers.scheduling_{module.replace('euler_ancestral', 'euler_ancestral')}.randn_tensor"
        monkeypatch.setattr(place, lambda *args, **more: next(theirs_left))
    weight = noise_of(4, 4, seed=9) / 4

    def network(x: Tensor, t: float) -> Tensor:
        return torch.einsum("oc,bchw->bohw", weight, x).tanh() * (1 + t / 2000)

    theirs.set_timesteps(n_steps)
    x = noise_of(1, 4, 8, 8)
    their_x = x * theirs.init_noise_sigma
    expected = []
    for t in theirs.timesteps:
        output = network(theirs.scale_model_input(their_x, t), float(t))
        their_x = theirs.step(output, t, their_x).prev_sample
        expected.append(their_x)
    steps = sample(
        name, process, lambda x, t: network(x, float(t[0])), begin(name, process, x, n_steps), n_steps,
        lambda: next(ours_left),
    )  # fmt: skip
    found = [step.x / step.level.signal if name.startswith("euler") else step.x for step in steps]
    assert len(found) == len(expected) == n_steps
    for number, (mine, other) in enumerate(zip(found, expected, strict=True), start=1):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4, msg=lambda said, n=number: f"step {n}: {said}")


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_for_flows_step_by_step(shift: float) -> None:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(sigmas=[(8 - i) / 8 for i in range(8)])
    process = Process("flow", "v", Schedule(shift=shift))
    x = their_x = noise_of(1, 4, 8, 8)
    weight = noise_of(4, 4, seed=9) / 4

    def network(x: Tensor, t: float) -> Tensor:
        return torch.einsum("oc,bchw->bohw", weight, x).tanh() * (1 + t)

    expected = []
    for t in theirs.timesteps:
        their_x = theirs.step(network(their_x, float(t) / 1000), t, their_x).prev_sample
        expected.append(their_x)
    steps = sample("flow_euler", process, lambda x, t: network(x, float(t[0])), x, 8, lambda: x)
    for step, other in zip(steps, expected, strict=True):
        torch.testing.assert_close(step.x, other, rtol=1e-4, atol=1e-4)


def pipeline_of(folder: Path) -> Any:
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("name", ["ddim", "euler", "dpmpp_2m"])
def test_a_saved_folder_draws_the_same_there(name: Sampler, tmp_path: Path) -> None:
    model = tiny_model(seed=3)
    model.about["sampler"] = name
    save_pictures(tmp_path / "model", model)
    pipe = pipeline_of(tmp_path / "model")
    latents = noise_of(1, 4, 16, 16, seed=5)
    theirs = pipe(
        "a red circle", negative_prompt="clear 원", num_inference_steps=4, guidance_scale=3.0, latents=latents,
        output_type="np", height=32, width=32,
    ).images  # fmt: skip
    ours = load_pictures(tmp_path / "model")
    predict = guided(ours, ours.embed(["a red circle"]), ours.embed(["clear 원"]), 3.0)
    *_, last = sample(
        ours.sampler, ours.process, predict, begin(ours.sampler, ours.process, latents, 4), 4, torch.Tensor
    )
    drawn = ours.decode(last.x) / 2 + 0.5
    torch.testing.assert_close(drawn, torch.from_numpy(theirs).permute(0, 3, 1, 2), rtol=1e-3, atol=1e-3)


def test_a_folder_that_diffusers_wrote_is_read(tmp_path: Path) -> None:
    model = write_tiny_pictures(tmp_path / "model", seed=4)
    pipeline_of(tmp_path / "model").save_pretrained(tmp_path / "theirs")
    read = load_pictures(tmp_path / "theirs")
    x, t = noise_of(1, 4, 16, 16), torch.tensor([500.0])
    captions = ["a red circle", "빨간 원 🔴"]
    torch.testing.assert_close(read.embed(captions).states, model.embed(captions).states)
    context = model.embed(["a red circle"])
    torch.testing.assert_close(read.predict(x, t, context), model.predict(x, t, context))
    torch.testing.assert_close(read.decode(x), model.decode(x))


def test_captions_have_the_tokens_that_transformers_gives_them(tmp_path: Path) -> None:
    captions = tiny_captions()
    captions.save(tmp_path)
    theirs = transformers.CLIPTokenizer.from_pretrained(tmp_path)
    rng = random.Random(1)
    words = [
        "a", "red", "circle", "Circle,", "clear", "left-of", "it's", "1234", "빨간", "원", "왼쪽에", "🔴", "👩‍🎨",
        "é", "ﬁ", "\u3000", "<b>", "...", "they'll", "A_B", "ŒUVRE", "한글ABC", "", "\t", "\n",
    ]  # fmt: skip
    texts = [" ".join(rng.choices(words, k=rng.randrange(0, 12))) for _ in range(10_000)]
    expected = theirs(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    found = captions.encode(texts)
    wrong = [text for text, mine, other in zip(texts, found, expected, strict=True) if not torch.equal(mine, other)]
    assert not wrong, f"{len(wrong)} differ, such as {wrong[0]!r}"
