"""A reward model on held-out rankings, next to what it must beat to be worth following."""

from collections.abc import Callable, Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Any

from malmoi import device
from malmoi.algorithms import reward
from malmoi.data.comparisons import EDITED, Ranking, encode_ranking
from malmoi.data.formats import rankings
from malmoi.evals.judged import Text
from malmoi.evals.reward_accuracy import SourcedRanking, measure_scores
from malmoi.evals.reward_baselines import PROBE, Scores, baseline_scores, compare_with_baselines
from malmoi.evals.reward_curve import Known, by_probe, learning_curve
from malmoi.evals.reward_scores import mean_scores
from malmoi.facts import (
    Bar,
    Bars,
    Block,
    Cell,
    Facts,
    Group,
    Layer,
    Level,
    Line,
    Note,
    Plot,
    Section,
    Summary,
    Table,
    show,
    show_interval,
)
from malmoi.files import read_json, sha256_of, write_json
from malmoi.formats.folder import load_model, load_text
from malmoi.model.scalar_model import ScalarModel
from malmoi.stage import MODEL, Context, Finished
from malmoi.train.features import answer_features

FILE = "heldout.json"
SCORES = "heldout_scores.json"
"""In the run's folder until all is measured: what the reward model said of held-out rankings so far."""
AT_ONCE = 64
"""Rankings that are scored between two writes."""
OURS = "reward model"
HUES = ("grey", "blue", "gold", "teal")
"""Of the baselines, in their order."""


def measure_held_out(context: Context, settings: reward.Config) -> None:
    """Write what the new reward model of this run and its baselines know of the held-out rankings, and say it.

    Unless the model is only trained, a probe's features are kept already: then a probe is a baseline of a trained
    model, and there is a curve of accuracy by the number of rankings.
    """
    read = context.reads("rankings")
    if not device.current().is_main:
        return
    if not read.has("heldout"):
        context.say("no rankings were held out, so nothing says whether the reward model is worth following")
        return
    folder = context.out / MODEL
    rows, training = ([row for _, row in rankings(read.part(part))] for part in ("heldout", "train"))
    model, text = load_model(folder, ScalarModel), load_text(folder)
    known = [SourcedRanking(_encoded(text, row), row["source"], row["tree"]) for row in rows]
    kept_scores = context.folder / SCORES
    scores = scored_once(
        [one.ranking for one in known],
        kept_scores,
        sha256_of(folder),
        lambda part: mean_scores(model, part, text[0].pad_id),
    )
    baselines = baseline_scores(rows, training)
    curve = None
    if settings.method != "train" and any(len(set(row["ranks"])) > 1 for row in rows):
        start = context.reads("policy").path
        taught, held_out = (
            Known(these, answer_features(start, [_encoded(text, row) for row in these], settings.layers))
            for these in (training, rows)
        )
        curve = learning_curve(taught, held_out)
        if model.probe is None:
            baselines[PROBE] = by_probe(taught, held_out)
    people = {row["person"] for row in (*rows, *training) if row.get("person")}
    found = _measured(known, rows, scores, baselines) | {"curve": curve, "judges": sorted(people)}
    kept = [place for place, row in enumerate(rows) if row["source"] != EDITED]
    if 0 < len(kept) < len(rows):
        found["without_edited"] = _measured(
            [known[i] for i in kept], [rows[i] for i in kept], [scores[i] for i in kept],
            {name: [theirs[i] for i in kept] for name, theirs in baselines.items()},
        )  # fmt: skip
    write_json(context.out / FILE, found)
    kept_scores.unlink(missing_ok=True)
    for line in lines(found):
        context.say(line)


def scored_once(
    rankings: Sequence[Ranking], path: Path, model_sha256: str, score: Callable[[Sequence[Ranking]], Scores]
) -> Scores:
    """The scores of all rankings. Those that a killed run has kept in `path`, of the same model, are not made again."""
    before = read_json(path) if path.exists() else {}
    found = before.get("scores", []) if before.get("model") == model_sha256 else []
    order = sorted(range(len(rankings)), key=lambda place: sum(map(len, rankings[place].ids)))
    for start in range(len(found), len(order), AT_ONCE):
        found = [*found, *score([rankings[place] for place in order[start : start + AT_ONCE]])]
        write_json(path, {"model": model_sha256, "scores": found})
    return [row for _, row in sorted(zip(order, found, strict=True))]


def _measured(
    known: Sequence[SourcedRanking], rows: Sequence[Mapping[str, Any]], scores: Scores, baselines: Mapping[str, Scores]
) -> dict[str, Any]:
    return measure_scores(known, scores) | compare_with_baselines(rows, scores, baselines)


def _encoded(text: Text, row: Mapping[str, Any]) -> Ranking:
    return encode_ranking(*text, row["messages"], row["answers"], row["ranks"])


def lines(found: Mapping[str, Any]) -> list[str]:
    """What the screen says: the reward model, each baseline, people, and the alarm."""
    if found["accuracy"] is None:
        return [f"held-out rankings: every pair of {found['n_rankings']:,} rankings is a tie, so nothing is measured"]
    rows = [("reward model", found["accuracy"]), *_baselines(found)]
    if found["people"]:
        rows.append(("one person by another", found["people"]))
    unknown = "" if found["people"] else f"; {_not_known(found)}"
    said = [f"{name} {show(value)} {show_interval(value)}" for name, value in rows]
    alarm = [f"alarm: {found['alarm']}"] if found["alarm"] else []
    if found["curve"]:
        alarm = [more_told(found["curve"]["next"]), *alarm]
    told = [f"{found['n_pairs']:,} held-out pairs, ordered as ranked: {'; '.join(said)}{unknown}", *alarm]
    if (without := found.get("without_edited")) and without["accuracy"]:
        told.append(f"without pairs of a better answer that a person wrote: {lines(without | {'curve': None})[0]}")
    return told


def _not_known(found: Mapping[str, Any]) -> str:
    """Why it is not known how far judges agree."""
    if len(judges := found.get("judges", ())) == 1:
        return f"all are by {judges[0]}, so how far others would agree is not known"
    return "no pair was judged twice, so how far judges agree is not known"


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
    if (without := found.get("without_edited")) and without["accuracy"]:
        best = without["baselines"][without["best"]]
        rows.append([Cell(f"{OURS}, without better answers"), _cell(without["accuracy"]), Cell("")])
        rows.append([Cell(f"{without['best']}, without better answers"), _cell(best["accuracy"]), _cell(best["ahead"])])
    lead = (
        f"{found['n_pairs']:,} pairs of held-out rankings. Counted words is a logistic regression on words and letter "
        "groups, fitted to the same rankings. A policy follows what the reward model knows, and no more."
    )
    blocks: list[Block] = [Table(["", "ordered as ranked", "reward model is ahead by"], rows), _bars(found)]
    if found.get("curve"):
        blocks += [Note(f"{more_told(found['curve']['next']).capitalize()}."), _curve(found["curve"])]
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


def more_told(more: Mapping[str, Any]) -> str:
    """What the next rankings are likely to bring."""
    if not more["is_known"]:
        return f"what {more['n_more']} more rankings would bring is not known"
    return f"{more['n_more']} more rankings are likely to bring {more['mean']:+.3f} {show_interval(more)}"


def _curve(found: Mapping[str, Any]) -> Plot:
    """Held-out accuracy against the number of rankings, in doublings."""
    lines: list[Layer] = []
    for name, hue in (("probe", "green"), ("counted words", "gold")):
        rows = [(log2(point["n"]), point[name]) for point in found["points"]]
        ends = [(row["low"], row["high"]) for _, row in rows]
        lines.append(Line([(x, row["mean"]) for x, row in rows], hue, name, ends))
    lines += [Level(row["mean"], "grey", name) for name, row in found["baselines"].items() if row["mean"] > 0.5]
    sizes = ", ".join(f"{point['n']:,}" for point in found["points"])
    caption = f"Held-out pairs ordered as ranked, by what was learned from: {sizes} rankings"
    return Plot(caption, lines, x_label="log2 of the number of rankings")
