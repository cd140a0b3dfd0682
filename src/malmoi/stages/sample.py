"""Several answers of the policy to each prompt, for people to rank."""

from dataclasses import replace
from typing import Any

from pydantic import Field

from malmoi import config
from malmoi.config import Seed
from malmoi.cost import ANSWER_TOKENS, Cost, Sizes
from malmoi.evals.answering import answer_questions
from malmoi.facts import Facts, Section
from malmoi.feedback.judgements import record_generations
from malmoi.files import read_jsonl, write_jsonl
from malmoi.formats.folder import load_model, load_text
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel
from malmoi.stage import POLICY, Context, Finished, required
from malmoi.stages import label_of


class Settings(config.Settings):
    """Answers for people to rank."""

    n_answers: int = Field(4, ge=2, le=9)
    """Answers to one prompt (K)."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature."""
    max_tokens: int = Field(48, gt=0)
    """Most tokens of an answer."""
    seed: Seed = 1
    """Seed of sampling."""


READS = {"policy": POLICY, "prompts": required("prompts")}
MAKES = {"answers": "generations.jsonl"}


def expects(settings: Settings, sizes: Sizes) -> Sizes:
    """Answers to one prompt."""
    return replace(sizes, n_ranked=settings.n_answers)


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """The answers."""
    return Cost(answers=((sizes.n_prompts * settings.n_answers, sizes.prompt, ANSWER_TOKENS),))


def run(context: Context, settings: Settings) -> None:
    """Sample K answers to each prompt, and record them."""
    policy, prompts = context.reads("policy"), context.reads("prompts")
    model, (tokens, template) = load_model(policy.path, LanguageModel), load_text(policy.path)
    sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens)
    asked = [row for split in ("train", "heldout") if prompts.has(split) for row in read_jsonl(prompts.part(split))]
    repeated = [row["messages"] for row in asked for _ in range(settings.n_answers)]
    answers = answer_questions(model, tokens, template, repeated, sampling, settings.seed)
    k = settings.n_answers
    rows = [
        {"prompt": row["messages"], **{key: value for key, value in row.items() if key != "messages"},
         "answers": [vars(answer) for answer in answers[i * k : (i + 1) * k]]}
        for i, row in enumerate(asked)
    ]  # fmt: skip
    how: dict[str, Any] = {
        "run_id": context.run_id,
        "model_sha256": context.parents[policy.source],
        "temperature": settings.temperature,
        "top_p": 1.0,
        "seed": settings.seed,
        "max_tokens": settings.max_tokens,
    }
    ids = record_generations(context.ledger, rows, **how)
    numbered = ({**row, "generation_ids": known} for row, known in zip(rows, ids, strict=True))
    write_jsonl(context.out / "generations.jsonl", numbered)
    context.say(f"{len(answers):,} answers to {len(rows):,} prompts")


def facts(finished: Finished) -> Facts:
    """How the answers were sampled."""
    policy, how = label_of(finished.reads("policy").source), finished.settings
    lead = f"The {policy} model answers each prompt {how.n_answers} times at temperature {how.temperature}."
    return Facts([Section("Answers", lead)])
