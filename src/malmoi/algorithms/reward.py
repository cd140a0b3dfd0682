"""The reward model: learn from people's rankings which answer is better.

`train` trains the network, or adapters of it; `probe` leaves it as it is and reads its hidden states: one pass over the
answers, which suits few rankings (`train/probe.py`).

Source: Ouyang et al. 2022 (arXiv:2203.02155), eq. 1: all C(K, 2) pairs of a prompt in one batch element, divided by
their number. A tie is used as a pair whose target is one half.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from malmoi import device
from malmoi.config import Seed, Settings
from malmoi.data.comparisons import Comparisons, Ranking, collate_rankings, ranking_steps, read_rankings
from malmoi.errors import ConfigError, DataError
from malmoi.formats.folder import load_model, load_text
from malmoi.model.lora import LoraConfig, add_lora
from malmoi.model.probe import Probe
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import keep_layers
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.best import BestWeights
from malmoi.train.features import LAYERS, answer_features
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.train.probe import Fit, continue_probe, fit_probe
from malmoi.unused import OF_LORA, OF_OPTIM, all_unused


class Config(Settings):
    """Settings of reward training."""

    method: Literal["train", "probe", "auto"] = Field("train", exclude_if=lambda method: method == "train")
    """Train the network; or fit a probe to its hidden states as they are: quicker, and better from few rankings. auto:
    the probe, and from 2,000 rankings on training that starts from it, if it then predicts held-out rankings better."""
    n_steps: int = Field(100, gt=0)
    """Optimizer steps."""
    batch_size: int = Field(16, gt=0)
    """Prompts, each with all its answers, in one step, over all ranks."""
    micro_batch_size: int = Field(16, gt=0)
    """Prompts in one forward pass."""
    depth: float = Field(1.0, gt=0, le=1, exclude_if=lambda depth: depth == 1)
    """Share of the SFT model's blocks that are kept, from the first and rounded up. The last blocks are there to
    predict the next token: without them scoring is cheaper and no less accurate (docs/decisions/0010)."""
    n_heads: int = Field(1, gt=0, exclude_if=lambda n: n == 1)
    """Heads of an ensemble on one network, each with its own random start and its own bootstrap of the prompts."""
    head_scale: float = Field(1.0, ge=0, exclude_if=lambda scale: scale == 1)
    """Scale of new heads' random weights; 1 is a standard deviation of 1/√(width + 1) (arXiv:1909.08593). Training has
    to remove their noise: use less where steps are few."""
    layers: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        LAYERS, min_length=1, exclude_if=lambda layers: layers == LAYERS
    )
    """Where a probe reads, as shares of the model's depth; blocks after the last are not computed, nor kept."""
    follow: str = Field("", exclude_if=lambda source: not source)
    """The source or person whose judgement a probe follows where they contradict each other; by default it goes by the
    kind of the prompt."""
    caution: float = Field(0.0, ge=0, exclude_if=lambda caution: caution == 0)
    """How many standard deviations below its score an answer counts for PPO, GRPO and best-of-n: of a probe's
    posterior, or over the heads of an ensemble."""
    seed: Seed = 1
    """Of the new heads, of the resampling and of the order of the prompts."""
    lora: LoraConfig = LoraConfig()
    """Adapters to train instead of all weights."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""


class Inputs(Settings):
    """What reward training reads."""

    model: Path = Path()
    """Model folder to start from: the SFT model."""
    start: Path | None = Field(None, exclude_if=lambda start: start is None)
    """A reward model with a probe of the same network, from whose weights a new probe starts: one that was fitted to
    other people's rankings."""
    data: Path = Path()
    """Rankings, JSON lines {"messages", "answers", "ranks"}: a snapshot of judgements."""


TRAINED_FROM = 2_000
"""Rankings from which `auto` tries to train."""
UNUSED = (
    *OF_OPTIM, *OF_LORA,
    *all_unused("n_steps batch_size micro_batch_size lora", "method", lambda method: method == "probe",
                'method is "probe"'),
    *all_unused("depth n_heads head_scale", "method", lambda method: method != "train", 'method is not "train"'),
    *all_unused("follow layers start", "method", lambda method: method == "train", 'method is "train"'),
)  # fmt: skip


def loss(model: ScalarModel, batch: Comparisons) -> tuple[Tensor, dict[str, Tensor]]:
    """K-wise loss, mean over heads, summed over prompts, in nats.

    Metrics are of the ensemble's mean score, of pairs, per prompt: accuracy, where a tie counts one half, and gap.
    """
    scores = model.scores(batch.ids, batch.branches, batch.starts)[batch.row, batch.last]
    gaps, target = scores[batch.better] - scores[batch.worse], batch.target[:, None]
    losses = -(target * F.logsigmoid(gaps) + (1 - target) * F.logsigmoid(-gaps))
    gap = gaps.detach().mean(dim=1)
    is_right = torch.where(batch.target == 1, (gap > 0).float(), 0.5)
    sums = {"accuracy": (is_right * batch.weight).sum(), "gap": (gap * batch.weight).sum()}
    return (losses * batch.counted * batch.weight[:, None]).sum() / model.n_heads, sums


def resampled(rankings: Sequence[Ranking], n_heads: int, seed: int) -> list[Ranking]:
    """A bootstrap of the prompts for each head: each prompt counts Poisson(1) times (Oza 2001)."""
    counts = np.random.default_rng((seed, 4)).poisson(1.0, (len(rankings), n_heads)).astype(float).tolist()
    return [replace(ranking, counted=tuple(row)) for ranking, row in zip(rankings, counts, strict=True)]


def read_preferences(path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int) -> list[Ranking]:
    """The rankings of a file. Raises DataError if none says which of two answers that differ is better."""
    rankings = read_rankings(path, tokenizer, template, seq_len)
    if all(len(set(ranking.ranks)) == 1 for ranking in rankings):
        raise DataError(
            f"{path}: every ranking is a tie, so nothing says which answer is better; rank some answers higher, "
            "or where a simulated labeler ranked, lower rank.tie_margin"
        )
    if not any(False in _repeated(ranking) for ranking in rankings):
        raise DataError(
            f"{path}: every ranking that prefers an answer puts it above the same answer, so nothing says which answer "
            "is better; rank answers that differ"
        )
    return rankings


def with_probe(config: Config, inputs: Inputs) -> Job:
    """The model with a probe that is fitted to the rankings, and nothing left to do; or, if `auto` has enough rankings,
    the training that starts from it. Raises DataError for rankings too few to learn from."""
    model = load_model(inputs.model, ScalarModel)
    tokenizer, template = load_text(inputs.model)
    rankings = read_preferences(inputs.data, tokenizer, template, model.config.seq_len)
    held_out: list[Ranking] = []
    if config.method == "auto" and len(rankings) >= TRAINED_FROM:
        rankings, held_out = split_by_tree(rankings, config.seed)
    if inputs.start is not None and config.follow:
        raise ConfigError("follow: a probe that continues another one (start) keeps its sources; leave follow out")
    start = None if inputs.start is None else probe_to_start_from(inputs.start, inputs.model, model)
    shares = config.layers if start is None else [layer / model.config.n_layer for layer in start.shape.layers]
    features = answer_features(inputs.model, rankings, shares)
    ranks, trees, sources = zip(*((one.ranks, one.tree, one.judge) for one in rankings), strict=True)
    if start is None:
        fit = fit_probe(features, ranks, trees, sources, config.follow)
    else:
        fit = continue_probe(start, features, ranks, trees)
    model.take_probe(fit.probe.to(device.current().torch_device))
    said = {
        "accuracy": fit.accuracy, "log_loss": fit.log_loss, "n_rankings": fit.n_rankings,
        "temperature": fit.temperature, **fit.choice._asdict(), "follow": config.follow or None,
        "conflicts": [conflict._asdict() for conflict in fit.conflicts],
    }  # fmt: skip
    add_lora(model, config.lora)
    steps = ranking_steps(rankings, tokenizer.pad_id, config.batch_size, config.micro_batch_size, config.seed)
    job = Job(model, steps, loss, config.n_steps if held_out else 0, about={"probe": said})
    job.notes = (*notes_of(fit, config.follow), *one_person((*rankings, *held_out)), *repeats(rankings))
    if held_out:
        keep_best(job, held_out, tokenizer.pad_id, config.micro_batch_size)
    return job


def split_by_tree(rankings: Sequence[Ranking], seed: int) -> tuple[list[Ranking], list[Ranking]]:
    """The rankings without those of every tenth conversation tree, and those."""
    trees = sorted({ranking.tree for ranking in rankings})
    held = {trees[place] for place in np.random.default_rng((seed, 6)).permutation(len(trees))[::10]}
    return [one for one in rankings if one.tree not in held], [one for one in rankings if one.tree in held]


def keep_best(job: Job, held_out: Sequence[Ranking], pad_id: int, batch_size: int) -> None:
    """Keep the weights that predict held-out rankings best: those before the first step are the probe's."""
    ordered = sorted(held_out, key=lambda ranking: sum(map(len, ranking.ids)))
    starts = range(0, len(ordered), batch_size)
    batches = [collate_rankings(ordered[i : i + batch_size], pad_id) for i in starts]

    @torch.no_grad()
    def measure() -> float:
        with device.autocast():
            losses = [loss(job.model, batch.to(device.current().torch_device))[0] for batch in batches]  # type: ignore[arg-type]
        return float(torch.stack(losses).sum()) / len(held_out)

    steps = {0, *range(max(1, job.n_steps // 4), job.n_steps + 1, max(1, job.n_steps // 4)), job.n_steps}
    job.best = BestWeights(job.model, "heldout_loss", measure, steps, "the log loss of held-out rankings")
    job.best.look(0, {})


def probe_to_start_from(folder: Path, base: Path, model: ScalarModel) -> Probe:
    """The probe of a reward model. base, model: the network that the new probe reads

    Raises ConfigError if it has none, or if it reads another network.
    """
    found = load_model(folder, ScalarModel, n_heads=0)
    if found.probe is None:
        raise ConfigError(f'start: {folder}: was trained and has no probe; name a reward model of method = "probe"')
    vocabularies = [load_text(one)[0].backend.get_vocab() for one in (folder, base)]
    if vocabularies[0] != vocabularies[1]:
        raise ConfigError(f"start: {folder}: has another tokenizer than {base}; start from a probe of the same model")
    ours = dict(model.model.named_parameters())
    for name, tensor in found.model.named_parameters():
        if name != "norm.weight" and (name not in ours or not torch.equal(tensor, ours[name])):
            raise ConfigError(
                f"start: {folder}: reads another network than {base}; start from a probe of the same model"
            )
    return found.probe


def notes_of(fit: Fit, follow: str) -> Iterator[str]:
    """What a user should know of a fitted probe."""
    # Of rankings, each of which counts once.
    margin = 1.96 * math.sqrt(fit.accuracy * (1 - fit.accuracy) / fit.n_rankings)
    yield (
        f"probe of {fit.n_rankings:,} rankings: right about {fit.accuracy:.1%} ± {margin:.1%} of the pairs of prompts "
        f"that it was not fitted to, log loss {fit.log_loss:.3f}"
    )
    if fit.accuracy - margin <= 0.5:
        yield "that is not shown to be more than a coin knows: rank more answers before anything follows it"
    for one, other, accuracy in fit.conflicts:
        how = f"{follow} is followed"
        if not follow:
            how = "each has its own part, and the kind of prompt decides"
        if not follow and not fit.choice.source_weight:
            how = "the prompt does not tell whose judgement counts, so what they have in common is learned"
        yield (
            f"{one} and {other} contradict each other: what one teaches is right about {accuracy:.0%} of the other's "
            f"pairs; {how}" + ("" if follow else f' (or set follow = "{one}" or "{other}")')
        )


def _repeated(ranking: Ranking) -> set[bool]:
    """Of pairs whose ranks differ: whether the two answers are the same."""
    answers = list(zip(ranking.ids, ranking.ranks, strict=True))
    return {np.array_equal(one, other) for (one, a), (other, b) in combinations(answers, 2) if a != b}


def repeats(rankings: Sequence[Ranking]) -> Iterator[str]:
    """A line if an answer is ranked above itself."""
    n = sum(True in _repeated(ranking) for ranking in rankings)
    if n:
        yield f"{n:,} rankings rank an answer above the same answer; such pairs teach nothing"


def one_person(rankings: Sequence[Ranking]) -> Iterator[str]:
    """A line if one person made all rankings."""
    people = {ranking.person for ranking in rankings}
    if len(people) == 1 and "" not in people:
        yield f"all rankings are by one person, {people.pop()}: nothing here says whether others would agree"


def build(config: Config, inputs: Inputs) -> Job:
    """The SFT model with scalar heads, and the shuffled rankings; or with a fitted probe, and nothing left to do."""
    if config.method != "train":
        return with_probe(config, inputs)
    if inputs.start is not None:
        raise ConfigError('start: only a probe goes on from another one; set method = "probe", or leave start out')
    model = load_model(
        inputs.model, ScalarModel, seed=config.seed, n_heads=config.n_heads, head_scale=config.head_scale
    )
    if model.n_heads != config.n_heads:
        raise ConfigError(f"n_heads: {inputs.model} is a reward model of {model.n_heads} already; set {model.n_heads}")
    keep_layers(model, math.ceil(config.depth * model.config.n_layer))
    add_lora(model, config.lora)
    tokenizer, template = load_text(inputs.model)
    rankings = read_preferences(inputs.data, tokenizer, template, model.config.seq_len)
    if config.n_heads > 1:
        rankings = resampled(rankings, config.n_heads, config.seed)
    steps = ranking_steps(rankings, tokenizer.pad_id, config.batch_size, config.micro_batch_size, config.seed)
    job = Job(model, steps, loss, config.n_steps)
    job.notes = (*one_person(rankings), *repeats(rankings))
    return job
