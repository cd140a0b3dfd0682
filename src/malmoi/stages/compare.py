"""Compare every aligned policy with the SFT model, on held-out prompts and rankings."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from malmoi.cost import Cost, Sizes
from malmoi.evals import compare
from malmoi.facts import (
    Bar,
    Bars,
    Block,
    Card,
    Cell,
    Diagonal,
    Facts,
    Figure,
    Figures,
    Group,
    Level,
    Line,
    Note,
    Plot,
    Sample,
    Samples,
    Section,
    Summary,
    Table,
    points,
    show,
    show_interval,
)
from malmoi.files import read_json, write_json, write_jsonl
from malmoi.stage import POLICY, Context, Finished, all_of, optional, required
from malmoi.stages import label_of
from malmoi.unused import Unused, is_empty

Settings = compare.CompareSettings
READS = {
    "policy": POLICY,
    "reward_model": required("reward model"),
    "judge": required("judge"),
    "rankings": required("rankings"),
    "prompts": required("prompts"),
    "methods": all_of("aligned policy"),
    "judge_rankings": optional("judge rankings"),
    "people": optional("people's rankings of the comparison"),
}
MAKES = {"measurements": "compare.json", "pairs to rank": "to_rank.jsonl"}
UNUSED = (Unused("not_shown", "n_shown", is_empty, "compare.n_shown is 0"),)
START, BEST_OF = compare.SFT, "best of "
"""Names of methods in a comparison: the policy that the others start from (any, not only SFT), and best-of-n."""


def cost(settings: compare.CompareSettings, sizes: Sizes) -> Cost:
    """Answers of all policies; the policy, the reward model and the judge each score every answer."""
    n_answers = settings.n_prompts * (settings.n_best + sizes.n_methods * settings.n_answers)
    answer = ceil(0.9 * settings.max_tokens)
    return Cost(answers=((n_answers, sizes.prompt, answer),), reads=((3 * n_answers, sizes.prompt + answer),))


def run(context: Context, settings: compare.CompareSettings) -> None:
    """Give all policies the same held-out prompts, and let the judge compare their answers."""
    reads = context.reads
    methods = {made.source: made for made in reads["methods"]}
    inputs = compare.Inputs(
        policy=reads("policy").path,
        reward_model=reads("reward_model").path,
        judge=reads("judge").path,
        rankings=reads("rankings").part("heldout"),
        prompts=reads("prompts").part("heldout"),
        facts=reads("rankings").parts.get("facts"),
        methods={name: made.path for name, made in methods.items()},
        curves={name: made.part("curve") for name, made in methods.items() if made.has("curve")},
        taught=_taught(context),
        people=people.path if (people := reads.find("people")) else None,
    )
    found = compare.compare(inputs, settings, context.say)
    write_jsonl(context.out / "to_rank.jsonl", found.pop("to_rank"))
    write_json(context.out / "compare.json", found)


def _taught(context: Context) -> dict[str, Path]:
    """The rankings that the reward model and the judge were trained on, as far as they are known."""
    known = {"reward": context.reads("rankings").parts.get("train")}
    if judge := context.reads.find("judge_rankings"):
        known["judge"] = judge.path
    return {name: path for name, path in known.items() if path is not None and path.exists()}


def facts(finished: Finished) -> Facts:
    """The accuracy of both reward models, and each method's gain and KL to the policy that it started from."""
    kept = read_json(finished.out / "compare.json")
    found = _completed(kept)
    start = label_of(finished.reads("policy").source)
    names = {name: _shown(name, start) for name in found["methods"]}
    trained = {name: row for name, row in found["methods"].items() if _is_trained(name)}
    sections = [_reward_models(found, start, finished.reads("judge").source), _side_by_side(found, names, start)]
    if found["samples"]:
        sections.append(_samples(found, names))
    shown = {name: row for name, row in found["methods"].items() if name not in (START, f"{BEST_OF}1")}
    summary = [
        Summary(f"{names[name]} against {start} (KL {row['kl']:.2f}): {row['corrected']['verdict']}", _known(row))
        for name, row in shown.items()
    ]
    summary += [
        Summary(f"{name} model: people's pairs", model["accuracy"])
        for name, model in found["models"].items()
        if model["accuracy"]
    ]
    cards = [
        Card(f"{names[name]} against {start}: {row['corrected']['verdict']}", _known(row), note=_card_note(row))
        for name, row in trained.items()
    ]
    alarms = [alarm] if (alarm := found["models"]["judge"]["alarm"]) else []
    return Facts(sections, cards, summary, alarms, json={finished.stage: kept})


def _completed(found: dict[str, Any]) -> dict[str, Any]:
    """What an earlier version found, with what it did not look for: the judge's error, and a reason to doubt it."""
    unknown = {"n": 0, "verdict": "the judge's error is not known"}
    methods = {name: {"corrected": unknown, **row} for name, row in found["methods"].items()}
    models = {name: {"alarm": "", **model} for name, model in found["models"].items()}
    return {**found, "methods": methods, "models": models}


def _is_trained(name: str) -> bool:
    return name not in (START, compare.LONGER) and not name.startswith(BEST_OF)


def _known(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A method's win rate, corrected; None if it is not known."""
    return row["corrected"] if row["corrected"]["n"] else None


def _card_note(row: Mapping[str, Any]) -> str:
    seen = f"the judge by itself: {show(row['win_rate'])} {show_interval(row['win_rate'])}, KL {row['kl']:.2f}"
    return f"{show_interval(row['corrected'])}; {seen}" if _known(row) else seen


def _corrected(row: Mapping[str, Any]) -> Cell:
    """What people would say by the judge, and smaller, by the judge of another kind."""
    found, words = row["corrected"], row.get("by_words", {}).get("corrected")
    notes = [f"{show_interval(found)} {found['verdict']}"] if found["n"] else []
    if words:
        said = f"{show(words)} {show_interval(words)} " if words["n"] else ""
        notes.append(f"by counted words {said}{words['verdict']}")
    return Cell(show(found) if found["n"] else found["verdict"], "; ".join(notes))


def _how_corrected(found: Mapping[str, Any]) -> str:
    judge = found["models"]["judge"]
    if judge["alarm"]:
        return f"No verdict by the judge: {judge['alarm']}."
    return (
        f"As people would say: the judge orders {show(judge['accuracy'])} {show_interval(judge['accuracy'])} of "
        "people’s held-out pairs as they did, so it sees only a part of a difference. The rest is computed, with its "
        "error in the interval. This assumes that the judge errs on these answers as often, and favours no method. If "
        "people ranked pairs of to_rank.jsonl, their rankings replace that assumption."
    )


def _other_judge(found: Mapping[str, Any]) -> list[Block]:
    """What the judge that counts words is worth; nothing where it is not known what the judge was trained on."""
    words = found.get("other_judge")
    if not words:
        return []
    said = (
        f"A judge of another kind, counted words, shares no network with the reward model. It orders "
        f"{show(words['accuracy'])} {show_interval(words['accuracy'])} of the same pairs as people did"
    )
    return [Note(f"{said}. No verdict by it: {words['alarm']}." if words["alarm"] else f"{said}.")]


def _shown(name: str, start: str) -> str:
    return start if name == START else label_of(name) if _is_trained(name) else name


def _reward_models(found: Mapping[str, Any], start: str, about: str) -> Section:
    """The reward model and the judge on rankings that neither was trained on."""
    labels = {"reward": "reward model", "judge": "judge"}
    rows = []
    for key, label in labels.items():
        model = found["models"][key]
        if model["accuracy"]:
            rows.append(Figure(f"{label}: {model['n_pairs']:,} pairs ordered as people did", model["accuracy"]))
            if model.get("temperature"):
                rows.append(Figure(f"{label}: temperature that its confidence needs", model["temperature"]))
    for source, row in found["annotators"].items():
        if row["without_ties"]:
            rows.append(Figure(f"two people agree, {source}", row["without_ties"], f"{row['n_pairs']:,} pairs"))
    rows.append(Figure(f"reward model and judge agree, on the {start} model’s answers", found["agreement"]))
    heads = found["models"]["reward"].get("disagreement") or {}
    if (divided := heads.get("divided")) is not None:
        right = heads["accuracy_divided"]
        note = "" if right is None else f"of these it orders {show(right)} correctly"
        rows.append(Figure("pairs that the reward model’s heads do not all order alike", divided, note))
    plots = [_by_source(found, labels), _reliability(found["models"], labels)]
    return Section("On rankings that nobody trained on", blocks=[Figures(rows), *plots], about=about)


def _by_source(found: Mapping[str, Any], labels: Mapping[str, str]) -> Plot:
    """Bars with intervals for each source, and how often two people agree, if that is known."""
    by_source = {key: found["models"][key]["by_source"] for key in labels}
    colours = {"reward": "green", "judge": "gold"}
    groups = [
        Group(
            source,
            [Bar(labels[key], colours[key], rows[source]["accuracy"]) for key, rows in by_source.items()],
            found["annotators"].get(source, {}).get("without_ties"),
        )
        for source, row in by_source["reward"].items()
        if row["accuracy"]
    ]
    caption = "Pairs ordered as people did, by source; a line across the bars: how often two people agree."
    return Plot(caption, [Bars(groups, level=0.5)], x_limits=(0, 1))


def _reliability(models: Mapping[str, Any], labels: Mapping[str, str]) -> Plot:
    """Confidence of each reward model on held-out pairs against its accuracy."""
    lines = [
        Line(points(models[key]["calibration"], "accuracy", x="confidence"), colour, labels[key])
        for key, colour in (("reward", "green"), ("judge", "gold"))
        if models[key]["calibration"]
    ]
    caption = "How sure they are, how often they are right."
    return Plot(caption, [Diagonal(0.5, 1), *lines], x_label="confidence", y_label="ordered as people did")


def _side_by_side(found: Mapping[str, Any], names: Mapping[str, str], start: str) -> Section:
    captions = {
        "judge": f"Judge’s score, gain over {start}, against √KL; ringed: where it was highest.",
        "reward": "The same by the reward model that was trained with.",
    }
    if found.get("other_judge"):
        captions["words"] = "The same by counted words, in their own units."
    blocks: list[Block] = [
        _table(found["methods"], names, start),
        Note(_how_corrected(found)),
        *_other_judge(found),
        *(_against_distance(found, names, start, key, caption) for key, caption in captions.items()),
    ]
    for name, row in found["curves"].items():
        last, fall = row["points"][-1]["step"], row["fall"]
        text = (
            f"{names[name]}: the judge’s score was highest at step {row['best']} of {last}; from there to the end it "
            f"changed by {show(fall)} {show_interval(fall)}"
        )
        blocks.append(Note(f"{text}: it was over-optimised." if fall["high"] < 0 else f"{text}."))
    lead = (
        f"{found['n_prompts']} held-out prompts, sampled at temperature {found['temperature']}. The judge is "
        f"{found['judge']}. Best-of-n samples n answers of the {start} model and takes the one that the reward model "
        "scores highest, longer of 2 the longer of two; their KL is an upper bound."
    )
    return Section("Side by side", lead, blocks)


def _table(methods: Mapping[str, Any], names: Mapping[str, str], start: str) -> Table:
    has_heads = "disagreement" in methods[START]
    head = [
        "method",
        f"wins against {start}, by the judge",
        "as people would say",
        f"against the longer of 2 by {start}",
    ]
    head += ["judge’s score, gain", "reward model’s, gain", "KL, nats"]
    head += ["best-of-n wins at this KL", *(["heads differ by"] if has_heads else []), "tokens", "ended", "distinct"]
    rows = []
    for name, row in methods.items():
        if name == f"{BEST_OF}1":
            continue
        measured = [
            Cell(show(row[key]), "" if name == START else show_interval(row[key]))
            for key in ("win_rate", "gain", "reward_gain")
        ]
        measured[1:1] = [Cell("") if name == START else _corrected(row), _against_longer(row)]
        there, spread = row.get("best_of_n_there"), row.get("disagreement")
        cells = [Cell(names[name]), *measured, Cell(f"{row['kl']:.2f}"), Cell(show(there["win_rate"]) if there else "")]
        cells += [Cell(show(spread) if spread else "")] if has_heads else []
        distinct = show(row["distinct"]) if "distinct" in row else ""
        rows.append([*cells, Cell(f"{row['tokens']:.0f}"), Cell(f"{row['finished']:.0%}"), Cell(distinct)])
    return Table(head, rows)


def _against_longer(row: Mapping[str, Any]) -> Cell:
    corrected = row.get("against_longer_corrected")
    if corrected is None:  # compared by an earlier version
        return Cell("")
    said = f"as people would say {show(corrected)} {show_interval(corrected)}, " if corrected["n"] else ""
    return Cell(show(row["against_longer"]), f"{said}{corrected['verdict']}")


def _against_distance(found: Mapping[str, Any], names: Mapping[str, str], start: str, key: str, caption: str) -> Plot:
    """Gains against √KL: of policies during training or at its end, and of best-of-n for each n.

    key: judge, reward or words, which gives the scores; the highest score by the judge is ringed
    """
    methods, curves = found["methods"], found["curves"]
    gain = {"judge": "gain", "reward": "reward_gain", "words": "words_gain"}[key]
    lines = []
    for name, row in methods.items():
        if _is_trained(name):
            way = curves[name]["points"] if name in curves else [{"kl": row["kl"], key: row[gain], "step": None}]
            best = curves[name]["best"] if key == "judge" and name in curves else 0
            ringed = [number for number, point in enumerate(way) if point["step"] and point["step"] == best]
            lines.append(_line([(point["kl"], point[key]) for point in way], name, names[name], ringed))
    best_of = [(row["kl"], row[gain]) for name, row in methods.items() if name.startswith(BEST_OF)]
    lines.append(_line(best_of, "gold", "best of n", ()))
    return Plot(caption, [Level(0, "blue"), *lines], x_label=f"√KL to {start}, nats per answer")


def _line(values: Sequence[tuple[float, Mapping[str, float]]], colour: str, label: str, ringed: Sequence[int]) -> Line:
    """values: (KL, interval of the gain) of each point"""
    places = [(max(0.0, kl) ** 0.5, value["mean"]) for kl, value in values]
    return Line(places, colour, label, [(value["low"], value["high"]) for _, value in values], ringed)


def _samples(found: Mapping[str, Any], names: Mapping[str, str]) -> Section:
    shown = found["samples"]
    order = list(shown[0]["answers"])
    rows = [Sample(row["messages"], [[row["answers"][name]] for name in order], source=row["source"]) for row in shown]
    lead = f"The first {len(rows)} held-out prompts drawn, not the best; one sampled answer of each method."
    return Section("Before and after", lead, [Samples([names[name] for name in order], rows)])
