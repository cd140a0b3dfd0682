"""How well CLIP finds what belongs together, on pictures that it has never seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from malmoi import device
from malmoi.data.pictures import Pictures, to_signed
from malmoi.evals.interval import bootstrap
from malmoi.image.towers import CaptionIds, Clip

ROWS = 128


@torch.inference_mode()
def measure_clip(clip: Clip, captions: CaptionIds, pictures: Pictures) -> dict[str, Any]:
    """Recall at 1 and 10 from a picture to its caption, and zero-shot classification, for each language.

    Among captions that are equal any is right. Zero-shot: each held-out concept has the caption of its first picture;
    of its other pictures CLIP says which concept they are.
    """
    images = vectors_of_pictures(clip, pictures.pixels)
    found: dict[str, Any] = {"n": len(pictures)}
    for language in pictures.languages:
        rows, texts = zip(*pictures.captions(language), strict=True)
        of_texts = vectors_of_captions(clip, captions, texts)
        similarity = images[list(rows)] @ of_texts.T
        for k in (1, 10):
            hits = is_found(similarity, texts, k)
            found[f"recall_{k}_{language}"] = bootstrap(hits).to_row()
        concepts = [pictures.rows[row].get("concept", text) for row, text in zip(rows, texts, strict=True)]
        firsts = {concept: i for i, concept in reversed(list(enumerate(concepts)))}
        others = [i for i, concept in enumerate(concepts) if firsts[concept] != i]
        if others and len(firsts) > 1:
            classes = list(firsts)
            guessed = (images[list(rows)][others] @ of_texts[list(firsts.values())].T).argmax(1).tolist()
            right = [float(classes[guess] == concepts[i]) for guess, i in zip(guessed, others, strict=True)]
            found[f"zero_shot_{language}"] = bootstrap(right).to_row()
            found["n_classes"] = len(classes)
    return found


def is_found(similarity: Tensor, texts: Sequence[str], k: int) -> list[float]:
    """Whether the caption of each picture, or one equal to it, is among the k most similar. similarity: (N, N)"""
    best = similarity.topk(min(k, len(texts)), dim=1).indices.tolist()
    return [float(any(texts[i] == text for i in row)) for row, text in zip(best, texts, strict=True)]


def vectors_of_pictures(clip: Clip, pixels: Tensor) -> Tensor:
    """(N, D) of pixels, uint8 (N, 3, H, W)."""
    here = device.current().torch_device
    return torch.cat([clip.image_vectors(to_signed(part).to(here)) for part in torch.split(pixels, ROWS)]).cpu()


def vectors_of_captions(clip: Clip, captions: CaptionIds, texts: Sequence[str]) -> Tensor:
    """(N, D)"""
    here = device.current().torch_device
    parts = [texts[i : i + ROWS] for i in range(0, len(texts), ROWS)]
    return torch.cat([clip.text_vectors(*(one.to(here) for one in captions(part))) for part in parts]).cpu()


def features_of(clip: Clip, pixels: Tensor) -> np.ndarray:
    """(N, F) the picture tower's last features, averaged over places, of pixels, uint8 (N, 3, H, W)."""
    here, n = device.current().torch_device, clip.config.channels[-1]
    with torch.inference_mode():
        parts = [clip.image.features(to_signed(part).to(here)) for part in torch.split(pixels, ROWS)]
    return torch.cat(parts).reshape(len(pixels), n, -1).mean(2).cpu().double().numpy()
