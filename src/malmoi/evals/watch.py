"""Hooks that watch a policy train on its own answers: alarms with their cause, and its answers to held-out prompts.

They read the stream and add metrics to a step. They change neither the stream nor the training.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from malmoi import device
from malmoi.data.prompts import TokenizedPrompt
from malmoi.evals.answer_measures import sampled_logps
from malmoi.evals.answering import sample_answers
from malmoi.files import disk_errors, read_jsonl, write_jsonl
from malmoi.inference.sampling import Sampling
from malmoi.synthetic.gold import gold_score
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.train.alarms import find_alarms
from malmoi.train.loop import Step
from malmoi.train.rollouts import RolloutSteps

CURVE_POINTS, CURVE_PROMPTS = 5, 24
"""How often a policy is asked during training, and how many held-out prompts."""


class PolicyWatch:
    """A hook that adds `gold` to the metrics of each step, writes samples, and raises each alarm once.

    gold: mean score of the simulated labeler's rule over the answers of the iteration; training does not use it
    folder: of the run. The metrics of an interrupted run are read first, so that `gold` and the alarms of a resumed run
    are those of an uninterrupted one
    """

    def __init__(self, steps: RolloutSteps, tokenizer: Tokenizer, folder: Path, say: Callable[[str], None]) -> None:
        self.steps, self.tokenizer, self.samples, self.say = steps, tokenizer, folder / "samples.jsonl", say
        self.per_iteration = steps.config.n_epochs * steps.config.n_minibatches
        self.alarms: dict[str, str] = {}
        self.scores: list[float] = []
        self.golds: list[float] = []
        self.gold_of: dict[int, float] = {}  # iteration -> gold, where prompts have references
        self.last_step = 0
        for row in read_jsonl(folder / "metrics.jsonl") if (folder / "metrics.jsonl").exists() else []:
            iteration, is_first = self._place(row["step"])
            if "gold" in row:
                self.gold_of[iteration] = row["gold"]
            if is_first:
                self._judge(row["step"], row)
            self.last_step = row["step"]

    def __call__(self, step: Step) -> None:
        iteration, is_first = self._place(step.step)
        texts = self._new_answers() if is_first else []
        golds = [
            gold_score(text, prompt.row["references"], ended, prompt.messages)
            for prompt, text, ended in texts
            if "references" in prompt.row
        ]
        if golds:
            self.gold_of[iteration] = sum(golds) / len(golds)
        if iteration in self.gold_of:
            step.metrics["gold"] = self.gold_of[iteration]
        if is_first and step.step > self.last_step:
            if device.current().is_main:
                self._write(step.step, [(prompt.messages[-1]["content"], text) for prompt, text, _ in texts[:4]])
            self._judge(step.step, step.metrics)

    def _place(self, step: int) -> tuple[int, bool]:
        """A step's iteration, from 0, and whether it is the first of it, whose answers are new."""
        iteration, number = divmod(step - 1, self.per_iteration)
        return iteration, number == 0

    def _new_answers(self) -> list[tuple[TokenizedPrompt, str, bool]]:
        """Prompts, answers in text, and whether they ended."""
        return [(p, self.tokenizer.decode(answer.ids).strip(), answer.finished) for p, answer in self.steps.latest]

    def ended(self, n_steps: int) -> None:
        """Report if the KL budget ended training before `n_steps`."""
        if self.steps.n_taken < n_steps:
            self.say(f"stopped after {self.steps.n_taken} of {n_steps} steps: the KL budget (kl_budget) is used up")

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
    """A hook that writes the policy's answers to held-out prompts, before the first step and during training.

    path: JSON lines, one per answer: its step, the ids of prompt and answer, log π - log ref in nats
    Each time the same random numbers are used. The lines of an interrupted run are kept.
    """

    def __init__(self, steps: RolloutSteps, prompts: Sequence[TokenizedPrompt], path: Path) -> None:
        self.steps, self.prompts, self.path = steps, [prompt.ids.tolist() for prompt in prompts], path
        n_iterations, per_iteration = steps.config.n_iterations, steps.config.n_epochs * steps.config.n_minibatches
        shares = (point / CURVE_POINTS for point in range(1, CURVE_POINTS + 1))
        self.due = {round(n_iterations * share) * per_iteration for share in shares}
        self.rows = read_jsonl(path) if path.exists() else []
        self.look(0)

    def __call__(self, step: Step) -> None:
        if step.step in self.due:
            self.look(step.step)

    def look(self, step: int) -> None:
        """Ask the policy as it is now, unless the file has answers of this step."""
        if any(row["step"] == step for row in self.rows):
            return
        config, ends = self.steps.config, self.steps.tokenizer.stop_ids
        how = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        answers = sample_answers(self.steps.policy, self.prompts, 1, how, ends, config.seed)
        ours, before = (
            sampled_logps(model, self.prompts, answers, config.temperature)[:, 0]
            for model in (self.steps.policy, self.steps.ref)
        )
        self.rows += [
            {"step": step, "kl": float(kl), "prompt_ids": ids, "ids": answer.ids, "finished": answer.finished}
            for kl, ids, (answer,) in zip(ours - before, self.prompts, answers, strict=True)
        ]
        if device.current().is_main:
            write_jsonl(self.path, self.rows)
