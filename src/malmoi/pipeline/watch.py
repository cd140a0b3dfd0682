"""Looks on while a policy learns from its own answers: alarms with their cause, and what becomes of held-out prompts.

Nothing here changes what is learned.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from malmoi import device
from malmoi.data.prompts import Prompt
from malmoi.feedback.labeler import gold_score
from malmoi.files import disk_errors, read_jsonl, write_jsonl
from malmoi.generate.sampling import Sampling
from malmoi.pipeline.compare import answer_logps, answer_prompts
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.train.loop import Step
from malmoi.train.rollouts import RolloutSteps

WINDOW = 8
FEWEST_DISTINCT = 0.1
CURVE_POINTS, CURVE_PROMPTS = 5, 24
"""How often on its way a policy is asked, and how many held-out prompts."""


class PolicyWatch:
    """A hook: adds `gold` to the metrics, writes samples, and raises each alarm once.

    gold: mean score of the simulated labeler's rule over the sampled answers, which training never sees
    folder: of the run; what an interrupted run had measured there is read first, so that it alarms as one that was not
    """

    def __init__(self, steps: RolloutSteps, tokenizer: Tokenizer, folder: Path, say: Callable[[str], None]) -> None:
        self.steps, self.tokenizer, self.samples, self.say = steps, tokenizer, folder / "samples.jsonl", say
        self.alarms: dict[str, str] = {}
        self.scores: list[float] = []
        self.golds: list[float] = []
        self.last_step = 0
        per_iteration = steps.config.n_epochs * steps.config.n_minibatches
        for row in read_jsonl(folder / "metrics.jsonl") if (folder / "metrics.jsonl").exists() else []:
            if row["step"] % per_iteration == 1 % per_iteration:
                self._judge(row["step"], row)
            self.last_step = row["step"]

    def __call__(self, step: Step) -> None:
        if not self.steps.latest:
            return
        sampled, self.steps.latest = self.steps.latest, []
        texts = [(prompt, self.tokenizer.decode(answer.ids).strip(), answer) for prompt, answer in sampled]
        golds = [gold_score(text, p.row["references"], a.finished) for p, text, a in texts if "references" in p.row]
        if golds:
            self.steps.info["gold"] = step.metrics["gold"] = sum(golds) / len(golds)
        if step.step > self.last_step:
            if device.current().is_main:
                self._write(step.step, [(prompt.messages[-1]["content"], text) for prompt, text, _ in texts[:4]])
            self._judge(step.step, step.metrics)

    def _judge(self, step: int, metrics: dict[str, float]) -> None:
        self.scores.append(metrics["score"])
        self.golds.append(metrics.get("gold", 0.0))
        for name, cause in find_alarms(metrics, self.steps.config.kl_budget, self.scores, self.golds).items():
            if name not in self.alarms:
                self.alarms[name] = f"step {step}: {cause}"
                self.say(f"alarm: {self.alarms[name]}")

    def _write(self, step: int, pairs: list[tuple[str, str]]) -> None:
        with disk_errors(self.samples), self.samples.open("a", encoding="utf-8") as file:
            for prompt, answer in pairs:
                file.write(json.dumps({"step": step, "prompt": prompt, "answer": answer}, ensure_ascii=False) + "\n")


class CurveWatch:
    """A hook: what the policy answers to held-out prompts before its first step and on its way, for a judge to score.

    path: JSON lines, one an answer: its step, the ids of prompt and answer, log π - log ref in nats
    Sampled with the same randomness each time; what an interrupted run had written there is kept.
    """

    def __init__(self, steps: RolloutSteps, prompts: Sequence[Prompt], path: Path) -> None:
        self.steps, self.prompts, self.path = steps, [prompt.ids for prompt in prompts], path
        n_iterations, per_iteration = steps.config.n_iterations, steps.config.n_epochs * steps.config.n_minibatches
        shares = (point / CURVE_POINTS for point in range(1, CURVE_POINTS + 1))
        self.due = {round(n_iterations * share) * per_iteration for share in shares}
        self.rows = read_jsonl(path) if path.exists() else []
        self.look(0)

    def __call__(self, step: Step) -> None:
        if step.step in self.due:
            self.look(step.step)

    def look(self, step: int) -> None:
        """Ask the policy as it is now, unless that was done."""
        if any(row["step"] == step for row in self.rows):
            return
        config, ends = self.steps.config, self.steps.tokenizer.stop_ids
        how = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        answers = answer_prompts(self.steps.policy, self.prompts, 1, how, ends, config.seed)
        ours, before = (
            answer_logps(model, self.prompts, answers, config.temperature)[:, 0]
            for model in (self.steps.policy, self.steps.ref)
        )
        self.rows += [
            {"step": step, "kl": float(kl), "prompt_ids": ids, "ids": answer.ids, "finished": answer.finished}
            for kl, ids, (answer,) in zip(ours - before, self.prompts, answers, strict=True)
        ]
        if device.current().is_main:
            write_jsonl(self.path, self.rows)


def find_alarms(metrics: dict[str, float], kl_budget: float, scores: list[float], golds: list[float]) -> dict[str, str]:
    """Name -> cause of each alarm that the latest iteration gives. scores, golds: means of all iterations so far."""
    found = {}
    # A few answers are skewed: five errors of the mean, so that noise does not ring.
    if metrics["kl"] < -5 * metrics["kl_error"] - 1e-3:
        found["negative_kl"] = (
            f"the KL estimate is {metrics['kl']:.3f} nats, below zero by more than its noise: answers are not sampled "
            "from the policy that scores them (temperature, top-p, or a stale copy)"
        )
    if metrics["kl"] > kl_budget:
        found["kl_budget"] = f"KL {metrics['kl']:.1f} nats is over the budget of {kl_budget:g}: stopped; raise beta"
    if metrics.get("finished") == 0:
        found["never_ends"] = (
            "no sampled answer ever ended: raise max_tokens, or start from a model that ends its turns"
        )
    if metrics["distinct"] < FEWEST_DISTINCT:
        found["collapse"] = f"only {metrics['distinct']:.0%} of the answers differ: the policy says one thing to all"
    if len(scores) >= 2 * WINDOW and len(golds) == len(scores):
        score_rise = _mean(scores[-WINDOW:]) - _mean(scores[:WINDOW])
        gold_rise = _mean(golds[-WINDOW:]) - _mean(golds[:WINDOW])
        if score_rise > 0.1 and gold_rise < -0.02:
            found["overoptimised"] = (
                f"the reward rose by {score_rise:.2f} while the simulated labeler's own rule fell by {-gold_rise:.3f}: "
                "the policy exploits the reward model; raise beta or stop earlier"
            )
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
