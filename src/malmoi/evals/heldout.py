"""Held-out text, measured while a model trains, so that the best weights are kept."""

from collections.abc import Callable
from pathlib import Path

from malmoi.corpus.shards import TokenShards
from malmoi.data.tokens import heldout_documents
from malmoi.evals.bits_per_byte import bits_per_byte
from malmoi.model.transformer import LanguageModel
from malmoi.train.best import BestWeights, measuring_steps
from malmoi.train.job import Job


def keep_best_of_text(job: Job, shards: Path, pad_id: int, batch_size: int, say: Callable[[str], None]) -> BestWeights:
    """Let a pretraining keep the weights with the lowest bits per byte of the held-out shards.

    batch_size: windows in one step
    """
    model = job.model
    assert isinstance(model, LanguageModel)
    heldout, seq_len = TokenShards(shards, "heldout"), model.config.seq_len

    def measure() -> float:
        return bits_per_byte(model, heldout_documents(shards, seq_len, pad_id), heldout.n_text_bytes)

    steps = measuring_steps(job.n_steps, job.n_steps * batch_size * seq_len, len(heldout))
    job.best = BestWeights(model, "bpb", measure, steps, "held-out bits per byte", say)
    return job.best
