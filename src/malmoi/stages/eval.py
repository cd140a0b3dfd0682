"""All measurements of the demo's ring for the report, on held-out data."""

from collections.abc import Mapping
from typing import Any

from malmoi.cost import ANSWER_TOKENS, Cost, Sizes
from malmoi.evals import demo
from malmoi.facts import (
    Bar,
    Bars,
    Block,
    Card,
    Diagonal,
    Facts,
    Group,
    Level,
    Line,
    Note,
    Plot,
    Sample,
    Samples,
    Section,
    Summary,
    figures,
    points,
    show,
    show_interval,
)
from malmoi.files import read_json, write_json
from malmoi.stage import Context, Finished, required
from malmoi.stages import label_of
from malmoi.stages._training import SIMULATED, kl_to

Settings = demo.EvalSettings
READS = {
    "documents": required("documents"),
    "tokenizer": required("tokenizer"),
    "base": required("base"),
    "questions": required("questions"),
    "prompts": required("prompts"),
    "policy": required("policy"),
    "answers": required("answers"),
    "rankings": required("rankings"),
    "reward_model": required("reward model"),
    "aligned": required("aligned policy"),
}
MAKES = {"measurements": "eval.json"}


def cost(settings: demo.EvalSettings, sizes: Sizes) -> Cost:
    """SFT answers all questions, PPO some, both also on unseen items; the base model seldom ends its answers."""
    n_sampled = sizes.n_heldout * settings.n_answers
    n_short = settings.n_questions + settings.n_base_questions + sizes.n_unseen + 2 * n_sampled
    base = (settings.n_base_questions, sizes.prompt, settings.max_tokens)
    short = (n_short, sizes.prompt, ANSWER_TOKENS)
    return Cost(s_per_mb=1.2, answers=(short, base), reads=((3 * n_sampled, sizes.chat),), holds_model=False)


def run(context: Context, settings: demo.EvalSettings) -> None:
    """Measure the base model, the policy, the reward model and the aligned policy."""
    reads = context.reads
    inputs = demo.Inputs(
        documents=reads("documents").parts,
        tokenizer=reads("tokenizer").path,
        base=reads("base").path,
        policy=reads("policy").path,
        aligned=reads("aligned").path,
        reward_model=reads("reward_model").path,
        questions=reads("questions").path,
        prompts=reads("prompts").part("heldout"),
        answers=reads("answers").path,
        rankings={part: reads("rankings").part(part) for part in ("heldout", "labeler")},
    )
    write_json(context.out / "eval.json", demo.evaluate_demo(inputs, settings, context.say))


def facts(finished: Finished) -> Facts:
    """What was measured on each model, in the section of the stage that made it."""
    found = read_json(finished.out / "eval.json")
    policy, aligned = (finished.reads(role).source for role in ("policy", "aligned"))
    names = {"base": "base", "sft": label_of(policy), "ppo": label_of(aligned)}
    measured = (
        _of_base(found["pretrain"], finished.reads("base").source),
        _of_policy(found["sft"], policy, names),
        _of_reward_model(found["reward"], finished.reads("reward_model").source),
        _of_aligned(found["ppo"], aligned, names, kl_to(policy)),
    )
    return Facts(
        [*(section for one in measured for section in one.sections), _samples(found, names)],
        [card for one in measured for card in one.cards],
        [row for one in measured for row in one.summary],
        terms=[
            "Brackets hold 95 % bootstrap intervals.",
            f"Gold is the score by the rule of {SIMULATED}, without its errors, from 0 to 1: the mean of answers to "
            "held-out prompts, sampled at temperature 1.",
        ],
        json=found,
    )


def _of_base(found: Mapping[str, Any], about: str) -> Facts:
    """Bits per byte before and after, and what xz needs for the same text."""
    labels = {"bpb_xz": "xz -9, bits per byte", "bpb_xz_primed": "xz -9 with the training text as its dictionary"}
    shown = (("bpb_xz", "xz -9"), ("bpb_xz_primed", "xz -9, primed"))
    levels = [Level(found[key], "grey", f"{name} {found[key]:.2f}") for key, name in shown]
    note = f"xz -9 needs {found['bpb_xz']:.2f}; with the training text as its dictionary {found['bpb_xz_primed']:.2f}"
    blocks: list[Block] = [figures(found, labels), Plot("Held-out bits per byte", levels, name="bpb")]
    return Facts(
        [Section(lead="For comparison: what xz needs for the same bytes.", blocks=blocks, about=about)],
        [Card("held-out bits per byte", found["bpb_after"], found["bpb_before"], note, about)],
        [Summary(label, found[key], about=about) for key, label in labels.items()],
    )


def _of_policy(found: Mapping[str, Any], about: str, names: Mapping[str, str]) -> Facts:
    """Exact answers of all models to the same drilled questions."""
    base, sft, ppo = names.values()
    labels = {
        "exact_base": f"drilled questions: exact answers, {base}",
        "exact_sft": f"drilled questions: exact answers, {sft}",
        "exact_ppo": f"drilled questions: exact answers, {ppo}",
        "exact_unseen_items": f"exact, {sft}, on items it was never asked about",
        "known_in_second_turn": f"exact, {sft}, in the second turn, of what it knows in the first",
        "exact_unseen_summaries": "of these, where the answer is a sentence or a name",
    }
    lead = (
        "Drilled questions: facts of the demonstrations. It is asked greedily, in phrasings that it has never seen, "
        "with the document that answers among others; exact means equal to a right answer, ignoring white space."
    )
    blocks: list[Block] = [figures(found, labels), _exact_by_kind(found, names)]
    if forms := found.get("exact_by_form"):
        groups = [Group(form, [Bar(sft, "blue", row)]) for form, row in forms.items()]
        blocks.append(Plot("The same names, asked in other forms:", [Bars(groups)], x_limits=(0, 1)))
    summary = [
        Summary(f"drilled questions, exact answers, {base} → {sft}", found["exact_sft"], found["exact_base"], about),
    ]
    if "exact_unseen_items" in found:
        summary.insert(1, Summary("exact answers on unseen items", found["exact_unseen_items"], about=about))
    exact = found["exact_sft"]
    note = f"{show_interval(exact)}; facts it was trained on, in other words. What people ask: natural questions"
    card = Card(f"drilled questions: exact answers, {base} → {sft}", exact, found["exact_base"], note, about)
    return Facts([Section(lead=lead, blocks=blocks, about=about)], [card], summary)


def _exact_by_kind(found: Mapping[str, Any], names: Mapping[str, str]) -> Plot:
    """Bars for all questions and for each kind of question, for each model that answered them."""
    series = (
        (names["base"], "grey", found["exact_base"], found.get("exact_base_by_kind", {})),
        (names["sft"], "blue", found["exact_sft"], found.get("exact_by_kind", {})),
        (names["ppo"], "rust", found["exact_ppo"], found.get("exact_ppo_by_kind", {})),
    )
    kinds = dict.fromkeys(kind for *_, by_kind in series for kind in by_kind)
    groups = [Group("all", [Bar(name, colour, overall) for name, colour, overall, _ in series])]
    groups += [
        Group(kind, [Bar(name, colour, by_kind[kind]) for name, colour, _, by_kind in series if kind in by_kind])
        for kind in kinds
    ]
    return Plot("Exact answers by kind of question:", [Bars(groups)], x_limits=(0, 1))


def _of_reward_model(found: Mapping[str, Any], about: str) -> Facts:
    labels = {
        "accuracy": "pairs ordered as in truth",
        "accuracy_against_labeler": f"pairs ordered as {SIMULATED} said",
        "labeler_accuracy": f"{SIMULATED} itself, against the truth",
    }
    ceiling, lead = found["labeler_accuracy"], ""
    if found["n_pairs"]:
        lead = (
            f"It is tested on {found['n_pairs']:,} pairs of answers to prompts about other items. The true order is "
            f"that of the rule of {SIMULATED}, without its errors."
        )
    note = Note(f"The ceiling: a model that always agrees with {SIMULATED} is right as often as it is, and no more.")
    blocks: list[Block] = [figures(found, labels), note]
    if ceiling["n"]:
        level = Level(ceiling["mean"], "gold", f"{SIMULATED} itself {ceiling['mean']:.2f}")
        blocks.append(Plot("Training pairs ordered correctly", [level], name="accuracy", small=True))
    if found["calibration"]:
        line = Line(points(found["calibration"], "accuracy", x="confidence"), "green")
        caption = "Held out: how sure it is, how often it is right"
        x_label, y_label = "confidence of the reward model", "ordered correctly"
        blocks.append(
            Plot(caption, [Diagonal(0.5, 1), line], small=True, x_label=x_label, y_label=y_label, x_limits=(0.48, 1.02))
        )
    return Facts(
        [Section(lead=lead, blocks=blocks, about=about)],
        [Card("reward model: pairs ordered correctly", found["accuracy"], about=about)],
        [Summary("reward model's pairwise accuracy", found["accuracy"], about=about)],
    )


def _of_aligned(found: Mapping[str, Any], about: str, names: Mapping[str, str], kl_label: str) -> Facts:
    _, sft, ppo = names.values()
    labels = {
        "gold_sft": f"gold score, {sft}",
        "gold_ppo": f"gold score, {ppo}",
        "gold_difference": "paired difference of the gold scores",
        "kl": kl_label,
        "distinct_sft": f"distinct answers per prompt, {sft}",
        "distinct_ppo": f"distinct answers per prompt, {ppo}",
        "distinct_difference": "paired difference of the distinct answers",
    }
    gap = found["gold_difference"]
    card = Card(
        f"gold score, {sft} → {ppo}", found["gold_ppo"], found["gold_sft"],
        f"difference {show(gap)} {show_interval(gap)}", about,
    )  # fmt: skip
    summary = [
        Summary(f"gold score, {sft} → {ppo}", found["gold_ppo"], found["gold_sft"], about),
        Summary("  paired difference", gap, about=about),
        Summary(f"distinct answers per prompt, {sft} → {ppo}", found["distinct_ppo"], found["distinct_sft"], about),
        Summary(f"{ppo}: {kl_label}", found["kl"], about=about),
    ]
    return Facts([Section(blocks=[figures(found, labels)], about=about)], [card], summary)


def _samples(found: Mapping[str, Any], names: Mapping[str, str]) -> Section:
    def of(row: Mapping[str, Any], models: Mapping[str, str]) -> Sample:
        answers = [[row[key]] if isinstance(row[key], str) else row[key] for key in models]
        return Sample([{"role": "user", "content": row["prompt"]}], answers, row["reference"])

    greedy = [of(row, names) for row in found["sft"]["samples"][:12]]
    sampled_by = {key: names[key] for key in ("sft", "ppo")}
    sampled = [of(row, sampled_by) for row in found["ppo"]["samples"][:8]]
    folded = f"The same, sampled at temperature 1, before and after {names['ppo']}"
    lead = f"The same held-out questions to each model, greedily: the first {len(greedy)} drawn, not the best."
    tables = [Samples(list(names.values()), greedy), Samples(list(sampled_by.values()), sampled, folded)]
    return Section("Before and after", lead, tables)
