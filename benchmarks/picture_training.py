"""Training the denoiser of the recipe `picture` for some steps: by Malmoi's loop, and by a plain one of PyTorch.

Both have the same layers, captions' tower, pictures, batch size, optimizer and loss, and an average of the weights. The
plain loop attends with PyTorch's fused kernel, as a network in PyTorch does unless somebody measured.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from malmoi.algorithms import denoiser
from malmoi.data.pictures import TRAIN, read_pictures, write_pictures
from malmoi.formats.own_pictures import load_tower, save_clip
from malmoi.image import reader
from malmoi.image.dit import Denoiser, DenoiserConfig, DenoiserShape
from malmoi.image.towers import Clip, ClipConfig
from malmoi.synthetic.shapes import caption, draw, place, random_scene
from malmoi.tokenizer.bpe import train_bpe
from malmoi.train.loop import LoopConfig, fit
from malmoi.train.optim import OptimConfig

N, SIZE, BATCH, N_STEPS = 1024, 32, 32, 16
RATE = 2e-3
SHAPE = DenoiserShape(patch=8, n_local=(32, 96), n_layer=4)


def prepared(folder: Path) -> denoiser.Inputs:
    """Pictures and a tower, the same each time."""
    rng, captions, pixels = np.random.default_rng(1), [], []
    for _ in range(N):
        scene = random_scene(rng)
        pixels.append(draw(scene, place(scene, rng), SIZE))
        captions.append({"en": caption(scene, "en", rng)})
    write_pictures(folder, TRAIN, np.stack(pixels), [{"captions": one} for one in captions])
    tokenizer = train_bpe([one["en"] for one in captions], 512)
    torch.manual_seed(1)
    save_clip(folder / "clip", Clip(ClipConfig(vocab_size=tokenizer.vocab_size)), tokenizer)
    return denoiser.Inputs(pictures=folder, clip=folder / "clip")


def ours_training() -> Callable[[], float]:
    """N_STEPS steps of the algorithm `denoiser`, with the recipe's optimizer."""
    folder = Path(tempfile.mkdtemp())
    inputs = prepared(folder)
    loop = LoopConfig(optim=OptimConfig(lr=RATE), checkpoint_every_s=1e6)
    config = denoiser.Config(model=SHAPE, n_steps=N_STEPS, batch_size=BATCH, micro_batch_size=BATCH, loop=loop)

    def once() -> float:
        job = denoiser.build(config, inputs)
        losses: list[float] = []
        (folder / "checkpoint").unlink(missing_ok=True)
        fit(job, loop, [lambda step: losses.append(step.metrics["loss"])], folder / "checkpoint")
        return losses[0]

    return once


def theirs_training(is_autocast: bool) -> Callable[[], float]:
    """The same with AdamW, a DataLoader and nothing else. is_autocast: in bfloat16"""
    reader.FEW_SCORES = 0
    inputs = prepared(Path(tempfile.mkdtemp()))
    pictures, text = read_pictures(inputs.pictures, TRAIN), load_tower(inputs.clip)
    process, config = denoiser.PROCESSES["flow"], denoiser.Config(n_steps=N_STEPS)

    def step(network: torch.nn.Module, x0: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        with torch.no_grad():
            states = text.read(ids, mask)
        t, noise = torch.sigmoid(torch.randn(len(x0))), torch.randn_like(x0)
        output = network(process.add_noise(x0, noise, t), t, states, mask)
        error = ((output.float() - x0) ** 2).mean((1, 2, 3))
        return (error / t.clamp(min=config.least_time) ** 2).mean()

    def once() -> float:
        torch.manual_seed(1)
        network = Denoiser(
            DenoiserConfig(
                **SHAPE.model_dump(), n_channels=3, size=SIZE, n_context=text.width, n_caption=text.captions.n_tokens
            )
        )
        ids, mask = text.captions([row["captions"]["en"] for row in pictures.rows])
        rows = TensorDataset(pictures.pixels.float() / 127.5 - 1, ids, mask)
        optimizer, average = (
            torch.optim.AdamW(network.parameters(), lr=RATE),
            torch.optim.swa_utils.AveragedModel(network),
        )
        first = 0.0
        for number, batch in zip(range(N_STEPS), DataLoader(rows, BATCH, shuffle=True), strict=False):
            with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
                loss = step(network, *batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(network)
            first = first if number else float(loss)
        return first

    return once
