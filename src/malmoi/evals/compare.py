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
from malmoi.data.prompts import TokenizedPrompt, read_prompts
from malmoi.evals.agreement import pairwise_agreement
from malmoi.evals.answer_measures import distinct_share, sampled_logps
from malmoi.evals.answering import AnswerGroups, sample_answers
from malmoi.evals.best_of import best_weights, kl_bound
from malmoi.evals.interval import bootstrap
from malmoi.evals.judge_error import FEWEST_LABELLED, JudgeError
from malmoi.evals.judged import Scores, Text, judge_answers, longer_of_two, win_rates, wins_against
from malmoi.evals.reward_baselines import REWARD_MODEL
from malmoi.evals.to_rank import Messages, by_people, pairs_to_rank, people_said
from malmoi.evals.words_judge import WordsJudge, judge_by_words
from malmoi.files import read_json, read_jsonl
from malmoi.formats.folder import load_model, load_text, score_std
from malmoi.inference.requests import Answer
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.train.policy_maths import priced

JUDGE = "a reward model that was trained on people's rankings of other prompts, and that nothing was trained against"
SFT, LONGER = "sft", "longer of 2"
"""Names of methods: the policy that the others start from, and the longer of two of its answers."""


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
    taught: "reward", "judge" -> the rankings that it was trained on, if known
    people: people's rankings of what `to_rank` in the result holds, if there are any
    """

    policy: Path
    reward_model: Path
    judge: Path
    rankings: Path
    prompts: Path
    facts: Path | None
    methods: Mapping[str, Path]
    curves: Mapping[str, Path]
    taught: Mapping[str, Path]
    people: Path | None


def compare(inputs: Inputs, settings: CompareSettings, say: Callable[[str], None]) -> dict[str, Any]:
    """Every figure of the comparison. Sampling has a seed, so the figures are reproducible."""
    text = load_text(inputs.policy)
    heldout, sampled, kl = _sample_methods(inputs, text, settings)
    curves = {method: rows for method, path in inputs.curves.items() if (rows := _read_curve(path))}
    to_score = {name: ([prompt.ids.tolist() for prompt in heldout], answers) for name, answers in sampled.items()}
    for method, points in curves.items():
        to_score |= {f"{method} at {point['step']}": (point["prompts"], point["answers"]) for point in points}
    by_reward, by_judge = (
        judge_answers(name, folder, (inputs.rankings, inputs.taught.get(key)), text, to_score)
        for key, name, folder in (
            ("reward", REWARD_MODEL, inputs.reward_model), ("judge", "the judge", inputs.judge),
        )
    )  # fmt: skip
    rewards = by_reward.scores
    price = settings.missing_eos_penalty * score_std(inputs.reward_model)
    for name, (_, answers) in to_score.items():  # as in PPO and GRPO; the judge has no such penalty
        rewards[name] = priced(rewards[name], _finished(answers), price)
    judged, error = by_judge.scores, by_judge.error
    models = {"reward": by_reward.facts, "judge": by_judge.facts}
    for name, found in models.items():
        say(f"{name}: orders {_mean(found['accuracy'])} of the held-out pairs as people do")
    said = {name: _texts(text[0], answers) for name, (_, answers) in to_score.items()}
    texts = {name: said[name] for name in sampled}
    longer = longer_of_two(sampled[SFT])
    methods = {
        name: _row(sampled[name], texts[name], kl.get(name), rewards[name], judged[name], rewards[SFT], judged[SFT],
                   longer, error, name == SFT)
        for name in sampled
    }  # fmt: skip
    by_weight = {f"best of {n}": (n, best_weights(rewards[SFT], n)) for n in _powers(settings.n_best)}
    by_weight[LONGER] = (2, longer)
    for name, (n, chosen) in by_weight.items():
        methods[name] = _chosen(n, chosen, sampled[SFT], rewards[SFT], judged[SFT], longer, error)
    words = _judge_by_words(methods, inputs, said, {name: chosen for name, (_, chosen) in by_weight.items()})
    by_scorer = {"judge": judged, "reward": rewards} | ({"words": words.scores} if words else {})
    for name in sampled.keys() & by_reward.spread.keys():
        methods[name]["disagreement"] = _interval(by_reward.spread[name])
    asked = [prompt.messages for prompt in heldout]
    if inputs.people is not None:
        _correct_by_people(methods, inputs.people, asked, texts, judged, say)
    for name in kl:
        methods[name]["best_of_n_there"] = _best_of_n_at(methods[name]["kl"], methods)
    if words:
        say(f"counted words: {_mean(words.facts['accuracy'])} of them")
    _say_wins(methods, say)
    return {
        "judge": JUDGE,
        "other_judge": words and words.facts,
        "n_prompts": len(heldout),
        "temperature": settings.temperature,
        "methods": methods,
        "curves": {method: _curve(method, points, by_scorer) for method, points in curves.items()},
        "models": models,
        "annotators": _annotators(inputs.facts),
        "agreement": bootstrap(_agreement(rewards[SFT], judged[SFT])).to_row(),
        "samples": _shown(heldout, texts, rewards[SFT], settings),
        "alarms": {method: _alarms(folder) for method, folder in inputs.methods.items()},
        "to_rank": pairs_to_rank(asked, texts, SFT, settings.seed),
    }


def heldout_prompts(path: Path, text: Text, longest: int) -> list[TokenizedPrompt]:
    """Shuffled held-out prompts of at most `longest` tokens."""
    rows = read_prompts(path, *text, longest)
    random.Random(0).shuffle(rows)
    return rows


def _sample_methods(
    inputs: Inputs, text: Text, settings: CompareSettings
) -> tuple[list[TokenizedPrompt], dict[str, AnswerGroups], Scores]:
    """The prompts, every method's answers, and log π - log SFT of each answer of a trained method."""
    sft = load_model(inputs.policy, LanguageModel)
    heldout = heldout_prompts(inputs.prompts, text, sft.config.seq_len - settings.max_tokens)[: settings.n_prompts]
    prompts, ends = [prompt.ids.tolist() for prompt in heldout], text[0].stop_ids
    how = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens)
    sampled = {SFT: sample_answers(sft, prompts, settings.n_best, how, ends, settings.seed)}
    kl = {}
    for method, folder in inputs.methods.items():
        model = load_model(folder, LanguageModel)
        answers = sample_answers(model, prompts, settings.n_answers, how, ends, settings.seed)
        ours, before = (sampled_logps(m, prompts, answers, settings.temperature) for m in (model, sft))
        sampled[method], kl[method] = answers, ours - before
    return heldout, sampled, kl


def _row(
    answers: AnswerGroups, texts: list[list[str]], kl: np.ndarray | None, rewards: np.ndarray, judged: np.ndarray,
    rewards_sft: np.ndarray, judged_sft: np.ndarray, longer: np.ndarray, error: JudgeError, is_sft: bool,
) -> dict[str, Any]:  # fmt: skip
    """One method's figures: means by prompt, with prompts resampled. longer: of `longer_of_two`"""
    wins = np.full(judged.shape, 0.5) if is_sft else win_rates(judged, judged_sft)
    gains = judged.mean(axis=1) - judged_sft.mean(axis=1)
    reward_gains = rewards.mean(axis=1) - rewards_sft.mean(axis=1)
    kl = np.zeros(judged.shape) if kl is None else kl
    return {
        **{name: _interval(found) for name, found in (("judge", judged), ("reward", rewards), ("win_rate", wins))},
        **_corrected(wins.mean(axis=1), wins_against(judged, judged_sft, longer, is_sft).mean(axis=1), error),
        "gain": bootstrap(gains).to_row(),
        "reward_gain": bootstrap(reward_gains).to_row(),
        "kl": float(kl.mean()),
        "kl_interval": None if is_sft else _interval(kl),
        "tokens": float(np.mean([len(answer.ids) for group in answers for answer in group])),
        "finished": float(_finished(answers).mean()),
        "distinct": float(np.mean(distinct_share([group[: min(map(len, texts))] for group in texts]))),
    }


def _chosen(
    n: int, weights: np.ndarray, answers: AnswerGroups, rewards: np.ndarray, judged: np.ndarray, longer: np.ndarray,
    error: JudgeError,
) -> dict[str, Any]:  # fmt: skip
    """The figures of the one of n of SFT's answers that is taken with these weights, (prompts, N)."""
    tokens = np.array([[len(answer.ids) for answer in group] for group in answers])
    finished = _finished(answers)
    found = {"judge": judged, "reward": rewards, "win_rate": win_rates(judged, judged, is_same=True)}
    against_longer = (weights * wins_against(judged, judged, longer, is_same=True)).sum(axis=1)
    chosen = {name: (weights * values).sum(axis=1) for name, values in found.items()}
    return {
        **{name: bootstrap(values).to_row() for name, values in chosen.items()},
        **_corrected(chosen["win_rate"], against_longer, error),
        "gain": bootstrap(chosen["judge"] - judged.mean(axis=1)).to_row(),
        "reward_gain": bootstrap(chosen["reward"] - rewards.mean(axis=1)).to_row(),
        "kl": kl_bound(n),
        "kl_interval": None,
        "tokens": float((weights * tokens).sum(axis=1).mean()),
        "finished": float((weights * finished).sum(axis=1).mean()),
    }


def _corrected(wins: np.ndarray, against_longer: np.ndarray, error: JudgeError) -> dict[str, Any]:
    """Wins against SFT, corrected; and against the longer of two of its answers, as seen and corrected. By prompt."""
    return {
        "corrected": error.corrected(wins),
        "against_longer": bootstrap(against_longer).to_row(),
        "against_longer_corrected": error.corrected(against_longer),
    }


def _judge_by_words(
    methods: dict[str, dict[str, Any]], inputs: Inputs, texts: Mapping[str, list[list[str]]],
    weights: Mapping[str, np.ndarray],
) -> WordsJudge | None:  # fmt: skip
    """Add `by_words` and `words_gain` to each method; None where the judge's rankings are not known.

    weights: of the methods that choose among SFT's answers
    """
    if "judge" not in inputs.taught:
        return None
    words = judge_by_words(inputs.taught["judge"], inputs.rankings, texts)
    for name, row in methods.items():
        row |= words.row_of_chosen(weights[name], SFT) if name in weights else words.row(name, SFT)
    return words


def _correct_by_people(
    methods: dict[str, dict[str, Any]], path: Path, asked: Sequence[Messages], texts: Mapping[str, list[list[str]]],
    judged: Scores, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Replace `corrected` of the methods whose answers people have ranked often enough."""
    said, n_other = people_said(path, asked, texts, SFT)
    if n_other:
        say(f"{path.name}: {n_other:,} rankings are of other answers than these, and are not used")
    for name, of_prompt in said.items():
        seen = win_rates(judged[name][:, :1], judged[SFT][:, :1])[:, 0]
        are_equal = [ours[0] == theirs[0] for ours, theirs in zip(texts[name], texts[SFT], strict=True)]
        found = by_people(of_prompt, seen, are_equal)
        if found is None:
            say(f"{name}: people ranked {len(of_prompt)} of its pairs; {FEWEST_LABELLED} are needed")
        else:
            methods[name] |= {"corrected": found, "n_ranked": len(of_prompt)}


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


def _curve(method: str, points: Sequence[Mapping[str, Any]], by_scorer: Mapping[str, Scores]) -> dict[str, Any]:
    """Gains over the first point, which is SFT, by each of those that score: judge, reward and, if there is one, words.

    best: step with the judge's highest gain; fall: change of the judge's gain from there to the last, paired by prompt
    """
    names = [f"{method} at {point['step']}" for point in points]
    gains = {
        key: [(scores[name] - scores[names[0]]).mean(axis=1) for name in names] for key, scores in by_scorer.items()
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
            | {f"best of {rewards.shape[1]}": texts[SFT][i][int(rewards[i].argmax())]},
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


def _texts(tokenizer: Tokenizer, answers: AnswerGroups) -> list[list[str]]:
    return [[tokenizer.decode(answer.ids).strip() for answer in group] for group in answers]


def _interval(values: np.ndarray) -> dict[str, Any]:
    return bootstrap(values.mean(axis=1)).to_row()


def _say_wins(methods: Mapping[str, Mapping[str, Any]], say: Callable[[str], None]) -> None:
    for name, row in methods.items():
        say(f"{name}: wins {_wins(row)}, KL {row['kl']:.2f} nats")
        if name != SFT and "by_words" in row:
            say(f"  by counted words: wins {_wins(row['by_words'])}")


def _wins(row: Mapping[str, Any]) -> str:
    return f"{_mean(row['win_rate'])}, corrected {_told(row['corrected'])}"


def _told(corrected: Mapping[str, Any]) -> str:
    return corrected["verdict"] if not corrected["n"] else f"{_mean(corrected)}, {corrected['verdict']}"


def _mean(interval: Mapping[str, float] | None) -> str:
    if not interval or not interval["n"]:
        return "none"
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
