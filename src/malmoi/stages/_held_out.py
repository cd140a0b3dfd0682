"""A reward model on held-out rankings, next to what it must beat to be worth following."""

from collections.abc import Mapping
from typing import Any

from malmoi import device
from malmoi.data.comparisons import encode_ranking
from malmoi.data.formats import rankings
from malmoi.evals.reward_accuracy import SourcedRanking, measure_scores
from malmoi.evals.reward_baselines import baseline_scores, compare_with_baselines
from malmoi.evals.reward_scores import mean_scores
from malmoi.facts import Bar, Bars, Block, Cell, Facts, Group, Plot, Section, Summary, Table, show, show_interval
from malmoi.files import read_json, write_json
from malmoi.formats.folder import load_model, load_text
from malmoi.model.transformer import ScalarModel
from malmoi.stage import MODEL, Context, Finished

FILE = "heldout.json"
OURS = "reward model"
HUES = ("grey", "muted", "gold", "teal")
"""Of the baselines, in their order."""


def measure_held_out(context: Context) -> None:
    """Write what the new reward model of this run and its baselines know of the held-out rankings, and say it."""
    read = context.reads("rankings")
    if not device.current().is_main or not read.has("heldout"):
        return
    folder = context.out / MODEL
    rows, training = ([row for _, row in rankings(read.part(part))] for part in ("heldout", "train"))
    model, (tokenizer, template) = load_model(folder, ScalarModel), load_text(folder)
    known = [
        SourcedRanking(
            encode_ranking(tokenizer, template, row["messages"], row["answers"], row["ranks"]),
            row["source"], row["tree"],
        )
        for row in rows
    ]  # fmt: skip
    scores = mean_scores(model, [one.ranking for one in known], tokenizer.pad_id)
    found = measure_scores(known, scores) | compare_with_baselines(rows, scores, baseline_scores(rows, training))
    write_json(context.out / FILE, found)
    for line in lines(found):
        context.say(line)


def lines(found: Mapping[str, Any]) -> list[str]:
    """What the screen says: the reward model, each baseline, people, and the alarm."""
    if found["accuracy"] is None:
        return [f"held-out rankings: every pair of {found['n_rankings']:,} rankings is a tie, so nothing is measured"]
    rows = [("reward model", found["accuracy"]), *_baselines(found)]
    if found["people"]:
        rows.append(("one person by another", found["people"]))
    said = [f"{name} {show(value)} {show_interval(value)}" for name, value in rows]
    alarm = [f"alarm: {found['alarm']}"] if found["alarm"] else []
    return [f"{found['n_pairs']:,} held-out pairs, ordered as ranked: {'; '.join(said)}", *alarm]


def held_out_facts(finished: Finished) -> Facts:
    """A table and bars by source, and the alarm; nothing if no rankings were held out."""
    path = finished.out / FILE
    found = read_json(path) if path.exists() else None
    if found is None or found["accuracy"] is None:
        return Facts()
    rows = [[Cell(OURS), _cell(found["accuracy"]), Cell("")]]
    rows += [[Cell(name), _cell(row["accuracy"]), _cell(row["ahead"])] for name, row in found["baselines"].items()]
    if found["people"]:
        rows.append([Cell("one person by another"), _cell(found["people"]), Cell("")])
    lead = (
        f"{found['n_pairs']:,} pairs of held-out rankings. Counted words is a logistic regression on words and letter "
        "groups, fitted to the same rankings. A policy follows what the reward model knows, and no more."
    )
    blocks: list[Block] = [Table(["", "ordered as ranked", "reward model is ahead by"], rows), _bars(found)]
    alarms = [found["alarm"]] if found["alarm"] else []
    summary = [Summary(f"{name}: held-out pairs", value) for name, value in ((OURS, found["accuracy"]), _best(found))]
    return Facts(
        [Section("Next to what it must beat", lead, blocks)],
        summary=summary,
        alarms=alarms,
        json={finished.stage: {"heldout": found}},
    )


def _baselines(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, row["accuracy"]) for name, row in found["baselines"].items()]


def _best(found: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    return f"  {found['best']}", found["baselines"][found["best"]]["accuracy"]


def _cell(value: Mapping[str, Any]) -> Cell:
    return Cell(show(value), show_interval(value))


def _bars(found: Mapping[str, Any]) -> Plot:
    """Accuracy by source, and of all if there are several."""
    sources = [source for source, row in found["by_source"].items() if row["accuracy"]]
    groups = [
        Group(
            source,
            [
                Bar(OURS, "green", found["by_source"][source]["accuracy"]),
                *(
                    Bar(name, hue, row["by_source"][source])
                    for hue, (name, row) in zip(HUES, found["baselines"].items(), strict=False)
                ),
            ],
        )
        for source in sources
    ]
    return Plot("Held-out pairs ordered as ranked, by source", [Bars(groups, level=0.5)], x_limits=(0, 1))
