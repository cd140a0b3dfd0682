"""Rankings of the answers by a simulated labeler, recorded as people's judgements are."""

from pydantic import Field

from malmoi import config, progress
from malmoi.config import Seed
from malmoi.cost import Cost, Sizes
from malmoi.feedback.judgements import NewJudgement, SnapshotFilter, freeze, record_judgements, record_person
from malmoi.files import read_jsonl, write_json
from malmoi.stage import Context, need
from malmoi.synthetic.labeler import SimulatedLabeler, gold_score


class Settings(config.Settings):
    """Who ranks them."""

    error_rate: float = Field(0.25, ge=0, lt=0.5)
    """Share of the pairs that the simulated labeler turns round."""
    tie_margin: float = Field(0.1, ge=0)
    """Gold scores no further apart than this are a tie."""
    seed: Seed = 1
    """Of the labeler's errors."""


READS = {"answers": need("answers")}
MAKES = {"rankings": {"train": "train.jsonl", "heldout": "heldout.jsonl", "labeler": "labeler.json"}}


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """A millisecond for each answer."""
    return Cost(fixed_s=1e-3 * sizes.n_prompts * sizes.n_ranked)


def run(context: Context, settings: Settings) -> None:
    """Rank every prompt's answers, and freeze the judgements."""
    rows = read_jsonl(context.reads("answers").path)
    scores = [
        [gold_score(a["text"], row["references"], a["finished"]) for a in row["answers"]]
        for row in progress.track(rows, "prompts")
    ]
    labeler = SimulatedLabeler(settings.error_rate, settings.tie_margin, settings.seed).calibrated(scores)
    ledger = context.ledger
    record_person(ledger, labeler.person_id, "simulated labeler", "simulated", labeler.rule)
    said = [
        NewJudgement(
            person_id=labeler.person_id,
            prompt_id=row["prompt_id"],
            generation_ids=row["generation_ids"],
            ranks=labeler.rank(row_scores, labeler.rng(row["prompt_id"])),
        )
        for row, row_scores in zip(progress.track(rows, "rankings"), scores, strict=True)
    ]
    record_judgements(ledger, said)
    for split in ("train", "heldout"):
        wanted = SnapshotFilter(people=(labeler.person_id,), splits=(split,))
        shown = [known for row in rows for known in row["generation_ids"]]
        freeze(ledger, wanted, context.out / f"{split}.jsonl", run_id=context.run_id, generation_ids=shown)
    write_json(
        context.out / "labeler.json",
        {"rule": labeler.rule, "sigma": labeler.sigma, "tie_margin": labeler.tie_margin, "simulated": True},
    )
    context.say(f"{len(said):,} rankings by a simulated labeler that errs on {settings.error_rate:.0%} of the pairs")
