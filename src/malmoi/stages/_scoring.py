"""Training of the reward model and the judge: the same network, on different rankings."""

import random
from math import ceil
from pathlib import Path

import torch

from malmoi import device
from malmoi.algorithms import reward
from malmoi.cost import Cost, Sizes
from malmoi.data.comparisons import all_tie, read_rankings
from malmoi.evals.reward_scores import reward_bias, score_spread
from malmoi.files import read_jsonl
from malmoi.formats.folder import load_text
from malmoi.model.scalar_model import ScalarModel
from malmoi.stage import Context
from malmoi.stages._training import train, training_cost, write_model
from malmoi.train.finished import finished


def nothing_to_learn(rankings: Path) -> str:
    """Why rankings teach nothing, "" if they do."""
    return "all answers to each prompt tie, so that nothing says which one is better" if all_tie(rankings) else ""


def scoring_cost(settings: reward.Config, sizes: Sizes) -> Cost:
    """Ranked answers, trained on; a probe reads them once, with part of the network."""
    training = training_cost(settings, "rankings", sizes, n_tokens=sizes.ranked, rows_each=sizes.n_ranked)
    if settings.method != "train":
        n_answers = ceil(sizes.n_prompts * sizes.n_ranked * max(settings.layers))
        if settings.method == "probe" or sizes.n_prompts < reward.TRAINED_FROM:
            return Cost(reads=((n_answers, sizes.ranked),))
        return Cost(training, reads=((n_answers, sizes.ranked),))
    return Cost(training)


def train_scores(context: Context, settings: reward.Config, rankings: Path) -> None:
    """Train on the rankings; then shift the scores so that demonstrations score 0 on average."""
    start = context.reads("policy").path
    continued = context.reads.find("start")
    inputs = reward.Inputs(model=start, data=rankings, start=continued and continued.path)
    job = reward.build(settings, inputs)
    for line in job.notes:
        context.say(line)
    train(context, job, settings.loop)
    if job.best is not None and job.n_steps:
        said = f"{job.best.measured[0][1]:.3f} by the probe, {job.best.value:.3f} after {job.best.step:,} steps"
        context.say(f"log loss of held-out rankings: {said}; that is kept")
    model, text = finished(job), load_text(start)
    if model is None:  # only the first rank has it
        return
    assert isinstance(model, ScalarModel)
    model.to(device.current().torch_device)
    shown = read_jsonl(context.reads("demonstrations").part("train"))
    random.Random(settings.seed).shuffle(shown)
    bias = torch.tensor(reward_bias(model, text, [row["messages"] for row in shown[:256]]))
    model.score_bias.sub_(bias.reshape(model.score_bias.shape).to(model.score_bias.device))
    spread = score_spread(model, read_rankings(rankings, *text, model.config.seq_len), text[0].pad_id, settings.seed)
    write_model(context, model, text, {"score_std": spread, "caution": settings.caution, **job.about})
