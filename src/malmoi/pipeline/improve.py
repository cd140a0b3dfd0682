"""Improve the assistant by what people said: what there is to learn from, the recipe, and the candidate at its end.

`best-of-n` trains a reward model on the rankings; the candidate is the policy in service with that reward model, which
picks the best of n answers. `train` moves the policy: it imitates the answers that people wrote, where there are some,
and then learns from rankings, by DPO or by PPO with the reward model, or from votes, by KTO.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal, get_args

from malmoi.algorithms.kto import ONE_KIND
from malmoi.data.comparisons import EDITED, encode_ranking, ranking_ids
from malmoi.data.formats import rankings
from malmoi.errors import ConfigError, UserError, WorkspaceError
from malmoi.evals.reward_accuracy import SourcedRanking, measure_scores
from malmoi.evals.reward_baselines import baseline_scores, compare_with_baselines
from malmoi.evals.reward_scores import mean_scores
from malmoi.feedback.learning import USUAL_RANKINGS, Lesson, Whose, lesson
from malmoi.feedback.pinned import messages_of, pinned_questions
from malmoi.feedback.refusals import RefusedError
from malmoi.files import read_json, read_jsonl
from malmoi.formats.folder import load_config, load_model, load_text
from malmoi.model.scalar_model import ScalarModel
from malmoi.pipeline.doctor import inspect_machine
from malmoi.pipeline.estimate import estimate
from malmoi.pipeline.forgetting import losses_on_earlier
from malmoi.pipeline.memory import shape_of
from malmoi.pipeline.recipe import READS, Recipe
from malmoi.pipeline.run import Done
from malmoi.pipeline.there import Place, place_of_job, place_settings
from malmoi.stage import MODEL
from malmoi.stages._as_read import NAME, readable
from malmoi.stages.judgements import for_judge
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import add_job, wake
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import now
from malmoi.workspace.versions import (
    JUDGE_PROMPTS,
    PROMPTS,
    NewVersion,
    Version,
    add_version,
    begin_versions,
    find_version,
    next_to_improve,
    prompt_name,
)

How = Literal["best-of-n", "train"]
Algorithm = Literal["dpo", "ppo", "kto"]
FEWEST = 5
EPOCHS, FEWEST_STEPS = 3, 20
SLOWER = 0.1
"""Of the last SFT's learning rates: that one began with a network that could not answer."""
MOST_ROWS = 200
"""Rankings whose length is measured for the estimate."""
TEMPERATURE = 0.7
N_WATCHED = 3
"""Pinned questions that are answered again and again during a job."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What somebody asks for. n: answers to pick from; algorithm: of `train`; whose: judgements to learn from"""

    how: How = "best-of-n"
    whose: Whose = "people"
    n: int = 4
    algorithm: Algorithm = "dpo"

    def check(self) -> None:
        """Raises ConfigError."""
        for name, value, known in (
            ("how", self.how, ("best-of-n", "train")),
            ("from", self.whose, ("people", "simulated", "all")),
            ("algorithm", self.algorithm, get_args(Algorithm)),
        ):
            if value not in known:
                raise ConfigError(f"--{name} {value}: expected {', '.join(known)}")
        if not 2 <= self.n <= 16:
            raise ConfigError(f"--n {self.n}: expected 2 to 16 answers")

    def command(self, place: Place | None = None) -> str:
        """The command that asks for the same."""
        words = ["malmoi", "improve", "--how", self.how]
        words += ["--n", str(self.n)] if self.how == "best-of-n" else ["--algorithm", self.algorithm]
        words += [] if self.whose == "people" else ["--from", self.whose]
        words += [] if place is None else place.words()
        return " ".join([*words, "--yes"])


@dataclass(frozen=True)
class Prepared:
    """An improvement that could begin. start: the version whose policy is improved; settings: of the job"""

    start: Version
    lesson: Lesson
    recipe: Recipe | None
    settings: dict[str, Any]
    problems: list[dict[str, Any]]
    remarks: list[dict[str, Any]]


def prepare(ledger: Ledger, wanted: Wanted) -> Prepared:
    """What there is to learn from, and the recipe that would learn it. Raises UserError if there is no policy."""
    wanted.check()
    start, until = next_to_improve(ledger), now()
    learned = lesson(ledger, wanted.whose, until)
    problems, remarks = _problems(ledger, wanted, learned), _remarks(wanted, learned)
    settings: dict[str, Any] = {
        **vars(wanted),
        "until": until.isoformat(),
        "start": start.name,
        "temperature": TEMPERATURE,
    }
    if problems:
        return Prepared(start, learned, None, settings, problems, remarks)
    settings |= {"recipe": _table(ledger, start, wanted, learned), "questions": _to_watch(ledger, start)}
    return Prepared(start, learned, Recipe.of(settings["recipe"], "improve"), settings, problems, remarks)


def preview(ledger: Ledger, wanted: Wanted, *, with_cost: bool = True, place: Place | None = None) -> dict[str, Any]:
    """What would be learned from, and what it costs on this machine: some seconds of trial steps.

    place: the cluster on which to train, if one is asked for; how fast that is is not known here
    """
    ready = prepare(ledger, wanted)
    cost = cost_of(ledger, ready.recipe) if with_cost and ready.recipe is not None else None
    if where := place_of_job(Workspace(ledger.root), place):
        said = f"trains on {where.on}; time and memory are those of this machine"
        ready.remarks.append({"code": "elsewhere", "message": said, "name": where.on})
        cost = cost and cost | {"fits": True}
    if cost is not None and not cost["fits"]:
        said = "needs more memory than is free; close something, or wait"
        ready.problems.append({"code": "memory", "message": said, **cost})
    return {
        "learned": ready.lesson.to_row(), **{name: getattr(wanted, name) for name in ("how", "n", "algorithm")},
        "start": ready.start.name, "stages": list(ready.recipe.stages) if ready.recipe else [], "cost": cost,
        "problems": ready.problems, "remarks": ready.remarks, "command": wanted.command(place),
    }  # fmt: skip


def begin(ledger: Ledger, wanted: Wanted, person_id: str | None = None, place: Place | None = None) -> int:
    """Queue the job, and see to it that a process does it; returns its number.

    place: the cluster on which to train; None: as the workspace's malmoi.toml says when the job begins
    Raises RefusedError if there is not enough to learn from.
    """
    ready = prepare(ledger, wanted)
    if ready.problems:
        first = ready.problems[0]
        raise RefusedError("invalid", f"improve: {first['message']}", problem=first)
    begin_versions(ledger)
    number = add_job(ledger, "improve", ready.settings | place_settings(place), person_id)
    wake(ledger)
    return number


def cost_of(ledger: Ledger, recipe: Recipe) -> dict[str, Any]:
    """Seconds and memory, as measured now. Half to double the seconds is what such estimates are worth."""
    machine = inspect_machine(ledger.root)
    needs = estimate(recipe, shape_of(recipe, ledger.root), machine.compute_dtype)
    seconds, memory = sum(need.seconds for need in needs), max(need.memory_bytes for need in needs)
    return {
        "seconds": seconds, "low_s": seconds / 2, "high_s": seconds * 2, "memory_bytes": memory,
        "free_memory_bytes": machine.free_memory_bytes, "fits": memory <= machine.free_memory_bytes,
        "stages": {need.stage: need.seconds for need in needs},
    }  # fmt: skip


def make_candidate(
    ledger: Ledger, job: int, settings: dict[str, Any], done: dict[str, Done], person_id: str | None
) -> Version:
    """Record what a finished job made as a candidate. Raises WorkspaceError if no reward model or policy came of it."""
    start, how = find_version(ledger, settings["start"]), settings["how"]
    wanted = "reward" if how == "best-of-n" else settings["algorithm"]
    if wanted not in done:
        raise WorkspaceError("nothing was learned: all answers to each prompt tie; rank answers that differ")
    trained = done[wanted].out / MODEL
    is_best = how == "best-of-n"
    new = NewVersion(
        how=how, model=start.model if is_best else wanted, policy=start.policy if is_best else trained,
        reward_model=trained if is_best else None, n=settings["n"] if is_best else None,
        temperature=settings["temperature"] if is_best else None, came_from=start.number, job=job, person_id=person_id,
        learned=_learned(done["judgements"].out),
        report={
            "reward_model": report_of(done["reward"].out) if "reward" in done else None,
            "judge": judge_of(ledger, done["judge"].out, done["judgements"].out) if "judge" in done else None,
            "earlier": None if is_best else losses_on_earlier(Workspace(ledger.root), start.policy, trained),
            "seconds": sum(one.seconds for one in done.values()),
        },
    )  # fmt: skip
    return add_version(ledger, new)


def _learned(out: Path) -> dict[str, Any]:
    """Counts of what was learned from, and the names of the questions in it."""
    asked: set[str] = set()
    for name in ("train", "demonstrations", "votes"):
        rows = read_jsonl(out / f"{name}.jsonl") if (out / f"{name}.jsonl").exists() else []
        asked |= {_name_of(row) for row in rows}
    judged = read_jsonl(out / "judge.jsonl") if (out / "judge.jsonl").exists() else []
    names = {_name_of(row) for row in judged}
    return {**read_json(out / "judgements.json"), PROMPTS: sorted(asked), JUDGE_PROMPTS: sorted(names)}


def _name_of(row: Mapping[str, Any]) -> str:
    """What the gate calls the question of a row."""
    messages = row["messages"]
    return str(row.get(NAME) or prompt_name(messages[:-1] if messages[-1]["role"] == "assistant" else messages))


def report_of(out: Path) -> dict[str, Any] | None:
    """A reward model next to what it must beat, on rankings that were held out; None if there were none.

    without_edited: the same without pairs of a better answer that a person wrote, None if there were no such pairs
    counts: whether its own verdict on answers counts: it knows more than length and counted words, and not only because
    it knows who wrote an answer
    """
    path = out / "heldout.json"
    found = read_json(path) if path.exists() else None
    if found is None or found["accuracy"] is None:
        return None
    own, without = _accuracy(found), found.get("without_edited")
    rest = _accuracy(without) if without and without["accuracy"] else None
    alarm = own["alarm"] or (rest["alarm"] if rest else "")
    return {**own, "without_edited": rest, "alarm": alarm, "counts": not alarm}


def judge_of(ledger: Ledger, out: Path, said: Path) -> dict[str, Any] | None:
    """How far a judge agrees with people, on rankings of the policy's questions: the judge has not learned from them.

    out, said: what the stages judge and judgements made
    """
    rows = [row for _, row in rankings(said / "train.jsonl") if row["source"] != EDITED]
    taught = [row for _, row in rankings(said / "judge.jsonl")]
    folder = out / MODEL
    network, text = load_model(folder, ScalarModel), load_text(folder)
    known = [encode_ranking(*text, row["messages"], row["answers"], row["ranks"]) for row in rows]
    scores = mean_scores(network, known, text[0].pad_id)
    found = measure_scores(
        [SourcedRanking(one, row["source"], row["tree"]) for one, row in zip(known, rows, strict=True)], scores
    ) | compare_with_baselines(rows, scores, baseline_scores(rows, taught), "the judge")
    if found["accuracy"] is None:
        return None
    own = _accuracy(found)
    return {**own, "counts": not own["alarm"], "path": ledger.stored_path(folder)}


def _accuracy(found: Mapping[str, Any]) -> dict[str, Any]:
    baselines = [
        {"name": name, "accuracy": row["accuracy"], "ahead": row["ahead"]} for name, row in found["baselines"].items()
    ]
    kept = {name: found[name] for name in ("accuracy", "n_pairs", "people", "alarm")}
    counts = {"n_rankings": found["n_rankings"], "n_prompts": found["accuracy"]["n"]}
    return {**kept, **counts, "baselines": baselines}


def _problems(ledger: Ledger, wanted: Wanted, learned: Lesson) -> list[dict[str, Any]]:
    if _by_votes(wanted):
        return _problems_of_votes(learned)
    n = len(learned.rows)
    if n < FEWEST:
        said = f"{n} rankings by {learned.whose} are too few to learn from; rank at least {FEWEST}"
        if learned.whose == "people" and (others := len(lesson(ledger, "simulated", learned.until).rows)):
            said += f" ({others:,} by a simulated labeler: --from simulated)"
        return [{"code": "too_few", "message": said, "n": n, "fewest": FEWEST}]
    if learned.is_empty:
        said = "all answers to each prompt tie, so that nothing says which one is better"
        return [{"code": "all_tie", "message": said}]
    return []


def _problems_of_votes(learned: Lesson) -> list[dict[str, Any]]:
    n = len(learned.votes)
    if n < FEWEST:
        said = f"{n} votes on answers are too few to learn from; give at least {FEWEST}, 👍 and 👎"
        return [{"code": "too_few_votes", "message": said, "n": n, "fewest": FEWEST}]
    if len({vote["label"] for vote in learned.votes}) == 1:
        return [{"code": "one_kind", "message": ONE_KIND}]
    return []


def _by_votes(wanted: Wanted) -> bool:
    return wanted.how == "train" and wanted.algorithm == "kto"


def _remarks(wanted: Wanted, learned: Lesson) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if any(one["simulated"] for one in learned.people):
        names = ", ".join(one["name"] for one in learned.people if one["simulated"])
        found.append({"code": "simulated", "message": f"a program ranked in people's place: {names}", "names": names})
    if len(learned.people) == 1:
        said = f"all rankings are by {(name := learned.people[0]['name'])}: nothing says whether others agree"
        found.append({"code": "one_person", "message": said, "name": name})
    if 0 < len(learned.rows) < USUAL_RANKINGS and not _by_votes(wanted):
        said = f"{len(learned.rows)} rankings are few; about {USUAL_RANKINGS} usually make a difference"
        found.append({"code": "few", "message": said, "n": len(learned.rows), "usual": USUAL_RANKINGS})
    if n_over := sum(one["n_left_out"] for one in learned.people):
        said = f"{n_over:,} rankings are left out, so that nobody has more than all others together"
        found.append({"code": "capped", "message": said, "n": n_over, "cap": learned.cap})
    return found


def _table(ledger: Ledger, start: Version, wanted: Wanted, learned: Lesson) -> dict[str, Any]:
    """The recipe: existing stages, with the settings of their last runs here where there are some."""
    policy = _source(ledger, start)
    written = readable(start.policy, learned.demonstrations) if wanted.how == "train" else []
    said = {"whose": wanted.whose, "until": learned.until.isoformat(), **_lengths(start, learned)}
    tables: dict[str, dict[str, Any]] = {"judgements": said | {READS: {"policy": policy}}}
    if written:  # what follows starts from the policy that imitates them
        tables["sft"] = _settings(ledger, "sft", len(written)) | {READS: {"model": policy}}
    # Votes are learned from without a reward model; it is trained all the same, to say what rankings know.
    is_ranked = len(learned.rows) >= FEWEST and not learned.is_empty
    trained = [("reward", len(learned.train))] if is_ranked else []
    judged = for_judge(learned.heldout)
    if is_ranked and len(judged) >= FEWEST and any(len(set(row["ranks"])) > 1 for row in judged):
        trained.append(("judge", len(judged)))
    if wanted.how == "train":
        n_rows = len(learned.votes) if _by_votes(wanted) else len(learned.train)
        trained.append((wanted.algorithm, n_rows))
    for stage, n_rows in trained:
        tables[stage] = _settings(ledger, stage, n_rows)
        if not written:
            tables[stage][READS] = {"policy": policy}
    return {"name": "improve", "stages": list(tables), **tables}


def _to_watch(ledger: Ledger, start: Version) -> list[str]:
    """The first pinned questions that leave this policy room to answer: what it says is shown while it trains."""
    (tokenizer, template), room = load_text(start.policy), load_config(start.policy).seq_len // 2
    asked = [(one["text"], messages_of(one)) for one in pinned_questions(ledger)]
    fit = [text for text, said in asked if len(template.encode(tokenizer, said, add_generation_prompt=True)[0]) <= room]
    return fit[:N_WATCHED]


def _settings(ledger: Ledger, stage: str, n_rows: int) -> dict[str, Any]:
    """Of the last run of a stage here, with a few passes over the rows; usual ones where there was none."""
    last = _last_settings(ledger, stage)
    if stage == "judge" and last is None:  # the same network, on other rankings
        last = _last_settings(ledger, "reward")
    found = _usual(stage) if last is None else last
    if stage == "ppo":
        return found
    if stage == "sft" and last is not None:
        found = found | {"loop": _slower(found["loop"])}
    batch = max(2, min(16, n_rows // 4))
    n_steps = max(FEWEST_STEPS, ceil(EPOCHS * n_rows / batch))
    return {**found, "n_steps": n_steps, "batch_size": batch, "micro_batch_size": batch}


def _slower(loop: dict[str, Any]) -> dict[str, Any]:
    """The loop with smaller steps: a policy that can answer already learns from a few answers, and forgets nothing."""
    rates = {name: rate * SLOWER for name, rate in loop["optim"].items() if name.endswith("lr") and rate is not None}
    return {**loop, "optim": {**loop["optim"], **rates}}


def _usual(stage: str) -> dict[str, Any]:
    """Settings where this workspace has never trained such a stage."""
    if stage == "ppo":
        return {"n_iterations": 4, "batch_size": 64, "micro_batch_size": 32, "loop": {"optim": {"lr": 5e-5}}}
    return {"loop": {"optim": {"lr": {"reward": 5e-4, "judge": 5e-4, "sft": 2e-5}.get(stage, 5e-5), "warmup_steps": 5}}}


def _last_settings(ledger: Ledger, stage: str) -> dict[str, Any] | None:
    """The settings of the last finished run of a stage, without those that name other inputs."""
    found = [run for run in ledger.runs() if run.stage == stage and run.status == "done"]
    if not found:
        return None
    return {name: value for name, value in found[-1].settings.items() if name not in (READS, "ptx_coef")}


def _source(ledger: Ledger, version: Version) -> str:
    """The policy's hash where the ledger knows it, else its folder."""
    try:
        ledger.lineage(version.policy_sha256)
    except UserError:
        return str(version.policy)
    return version.policy_sha256


def _lengths(start: Version, learned: Lesson) -> dict[str, int]:
    """Sizes of the rankings in tokens of the policy, from some of them."""
    text, seq_len = load_text(start.policy), load_config(start.policy).seq_len
    rows, votes = (readable(start.policy, said[:MOST_ROWS]) for said in (learned.rows, learned.votes))
    ranked = [(row["messages"], row["answers"]) for row in rows]
    voted = [(row["messages"][:-1], [row["messages"][-1]["content"]]) for row in votes]
    lengths = [len(ids) for asked, answers in [*ranked, *voted] for ids in ranking_ids(*text, asked, answers)]
    lengths = lengths or [seq_len]  # everything is too long to be read
    return {
        "typical": min(seq_len, ceil(sum(lengths) / len(lengths))), "longest": min(seq_len, max(lengths)),
        "n_answers": max((len(answers) for _, answers in ranked), default=1),
        "n_prompts": len({row["prompt_id"] for row in learned.rows}),
    }  # fmt: skip
