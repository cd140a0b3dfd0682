"""The denoiser's training: when its pictures are noise alone, and what it knows of a caption."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from malmoi.algorithms import denoiser
from malmoi.data.pictures import TRAIN, write_pictures
from malmoi.formats.own_pictures import load_tower, save_clip
from malmoi.image.dit import Denoiser
from malmoi.image.towers import Clip, ClipConfig
from malmoi.tokenizer.bpe import train_bpe

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


@pytest.mark.parametrize(("process", "reading"), [("flow", [1, 1, 0, 0]), ("ddpm-v", [0, 0, 0, 0])])
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


def test_while_it_reads_the_loss_is_of_noise_alone(inputs: denoiser.Inputs) -> None:
    class Time(torch.nn.Module):
        """Its answer is the time, so its error says which time it was given."""

        def forward(self, x: torch.Tensor, t: torch.Tensor, *_: object) -> torch.Tensor:
            return t[:, None, None, None].expand_as(x)

    settings, text = config(noise_share=0.0), load_tower(inputs.clip)
    ids, mask = text.captions(["a red circle"] * 64)
    x0, process = torch.full((64, 3, 16, 16), 0.5), denoiser.PROCESSES["flow"]
    read, seen = (
        float(denoiser.loss(Time(), denoiser.Noised(x0, ids, mask, reading), text, process, settings)[0]) / 64  # type: ignore[arg-type]
        for reading in (True, False)
    )
    assert read == pytest.approx(0.5**2)
    assert seen != pytest.approx(0.5**2, rel=0.05)


def test_it_knows_a_token_by_itself_and_by_its_state(inputs: denoiser.Inputs) -> None:
    text, job = load_tower(inputs.clip), denoiser.build(config(), inputs)
    ids, mask = text.captions(CAPTIONS)
    known = text.read(ids, mask)
    assert torch.equal(known, torch.cat([text.tower.embed_tokens(ids), text.tower(ids, mask)], dim=-1))
    assert isinstance(job.model, Denoiser)
    assert (job.model.config.n_context, job.model.config.n_caption) == (32, 40)
