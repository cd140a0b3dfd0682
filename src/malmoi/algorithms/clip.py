"""CLIP: in a batch of pictures and captions, find for each picture its caption and for each caption its picture.

Source: Radford et al. 2021 (arXiv:2103.00020), symmetric InfoNCE.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from malmoi.config import Seed, Settings
from malmoi.data.pictures import TRAIN, Pictures, chosen_captions, read_pictures, to_signed
from malmoi.data.stream import Collate, Shuffled
from malmoi.image.towers import CaptionIds, Clip, ClipConfig
from malmoi.tokenizer.bpe import Tokenizer, train_bpe
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.unused import OF_PICTURES


class Config(Settings):
    """Settings of CLIP."""

    model: ClipConfig = ClipConfig()
    """Both towers."""
    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(128, gt=1)
    """Pictures in one step; each caption is held against all of them."""
    seed: Seed = 1
    """Of the weights, the order of the pictures and the choice of their captions."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""


class Inputs(Settings):
    """What CLIP reads."""

    pictures: Path = Path()
    """Folder of pictures with captions, as the stage `pictures` makes it."""


UNUSED = OF_PICTURES


@dataclass(frozen=True)
class Pairs:
    """pixels: (B, 3, H, W) in -1..1; ids, mask: (B, T), the captions"""

    pixels: Tensor
    ids: Tensor
    mask: Tensor

    @property
    def count(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> "Pairs":
        return Pairs(self.pixels.to(device), self.ids.to(device), self.mask.to(device))


def loss(model: Clip, batch: Pairs) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy in nats, the mean of both directions, summed over pairs.

    An equal caption of another picture in the batch is right, too, and left out.
    """
    images, texts = model.image_vectors(batch.pixels), model.text_vectors(batch.ids, batch.mask)
    logits = model.scale() * images @ texts.T
    same = (batch.ids[:, None] == batch.ids[None]).all(-1)
    own = torch.eye(len(same), dtype=torch.bool, device=same.device)
    logits = logits.masked_fill(same & ~own, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    total = (F.cross_entropy(logits, target, reduction="sum") + F.cross_entropy(logits.T, target, reduction="sum")) / 2
    return total, {"accuracy": (logits.argmax(1) == target).sum().detach()}


def build(config: Config, inputs: Inputs) -> Job:
    """Both towers from nothing, and the shuffled pairs."""
    return build_with_words(config, inputs)[0]


def build_with_words(config: Config, inputs: Inputs) -> tuple[Job, Tokenizer]:
    """The same with the vocabulary of the captions, which is saved with the towers."""
    pictures = read_pictures(inputs.pictures, TRAIN)
    captions = CaptionIds(learn_vocabulary(pictures, config.model.vocab_size), config.model.n_tokens)
    torch.manual_seed(config.seed)
    shape = config.model.model_copy(update={"vocab_size": captions.tokenizer.vocab_size})
    steps = Shuffled(len(pictures), config.batch_size, config.seed, _collate(pictures, captions, config.seed))
    return Job(Clip(shape), steps, loss, config.n_steps), captions.tokenizer


def learn_vocabulary(pictures: Pictures, vocab_size: int) -> Tokenizer:
    """Byte-level BPE of all captions, in all languages."""
    return train_bpe((text for row in pictures.rows for text in row["captions"].values()), vocab_size)


def _collate(pictures: Pictures, captions: CaptionIds, seed: int) -> Collate:
    def collate(epoch: int, rows: np.ndarray) -> list[Pairs]:
        texts = list(chosen_captions([pictures.rows[i] for i in rows], [seed, epoch, int(rows[0])]))
        return [Pairs(to_signed(pictures.pixels[torch.from_numpy(rows)]), *captions(texts))]

    return collate
