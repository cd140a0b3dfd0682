"""What the stages that train have in common: the loop with its files, and the model that is saved."""

from collections.abc import Iterable
from math import ceil
from typing import Any

from malmoi import device
from malmoi.cost import ANSWER_TOKENS, Sizes, Trial, Work
from malmoi.data.prompts import TokenizedPrompt
from malmoi.evals.compare import heldout_prompts
from malmoi.evals.watch import CURVE_PROMPTS, CurveWatch, PolicyWatch
from malmoi.formats.folder import load_text, save_model
from malmoi.model.lora import LoraConfig
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.stage import CHECKPOINT, METRICS, MODEL, Context, Given
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.finished import finished
from malmoi.train.hooks import MetricsFile
from malmoi.train.job import Job
from malmoi.train.loop import Hook, LoopConfig, fit
from malmoi.train.rollouts import RolloutConfig, RolloutSteps

CURVE = "curve.jsonl"
ALIGNED = {"": MODEL, "curve": CURVE}
"""The parts of a policy that learned from people's judgements: its model, and what it answered on the way."""
Text = tuple[Tokenizer, ChatTemplate]


def work_of(settings: Any, trial: Trial, sizes: Sizes, *, n_tokens: int, rows_each: int = 1) -> Work:
    """Of an algorithm that takes its rows from a file. n_tokens: of a usual row; rows_each: rows of one example"""
    rows = min(settings.micro_batch_size, settings.batch_size)
    return Work(
        trial, settings.loop.optim, rows * rows_each, n_tokens, max(n_tokens, sizes.longest),
        n_micros=settings.n_steps * ceil(settings.batch_size / rows), depth=getattr(settings, "depth", 1.0),
        lora=getattr(settings, "lora", LoraConfig()), n_steps=settings.n_steps,
    )  # fmt: skip


def work_on_answers(settings: RolloutConfig, trial: Trial, sizes: Sizes, *, n_trained: int) -> Work:
    """Of an algorithm that samples its rows. n_trained: networks that learn"""
    n_each = ceil(settings.batch_size / settings.n_minibatches)
    rows, seq_len = min(settings.micro_batch_size, n_each), sizes.shape.seq_len
    n_steps = settings.n_iterations * settings.n_epochs * settings.n_minibatches
    answer = ceil(sizes.answer_share * settings.max_tokens) or min(ANSWER_TOKENS, settings.max_tokens)
    return Work(
        trial, settings.loop.optim, rows, min(sizes.prompt + answer, seq_len),
        min(sizes.longest + settings.max_tokens, seq_len), n_micros=n_steps * ceil(n_each / rows),
        n_answers=settings.n_iterations * settings.batch_size + settings.normalise_rewards, n_trained=n_trained,
        # With adapters the reference is the policy without them.
        n_frozen=2 - bool(settings.lora.rank), answer=answer, n_read=2 + n_trained, lora=settings.lora,
        n_steps=n_steps,
    )  # fmt: skip


def train(context: Context, job: Job, loop: LoopConfig, hooks: Iterable[Hook] = ()) -> None:
    """Run the loop, on from its checkpoint if there is one."""
    metrics = MetricsFile(context.folder / METRICS)
    fit(job, loop, [*hooks, metrics, *context.hooks], context.folder / CHECKPOINT)


def save(context: Context, job: Job, text: Text, facts: dict[str, Any] | None = None) -> None:
    """Write what the job has trained; all ranks take part."""
    model = finished(job)
    if model is not None:
        write_model(context, model, text, facts)


def write_model(
    context: Context, model: LanguageModel | ScalarModel, text: Text, facts: dict[str, Any] | None = None
) -> None:
    """Write a model folder that names its run and its parents; facts: what else it says."""
    if device.current().is_main:
        about = {"run": context.run_id, "parents": context.parents, **(facts or {})}
        save_model(context.out / MODEL, model, *text, about)


def train_on_answers(context: Context, job: Job, loop: LoopConfig) -> None:
    """Train and save a policy that learns from answers which it samples itself; hooks watch it.

    Where nobody knows the right answers to the prompts, it is also asked held-out prompts on its way.
    """
    steps, text = job.steps, load_text(context.reads("policy").path)
    assert isinstance(steps, RolloutSteps)
    MetricsFile(context.folder / METRICS)  # cuts off a torn last line before the watch reads it
    watch = PolicyWatch(steps, text[0], context.folder, context.say)
    hooks: list[Hook] = [watch]
    longest = steps.policy.config.seq_len - steps.config.max_tokens
    if asked := _prompts_to_watch(context.reads("prompts"), text, longest):
        hooks.append(CurveWatch(steps, asked, context.out / CURVE))
    train(context, job, loop, hooks)
    watch.ended(job.n_steps)
    save(context, job, text, {"alarms": watch.alarms})


def _prompts_to_watch(prompts: Given, text: Text, longest: int) -> list[TokenizedPrompt]:
    if not prompts.has("heldout"):
        return []
    asked = heldout_prompts(prompts.part("heldout"), text, longest)[:CURVE_PROMPTS]
    return [] if any("references" in prompt.row for prompt in asked) else asked
