"""Over-optimisation of a small reward model: best-of-n and PPO against a proxy, measured by a gold model.

`python -m benchmarks.overoptimisation WORKSPACE [WORKSPACE …] --out FOLDER`, each workspace a finished
`malmoi demo --seed N`. The gold model is the hidden rule of the simulated labeler: no person judged anything here.
Results are stored in FOLDER and not measured again, so seeds can be given one after the other.
Source: Gao, Schulman, Hilton 2022 (arXiv:2210.10760).
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curves import Form, Point, centred, draw, frontier, mean_curve, table
from malmoi.algorithms import ppo, reward
from malmoi.data.comparisons import Ranking
from malmoi.errors import UserError
from malmoi.evals.answer_measures import log_ratios
from malmoi.evals.answering import TextAnswer, answer_questions
from malmoi.evals.best_of import MISSING_EOS_PENALTY, best_weights, kl_bound
from malmoi.evals.reward_accuracy import score_gaps
from malmoi.evals.reward_scores import BATCH_SIZE, mean_scores, reward_bias
from malmoi.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from malmoi.formats.folder import load_model, load_text, save_model, score_std
from malmoi.inference.sampling import Sampling
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.synthetic.gold import gold_score
from malmoi.synthetic.labeler import true_ranks
from malmoi.text import canonical
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.loop import LoopConfig, Step, fit
from malmoi.train.optim import OptimConfig
from malmoi.train.policy_maths import priced
from malmoi.train.rollouts import RolloutSteps

MAX_TOKENS = 48
AT_ONCE = 8
"""Answers to one prompt in one row of the reward model."""
TIE_MARGIN = 0.05
WHOLE, TENTH = "all rankings", "a tenth of the rankings"
Grouped = list[list[TextAnswer]]


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the defaults take about five minutes a seed on two cores."""

    prompts: int = 150
    """Held-out prompts."""
    best_of: int = 128
    """Answers of the SFT model to each prompt; the largest n."""
    answers: int = 3
    """Answers to each prompt, each time the policy is measured during PPO."""
    iterations: int = 40
    """Iterations of PPO, with 64 answers each."""
    looks: int = 12
    """How often the policy is measured during PPO, with growing distance."""
    lr: float = 3e-4
    """Constant learning rate of PPO: six times that of the recipe, so that the policy moves far."""
    beta: float = 0.02
    """KL coefficient of the run that has a penalty (InstructGPT's), in reward units per nat."""
    tenth_steps: int = 20
    """Steps of 16 rankings for the reward model with a tenth of the rankings: two passes."""


@dataclass(frozen=True)
class Subject:
    """One finished demo, which is only read; results and new models are written to `parts`."""

    folder: Path
    parts: Path
    sizes: Sizes

    @property
    def sft(self) -> Path:
        return self.folder / "models" / "sft"

    @cached_property
    def text(self) -> tuple[Tokenizer, ChatTemplate]:
        return load_text(self.sft)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The held-out prompts."""
        rows = read_jsonl(self.made("demonstrations", "prompts.heldout.jsonl"))
        return random.Random(0).sample(rows, min(self.sizes.prompts, len(rows)))

    def made(self, stage: str, name: str) -> Path:
        """A file of the stage's last run. Raises UserError if there is none."""
        found = sorted((self.folder / "runs").glob(f"*-{stage}/out/{name}"))
        if not found:
            raise UserError(f"{self.folder}: has no {stage} run with {name}; finish it with malmoi demo first")
        return found[-1]

    def proxy(self, name: str) -> Path:
        return self.folder / "models" / "reward" if name == WHOLE else self.parts / "tenth"

    def price(self, name: str) -> float:
        """The penalty of an answer that did not end, in the proxy's units."""
        return MISSING_EOS_PENALTY * score_std(self.proxy(name))

    def ask(self, model: LanguageModel, n_answers: int) -> Grouped:
        """n answers to each prompt at temperature 1. Every model gets the same random numbers."""
        repeated = [row["messages"] for row in self.rows for _ in range(n_answers)]
        answers = answer_questions(model, *self.text, repeated, Sampling(temperature=1.0, max_tokens=MAX_TOKENS))
        return [answers[i : i + n_answers] for i in range(0, len(answers), n_answers)]

    def golds(self, groups: Grouped) -> np.ndarray:
        """Scores by the simulated labeler's rule, (prompts, answers)."""
        return np.array(
            [
                [gold_score(answer.text, row["references"], answer.finished, row["messages"]) for answer in group]
                for row, group in zip(self.rows, groups, strict=True)
            ]
        )

    def scores(self, model: ScalarModel, groups: Grouped, price: float) -> np.ndarray:
        """A reward model's scores, (prompts, answers), minus `price` for answers that did not end."""
        tokenizer, template = self.text
        rankings = []
        for row, group in zip(self.rows, groups, strict=True):
            prompt = template.encode(tokenizer, row["messages"], add_generation_prompt=True)[0]
            whole = [[*prompt, *a.ids, tokenizer.end_of_turn_id] for a in group]
            parts = [whole[i : i + AT_ONCE] for i in range(0, len(whole), AT_ONCE)]
            rankings += [Ranking(part, [1] * len(part), n_prompt=len(prompt)) for part in parts]
        scores = np.concatenate(mean_scores(model, rankings, tokenizer.pad_id, BATCH_SIZE)).reshape(len(groups), -1)
        return priced(scores, np.array([[answer.finished for answer in group] for group in groups]), price)


def train_tenth(subject: Subject) -> dict[str, Any]:
    """A second proxy from a tenth of the rankings: less data is exploited sooner (the paper's section 3.3)."""
    rows = read_jsonl(subject.made("rank", "train.jsonl"))
    chosen = random.Random(0).sample(rows, max(1, len(rows) // 10))
    data = subject.parts / "rankings.jsonl"
    write_jsonl(data, chosen)
    optim = OptimConfig(name="adamw", lr=5e-4, warmup_steps=4)
    config = reward.Config(n_steps=subject.sizes.tenth_steps, loop=LoopConfig(optim=optim))
    job = reward.build(config, reward.Inputs(model=subject.sft, data=data))
    fit(job, config.loop)
    assert isinstance(job.model, ScalarModel)
    shown = random.Random(0).sample(read_jsonl(subject.made("demonstrations", "train.jsonl")), 256)
    bias = reward_bias(job.model, subject.text, [row["messages"] for row in shown])
    job.model.score_bias.data -= job.model.score_bias.new_tensor(bias).reshape(job.model.score_bias.shape)
    save_model(subject.proxy(TENTH), job.model, *subject.text, {})
    return {"rankings": len(chosen)}


def best_of_n(subject: Subject) -> dict[str, Any]:
    """The SFT model and best-of-n by both proxies, n = 1, 2, 4, …, all from the same answers."""
    n_all = subject.sizes.best_of
    groups = subject.ask(load_model(subject.sft, LanguageModel), n_all)
    golds = subject.golds(groups)
    found: dict[str, Any] = {
        "golds": golds.mean(axis=1).tolist(), "gold_mean": float(golds.mean()), "gold_std": float(golds.std()),
        "proxies": {}, "points": {},
    }  # fmt: skip
    for name in (WHOLE, TENTH):
        scores = subject.scores(load_model(subject.proxy(name), ScalarModel), groups, subject.price(name))
        ranks = [true_ranks(row, TIE_MARGIN) for row in golds[:, :AT_ONCE].tolist()]
        accuracy = score_gaps(scores[:, :AT_ONCE].tolist(), ranks).accuracy()
        found["proxies"][name] = {
            "mean": float(scores.mean()), "std": float(scores.std()), "accuracy": accuracy.to_row(),
        }  # fmt: skip
        found["points"][name] = best_of_points(scores, golds)
    return found


def best_of_points(scores: np.ndarray, golds: np.ndarray) -> list[Point]:
    """n = 1, 2, 4, … up to all answers: the analytic KL, proxy and gold. scores, golds: (prompts, answers)."""
    points: list[Point] = []
    for n in (2**power for power in range(scores.shape[1].bit_length())):
        weights = best_weights(scores, n)
        points.append(
            {
                "at": n,
                "kl": kl_bound(n),
                "proxy": float((weights * scores).sum(axis=1).mean()),
                "golds": (weights * golds).sum(axis=1).tolist(),
            }
        )
    return points


def ppo_points(subject: Subject, proxy: str, beta: float) -> list[Point]:
    """PPO with InstructGPT's constants, run for too long; the policy is measured on held-out prompts."""
    sizes = subject.sizes
    optim = OptimConfig(name="adamw", lr=sizes.lr, eps=1e-5, decay="constant", warmup_steps=10)
    config = ppo.Config(
        preset="instructgpt", n_iterations=sizes.iterations, batch_size=64, n_minibatches=4, beta=beta,
        average_decay=0.0, missing_eos_penalty=MISSING_EOS_PENALTY, max_tokens=MAX_TOKENS, kl_budget=1e6,
        loop=LoopConfig(optim=optim),
    )  # fmt: skip
    prompts = subject.made("demonstrations", "prompts.train.jsonl")
    job = ppo.build(config, ppo.Inputs(policy=subject.sft, reward_model=subject.proxy(proxy), data=prompts))
    steps = job.steps
    assert isinstance(steps, RolloutSteps) and isinstance(steps.ref, LanguageModel)
    reference = steps.ref
    due = look_at(sizes.iterations, sizes.looks)
    points: list[Point] = []

    def look(step: Step) -> None:
        iteration, rest = divmod(step.step, config.n_epochs * config.n_minibatches)
        if not rest and iteration in due:
            point = policy_point(subject, steps.policy, reference, steps.reward_model, steps.missing_eos_price)
            points.append({"at": iteration, **point})

    fit(job, config.loop, [look])
    return points


def look_at(iterations: int, looks: int) -> set[int]:
    """The iterations after which the policy is measured: often at first, when it moves fast, and after the last."""
    return {max(1, round(iterations * (look / looks) ** 1.5)) for look in range(1, looks + 1)}


def policy_point(
    subject: Subject, policy: LanguageModel, ref: LanguageModel, proxy: ScalarModel, price: float
) -> Point:
    """One measurement: KL to SFT over its own answers in nats, proxy and gold scores, and facts about the answers."""
    groups = subject.ask(policy, subject.sizes.answers)
    flat = [answer for group in groups for answer in group]
    asked = [row["messages"] for row in subject.rows for _ in range(subject.sizes.answers)]
    kl = np.array(log_ratios(policy, ref, *subject.text, asked, flat))
    return {
        "kl": float(kl.mean()),
        "kl_error": float(kl.std() / len(kl) ** 0.5),
        "proxy": float(subject.scores(proxy, groups, price).mean()),
        "golds": subject.golds(groups).mean(axis=1).tolist(),
        "tokens": float(np.mean([len(answer.ids) for answer in flat])),
        "finished": float(np.mean([answer.finished for answer in flat])),
        "distinct": len({canonical(answer.text) for answer in flat}) / len(flat),
        "example": {"prompt": asked[0][-1]["content"], "answer": flat[0].text},
    }


def measure(subject: Subject, say: Callable[[str], None]) -> dict[str, Any]:
    """All results of one seed. Results of an earlier call with the same sizes are read from files."""
    sizes = subject.sizes
    kept("tenth", lambda: train_tenth(subject), subject, say)
    sft = kept("best_of", lambda: best_of_n(subject), subject, say)
    runs = {"ppo": (WHOLE, 0.0), "ppo_penalised": (WHOLE, sizes.beta), "ppo_tenth": (TENTH, 0.0)}
    found = {
        name: kept(name, lambda proxy=proxy, beta=beta: ppo_points(subject, proxy, beta), subject, say)  # type: ignore[misc]
        for name, (proxy, beta) in runs.items()
    }
    rows: list[tuple[str, Form, str, list[Point]]] = [
        (f"best-of-n, proxy of {WHOLE}", "best_of", WHOLE, sft["points"][WHOLE]),
        (f"PPO, proxy of {WHOLE}", "rl", WHOLE, found["ppo"]),
        (f"PPO with KL penalty {sizes.beta:g}", "rl", WHOLE, found["ppo_penalised"]),
        (f"best-of-n, proxy of {TENTH}", "best_of", TENTH, sft["points"][TENTH]),
        (f"PPO, proxy of {TENTH}", "rl", TENTH, found["ppo_tenth"]),
    ]
    topics = [row["item"] for row in subject.rows]
    curves = {name: centred(points, sft, proxy, topics, form) for name, form, proxy, points in rows}
    scale = {name: sft[name] for name in ("gold_mean", "gold_std", "proxies")}
    names = list(curves)
    return {"sft": scale, "curves": curves, "frontier": frontier(curves[names[2]], curves[names[1]])}


def kept(name: str, work: Callable[[], Any], subject: Subject, say: Callable[[str], None]) -> Any:
    """The result of `work`, or of an earlier call with the same sizes from its file."""
    path, sizes = subject.parts / f"{name}.json", asdict(subject.sizes)
    if path.exists() and (found := read_json(path))["sizes"] == sizes:
        return found["result"]
    started = time.monotonic()
    result = work()
    seconds = time.monotonic() - started
    write_json(path, {"sizes": sizes, "seconds": round(seconds, 1), "result": result})
    say(f"{subject.folder.name}: {name}, {seconds:.0f} s")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: curve.json, table.md and the plots are written; 2: wrong usage."""
    given = _parser().parse_args(arguments)
    sizes = Sizes(**{field.name: getattr(given, field.name) for field in fields(Sizes)})
    try:
        seeds = {
            folder.name: measure(Subject(folder, given.out / "parts" / folder.name, sizes), print)
            for folder in given.workspaces
        }
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    names = next(iter(seeds.values()))["curves"]
    curves = {name: {"seeds": {seed: found["curves"][name] for seed, found in seeds.items()}} for name in names}
    found = {
        "title": f"Over-optimisation of a proxy reward model ({', '.join(seeds)}); gold = simulated labeler",
        "sizes": asdict(sizes),
        "sft": {seed: found["sft"] for seed, found in seeds.items()},
        "frontier": {seed: found["frontier"] for seed, found in seeds.items()},
        "curves": {name: row | {"mean": mean_curve(list(row["seeds"].values()))} for name, row in curves.items()},
    }
    write_json(given.out / "curve.json", found)
    write_text(given.out / "table.md", table(found))
    for suffix in ("svg", "png"):
        draw(found, given.out / f"overoptimisation.{suffix}")
    print(table(found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.overoptimisation", description=__doc__)
    parser.add_argument("workspaces", nargs="+", type=Path, metavar="WORKSPACE", help="a finished malmoi demo")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where everything is written")
    for field in fields(Sizes):
        kind = type(field.default)
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=kind, default=field.default, metavar=kind.__name__
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
