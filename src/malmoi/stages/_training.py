"""What stages that train share: running the loop with its files, saving the model, and facts about both."""

from collections.abc import Iterable, Sequence
from itertools import groupby, islice
from math import ceil
from pathlib import Path
from typing import Any

from malmoi import device
from malmoi.cost import ANSWER_TOKENS, Sizes, TrainingCost, Trial
from malmoi.data.prompts import TokenizedPrompt
from malmoi.evals.compare import heldout_prompts
from malmoi.evals.watch import CURVE_PROMPTS, CurveWatch, PolicyWatch
from malmoi.facts import Block, Curve, Facts, Figure, Figures, Note, Plot, Section, Summary, Trail, points
from malmoi.files import iterate_jsonl, read_json
from malmoi.formats.folder import load_text, save_model
from malmoi.formats.generation import greedy_unless_chosen
from malmoi.formats.inspect import ABOUT, reading_facts
from malmoi.model.lora import LoraConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.stage import CHECKPOINT, METRICS, MODEL, Context, Finished, Input
from malmoi.stages import label_of
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.finished import finished
from malmoi.train.hooks import MetricsFile
from malmoi.train.job import Job
from malmoi.train.loop import Hook, LoopConfig, fit
from malmoi.train.rollouts import RolloutConfig, RolloutSteps

CURVE = "curve.jsonl"
ALIGNED = {"": MODEL, "curve": CURVE}
"""Parts of an aligned policy: its model, and its measured answers during training."""
Text = tuple[Tokenizer, ChatTemplate]
SIMULATED = "the simulated labeler"
SCORES = (("score", "green", "Score by the reward model"), ("gold", "gold", f"Gold, by the rule of {SIMULATED}"))
SAMPLED = (
    ("entropy", "ink", "Entropy, nats per token"),
    ("response_tokens", "ink", "Length of the answers, tokens"),
    ("distinct", "ink", "Share of the sampled answers that differ"),
)
"""Plots of sampled answers: key of the metrics, colour, caption."""


def training_cost(settings: Any, trial: Trial, sizes: Sizes, *, n_tokens: int, rows_each: int = 1) -> TrainingCost:
    """Cost of an algorithm that reads its rows. n_tokens: of a typical row; rows_each: rows of one example"""
    rows = min(settings.micro_batch_size, settings.batch_size)
    return TrainingCost(
        trial, settings.loop.optim, rows * rows_each, n_tokens, max(n_tokens, sizes.longest),
        n_micros=settings.n_steps * ceil(settings.batch_size / rows), depth=getattr(settings, "depth", 1.0),
        lora=getattr(settings, "lora", LoraConfig()), n_steps=settings.n_steps,
    )  # fmt: skip


def rollout_cost(settings: RolloutConfig, trial: Trial, sizes: Sizes, *, n_trained: int) -> TrainingCost:
    """Cost of an algorithm that samples its rows. n_trained: networks that are trained"""
    n_each = ceil(settings.batch_size / settings.n_minibatches)
    rows, seq_len = min(settings.micro_batch_size, n_each), sizes.shape.seq_len
    n_steps = settings.n_iterations * settings.n_epochs * settings.n_minibatches
    answer = ceil(sizes.answer_share * settings.max_tokens) or min(ANSWER_TOKENS, settings.max_tokens)
    return TrainingCost(
        trial, settings.loop.optim, rows, min(sizes.prompt + answer, seq_len),
        min(sizes.longest + settings.max_tokens, seq_len), n_micros=n_steps * ceil(n_each / rows),
        n_answers=settings.n_iterations * settings.batch_size + settings.normalise_rewards, n_trained=n_trained,
        # With adapters, the reference is the policy without them.
        n_frozen=2 - bool(settings.lora.rank), answer=answer, n_read=2 + n_trained, lora=settings.lora,
        n_steps=n_steps,
    )  # fmt: skip


def train(context: Context, job: Job, loop: LoopConfig, hooks: Iterable[Hook] = ()) -> None:
    """Run the loop; resume from its checkpoint if there is one."""
    metrics = MetricsFile(context.folder / METRICS)
    fit(job, loop, [*hooks, metrics, *context.hooks], context.folder / CHECKPOINT)


def save(context: Context, job: Job, text: Text, facts: dict[str, Any] | None = None) -> None:
    """Write the trained model. All ranks must call this."""
    model = finished(job)
    if model is not None:
        write_model(context, model, text, facts)


def as_answering(text: Text) -> Text:
    """The text of a policy, whose folder says how its answers are sampled; see `greedy_unless_chosen`."""
    tokenizer, template = text
    return greedy_unless_chosen(tokenizer), template


def write_model(
    context: Context, model: LanguageModel | ScalarModel, text: Text, facts: dict[str, Any] | None = None
) -> None:
    """Write a model folder that names its run and its parents. facts: further values to record in it"""
    if device.current().is_main:
        start = next((found.path for role in ("policy", "model") if (found := context.reads.find(role))), None)
        reading = reading_facts(start) if isinstance(model, LanguageModel) else {}
        about = {"run": context.run_id, "parents": context.parents, **reading, **(facts or {})}
        save_model(context.out / MODEL, model, *text, about)


def train_on_answers(context: Context, job: Job, loop: LoopConfig) -> None:
    """Train and save a policy that learns from answers that it samples, with hooks that watch it.

    If the prompts have no reference answers, the policy also answers held-out prompts while it trains.
    """
    steps, text = job.steps, load_text(context.reads("policy").path)
    assert isinstance(steps, RolloutSteps)
    MetricsFile(context.folder / METRICS)  # drops an incomplete last line before the watch reads the file
    watch = PolicyWatch(steps, text[0], context.folder, context.say)
    hooks: list[Hook] = [watch]
    longest = steps.policy.config.seq_len - steps.config.max_tokens
    if asked := _prompts_to_watch(context.reads("prompts"), text, longest):
        hooks.append(CurveWatch(steps, asked, context.out / CURVE))
    train(context, job, loop, hooks)
    watch.ended(job.n_steps)
    save(context, job, as_answering(text), {"alarms": watch.alarms})


def _prompts_to_watch(prompts: Input, text: Text, longest: int) -> list[TokenizedPrompt]:
    if not prompts.has("heldout"):
        return []
    asked = heldout_prompts(prompts.part("heldout"), text, longest)[:CURVE_PROMPTS]
    return [] if any("references" in prompt.row for prompt in asked) else asked


def loss_plots(finished: Finished, caption: str, colour: str, small: bool = False) -> list[Plot]:
    """A plot of the training loss; none if no step was taken."""
    return _curve_plots(finished.metrics, "loss", colour, caption, small)


def rollout_facts(finished: Finished, title: str, lead: str) -> Facts:
    """Facts of a policy that learns from its answers: curves, alarms, and its final KL."""
    label, kl_label = label_of(finished.stage), kl_to(finished.reads("policy").source)
    alarms: dict[str, str] = read_json(finished.out / MODEL / ABOUT).get("alarms", {})
    found: dict[str, Any] = {"alarms": alarms}
    blocks: list[Block] = _rollout_plots(finished, kl_label)
    is_gold_known = any("gold" in row for row in finished.metrics)
    if is_gold_known:
        lead += " Gold is only measured; the policy is not trained on it."
    if not alarms:
        rest = ", gold not falling while the reward rises" if is_gold_known else ""
        blocks.append(Note(f"No alarm: KL estimate above zero and within its budget, answers that differ{rest}."))
    summary = []
    if finished.metrics:
        found["kl"] = finished.metrics[-1]["kl"]
        blocks.append(Figures([Figure(kl_label, found["kl"])]))
        summary.append(Summary(f"{label}: {kl_label}", found["kl"]))
    said = [f"{label}, {cause}" for cause in alarms.values()]
    return Facts([Section(title, lead, blocks)], summary=summary, alarms=said, json={finished.stage: found})


def _rollout_plots(finished: Finished, kl_label: str) -> list[Block]:
    # All steps of an iteration train on the same answers and repeat its figures.
    same = groupby(finished.metrics, lambda row: (row.get("score"), row.get("kl")))
    rows = [next(steps) for _, steps in same]
    plots: list[Block] = [plot for curve in SCORES for plot in _curve_plots(rows, *curve, small=True)]
    if golds := points(rows, "gold", x="score"):
        caption = "Reward against gold, pale to dark as it learns"
        trail = Trail(golds, finished.stage)
        plots.append(Plot(caption, [trail], small=True, x_label="score by the reward model", y_label="gold"))
    for curve in (("kl", finished.stage, kl_label), *SAMPLED):
        plots += _curve_plots(rows, *curve, small=True)
    return plots


def kl_to(source: str) -> str:
    """The label of the KL divergence between a policy and the model that it started from."""
    return f"KL to the {label_of(source)} model, nats per answer"


def who_ranked(rankings: Path) -> str:
    """People or the simulated labeler, according to the first ranking of the file."""
    return SIMULATED if any(row.get("simulated") for row in islice(iterate_jsonl(rankings), 1)) else "people"


def _curve_plots(rows: Sequence[Any], key: str, colour: str, caption: str, small: bool) -> list[Plot]:
    found = points(rows, key)
    return [Plot(caption, [Curve(found, colour)], small=small, x_label="step")] if found else []
