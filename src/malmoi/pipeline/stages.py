"""What each stage does: read what its parents made, call one module, write what it made into `context.out`."""

import os
import random
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, cast

import torch

from malmoi import device, progress
from malmoi.algorithms import dpo, grpo, ppo, pretrain, reward, sft
from malmoi.config import Settings
from malmoi.corpus.shards import TokenShards
from malmoi.data.comparisons import read_rankings
from malmoi.data.tokens import heldout_documents, warning_if_short
from malmoi.errors import ConfigError
from malmoi.evals.answering import answer_questions
from malmoi.evals.bits_per_byte import bits_per_byte
from malmoi.evals.compare import CURVE, CompareSettings, compare, heldout_prompts
from malmoi.evals.demo import EvalSettings, evaluate_demo
from malmoi.evals.reward_scores import reward_bias, score_spread
from malmoi.evals.watch import CURVE_PROMPTS, CurveWatch, PolicyWatch
from malmoi.feedback.judgements import (
    Said,
    SnapshotFilter,
    freeze,
    record_generations,
    record_judgements,
    record_person,
)
from malmoi.files import disk_errors, read_json, read_jsonl, write_json, write_jsonl
from malmoi.formats.folder import load_config, load_model, load_text, save_model
from malmoi.formats.inspect import ABOUT, kind_of
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.pipeline.context import Context
from malmoi.pipeline.from_text import corpus, demonstrate, tokenizer
from malmoi.pipeline.recipe import (
    BaseSettings,
    RankSettings,
    Recipe,
    SampleSettings,
    StageName,
)
from malmoi.pipeline.sources import data
from malmoi.synthetic.labeler import SimulatedLabeler, gold_score
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.finished import finished
from malmoi.train.hooks import MetricsFile, every
from malmoi.train.job import Job
from malmoi.train.loop import Hook, LoopConfig, fit
from malmoi.train.rollouts import RolloutSteps
from malmoi.workspace.folder import Workspace
from malmoi.workspace.models import model_folder

MODEL = "model"
CHECKPOINT = "checkpoint.safetensors"


Stage = Callable[[Context, Any], None]


def train_pretrain(context: Context, settings: pretrain.Config) -> None:
    """Train the base model from nothing; held-out bits per byte before, during and after."""
    shards = context.inputs["tokenizer"]
    text = Tokenizer.load(shards), ChatTemplate.load(shards)
    job = pretrain.build(settings, pretrain.Inputs(shards=shards))
    model = job.model
    assert isinstance(model, LanguageModel)
    n_bytes = TokenShards(shards, "heldout").n_text_bytes
    if said := warning_if_short(shards, model.config.seq_len):
        context.say(said)

    def heldout() -> float:
        return bits_per_byte(model, heldout_documents(shards, model.config.seq_len, text[0].pad_id), n_bytes)

    before_path = context.folder / "before.json"
    if not before_path.exists():
        before = heldout()
        if device.current().is_main:
            write_json(before_path, {"bpb": before})
    _train(context, job, settings.loop, [every(max(1, settings.n_steps // 4), "bpb", heldout)])
    _save(context, job, text, {"bpb_before": read_json(before_path)["bpb"], "bpb_after": heldout()})


def base_folder(model: str, workspace: Workspace) -> Path:
    """Where a recipe's base model lies. Raises UserError when nothing is there."""
    path = Path(model)
    return path if path.is_dir() else model_folder(workspace, model)


def base(context: Context, settings: BaseSettings) -> None:
    """Take a model that others pretrained: its files stay as they are, and cost no second place on the disk."""
    source, folder = base_folder(settings.model, context.workspace).resolve(), context.out / MODEL
    if kind_of(source) == "reward":
        raise ConfigError(f"base.model: {settings.model}: is a reward model; a recipe begins with one that writes")
    model, (tokenizer, _) = load_config(source), load_text(source)
    with disk_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was interrupted
        shutil.copytree(source, folder, copy_function=_link, ignore=shutil.ignore_patterns(ABOUT))
    told = read_json(source / ABOUT) if (source / ABOUT).exists() else {}
    write_json(folder / ABOUT, {**told, "run": context.run_id, "parents": context.hashes})
    context.say(f"{model.n_parameters() / 1e6:.0f} million weights, {tokenizer.vocab_size:,} tokens, from {source}")


def _link(source: str, target: str) -> None:
    """One file under two names: nobody changes a model's files. Copied where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def train_sft(context: Context, settings: sft.Config) -> None:
    """Learn to answer from the demonstrations."""
    start = context.given("pretrain", "base") / MODEL
    data = context.given("demonstrations", "data") / "train.jsonl"
    job = sft.build(settings, sft.Inputs(model=start, data=data))
    _train(context, job, settings.loop)
    _save(context, job, load_text(start))


def sample(context: Context, settings: SampleSettings) -> None:
    """Sample K answers to every prompt from the SFT model."""
    folder = context.inputs["sft"] / MODEL
    model, (tokens, template) = load_model(folder, LanguageModel), load_text(folder)
    sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens)
    asked = [
        row for split in ("train", "heldout")
        for row in read_jsonl(context.inputs["demonstrations"] / f"prompts.{split}.jsonl")
    ]  # fmt: skip
    repeated = [row["messages"][-1]["content"] for row in asked for _ in range(settings.n_answers)]
    answers = answer_questions(model, tokens, template, repeated, sampling, settings.seed)
    k = settings.n_answers
    rows = [
        {"prompt": row["messages"], **{key: value for key, value in row.items() if key != "messages"},
         "answers": [vars(answer) for answer in answers[i * k : (i + 1) * k]]}
        for i, row in enumerate(asked)
    ]  # fmt: skip
    how: dict[str, Any] = {
        "run_id": context.run_id,
        "model_sha256": context.hashes["sft"],
        "temperature": settings.temperature,
        "top_p": 1.0,
        "seed": settings.seed,
        "max_tokens": settings.max_tokens,
    }
    ids = record_generations(context.ledger, rows, **how)
    numbered = ({**row, "generation_ids": known} for row, known in zip(rows, ids, strict=True))
    write_jsonl(context.out / "generations.jsonl", numbered)
    context.say(f"{len(answers):,} answers to {len(rows):,} prompts")


def rank(context: Context, settings: RankSettings) -> None:
    """A simulated labeler ranks the answers; its judgements go into the tables that people's go into."""
    rows = read_jsonl(context.inputs["sample"] / "generations.jsonl")
    scores = [
        [gold_score(a["text"], row["references"], a["finished"]) for a in row["answers"]]
        for row in progress.each(rows, "prompts")
    ]
    labeler = SimulatedLabeler(settings.error_rate, settings.tie_margin, settings.seed).calibrated(scores)
    ledger = context.ledger
    record_person(ledger, labeler.person_id, "simulated labeler", "simulated", labeler.rule)
    said = [
        Said(
            person_id=labeler.person_id,
            prompt_id=row["prompt_id"],
            generation_ids=row["generation_ids"],
            ranks=labeler.rank(row_scores, labeler.rng(row["prompt_id"])),
        )
        for row, row_scores in zip(progress.each(rows, "rankings"), scores, strict=True)
    ]
    record_judgements(ledger, said)
    for split in ("train", "heldout"):
        wanted = SnapshotFilter(people=(labeler.person_id,), splits=(split,))
        shown = [known for row in rows for known in row["generation_ids"]]
        freeze(ledger, wanted, context.out / f"{split}.jsonl", run_id=context.run_id, generation_ids=shown)
    write_json(
        context.out / "labeler.json",
        {"rule": labeler.rule, "sigma": labeler.sigma, "tie_margin": labeler.tie_margin, "simulated": True},
    )
    context.say(f"{len(said):,} rankings by a simulated labeler that errs on {settings.error_rate:.0%} of the pairs")


def train_reward(context: Context, settings: reward.Config) -> None:
    """The model that PPO and GRPO follow."""
    rankings = "rankings.train.jsonl" if "data" in context.inputs else "train.jsonl"
    _train_scores(context, settings, context.given("rank", "data") / rankings)


def train_judge(context: Context, settings: reward.Config) -> None:
    """A second reward model, from rankings that the first has never seen: it judges, and nothing is trained on it."""
    _train_scores(context, settings, context.inputs["data"] / "rankings.judge.jsonl")


def _train_scores(context: Context, settings: reward.Config, data: Path) -> None:
    """Learn from the rankings which answer is better; then shift the scores so that demonstrations average 0."""
    start = context.inputs["sft"] / MODEL
    job = reward.build(settings, reward.Inputs(model=start, data=data))
    _train(context, job, settings.loop)
    model, text = finished(job), load_text(start)
    if model is None:  # the first rank has it
        return
    assert isinstance(model, ScalarModel)
    model.to(device.current().torch_device)
    shown = read_jsonl(context.given("demonstrations", "data") / "train.jsonl")
    random.Random(settings.seed).shuffle(shown)
    bias = torch.tensor(reward_bias(model, text, [row["messages"] for row in shown[:256]]))
    model.score_bias.sub_(bias.reshape(model.score_bias.shape).to(model.score_bias.device))
    rankings = read_rankings(data, *text, model.config.seq_len)
    _write(context, model, text, {"score_std": score_spread(model, rankings, text[0].pad_id, settings.seed)})


def train_ppo(context: Context, settings: ppo.Config) -> None:
    """Move the policy towards what the reward model scores high, watched by the labeler's hidden rule."""
    inputs = ppo.Inputs(
        policy=context.inputs["sft"] / MODEL,
        reward_model=context.inputs["reward"] / MODEL,
        data=context.given("demonstrations", "data") / "prompts.train.jsonl",
        ptx_shards=context.inputs.get("tokenizer"),
    )
    _train_on_answers(context, ppo.build(settings, inputs), settings.loop)


def train_dpo(context: Context, settings: dpo.Config) -> None:
    """Move the policy towards the answers that people ranked higher, with no reward model between."""
    start = context.inputs["sft"] / MODEL
    data = context.inputs["data"] / "rankings.train.jsonl"
    job = dpo.build(settings, dpo.Inputs(policy=start, data=data))
    _train(context, job, settings.loop)
    _save(context, job, load_text(start))


def train_grpo(context: Context, settings: grpo.Config) -> None:
    """Move the policy towards what scores higher than its other answers to the same prompt."""
    inputs = grpo.Inputs(
        policy=context.inputs["sft"] / MODEL,
        reward_model=context.inputs["reward"] / MODEL,
        data=context.inputs["data"] / "prompts.train.jsonl",
    )
    _train_on_answers(context, grpo.build(settings, inputs), settings.loop)


def _train_on_answers(context: Context, job: Job, loop: LoopConfig) -> None:
    """Train a policy that samples what it learns from, watched; held-out people's prompts, where there are any, too."""
    steps, text = job.steps, load_text(context.inputs["sft"] / MODEL)
    assert isinstance(steps, RolloutSteps)
    MetricsFile(context.folder / "metrics.jsonl")  # cuts off a torn last line before the watch reads it
    watch = PolicyWatch(steps, text[0], context.folder, context.say)
    hooks: list[Hook] = [watch]
    if "data" in context.inputs:
        longest = steps.policy.config.seq_len - steps.config.max_tokens
        asked = heldout_prompts(context.inputs["data"], text, longest)[:CURVE_PROMPTS]
        hooks.append(CurveWatch(steps, asked, context.out / CURVE))
    _train(context, job, loop, hooks)
    watch.ended(job.n_steps)
    _save(context, job, text, {"alarms": watch.alarms})


def measure(context: Context, settings: EvalSettings) -> None:
    """Everything that the report says, on what nobody trained on."""
    write_json(context.out / "eval.json", evaluate_demo(context.inputs, settings, context.say))


def compare_all(context: Context, settings: CompareSettings) -> None:
    """Every method beside SFT, on prompts and rankings that nobody trained on."""
    write_json(context.out / "compare.json", compare(context.inputs, settings, context.say))


def _train(context: Context, job: Job, loop: LoopConfig, hooks: Iterable[Hook] = ()) -> None:
    metrics = MetricsFile(context.folder / "metrics.jsonl")
    fit(job, loop, [*hooks, metrics, *context.hooks], context.folder / CHECKPOINT)


def _save(
    context: Context, job: Job, text: tuple[Tokenizer, ChatTemplate], facts: dict[str, Any] | None = None
) -> None:
    """Write what the job has trained; all ranks take part."""
    model = finished(job)
    if model is not None:
        _write(context, model, text, facts)


def _write(
    context: Context, model: LanguageModel | ScalarModel, text: tuple[Tokenizer, ChatTemplate],
    facts: dict[str, Any] | None,
) -> None:  # fmt: skip
    if device.current().is_main:
        about = {"run": context.run_id, "parents": context.hashes, **(facts or {})}
        save_model(context.out / MODEL, model, *text, about)


# Each stage: what it does, and which stages' work it reads: of a|b the first that the recipe has, a? if it has it.
STAGE_TABLE: dict[StageName, tuple[Stage, str]] = {
    "corpus": (corpus, ""),
    "tokenizer": (tokenizer, "corpus"),
    "pretrain": (train_pretrain, "tokenizer"),
    "base": (base, ""),
    "demonstrations": (demonstrate, "corpus tokenizer"),
    "data": (data, "base"),
    "sft": (train_sft, "pretrain|base demonstrations|data"),
    "sample": (sample, "sft demonstrations"),
    "rank": (rank, "sample"),
    "reward": (train_reward, "sft rank|data demonstrations|data"),
    "judge": (train_judge, "sft data"),
    "ppo": (train_ppo, "sft reward demonstrations|data tokenizer?"),
    "dpo": (train_dpo, "sft data"),
    "grpo": (train_grpo, "sft reward data"),
    "eval": (measure, "corpus tokenizer pretrain demonstrations sft sample rank reward ppo"),
    "compare": (compare_all, "data sft reward judge ppo? dpo? grpo?"),
}


def parents_of(stage: StageName, present: Collection[str]) -> list[StageName]:
    """The stages whose work this one reads. Raises ConfigError when one is not among those present."""
    found: list[StageName] = []
    for wanted in STAGE_TABLE[stage][1].split():
        names = wanted.removesuffix("?").split("|")
        given = next((name for name in names if name in present), None)
        if given is None and not wanted.endswith("?"):
            raise ConfigError(f"stages: {stage} needs {' or '.join(names)} before it; add that to the recipe's stages")
        if given is not None and given not in found:
            found.append(cast(StageName, given))
    return found


def settings_of(recipe: Recipe, stage: StageName) -> Settings:
    """The settings of a stage that the recipe runs."""
    settings: Settings = getattr(recipe, stage)
    return settings
