"""Rankings by a rule of somebody's own: a second source of rankings, in one file."""

from malmoi import config
from malmoi.files import read_jsonl, write_jsonl
from malmoi.stage import Context, required


class Settings(config.Settings):
    """What is liked."""

    likes: str = "cat"
    """The word that a better answer holds."""


READS = {"prompts": required("prompts")}
MAKES = {"rankings": {"train": "train.jsonl", "heldout": "heldout.jsonl"}}


def run(context: Context, settings: Settings) -> None:
    """Rank an answer with the word above one without it."""
    answers = [f"a {settings.likes}", "a stone"]
    for side in ("train", "heldout"):
        rows = read_jsonl(context.reads("prompts").part(side))
        ranked = ({"messages": row["messages"], "answers": answers, "ranks": [1, 2]} for row in rows)
        write_jsonl(context.out / f"{side}.jsonl", ranked)
    context.say(f"whoever likes {settings.likes} has spoken")
