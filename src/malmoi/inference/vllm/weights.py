"""Which weights a vLLM server has: they are written to a folder that both see, and what it says is held against ours.

Source: the same way in TRL and OpenRLHF, which send tensors over NCCL instead (https://github.com/huggingface/trl).
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from malmoi import device
from malmoi.files import folder_atomic
from malmoi.formats.folder import write_weights
from malmoi.formats.huggingface import to_theirs
from malmoi.formats.locate import WEIGHTS
from malmoi.inference.vllm.engine import VllmEngine
from malmoi.inference.vllm.server import FixedError, LostError, Served, Server, ServerError
from malmoi.model.config import ModelConfig
from malmoi.model.lora import merged
from malmoi.model.transformer import LanguageModel

N_PROBED = 24
MOST_APART, FLOAT32_APART, TIMES_FIRST = 0.5, 1e-5, 10
"""Mean difference of log-probabilities, in nats: of a first model at most; of later ones in float32 at most; and
how many times the first difference, that of another number format, they may have."""
MOST_TRIES = 3


@dataclass(frozen=True)
class Version:
    """Weights that a server shall have. ours: what our network gives the probe; None: it is not loaded here"""

    folder: Path
    sha256: str
    config: ModelConfig
    ours: Sequence[float] | None = None

    @property
    def name(self) -> str:
        """By which a server may say that it was started with these weights."""
        return f"malmoi-{self.sha256[:12]}"

    @property
    def probe(self) -> list[int]:
        """Token ids whose log-probabilities distinguish weights."""
        size = min(N_PROBED, self.config.seq_len - 1)
        return [int(id) for id in np.random.default_rng(0).integers(self.config.vocab_size, size=size)]


class Remote:
    """A server that answers in place of our engine.

    folder: its own, for weights that are written; None: only model folders are given to it

    gap: mean difference between its log-probabilities and ours when it last got weights, in nats
    """

    def __init__(self, server: Server, folder: Path | None = None) -> None:
        self.server, self.folder = server, folder
        self.gap: float | None = None
        self._first_gap: float | None = None
        self._has: str | None = None
        self._said: list[float] = []
        self._written: list[Version] = []
        if folder is not None and device.current().is_main:
            shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed

    def share(self, model: LanguageModel) -> None:
        """Give the server a network's weights as they are now."""
        self.hold(self._write(model))

    def engine_of(self, model: LanguageModel, **options: Any) -> VllmEngine:
        """An engine that answers with a network's weights as they are now. options: see `VllmEngine`"""
        return self.engine(self._write(model), **options)

    def engine(self, version: Version, n_max: int | None = None, **options: Any) -> VllmEngine:
        """An engine that answers with these weights."""
        served = self.server.wait()
        config = version.config
        most = min(config.seq_len, served.n_max, n_max or config.seq_len)
        ready = partial(self.hold, version)
        return VllmEngine(self.server, served.name, ready, n_max=most, vocab_size=config.vocab_size, **options)

    def hold(self, version: Version) -> bool:
        """Wait for the server, and give it these weights unless it has them; returns whether it had others.

        Raises ServerError if it cannot have them.

        A server that was started again meanwhile answers the probe otherwise than before. Every difference counts:
        training changes weights little by little, and to give them once too often only costs time.
        """
        for n_left in reversed(range(MOST_TRIES)):
            try:
                served = self.server.wait()
                said = self.server.logprobs(served.name, version.probe)
                if self._has == version.sha256 and said == self._said:
                    return False
                if not (has := self._may_have(served, version, said)):
                    said = self._load(served, version)
                self._has, self._said = version.sha256, said
                return not has
            except LostError:
                if not n_left:
                    raise
        raise AssertionError("unreachable")

    def _may_have(self, served: Served, version: Version, said: list[float]) -> bool:
        """Whether a server has these weights without having been given them: by its own words, or from another rank."""
        if not device.current().is_main and version.ours is not None:
            return _apart(said, version.ours) <= self._tolerance
        return self._has is None and _is_started_with(served, version)

    @property
    def _tolerance(self) -> float:
        return MOST_APART if self._first_gap is None else max(FLOAT32_APART, TIMES_FIRST * self._first_gap)

    def _load(self, served: Served, version: Version) -> list[float]:
        try:
            self.server.load(version.folder)
        except FixedError as error:
            raise FixedError(
                f"{error}; or start it with the weights in question: vllm serve {version.folder} "
                f"--served-model-name {version.name}"
            ) from None
        said = self.server.logprobs(served.name, version.probe)
        if version.ours is not None:
            self.gap = _apart(said, version.ours)
            if not self.gap <= (most := self._tolerance):
                raise ServerError(
                    f"vLLM at {self.server.url}: its log-probabilities are {self.gap:.2g} nats from ours with the same "
                    f"weights, of {most:.2g} at most; was it started with a model of this kind, not quantised?"
                )
            self._first_gap = self.gap if self._first_gap is None else self._first_gap
        return said

    def _write(self, model: LanguageModel) -> Version:
        """Write a network's weights, unless they are there; the last two stay."""
        assert self.folder is not None
        plain = merged(model)
        tensors = plain.state_dict()
        sha256 = _sha256_of(tensors)
        if not self._written or self._written[-1].sha256 != sha256:
            folder = self.folder / f"weights-{sha256[:12]}"
            if device.current().is_main:  # the others see the same folder
                with folder_atomic(folder) as partial_folder:
                    write_weights(partial_folder / WEIGHTS, to_theirs(tensors, model.config))
            version = Version(folder.absolute(), sha256, model.config)
            self._written.append(Version(version.folder, sha256, model.config, _logprobs(plain, version.probe)))
            for old in self._written[:-2]:
                shutil.rmtree(old.folder, ignore_errors=True)
            self._written = self._written[-2:]
        return self._written[-1]

    def close(self) -> None:
        """Remove what was written."""
        if self.folder is not None and device.current().is_main:
            shutil.rmtree(self.folder, ignore_errors=True)


def _is_started_with(served: Served, version: Version) -> bool:
    """Whether a server was started with these very weights: by name, or by a folder that never changes its contents."""
    root = Path(served.root)
    return served.name == version.name or (root.is_absolute() and root == version.folder == version.folder.resolve())


def _apart(said: Sequence[float], other: Sequence[float]) -> float:
    return float(np.mean(np.abs(np.subtract(said, other)))) if len(said) == len(other) else float("inf")


def _sha256_of(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@torch.no_grad()
def _logprobs(model: LanguageModel, ids: Sequence[int]) -> list[float]:
    """log p of every id but the first, in float32."""
    read = torch.tensor([ids], device=device.current().torch_device)
    mask = torch.ones_like(read[:, 1:], dtype=torch.bool)
    return [float(logp) for logp in model.logps(read[:, :-1], read[:, 1:], mask)[0][0]]
