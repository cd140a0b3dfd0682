"""The denoiser's training: what learns when, and what it knows of a caption."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from malmoi.algorithms import denoiser
from malmoi.data.pictures import TRAIN, write_pictures
from malmoi.formats.own_pictures import load_clip, load_tower, save_clip
from malmoi.image.dit import Denoiser
from malmoi.image.towers import Clip, ClipConfig
from malmoi.tokenizer.bpe import train_bpe
from tests.tiny_pictures import randomise

SHAPE = {"patch": 8, "n_embd": 16, "n_head": 2, "n_layer": 1, "n_text_layer": 1}
CAPTIONS = ("a red circle", "a blue square", "a green star", "two red stars")


@pytest.fixture
def inputs(tmp_path: Path) -> denoiser.Inputs:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(CAPTIONS), 16, 16, 3), dtype=np.uint8)
    write_pictures(tmp_path, TRAIN, pixels, [{"captions": {"en": one}} for one in CAPTIONS])
    tokenizer = train_bpe(CAPTIONS, 300)
    shape = ClipConfig(vocab_size=tokenizer.vocab_size, n_embd=16, n_layer=1, n_head=2, channels=(8, 8))
    save_clip(tmp_path / "clip", Clip(shape), tokenizer)
    return denoiser.Inputs(pictures=tmp_path, clip=tmp_path / "clip")


def config(**settings: object) -> denoiser.Config:
    return denoiser.Config.model_validate({"model": SHAPE, "n_steps": 8, "batch_size": 2, **settings})


@pytest.mark.parametrize(("process", "reading"), [("flow", [1, 1, 0, 0]), ("ddpm-v", [1, 1, 0, 0])])
def test_it_reads_first_and_a_resumed_run_knows_where_it_is(
    inputs: denoiser.Inputs, process: str, reading: list[int]
) -> None:
    settings = config(process=process, reading_share=0.25)
    steps = denoiser.build(settings, inputs).steps
    assert [batch[0].is_reading for batch in islice(iter(steps), 4)] == list(map(bool, reading))
    resumed = denoiser.build(settings, inputs).steps
    resumed.load_state_dict({"step": 1})
    assert [batch[0].is_reading for batch in islice(iter(resumed), 3)] == list(map(bool, reading[1:]))


def test_a_share_of_the_times_is_noise_alone() -> None:
    flow, ddpm = denoiser.PROCESSES["flow"], denoiser.PROCESSES["ddpm-v"]
    torch.manual_seed(0)
    assert (denoiser.random_times(9, flow, 0.8, 1.0) == 1).all()
    assert (denoiser.random_times(4000, flow, 0.8, 0.25) == 1).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (denoiser.random_times(4000, flow, 0.8, 0.0) < 1).all()
    assert len(torch.unique(denoiser.random_times(9, ddpm, 0.8, 1.0))) > 1


def test_the_reader_learns_first_and_all_else_after_it(inputs: denoiser.Inputs) -> None:
    text, job, eye = load_tower(inputs.clip), denoiser.build(config(), inputs), load_clip(inputs.clip)[0].image
    model = job.model
    assert isinstance(model, Denoiser)
    randomise(model, 1)
    model.requires_grad_(True)
    ids, mask = text.captions(CAPTIONS)
    x0 = torch.rand(4, 3, 16, 16)
    for is_reading in (True, False, True):
        model.zero_grad()
        total, _ = job.loss(model, denoiser.Noised(x0, ids, mask, is_reading))
        total.backward()
        learns = {name.startswith("reader.") for name, weight in model.named_parameters() if weight.grad is not None}
        assert learns == {is_reading}
    with torch.no_grad():
        drawn, seen = model.sketch(text.read(ids, mask), mask)
        small = torch.nn.functional.adaptive_avg_pool2d(x0, drawn.shape[-1])
        features = eye.features(x0).view(4, 8, 4, 4)[:, :, ::2, ::2]
    wanted = ((drawn - small) ** 2).mean((1, 2, 3)).sum() + ((seen - features) ** 2).mean((1, 2, 3)).sum()
    assert float(total.detach()) == pytest.approx(float(wanted))


def test_a_reader_learns_which_colour_is_where(inputs: denoiser.Inputs, tmp_path: Path) -> None:
    """Both halves' colours follow from the order of the words alone."""
    colours = {"red": (222, 45, 45), "blue": (48, 92, 222), "green": (48, 162, 76)}
    pairs = [(a, b) for a in colours for b in colours if a != b]
    pixels = np.zeros((len(pairs), 16, 16, 3), dtype=np.uint8)
    for i, (a, b) in enumerate(pairs):
        pixels[i, :, :8], pixels[i, :, 8:] = colours[a], colours[b]
    rows = [{"captions": {"en": f"{a} left of {b}", "ko": f"{b} 왼쪽에 {a}"}} for a, b in pairs]
    write_pictures(tmp_path / "halves", TRAIN, pixels, rows)
    tokenizer = train_bpe((text for row in rows for text in row["captions"].values()), 300)
    shape = ClipConfig(vocab_size=tokenizer.vocab_size, n_embd=16, n_layer=1, n_head=2, channels=(8, 8))
    save_clip(tmp_path / "words", Clip(shape), tokenizer)
    settings = config(
        model={**SHAPE, "n_embd": 32}, n_steps=300, batch_size=12, reading_share=0.99, caption_dropout=0.0
    )
    job = denoiser.build(settings, denoiser.Inputs(pictures=tmp_path / "halves", clip=tmp_path / "words"))
    optimizer = torch.optim.AdamW(job.model.parameters(), lr=3e-3)
    for batch in islice(iter(job.steps), 250):
        job.loss(job.model, batch[0])[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    text = load_tower(tmp_path / "words")
    ids, mask = text.captions([row["captions"][language] for row in rows for language in ("en", "ko")])
    assert isinstance(job.model, Denoiser)
    with torch.no_grad():
        drawn, _ = job.model.sketch(text.read(ids, mask), mask)
    wanted = torch.from_numpy(pixels.repeat(2, axis=0)).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert (drawn - torch.nn.functional.adaptive_avg_pool2d(wanted, drawn.shape[-1])).square().mean() < 0.01


def test_it_knows_a_token_by_itself_and_by_its_state(inputs: denoiser.Inputs) -> None:
    text, job = load_tower(inputs.clip), denoiser.build(config(), inputs)
    ids, mask = text.captions(CAPTIONS)
    known = text.read(ids, mask)
    assert torch.equal(known, torch.cat([text.tower.embed_tokens(ids), text.tower(ids, mask)], dim=-1))
    assert isinstance(job.model, Denoiser)
    assert (job.model.config.n_context, job.model.config.n_caption) == (32, 40)
