"""The stage `compare`: SFT, PPO, DPO, GRPO and best-of-n on held-out prompts, scored by an independent judge.

The judge is another reward model, trained on people's rankings of other prompts. Its figures are labelled as a judge's.
Source of best-of-n as a baseline and of √KL as the distance: Gao et al. 2022 (arXiv:2210.10760).
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from malmoi.config import Seed, Settings
from malmoi.data.comparisons import Ranking, encode_ranking
from malmoi.data.prompts import TokenizedPrompt, read_prompts
from malmoi.evals.agreement import pairwise_agreement
from malmoi.evals.answer_measures import distinct_share, sampled_logps
from malmoi.evals.answering import AnswerGroups, sample_answers
from malmoi.evals.best_of import best_weights, kl_bound
from malmoi.evals.interval import bootstrap
from malmoi.evals.reward_accuracy import SourcedRanking, measure_reward_model
from malmoi.evals.reward_scores import head_scores
from malmoi.files import read_json, read_jsonl
from malmoi.formats.folder import load_model, load_text, score_std
from malmoi.inference.requests import Answer
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.policy_maths import priced

JUDGE = "a reward model that was trained on people's rankings of other prompts, and that nothing was trained against"
Text = tuple[Tokenizer, ChatTemplate]
Ids = Sequence[Sequence[int]]
Scores = dict[str, np.ndarray]
"""Name of a method or curve point -> scores, (prompts, answers)."""


class CompareSettings(Settings):
    """How the methods are compared."""

    n_prompts: int = Field(64, gt=1)
    """Held-out prompts."""
    n_answers: int = Field(4, gt=0)
    """Answers of each trained policy to each prompt."""
    n_best: int = Field(16, gt=1)
    """Answers of the SFT model to each prompt: the others are compared with these, and best-of-n chooses from them."""
    temperature: float = Field(1.0, gt=0)
    """Of sampling, and of the log-probabilities in the KL. Use that of training: the KL then means the same."""
    max_tokens: int = Field(64, gt=0)
    """Longest answer."""
    missing_eos_penalty: float = Field(1.0, ge=0)
    """Subtracted from the reward score of an answer that did not end its turn, here and in best-of-n, in standard
    deviations of the reward model's scores. Use that of training."""
    n_shown: int = Field(20, ge=0)
    """Prompts whose answers the report shows."""
    not_shown: tuple[str, ...] = ("harmless",)
    """Words in the names of sources whose prompts are not shown, because they were collected to be offensive."""
    seed: Seed = 1
    """Seed of sampling."""


class Inputs(NamedTuple):
    """What is compared: model folders, held-out rows, and a file of facts about the rankings, or None.

    methods: name -> model folder of a policy that was trained from `policy`; curves: name -> its answers in training
    """

    policy: Path
    reward_model: Path
    judge: Path
    rankings: Path
    prompts: Path
    facts: Path | None
    methods: Mapping[str, Path]
    curves: Mapping[str, Path]


def compare(inputs: Inputs, settings: CompareSettings, say: Callable[[str], None]) -> dict[str, Any]:
    """Every figure of the comparison. Sampling has a seed, so the figures are reproducible."""
    text = load_text(inputs.policy)
    heldout, sampled, kl = _sample_methods(inputs, text, settings)
    curves = {method: rows for method, path in inputs.curves.items() if (rows := _read_curve(path))}
    to_score = {name: ([prompt.ids.tolist() for prompt in heldout], answers) for name, answers in sampled.items()}
    for method, points in curves.items():
        to_score |= {f"{method} at {point['step']}": (point["prompts"], point["answers"]) for point in points}
    rewards, facts, spread = _judged(inputs.reward_model, inputs.rankings, text, to_score)
    price = settings.missing_eos_penalty * score_std(inputs.reward_model)
    for name, (_, answers) in to_score.items():  # as in PPO and GRPO; the judge has no such penalty
        rewards[name] = priced(rewards[name], _finished(answers), price)
    judged, judge_facts, _ = _judged(inputs.judge, inputs.rankings, text, to_score)
    models = {"reward": facts, "judge": judge_facts}
    for name, found in models.items():
        say(f"{name}: orders {_mean(found['accuracy'])} of the held-out pairs as people do")
    texts = {name: [[_text(text[0], answer) for answer in group] for group in found] for name, found in sampled.items()}
    methods = {
        name: _row(sampled[name], texts[name], kl.get(name), rewards[name], judged[name], rewards["sft"], judged["sft"],
                   name == "sft")
        for name in sampled
    }  # fmt: skip
    for n in _powers(settings.n_best):
        methods[f"best of {n}"] = _best_of(n, sampled["sft"], rewards["sft"], judged["sft"])
    for name in sampled.keys() & spread.keys():
        methods[name]["disagreement"] = _interval(spread[name])
    for name in kl:
        methods[name]["best_of_n_there"] = _best_of_n_at(methods[name]["kl"], methods)
    for name, row in methods.items():
        say(f"{name}: wins {_mean(row['win_rate'])}, judge {_mean(row['judge'])}, KL {row['kl']:.2f} nats")
    return {
        "judge": JUDGE,
        "n_prompts": len(heldout),
        "temperature": settings.temperature,
        "methods": methods,
        "curves": {method: _curve(method, points, rewards, judged) for method, points in curves.items()},
        "models": models,
        "annotators": _annotators(inputs.facts),
        "agreement": bootstrap(_agreement(rewards["sft"], judged["sft"])).to_row(),
        "samples": _shown(heldout, texts, rewards["sft"], settings),
        "alarms": {method: _alarms(folder) for method, folder in inputs.methods.items()},
    }


def heldout_prompts(path: Path, text: Text, longest: int) -> list[TokenizedPrompt]:
    """Shuffled held-out prompts of at most `longest` tokens."""
    rows = read_prompts(path, *text, longest)
    random.Random(0).shuffle(rows)
    return rows


def win_rates(ours: np.ndarray, theirs: np.ndarray, is_same: bool = False) -> np.ndarray:
    """The share of their answers to the same prompt that each of our answers beats; a tie counts half. (prompts, n)

    is_same: ours are theirs, and no answer is compared with itself
    """
    a, b = ours[:, :, None], theirs[:, None, :]
    wins = ((a > b) + 0.5 * (a == b)).sum(axis=2)
    return np.asarray((wins - 0.5 * is_same) / max(1, theirs.shape[1] - is_same))


def _sample_methods(
    inputs: Inputs, text: Text, settings: CompareSettings
) -> tuple[list[TokenizedPrompt], dict[str, AnswerGroups], Scores]:
    """The prompts, every method's answers, and log π - log SFT of each answer of a trained method."""
    sft = load_model(inputs.policy, LanguageModel)
    heldout = heldout_prompts(inputs.prompts, text, sft.config.seq_len - settings.max_tokens)[: settings.n_prompts]
    prompts, ends = [prompt.ids.tolist() for prompt in heldout], text[0].stop_ids
    how = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens)
    sampled = {"sft": sample_answers(sft, prompts, settings.n_best, how, ends, settings.seed)}
    kl = {}
    for method, folder in inputs.methods.items():
        model = load_model(folder, LanguageModel)
        answers = sample_answers(model, prompts, settings.n_answers, how, ends, settings.seed)
        ours, before = (sampled_logps(m, prompts, answers, settings.temperature) for m in (model, sft))
        sampled[method], kl[method] = answers, ours - before
    return heldout, sampled, kl


def _judged(
    folder: Path, heldout: Path, text: Text, to_score: Mapping[str, tuple[Ids, AnswerGroups]]
) -> tuple[Scores, dict[str, Any], Scores]:
    """One reward model's scores of all answers, its measures on the held-out rankings, and, for an ensemble, the
    standard deviation over its heads of each answer's score, in reward units."""
    tokenizer, template = text
    model = load_model(folder, ScalarModel)
    rows = read_jsonl(heldout)
    known = [
        SourcedRanking(
            encode_ranking(tokenizer, template, r["messages"], r["answers"], r["ranks"]), r["source"], r["tree"]
        )
        for r in rows
    ]  # fmt: skip
    facts = measure_reward_model(model, known, tokenizer.pad_id)
    # As in PPO, an answer that was cut off is read with its last token replaced by the end of turn, because the reward
    # model was trained on whole turns.
    end = tokenizer.end_of_turn_id
    scores, spread = {}, {}
    for name, (prompts, answers) in to_score.items():
        turns = [
            Ranking(
                [[*ids, *(answer.ids if answer.finished else answer.ids[:-1]), end] for answer in group],
                [1] * len(group),
                n_prompt=len(ids),
            )
            for ids, group in zip(prompts, answers, strict=True)
        ]
        heads = np.array(head_scores(model, turns, tokenizer.pad_id))
        scores[name], spread[name] = heads.mean(axis=2), heads.std(axis=2)
    return scores, facts, spread if model.n_heads > 1 else {}


def _row(
    answers: AnswerGroups, texts: list[list[str]], kl: np.ndarray | None, rewards: np.ndarray, judged: np.ndarray,
    rewards_sft: np.ndarray, judged_sft: np.ndarray, is_sft: bool,
) -> dict[str, Any]:  # fmt: skip
    """One method's figures: means by prompt, with prompts resampled."""
    wins = np.full(judged.shape, 0.5) if is_sft else win_rates(judged, judged_sft)
    gains = judged.mean(axis=1) - judged_sft.mean(axis=1)
    reward_gains = rewards.mean(axis=1) - rewards_sft.mean(axis=1)
    kl = np.zeros(judged.shape) if kl is None else kl
    return {
        **{name: _interval(found) for name, found in (("judge", judged), ("reward", rewards), ("win_rate", wins))},
        "gain": bootstrap(gains).to_row(),
        "reward_gain": bootstrap(reward_gains).to_row(),
        "kl": float(kl.mean()),
        "kl_interval": None if is_sft else _interval(kl),
        "tokens": float(np.mean([len(answer.ids) for group in answers for answer in group])),
        "finished": float(_finished(answers).mean()),
        "distinct": float(np.mean(distinct_share([group[: min(map(len, texts))] for group in texts]))),
    }


def _best_of(n: int, answers: AnswerGroups, rewards: np.ndarray, judged: np.ndarray) -> dict[str, Any]:
    """The figures of the best of n of SFT's answers by the reward model."""
    weights = best_weights(rewards, n)
    tokens = np.array([[len(answer.ids) for answer in group] for group in answers])
    finished = _finished(answers)
    found = {"judge": judged, "reward": rewards, "win_rate": win_rates(judged, judged, is_same=True)}
    chosen = {name: (weights * values).sum(axis=1) for name, values in found.items()}
    return {
        **{name: bootstrap(values).to_row() for name, values in chosen.items()},
        "gain": bootstrap(chosen["judge"] - judged.mean(axis=1)).to_row(),
        "reward_gain": bootstrap(chosen["reward"] - rewards.mean(axis=1)).to_row(),
        "kl": kl_bound(n),
        "kl_interval": None,
        "tokens": float((weights * tokens).sum(axis=1).mean()),
        "finished": float((weights * finished).sum(axis=1).mean()),
    }


def _finished(answers: AnswerGroups) -> np.ndarray:
    """Whether each answer ended its turn, (prompts, n)."""
    return np.array([[answer.finished for answer in group] for group in answers])


def _best_of_n_at(kl: float, methods: Mapping[str, Mapping[str, Any]]) -> dict[str, float] | None:
    """Gain and win rate of best-of-n at this KL from SFT, interpolated linearly in √KL; None beyond the largest n."""
    rows = [row for name, row in methods.items() if name.startswith("best of ")]
    places = [math.sqrt(row["kl"]) for row in rows]
    if kl < 0 or math.sqrt(kl) > places[-1]:
        return None
    return {
        key: float(np.interp(math.sqrt(kl), places, [row[key]["mean"] for row in rows])) for key in ("gain", "win_rate")
    }


def _powers(most: int) -> list[int]:
    """1, 2, 4, … and `most`."""
    return sorted({*(2**power for power in range(most.bit_length())), most})


def _read_curve(path: Path) -> list[dict[str, Any]]:
    """What a policy answered on its way, written by `watch.CurveWatch`: a point for each step."""
    rows = read_jsonl(path) if path.exists() else []
    return [
        {
            "step": step,
            "kl": float(np.mean([row["kl"] for row in part])),
            "prompts": [row["prompt_ids"] for row in part],
            "answers": [[Answer(row["ids"], row["finished"])] for row in part],
        }
        for step, part in ((step, list(same)) for step, same in groupby(rows, lambda row: row["step"]))
    ]


def _curve(method: str, points: Sequence[Mapping[str, Any]], rewards: Scores, judged: Scores) -> dict[str, Any]:
    """Gains over the first point, which is SFT, by the judge and by the reward model.

    best: step with the judge's highest gain; fall: change of the judge's gain from there to the last, paired by prompt
    """
    names = [f"{method} at {point['step']}" for point in points]
    gains = {
        key: [(scores[name] - scores[names[0]]).mean(axis=1) for name in names]
        for key, scores in (("judge", judged), ("reward", rewards))
    }
    best = int(np.argmax([gain.mean() for gain in gains["judge"]]))
    return {
        "points": [
            {"step": point["step"], "kl": point["kl"]}
            | {key: bootstrap(found[i]).to_row() for key, found in gains.items()}
            for i, point in enumerate(points)
        ],
        "best": points[best]["step"],
        "fall": bootstrap(gains["judge"][-1] - gains["judge"][best]).to_row(),
    }


def _agreement(a: np.ndarray, b: np.ndarray) -> list[float]:
    """By prompt: the share of pairs of answers that both order the same way."""
    return [pairwise_agreement(x, y).with_ties for x, y in zip(a, b, strict=True)]


def _shown(
    heldout: Sequence[TokenizedPrompt],
    texts: Mapping[str, list[list[str]]],
    rewards: np.ndarray,
    settings: CompareSettings,
) -> list[dict[str, Any]]:
    """Answers to the first prompts; prompts of `not_shown` sources are skipped."""
    hidden = settings.not_shown
    places = [i for i, prompt in enumerate(heldout) if not any(name in prompt.row.get("source", "") for name in hidden)]
    return [
        {
            "messages": list(heldout[i].messages),
            "source": heldout[i].row.get("source", ""),
            "answers": {name: found[i][0] for name, found in texts.items()}
            | {f"best of {rewards.shape[1]}": texts["sft"][i][int(rewards[i].argmax())]},
        }
        for i in places[: settings.n_shown]
    ]


def _annotators(facts: Path | None) -> dict[str, Any]:
    """How far the people of each source agree, where that is known."""
    agreement: dict[str, Any] = read_json(facts)["agreement"] if facts else {}
    return agreement


def _alarms(folder: Path) -> dict[str, str]:
    alarms: dict[str, str] = read_json(folder / "malmoi.json").get("alarms", {})
    return alarms


def _text(tokenizer: Tokenizer, answer: Answer) -> str:
    return tokenizer.decode(answer.ids).strip()


def _interval(values: np.ndarray) -> dict[str, Any]:
    return bootstrap(values.mean(axis=1)).to_row()


def _mean(interval: Mapping[str, float] | None) -> str:
    if not interval or not interval["n"]:
        return "none"
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
