"""What the report says, measured on held-out phrasings, items, prompts and text."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from malmoi.config import Seed, Settings
from malmoi.data.comparisons import Ranking, demonstration_ids, ranking_ids
from malmoi.evals.agreement import pairwise_agreement
from malmoi.evals.answers import Answered, answer_all, answer_kl, distinct_share, is_exact
from malmoi.evals.bits_per_byte import xz_bits_per_byte
from malmoi.evals.interval import bootstrap
from malmoi.evals.preferences import head_scores, pairs_of, score_rankings
from malmoi.files import iterate_jsonl, read_json, read_jsonl
from malmoi.formats.folder import load_model, load_text
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.synthetic.labeler import gold_score, true_ranks
from malmoi.synthetic.questions import Question
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

Text = tuple[Tokenizer, ChatTemplate]

XZ_MOST_BYTES = {"train": 2**24, "heldout": 2**21}
"""What xz is measured on, at most: it is slow, and of a large corpus a sample tells as much."""


class EvalSettings(Settings):
    """What is measured, on what nobody trained on."""

    n_questions: int = Field(4000, gt=0)
    """Held-out phrasings asked, at most."""
    n_base_questions: int = Field(400, gt=0)
    """Of these, how many the base and the PPO model are asked too."""
    n_answers: int = Field(4, ge=2)
    """Answers sampled for each held-out prompt at temperature 1."""
    max_tokens: int = Field(48, gt=0)
    """Longest answer."""
    seed: Seed = 1
    """Of sampling."""


def evaluate(inputs: dict[str, Path], settings: EvalSettings, say: Callable[[str], None]) -> dict[str, Any]:
    """All sections of the report. inputs: stage -> what it made. Sampling is seeded, so it says the same twice."""
    report = {"pretrain": _pretraining(inputs)}
    say(f"bits per byte {report['pretrain']['bpb_before']:.2f} -> {report['pretrain']['bpb_after']:.3f}")
    report["sft"] = _answers(inputs, settings)
    say(f"exact answers: base {_mean(report['sft']['exact_base'])}, SFT {_mean(report['sft']['exact_sft'])}")
    report["reward"] = _reward(inputs)
    if report["reward"]["n_pairs"]:
        say(f"reward model orders {_mean(report['reward']['accuracy'])} of the pairs rightly")
    else:
        say("reward model: nothing to measure, since all answers to the held-out prompts are equally good")
    report["ppo"] = _ppo(inputs, settings)
    say(f"gold: SFT {_mean(report['ppo']['gold_sft'])}, PPO {_mean(report['ppo']['gold_ppo'])}")
    return report


def _mean(row: dict[str, Any]) -> str:
    return f"{row['mean']:.3f}" if row["n"] else "–"


def reward_bias(model: ScalarModel, text: Text, conversations: Sequence[Sequence[dict[str, str]]]) -> list[float]:
    """Mean score of these demonstrations, by each head, read where the model was trained: at the end of the turn."""
    tokenizer, template = text
    rankings = [Ranking([demonstration_ids(tokenizer, template, messages)], [1]) for messages in conversations]
    scores = head_scores(model, rankings, tokenizer.pad_id)
    return [float(np.mean([float(row[0, head]) for row in scores])) for head in range(model.n_heads)]


def _pretraining(inputs: dict[str, Path]) -> dict[str, Any]:
    made = read_json(inputs["pretrain"] / "model" / "malmoi.json")
    n_bytes = read_json(inputs["corpus"] / "corpus.json")["bytes"]
    sides = {
        side: _sample(inputs["corpus"] / f"{side}.jsonl", n_bytes[side], most) for side, most in XZ_MOST_BYTES.items()
    }
    return {
        "bpb_before": made["bpb_before"],
        "bpb_after": made["bpb_after"],
        "bpb_xz": xz_bits_per_byte(sides["heldout"]),
        "bpb_xz_primed": xz_bits_per_byte(sides["heldout"], primer=sides["train"]),
        "xz_bytes": {side: len(text) for side, text in sides.items()},
        "corpus": read_json(inputs["corpus"] / "corpus.json"),
        "tokenizer": read_json(inputs["tokenizer"] / "report.json"),
    }


def _sample(path: Path, n_bytes: int, most: int) -> bytes:
    """The texts of a file of documents, of n_bytes altogether; of more than `most`, documents drawn by chance."""
    draw, texts, room = random.Random(0), [], most
    for row in iterate_jsonl(path):
        if (n_bytes <= most or draw.random() < most / n_bytes) and room > 0:
            texts.append(row["text"].encode()[:room])
            room -= len(texts[-1])
    return b"\n\n".join(texts)


def _answers(inputs: dict[str, Path], settings: EvalSettings) -> dict[str, Any]:
    """Closed book, greedy, in phrasings that were never trained on: questions about one item, with one right answer."""
    questions = [Question.from_row(row) for row in read_jsonl(inputs["demonstrations"] / "questions.jsonl")]
    random.Random(settings.seed).shuffle(questions)
    closed = [question for question in questions if len(question.answers) == 1]
    asked = [question for question in closed if not question.unseen][: settings.n_questions]
    unseen = [question for question in closed if question.unseen]
    base = _ask(inputs["pretrain"] / "model", asked[: settings.n_base_questions], settings)
    sft = _ask(inputs["sft"] / "model", asked, settings)
    ppo = _ask(inputs["ppo"] / "model", asked[: settings.n_base_questions], settings)
    report: dict[str, Any] = {
        "exact_base": _exact(asked[: len(base)], base),
        "exact_sft": _exact(asked, sft),
        "exact_ppo": _exact(asked[: len(ppo)], ppo),
        "gold_base": _gold(asked[: len(base)], base),
        "gold_sft": _gold(asked, sft),
        "exact_by_kind": _exact_by_kind(asked, sft),
        "exact_base_by_kind": _exact_by_kind(asked[: len(base)], base),
        "exact_ppo_by_kind": _exact_by_kind(asked[: len(ppo)], ppo),
        "n_items": len({question.item for question in asked}),
        "samples": [
            {"prompt": q.prompt, "reference": q.answers[0], "base": b.text, "sft": s.text, "ppo": p.text}
            for q, b, s, p in list(zip(asked, base, sft, ppo, strict=False))[:20]
        ],
    }
    if unseen:
        answers = _ask(inputs["sft"] / "model", unseen, settings)
        report["exact_unseen_items"] = _exact(unseen, answers)
        summaries = [(q, a) for q, a in zip(unseen, answers, strict=True) if q.kind in ("summary", "which")]
        if summaries:
            report["exact_unseen_summaries"] = _exact(*map(list, zip(*summaries, strict=True)))
    return report


def _ask(folder: Path, questions: Sequence[Question], settings: EvalSettings) -> list[Answered]:
    model, (tokenizer, template) = load_model(folder, LanguageModel), load_text(folder)
    greedy = Sampling(temperature=0, max_tokens=settings.max_tokens)
    return answer_all(model, tokenizer, template, [question.prompt for question in questions], greedy)


def _exact(questions: Sequence[Question], answers: Sequence[Answered]) -> dict[str, Any]:
    values = [is_exact(a, q.answers) for q, a in zip(questions, answers, strict=True)]
    return bootstrap(values, [question.item for question in questions]).to_row()


def _exact_by_kind(questions: Sequence[Question], answers: Sequence[Answered]) -> dict[str, Any]:
    kinds: dict[str, list[tuple[Question, Answered]]] = defaultdict(list)
    for question, answer in zip(questions, answers, strict=True):
        kinds[question.kind].append((question, answer))
    return {kind: _exact(*map(list, zip(*pairs, strict=True))) for kind, pairs in sorted(kinds.items())}


def _gold(questions: Sequence[Question], answers: Sequence[Answered]) -> dict[str, Any]:
    values = [gold_score(a.text, q.answers, a.finished) for q, a in zip(questions, answers, strict=True)]
    return bootstrap(values, [question.item for question in questions]).to_row()


def _reward(inputs: dict[str, Path]) -> dict[str, Any]:
    """Held-out prompts about items that the reward model's rankings never touch."""
    folder = inputs["reward"] / "model"
    model, (tokenizer, template) = load_model(folder, ScalarModel), load_text(folder)
    rows = [row for row in read_jsonl(inputs["sample"] / "generations.jsonl") if row["split"] == "heldout"]
    golds = [[gold_score(a["text"], row["references"], a["finished"]) for a in row["answers"]] for row in rows]
    margin = read_json(inputs["rank"] / "labeler.json")["tie_margin"]
    truth = [true_ranks(scores, margin) for scores in golds]
    rankings = [
        Ranking(ranking_ids(tokenizer, template, row["prompt"], (a["text"] for a in row["answers"])), ranks)
        for row, ranks in zip(rows, truth, strict=True)
    ]
    scores = score_rankings(model, rankings, tokenizer.pad_id)
    pairs = pairs_of(scores, truth)
    # The labeler's word on the same prompts: what agreeing with it can be worth, and what it is worth itself.
    said = {row["prompt_id"]: row for row in read_jsonl(inputs["rank"] / "heldout.jsonl")}
    judged = [[said[row["prompt_id"]]["ranks"][place] for place in _shown(row, said)] for row in rows]
    agreement = [pairwise_agreement(a, b).without_ties for a, b in zip(judged, truth, strict=True)]
    known = [value for value in agreement if value == value]
    return {
        "accuracy": pairs.accuracy().to_row(),
        "accuracy_against_labeler": pairs_of(scores, judged).accuracy().to_row(),
        "labeler_accuracy": bootstrap(known).to_row(),
        "ceiling": "agreeing with the simulated labeler is worth at most its own accuracy; the true order has no error",
        "calibration": pairs.calibration(),
        "n_pairs": len(pairs.gaps),
    }


def _shown(row: dict[str, Any], said: dict[str, dict[str, Any]]) -> list[int]:
    """Where each of a prompt's answers stands in the judgement, which keeps its own order."""
    shown = list(said[row["prompt_id"]]["answers"])
    places = []
    for answer in row["answers"]:
        place = shown.index(answer["text"])
        shown[place] = None
        places.append(place)
    return places


def _ppo(inputs: dict[str, Path], settings: EvalSettings) -> dict[str, Any]:
    """SFT against PPO on held-out prompts at temperature 1: gold, KL, diversity."""
    prompts = read_jsonl(inputs["demonstrations"] / "prompts.heldout.jsonl")
    golds, texts = {}, {}
    for name in ("sft", "ppo"):
        folder = inputs[name] / "model"
        model, (tokenizer, template) = load_model(folder, LanguageModel), load_text(folder)
        sampling = Sampling(temperature=1.0, max_tokens=settings.max_tokens)
        repeated = [row["messages"][-1]["content"] for row in prompts for _ in range(settings.n_answers)]
        answers = answer_all(model, tokenizer, template, repeated, sampling, settings.seed)
        grouped = [answers[i : i + settings.n_answers] for i in range(0, len(answers), settings.n_answers)]
        golds[name] = [
            float(np.mean([gold_score(a.text, row["references"], a.finished) for a in group]))
            for row, group in zip(prompts, grouped, strict=True)
        ]
        texts[name] = [[a.text for a in group] for group in grouped]
    distinct = {name: distinct_share(found) for name, found in texts.items()}
    # Prompts about one topic are alike, so topics are what is drawn again.
    topics = [row["item"] for row in prompts]

    def compared(values: dict[str, list[float]], name: str) -> dict[str, Any]:
        difference = np.subtract(values["ppo"], values["sft"]).tolist()
        rows = {f"{name}_sft": values["sft"], f"{name}_ppo": values["ppo"], f"{name}_difference": difference}
        return {key: bootstrap(found, topics).to_row() for key, found in rows.items()}

    kl = answer_kl(model, load_model(inputs["sft"] / "model", LanguageModel), tokenizer, template, repeated, answers)
    return {
        **compared(golds, "gold"),
        **compared(distinct, "distinct"),
        "kl": float(np.mean(kl)),
        "alarms": read_json(inputs["ppo"] / "model" / "malmoi.json")["alarms"],
        "samples": [
            {"prompt": row["messages"][-1]["content"], "reference": row["references"][0], "sft": sft, "ppo": ppo}
            for row, sft, ppo in list(zip(prompts, texts["sft"], texts["ppo"], strict=True))[:20]
        ],
    }
