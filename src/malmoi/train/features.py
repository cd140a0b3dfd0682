"""What a probe reads: hidden states of answers and of their prompts, computed once and kept on disk.

They are kept by content, under the network's weights and the ids of each ranking: a second fit, with more rankings or
with fewer, computes only what is new. The files are below `features` in the user's cache folder and may be deleted.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from malmoi import device, progress
from malmoi.data.batch import batches_by_length
from malmoi.data.comparisons import Ranking, collate_rankings
from malmoi.files import open_atomic, sha256_of
from malmoi.formats.folder import frozen, load_config, load_model
from malmoi.inference.compiled import safe_folders
from malmoi.model.config import ModelConfig
from malmoi.model.probe import answers_so_far
from malmoi.model.transformer import LanguageModel, keep_layers

LAYERS = (5 / 8,)
"""Where a probe reads: shares of the network's depth (docs/decisions/0015)."""
MOST_TOKENS = 2_048
PER_FILE = 256
ARRAYS = ("answers", "prompts", "lengths", "sizes")


@dataclass(frozen=True)
class Features:
    """Of R rankings with N answers. D: states at the layers, side by side.

    answers: (N, 2 D), ranking after ranking: the mean of each answer's states, then those at its last token
    lengths: (N,) tokens of each answer
    prompts: (R, D) mean states of each prompt; sizes: (R,) answers of each ranking
    layers: after how many blocks the states were read
    """

    answers: np.ndarray
    lengths: np.ndarray
    prompts: np.ndarray
    sizes: np.ndarray
    layers: tuple[int, ...]

    @property
    def ranking(self) -> np.ndarray:
        """(N,), the number of each answer's ranking."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def take(self, numbers: Sequence[int] | np.ndarray) -> "Features":
        """Of these rankings, in this order."""
        ends = np.cumsum(self.sizes)
        rows = [np.arange(ends[number] - self.sizes[number], ends[number]) for number in numbers]
        own = np.concatenate(rows) if rows else np.zeros(0, int)
        chosen = np.asarray(numbers, int)
        return Features(self.answers[own], self.lengths[own], self.prompts[chosen], self.sizes[chosen], self.layers)

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """One value for each answer (N, …) -> a list with the values of each ranking (K, …)."""
        return np.split(values, np.cumsum(self.sizes)[:-1])


def layers_of(config: ModelConfig, shares: Sequence[float] = LAYERS) -> tuple[int, ...]:
    """After how many blocks a probe reads, rising, each at least 1."""
    return tuple(sorted({max(1, ceil(share * config.n_layer - 1e-9)) for share in shares}))


def answer_features(
    folder: Path, rankings: Sequence[Ranking], shares: Sequence[float] = LAYERS, cache: Path | None = None
) -> Features:
    """Features of rankings under a language model's folder.

    shares: of the network's depth, where states are read
    cache: the folder where features are kept; by default below the user's cache folder
    """
    layers = layers_of(load_config(folder), shares)
    cache = next(safe_folders(), None) if cache is None else cache
    store = None if cache is None else cache / "features" / _key_of(folder, layers)
    names = [_name_of(ranking) for ranking in rankings]
    known = {} if store is None else _read(store, set(names))
    missing = {name: ranking for name, ranking in zip(names, rankings, strict=True) if name not in known}
    if missing:
        for computed in _in_files(missing, folder, layers):
            known |= computed
            if store is not None:
                _write(store, computed)
    return joined([known[name] for name in names])


def joined(parts: Sequence[Features]) -> Features:
    """The rankings of one part after those of the other; all are read after the same blocks."""
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return Features(**arrays, layers=parts[0].layers)


def _key_of(folder: Path, layers: tuple[int, ...]) -> str:
    parts = [sha256_of(path) for path in (folder / "config.json", *sorted(folder.glob("*.safetensors")))]
    dtype = str(device.current().compute_dtype)
    return hashlib.sha256(repr((parts, layers, dtype)).encode()).hexdigest()[:32]


def _name_of(ranking: Ranking) -> str:
    digest = hashlib.sha256(f"{ranking.n_prompt} {[len(ids) for ids in ranking.ids]}".encode())
    for ids in ranking.ids:
        digest.update(np.asarray(ids, np.int32).tobytes())
    return digest.hexdigest()


def _in_files(rankings: dict[str, Ranking], folder: Path, layers: tuple[int, ...]) -> Iterator[dict[str, Features]]:
    """Features by name, `PER_FILE` rankings at a time: what was computed is kept when a run is stopped."""
    model = load_model(folder, LanguageModel)
    keep_layers(model, layers[-1])
    model = frozen(model)
    model.model.read_after = layers
    left = iter(rankings.items())
    n_done = 0
    while part := dict(islice(left, PER_FILE)):
        found = _computed(model, list(part.values()), layers)
        n_done += len(part)
        progress.report(n_done, len(rankings), "rankings")
        yield dict(zip(part, found, strict=True))


@torch.no_grad()
def _computed(model: LanguageModel, rankings: Sequence[Ranking], layers: tuple[int, ...]) -> list[Features]:
    found: dict[int, Features] = {}
    for numbers in batches_by_length([_n_packed(ranking) for ranking in rankings], MOST_TOKENS):
        part = [rankings[number] for number in numbers]
        batch = collate_rankings(part, 0).to(device.current().torch_device)
        real = batch.branches.segments >= 0
        with device.autocast():
            hidden = model.model(batch.ids, real=real, branches=batch.branches).float()
        x = hidden.new_zeros(*real.shape, hidden.shape[-1]).masked_scatter(real[..., None], hidden)
        means = answers_so_far(x, batch.branches.positions, batch.branches.segments, batch.starts)
        answers = torch.cat((means.means, x), dim=-1)[batch.row, batch.last].cpu().numpy()
        lengths = means.lengths[batch.row, batch.last].cpu().numpy()
        prompts, ends = means.prompts.cpu().numpy(), np.cumsum([len(ranking.ids) for ranking in part])
        for row, (number, ranking) in enumerate(zip(numbers, part, strict=True)):
            own = slice(ends[row] - len(ranking.ids), ends[row])
            sizes = np.array([len(ranking.ids)])
            found[number] = Features(answers[own], lengths[own], prompts[row : row + 1], sizes, layers)
    return [found[number] for number in range(len(rankings))]


def _n_packed(ranking: Ranking) -> int:
    return ranking.n_prompt + sum(len(ids) - ranking.n_prompt for ids in ranking.ids)


def _read(store: Path, wanted: set[str]) -> dict[str, Features]:
    """The features that are kept of these rankings. A file that cannot be read is as good as none."""
    found: dict[str, Features] = {}
    for path in sorted(store.glob("*.npz")):
        try:
            with path.open("rb") as opened, np.load(opened) as file:  # numpy leaves a damaged file open
                names, layers = file["names"].tolist(), tuple(file["layers"].tolist())
                kept = Features(**{name: file[name] for name in ARRAYS}, layers=layers)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            continue
        numbers = [number for number, name in enumerate(names) if name in wanted and name not in found]
        found |= {names[number]: kept.take([number]) for number in numbers}
    return found


def _write(store: Path, computed: dict[str, Features]) -> None:
    parts = list(computed.values())
    whole = joined(parts)
    arrays: dict[str, Any] = {name: getattr(whole, name) for name in ARRAYS}
    name = hashlib.sha256("".join(computed).encode()).hexdigest()[:16]
    arrays |= {"names": np.array(list(computed)), "layers": np.array(whole.layers)}
    with open_atomic(store / f"{name}.npz") as file:
        np.savez(file, allow_pickle=False, **arrays)
