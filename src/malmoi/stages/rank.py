"""Rankings of answers by a simulated labeler, recorded in the same way as people's judgements."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from pydantic import Field

from malmoi import config, progress
from malmoi.config import Seed
from malmoi.cost import Cost, Sizes
from malmoi.facts import Chat, Facts, Note, Ranked, Section
from malmoi.feedback.judgements import NewJudgement, SnapshotFilter, freeze, record_judgements, record_person
from malmoi.files import read_json, read_jsonl, write_json
from malmoi.stage import Context, Finished, required
from malmoi.synthetic.gold import gold_score
from malmoi.synthetic.labeler import SimulatedLabeler
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes


class Settings(config.Settings):
    """The simulated labeler."""

    error_rate: float = Field(0.25, ge=0, lt=0.5)
    """Share of the pairs that the simulated labeler orders wrongly."""
    tie_margin: float = Field(0.05, ge=0)
    """Largest difference of two gold scores that counts as a tie."""
    seed: Seed = 1
    """Seed of the labeler's errors."""


ALL_TIE = (
    "all answers to each prompt tie: nothing says which one is better, and nothing can be learned from it. "
    "More text helps, or answers that differ more (sample.temperature, sample.max_tokens)"
)
READS = {"answers": required("answers")}
MAKES = {"rankings": {"train": "train.jsonl", "heldout": "heldout.jsonl", "labeler": "labeler.json"}}


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """A millisecond for each answer."""
    return Cost(fixed_s=1e-3 * sizes.n_prompts * sizes.n_ranked)


def external_hashes(settings: Settings, workspace: Workspace, hashes: Hashes) -> dict[str, str]:
    """The labeler's rule: rankings by another rule are other work."""
    return {"labeler": _labeler(settings).person_id}


def _labeler(settings: Settings) -> SimulatedLabeler:
    return SimulatedLabeler(settings.error_rate, settings.tie_margin, settings.seed)


def run(context: Context, settings: Settings) -> None:
    """Rank the answers to each prompt, and freeze the judgements."""
    rows = read_jsonl(context.reads("answers").path)
    scores = [
        [gold_score(a["text"], row["references"], a["finished"], row["prompt"]) for a in row["answers"]]
        for row in progress.track(rows, "prompts")
    ]
    labeler = _labeler(settings).calibrated(scores)
    ledger = context.ledger
    record_person(ledger, labeler.person_id, "simulated labeler", "simulated", labeler.rule)
    said = [
        NewJudgement(
            person_id=labeler.person_id,
            prompt_id=row["prompt_id"],
            generation_ids=row["generation_ids"],
            ranks=labeler.rank([a["text"] for a in row["answers"]], row_scores, labeler.rng(row["prompt_id"])),
        )
        for row, row_scores in zip(progress.track(rows, "rankings"), scores, strict=True)
    ]
    record_judgements(ledger, said)
    for split in ("train", "heldout"):
        wanted = SnapshotFilter(people=(labeler.person_id,), splits=(split,))
        shown = [known for row in rows for known in row["generation_ids"]]
        freeze(ledger, wanted, context.out / f"{split}.jsonl", run_id=context.run_id, generation_ids=shown)
    about = {"rule": labeler.rule, "sigma": labeler.sigma, "tie_margin": labeler.tie_margin, "simulated": True}
    write_json(context.out / "labeler.json", about | {"example": _example(rows, scores, said)})
    context.say(f"{len(said):,} rankings by a simulated labeler that errs on {settings.error_rate:.0%} of the pairs")
    if all(len(set(one.ranks)) == 1 for one in said):
        context.say(f"alarm: {ALL_TIE}")


def _example(
    rows: Sequence[dict[str, Any]], scores: Sequence[Sequence[float]], said: Sequence[NewJudgement]
) -> dict[str, Any]:
    """The first ranking with the most distinct ranks, with the scores of its answers, best first."""
    number = max(range(len(rows)), key=lambda i: len(set(said[i].ranks)))
    answers = [answer["text"] for answer in rows[number]["answers"]]
    ranked = sorted(zip(said[number].ranks, answers, scores[number], strict=True))
    return {
        "messages": rows[number]["prompt"],
        "answers": [{"rank": rank, "text": text, "score": score} for rank, text, score in ranked],
    }


def facts(finished: Finished) -> Facts:
    """Who ranked how much, the rule, and one ranking as an example: the first with the most distinct ranks."""
    rows = [row for path in sorted(finished.out.glob("*.jsonl")) for row in read_jsonl(path)]
    pairs = [a == b for row in rows for a, b in combinations(row["ranks"], 2)]
    lead = (
        f"Which answer to a prompt is better? Best first, ties allowed: {len(rows):,} rankings by {_who(rows)}; "
        f"{sum(pairs) / max(1, len(pairs)):.0%} of the pairs are ties."
    )
    labeler = read_json(finished.out / "labeler.json")
    sections = [Section("Ranking", lead, [Note(labeler["rule"])])]
    if "example" in labeler:
        shown = labeler["example"]
        answers = [(answer["rank"], answer["text"]) for answer in shown["answers"]]
        ranked = Ranked(answers, [answer["score"] for answer in shown["answers"]])
        lead = (
            "The first ranking with the most distinct ranks: rank, answer, and its score by the rule. The ranks come "
            "from the scores with errors, so ranks and scores may disagree."
        )
        sections.append(Section("One ranking", lead, [Chat(shown["messages"][-1:]), ranked]))
    return Facts(sections, alarms=[ALL_TIE] if pairs and all(pairs) else [])


def _who(rows: Sequence[dict[str, Any]]) -> str:
    people = {row["person"]: row["simulated"] for row in rows}
    n_simulated = sum(people.values())
    n_people = len(people) - n_simulated
    said = [f"{n_people} {'person' if n_people == 1 else 'people'}"] if n_people else []
    if n_simulated:
        said.append("a simulated labeler" if n_simulated == 1 else f"{n_simulated} simulated labelers")
    return " and ".join(said) or "nobody"
