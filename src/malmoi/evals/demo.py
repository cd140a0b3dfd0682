"""The stage `eval` of the demo's recipe: each model on held-out text, questions, items and prompts."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from malmoi.config import Seed, Settings
from malmoi.data.comparisons import encode_ranking
from malmoi.evals.agreement import pairwise_agreement
from malmoi.evals.answer_measures import distinct_share, is_exact, log_ratios
from malmoi.evals.answering import TextAnswer, answer_questions
from malmoi.evals.bits_per_byte import xz_bits_per_byte
from malmoi.evals.interval import bootstrap
from malmoi.evals.reward_accuracy import score_gaps
from malmoi.evals.reward_scores import BATCH_SIZE, mean_scores
from malmoi.files import iterate_jsonl, read_json, read_jsonl
from malmoi.formats.folder import load_model, load_text
from malmoi.inference.sampling import Sampling
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.synthetic.gold import gold_score
from malmoi.synthetic.labeler import true_ranks
from malmoi.synthetic.questions import PLAIN, SECOND_TURN, Question, messages
from malmoi.tokenizer.chat_template import Message

XZ_MOST_BYTES = {"train": 2**24, "heldout": 2**21}
"""The most text that xz compresses: it is slow, and a sample of a large corpus is enough."""


class EvalSettings(Settings):
    """How much is measured. Nothing that is measured on was trained on."""

    n_questions: int = Field(4000, gt=0)
    """The most questions in held-out phrasings."""
    n_base_questions: int = Field(400, gt=0)
    """How many of them the base model and the PPO model are asked."""
    n_answers: int = Field(4, ge=2)
    """Answers sampled for each held-out prompt at temperature 1."""
    max_tokens: int = Field(80, gt=0)
    """Longest answer."""
    seed: Seed = 1
    """Of sampling."""


class Inputs(NamedTuple):
    """What was made: model folders, files of rows, and parts of documents (train, heldout, facts) and rankings
    (heldout, labeler)."""

    documents: Mapping[str, Path]
    tokenizer: Path
    base: Path
    policy: Path
    aligned: Path
    reward_model: Path
    questions: Path
    prompts: Path
    answers: Path
    rankings: Mapping[str, Path]


def evaluate_demo(inputs: Inputs, settings: EvalSettings, say: Callable[[str], None]) -> dict[str, Any]:
    """All sections of `eval.json`. The same seed gives the same figures."""
    report = {"pretrain": _pretraining(inputs)}
    say(f"bits per byte {report['pretrain']['bpb_before']:.2f} -> {report['pretrain']['bpb_after']:.3f}")
    report["sft"] = _answers(inputs, settings)
    say(f"exact answers: base {_mean(report['sft']['exact_base'])}, SFT {_mean(report['sft']['exact_sft'])}")
    report["reward"] = _reward(inputs)
    if report["reward"]["n_pairs"]:
        say(f"reward model orders {_mean(report['reward']['accuracy'])} of the pairs correctly")
    else:
        say("reward model: nothing to measure, since all answers to the held-out prompts are equally good")
    report["ppo"] = _ppo(inputs, settings)
    say(f"gold score: SFT {_mean(report['ppo']['gold_sft'])}, PPO {_mean(report['ppo']['gold_ppo'])}")
    return report


def _mean(row: dict[str, Any]) -> str:
    return f"{row['mean']:.3f}" if row["n"] else "–"


def _pretraining(inputs: Inputs) -> dict[str, Any]:
    made = read_json(inputs.base / "malmoi.json")
    n_bytes = read_json(inputs.documents["facts"])["bytes"]
    sides = {side: _sample_text(inputs.documents[side], n_bytes[side], most) for side, most in XZ_MOST_BYTES.items()}
    return {
        "bpb_before": made["bpb_before"],
        "bpb_after": made["bpb_after"],
        "bpb_xz": xz_bits_per_byte(sides["heldout"]),
        "bpb_xz_primed": xz_bits_per_byte(sides["heldout"], primer=sides["train"]),
        "xz_bytes": {side: len(text) for side, text in sides.items()},
        "corpus": read_json(inputs.documents["facts"]),
        "tokenizer": read_json(inputs.tokenizer / "report.json"),
    }


def _sample_text(path: Path, n_bytes: int, most: int) -> bytes:
    """The texts of a file of documents; if its `n_bytes` are more than `most`, random documents of about that size."""
    draw, texts, room = random.Random(0), [], most
    for row in iterate_jsonl(path):
        if (n_bytes <= most or draw.random() < most / n_bytes) and room > 0:
            texts.append(row["text"].encode()[:room])
            room -= len(texts[-1])
    return b"\n\n".join(texts)


def _answers(inputs: Inputs, settings: EvalSettings) -> dict[str, Any]:
    """Greedy answers to questions with one right answer, in phrasings that were never trained on."""
    questions = [Question.from_row(row) for row in read_jsonl(inputs.questions)]
    random.Random(settings.seed).shuffle(questions)
    closed = [question for question in questions if len(question.answers) == 1]
    in_forms = [question for question in closed if question.form != PLAIN]
    closed = [question for question in closed if question.form == PLAIN]
    asked = [question for question in closed if not question.unseen][: settings.n_questions]
    unseen = [question for question in closed if question.unseen]
    base = _ask(inputs.base, asked[: settings.n_base_questions], settings)
    sft = _ask(inputs.policy, asked, settings)
    ppo = _ask(inputs.aligned, asked[: settings.n_base_questions], settings)
    report: dict[str, Any] = {
        "exact_base": _exact(asked[: len(base)], base),
        "exact_sft": _exact(asked, sft),
        "exact_ppo": _exact(asked[: len(ppo)], ppo),
        "exact_by_kind": _exact_by_kind(asked, sft),
        "exact_base_by_kind": _exact_by_kind(asked[: len(base)], base),
        "exact_ppo_by_kind": _exact_by_kind(asked[: len(ppo)], ppo),
        "n_items": len({question.item for question in asked}),
        "samples": [
            {"prompt": q.prompt, "reference": q.answers[0], "base": b.text, "sft": s.text, "ppo": p.text}
            for q, b, s, p in list(zip(asked, base, sft, ppo, strict=False))[:20]
        ],
    }
    if in_forms:
        report |= _by_form(asked, sft, in_forms, _ask(inputs.policy, in_forms, settings))
    if unseen:
        answers = _ask(inputs.policy, unseen, settings)
        report["exact_unseen_items"] = _exact(unseen, answers)
        summaries = [(q, a) for q, a in zip(unseen, answers, strict=True) if q.kind in ("summary", "which")]
        if summaries:
            report["exact_unseen_summaries"] = _exact(*map(list, zip(*summaries, strict=True)))
    return report


def _by_form(
    asked: Sequence[Question], answers: Sequence[TextAnswer], others: Sequence[Question], said: Sequence[TextAnswer]
) -> dict[str, Any]:
    """Exact answers to questions about the same names in other forms, such as "upper", and asked plainly; and the share
    of the names known when asked first that are also known in the second turn."""
    names = {question.item for question in others}
    plain: dict[str, float] = {
        question.item: is_exact(answer, question.answers)
        for question, answer in zip(asked, answers, strict=True)
        if question.kind == "summary" and question.item in names
    }
    forms: dict[str, dict[str, float]] = {PLAIN: plain}
    for question, answer in zip(others, said, strict=True):
        forms.setdefault(question.form, {})[question.item] = is_exact(answer, question.answers)
    second = forms.get(SECOND_TURN, {})
    known = [second[item] for item, is_known in plain.items() if is_known and item in second]
    found = {form: bootstrap(list(values.values())).to_row() for form, values in sorted(forms.items()) if values}
    return {"exact_by_form": found} | ({"known_in_second_turn": bootstrap(known).to_row()} if known else {})


def _ask(folder: Path, questions: Sequence[Question], settings: EvalSettings) -> list[TextAnswer]:
    model, (tokenizer, template) = load_model(folder, LanguageModel), load_text(folder)
    greedy = Sampling(temperature=0, max_tokens=settings.max_tokens)
    return answer_questions(model, tokenizer, template, [messages(question) for question in questions], greedy)


def _exact(questions: Sequence[Question], answers: Sequence[TextAnswer]) -> dict[str, Any]:
    values = [is_exact(a, q.answers) for q, a in zip(questions, answers, strict=True)]
    return bootstrap(values, [question.item for question in questions]).to_row()


def _exact_by_kind(questions: Sequence[Question], answers: Sequence[TextAnswer]) -> dict[str, Any]:
    kinds: dict[str, list[tuple[Question, TextAnswer]]] = defaultdict(list)
    for question, answer in zip(questions, answers, strict=True):
        kinds[question.kind].append((question, answer))
    return {kind: _exact(*map(list, zip(*pairs, strict=True))) for kind, pairs in sorted(kinds.items())}


def _reward(inputs: Inputs) -> dict[str, Any]:
    """The reward model on held-out prompts, about items that do not occur in its rankings."""
    folder = inputs.reward_model
    model, (tokenizer, template) = load_model(folder, ScalarModel), load_text(folder)
    rows = [row for row in read_jsonl(inputs.answers) if row["split"] == "heldout"]
    golds = [
        [gold_score(a["text"], row["references"], a["finished"], row["prompt"]) for a in row["answers"]] for row in rows
    ]
    margin = read_json(inputs.rankings["labeler"])["tie_margin"]
    truth = [true_ranks(scores, margin) for scores in golds]
    rankings = [
        encode_ranking(tokenizer, template, row["prompt"], (a["text"] for a in row["answers"]), ranks)
        for row, ranks in zip(rows, truth, strict=True)
    ]
    scores = mean_scores(model, rankings, tokenizer.pad_id, BATCH_SIZE)
    gaps = score_gaps(scores, truth)
    # The labeler's judgements of the same prompts: the model's agreement with them, and their own accuracy.
    said = {row["prompt_id"]: row for row in read_jsonl(inputs.rankings["heldout"])}
    judged = [[said[row["prompt_id"]]["ranks"][place] for place in _places_shown(row, said)] for row in rows]
    agreement = [pairwise_agreement(a, b).without_ties for a, b in zip(judged, truth, strict=True)]
    known = [value for value in agreement if value == value]
    return {
        "accuracy": gaps.accuracy().to_row(),
        "accuracy_against_labeler": score_gaps(scores, judged).accuracy().to_row(),
        "labeler_accuracy": bootstrap(known).to_row(),
        "ceiling": "agreeing with the simulated labeler is worth at most its own accuracy; the true order has no error",
        "calibration": gaps.calibration(),
        "n_pairs": len(gaps.gaps),
    }


def _places_shown(row: dict[str, Any], said: dict[str, dict[str, Any]]) -> list[int]:
    """The place of each of a prompt's answers in the judgement, which has an order of its own."""
    shown = list(said[row["prompt_id"]]["answers"])
    places = []
    for answer in row["answers"]:
        place = shown.index(answer["text"])
        shown[place] = None
        places.append(place)
    return places


def _ppo(inputs: Inputs, settings: EvalSettings) -> dict[str, Any]:
    """SFT against PPO on held-out prompts at temperature 1: gold score, diversity, and the KL between them."""
    rows = read_jsonl(inputs.prompts)
    questions = [row["messages"] for row in rows for _ in range(settings.n_answers)]
    sft = _sample_answers(inputs.policy, questions, settings)
    ppo = _sample_answers(inputs.aligned, questions, settings)
    golds = {name: _gold_by_prompt(rows, made.groups) for name, made in (("sft", sft), ("ppo", ppo))}
    texts = {name: [[a.text for a in group] for group in made.groups] for name, made in (("sft", sft), ("ppo", ppo))}
    distinct = {name: distinct_share(found) for name, found in texts.items()}
    topics = [row["item"] for row in rows]
    flat = [answer for group in ppo.groups for answer in group]
    kl = log_ratios(ppo.model, sft.model, *load_text(inputs.aligned), questions, flat)
    return {
        **_compared(golds, "gold", topics),
        **_compared(distinct, "distinct", topics),
        "kl": float(np.mean(kl)),
        "alarms": read_json(inputs.aligned / "malmoi.json")["alarms"],
        "samples": [
            {"prompt": row["messages"][-1]["content"], "reference": row["references"][0], "sft": before, "ppo": after}
            for row, before, after in list(zip(rows, texts["sft"], texts["ppo"], strict=True))[:20]
        ],
    }


class _Sampled(NamedTuple):
    """A model, and its answers to each prompt."""

    model: LanguageModel
    groups: list[list[TextAnswer]]


def _sample_answers(folder: Path, questions: Sequence[Sequence[Message]], settings: EvalSettings) -> _Sampled:
    """questions: each prompt `n_answers` times"""
    model, text = load_model(folder, LanguageModel), load_text(folder)
    sampling = Sampling(temperature=1.0, max_tokens=settings.max_tokens)
    answers = answer_questions(model, *text, questions, sampling, settings.seed)
    starts = range(0, len(answers), settings.n_answers)
    return _Sampled(model, [answers[i : i + settings.n_answers] for i in starts])


def _gold_by_prompt(rows: Sequence[dict[str, Any]], groups: Sequence[Sequence[TextAnswer]]) -> list[float]:
    """Mean gold score of the answers to each prompt."""
    return [
        float(np.mean([gold_score(a.text, row["references"], a.finished, row["messages"]) for a in group]))
        for row, group in zip(rows, groups, strict=True)
    ]


def _compared(values: dict[str, list[float]], name: str, topics: Sequence[Any]) -> dict[str, Any]:
    """Both means and their difference by prompt. Prompts about one topic are similar, so topics are resampled."""
    difference = np.subtract(values["ppo"], values["sft"]).tolist()
    rows = {f"{name}_sft": values["sft"], f"{name}_ppo": values["ppo"], f"{name}_difference": difference}
    return {key: bootstrap(found, topics).to_row() for key, found in rows.items()}
