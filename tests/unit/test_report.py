"""The report: right figures, nothing invented, a page that holds itself together."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from malmoi import report as report_package
from malmoi import stages
from malmoi.errors import DataError
from malmoi.evals.interval import bootstrap
from malmoi.facts import (
    Bar,
    Bars,
    Block,
    Card,
    Curve,
    Diagonal,
    Facts,
    Figure,
    Figures,
    Group,
    Judged,
    Level,
    Line,
    Note,
    Plot,
    Ranked,
    Section,
    Trail,
    show,
)
from malmoi.files import write_json, write_jsonl, write_text
from malmoi.pipeline.recipe import STAGES, Recipe, read_recipe
from malmoi.pipeline.run import Done
from malmoi.report import summary_rows, summary_table, write_report
from malmoi.report.gather import About, gather
from malmoi.report.page import render
from malmoi.report.plots import PLACEHOLDERS, Hues, draw, key_of, wide_enough
from malmoi.stage import InputsByRole
from malmoi.stages import find_stage, stage_names
from malmoi.units import duration
from malmoi.workspace.folder import Workspace

RECIPE = read_recipe(Path(__file__).parents[2] / "recipes" / "nano.toml")
NASTY = '</td><script>alert("1")</script> & <b>'
KOREAN = "말모이는 무엇입니까?"
BARE: dict[str, Any] = {
    "seconds": {"total": 1.0, "a": 1.0}, "peak_memory_bytes": 1, "alarms": [], "runs": {}, "versions": {},
}  # fmt: skip


def interval(mean: float) -> dict[str, Any]:
    return {"mean": mean, "low": mean - 0.02, "high": mean + 0.02, "n": 300}


EVAL: dict[str, Any] = {
    "pretrain": {"bpb_before": 3.5, "bpb_after": 1.3, "bpb_xz": 2.6, "bpb_xz_primed": 1.6},
    "sft": {
        "exact_base": interval(0.02),
        "exact_sft": interval(0.75),
        "exact_ppo": interval(0.77),
        "exact_unseen_items": interval(0.2),
        "exact_by_kind": {"kind": interval(0.97), "costs $5 and $6": interval(0.5)},
        "exact_ppo_by_kind": {"kind": interval(0.98)},
        "samples": [{"prompt": KOREAN, "reference": "Yes.", "base": NASTY, "sft": "Yes.", "ppo": "No."}],
    },
    "reward": {
        "accuracy": interval(0.8),
        "accuracy_against_labeler": interval(0.6),
        "labeler_accuracy": interval(0.75),
        "calibration": [{"confidence": 0.6, "accuracy": 0.55, "n": 9}, {"confidence": 0.8, "accuracy": 0.9, "n": 9}],
        "n_pairs": 1234,
    },
    "ppo": {
        "gold_sft": interval(0.5),
        "gold_ppo": interval(0.6),
        "gold_difference": interval(0.1),
        "kl": 2.5,
        "distinct_sft": interval(0.8),
        "distinct_ppo": interval(0.7),
        "alarms": {},
        "samples": [{"prompt": "a?", "reference": "b", "sft": ["c", NASTY], "ppo": ["b", "b"]}],
    },
}
METRICS: dict[str, list[dict[str, Any]]] = {
    "pretrain": [
        {"step": 1, "loss": 8.0, "seconds": 0.5, "count": 100},
        {"step": 2, "loss": 4.0, "bpb": 1.3, "seconds": 1.5, "count": 300},
    ],
    "sft": [{"step": 1, "loss": 5.0, "seconds": 1.0, "count": 10}],
    "reward": [{"step": n, "loss": 0.7, "accuracy": 0.5 + n / 100, "seconds": 1.0, "count": 4} for n in range(1, 9)],
    "ppo": [
        {"step": n, "loss": 0.1, "score": n // 2 / 10, "gold": 0.5, "kl": n // 2 / 5, "entropy": 1.0,
         "response_tokens": 9.5, "distinct": 0.9, "seconds": 1.0, "count": 40}
        for n in range(1, 9)
    ],
}  # fmt: skip
FILES: dict[str, dict[str, Any]] = {
    "corpus": {
        "corpus.json": {
            "documents": {"train": 95, "heldout": 5}, "bytes": {"train": 9_500_000, "heldout": 500_000},
            "origins": {"human": 100}, "licenses": {"MIT": 100}, "dropped": {}, "skipped": {},
        }
    },
    "tokenizer": {"report.json": {"held-out": {"malmoi": 3.5, "gpt2": 3.9}}},
    "natural": {"natural.json": {"n": 0}},
    "index": {"index/index.json": {"files": 100, "passages": 700, "languages": {"English": 700}}},
    "pretrain": {"model/malmoi.json": {"bpb_before": 3.5, "bpb_after": 1.3}},
    "demonstrations": {
        "train.jsonl": [{"messages": [{"role": "user", "content": KOREAN}, {"role": "assistant", "content": NASTY}]}]
    },
    "sft": {"model/malmoi.json": {}},
    "sample": {},
    "rank": {
        "labeler.json": {"rule": "Simulated, not a person.", "sigma": 0.3, "simulated": True},
        "train.jsonl": [
            {"messages": [{"role": "user", "content": "a?"}], "answers": ["c", "b", NASTY], "ranks": [2, 1, 2],
             "person": "simulated-1", "simulated": True}
        ],
    },
    "reward": {"model/malmoi.json": {}},
    "ppo": {"model/malmoi.json": {"alarms": {}}},
    "eval": {"eval.json": EVAL},
}  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


def lay_out(workspace: Workspace, stages: tuple[str, ...] = STAGES, recipe: Recipe = RECIPE) -> dict[str, Done]:
    """Runs as the pipeline leaves them, each 10 s of work that is already done."""
    run_ids = {stage: f"{number:04d}-{stage}" for number, stage in enumerate(recipe.stages, start=1)}
    out = {stage: workspace.runs / run_id / "out" for stage, run_id in run_ids.items()}
    done = {}
    for number, stage in enumerate(stages, start=1):
        folder = out[stage].parent
        settings = recipe[stage].model_dump(mode="json")
        write_json(folder / "config.json", {"settings": settings, "inputs": {"corpus": "ab" * 32}})
        for name, value in FILES.get(stage, {}).items():
            (write_jsonl if name.endswith("l") else write_json)(folder / "out" / name, value)
        if stage in METRICS:
            write_jsonl(folder / "metrics.jsonl", METRICS[stage])
        reads = InputsByRole(
            {
                role: tuple(find_stage(one.stage).output(one.kind, out[one.stage]) for one in bindings)
                for role, bindings in recipe.bindings[stage].items()
            }
        )
        done[stage] = Done(stage, run_ids[stage], out[stage], f"{number:02d}" * 32, 10.0, skipped=True, reads=reads)
    return done


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the report of all stages."""
    workspace = Workspace.open(tmp_path_factory.mktemp("whole"))
    write_report(RECIPE, workspace, lay_out(workspace), wall_seconds=0.0)
    return workspace


def report_of(workspace: Workspace) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((workspace.path / "report.json").read_text(encoding="utf-8"))
    return report


def page_of(workspace: Workspace) -> str:
    return (workspace.path / "report.html").read_text(encoding="utf-8")


def test_json_holds_what_was_measured_and_what_it_took(whole: Workspace) -> None:
    report = report_of(whole)
    for section, figures in EVAL.items():
        assert {key: report[section][key] for key in figures} == figures
    assert report["pretrain"]["tokens_per_s"] == 200.0  # 400 tokens in 2 s
    assert (report["recipe"], report["seed"]) == (RECIPE.name, RECIPE.seed)
    assert set(report["seconds"]) == {*STAGES, "other", "report", "total"}
    assert set(report["versions"]) >= {"malmoi", "python", "torch", "numpy", "tokenizers", "platform", "cpu"}
    assert report["runs"]["ppo"] == {"run": "0010-ppo", "sha256": "10" * 32}
    assert report["peak_memory_bytes"] > 50e6
    assert [path.name for path in whole.path.iterdir() if "partial" in path.name] == []


def test_total_counts_earlier_work_and_the_rest_of_this_process(workspace: Workspace) -> None:
    done = lay_out(workspace, ("corpus", "tokenizer", "pretrain"))
    done["pretrain"] = replace(done["pretrain"], seconds=5.0, skipped=False)
    seconds = write_report(RECIPE, workspace, done, wall_seconds=7.0)["seconds"]
    assert seconds["other"] == pytest.approx(2.0)
    assert seconds["total"] == pytest.approx(10 + 10 + 5 + 2 + seconds["report"])


def test_peak_of_an_earlier_report_counts_while_its_runs_do(workspace: Workspace) -> None:
    done = lay_out(workspace, ("corpus", "tokenizer"))
    path = workspace.path / "report.json"
    write_json(path, {"peak_memory_bytes": 10**15, "runs": {"corpus": {"run": done["corpus"].run_id}}})
    assert write_report(RECIPE, workspace, done, 0.0)["peak_memory_bytes"] == 10**15
    anew = {stage: replace(made, skipped=False) for stage, made in done.items()}
    assert write_report(RECIPE, workspace, anew, 0.0)["peak_memory_bytes"] < 10**15
    write_json(path, {"peak_memory_bytes": 10**15, "runs": {"corpus": {"run": "0077-corpus"}}})
    assert write_report(RECIPE, workspace, done, 0.0)["peak_memory_bytes"] < 10**15


def test_figures_of_nothing_are_shown_as_such(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """All held-out answers tied: there is no pair to judge a reward model by, and the report says so."""
    nothing = bootstrap([]).to_row()
    tied = EVAL["reward"] | {"accuracy": nothing, "labeler_accuracy": nothing, "calibration": []}
    monkeypatch.setitem(FILES["eval"], "eval.json", EVAL | {"reward": tied})
    write_report(RECIPE, workspace, lay_out(workspace), wall_seconds=1.0)
    page = page_of(workspace)
    assert "nothing to measure" in page and "None" not in page
    rows = {figure: shown for figure, *shown in summary_rows(report_of(workspace))}
    assert rows["reward model's pairwise accuracy"] == ["–", "nothing to measure"]


def test_page_is_whole_and_asks_nothing_of_the_network(whole: Workspace) -> None:
    page = page_of(whole)
    assert not re.search(r"https?:|<script|<link|<img|@import|url\((?!#)|\ssrc=", page)
    open_tags: list[str] = []
    ids: Counter[str] = Counter()

    class Check(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            ids.update(value or "" for name, value in attrs if name == "id")
            if tag not in ("meta", "br"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Check().feed(page)
    assert open_tags == []
    assert max(ids.values()) == 1
    referred = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert referred <= set(ids)


def test_page_shows_text_of_any_kind_as_it_is(whole: Workspace) -> None:
    page = page_of(whole)
    assert page.count(KOREAN) == 2  # a demonstration and a sample
    assert "&lt;/td&gt;&lt;script&gt;alert" in page
    assert "costs $5 and $6" in page
    assert "GPT-2 3.900" in page
    assert page.count("simulated labeler") > 5
    assert not re.search(r"(?<!simulated )labeler(?!_)", page.replace("labeler.json", ""))


def test_stages_that_were_not_run_are_left_out(workspace: Workspace) -> None:
    report = write_report(RECIPE, workspace, lay_out(workspace, ("corpus", "tokenizer", "pretrain")), 0.0)
    assert {"sft", "reward", "ppo"}.isdisjoint(report)
    assert report["pretrain"] == {"bpb_before": 3.5, "bpb_after": 1.3, "tokens_per_s": 200.0}
    assert report["alarms"] == []
    headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", page_of(workspace))
    assert headings == ["Corpus", "Tokenizer", "Pretraining", "Time", "Settings and lineage"]
    assert [row[0] for row in summary_rows(report)] == [
        "held-out bits per byte, before → after", "pretraining tokens per second", "time in all", "peak memory",
    ]  # fmt: skip


def test_ppo_without_an_evaluation_still_tells_its_kl_and_alarms(workspace: Workspace) -> None:
    done = lay_out(workspace, ("ppo",))
    alarms = {"collapse": "step 3: all <alike>"}
    write_json(done["ppo"].out / "model" / "malmoi.json", {"alarms": alarms})
    report = write_report(RECIPE, workspace, done, 0.0)
    assert report["ppo"] == {"alarms": alarms, "kl": METRICS["ppo"][-1]["kl"]}
    assert report["alarms"] == ["PPO, step 3: all <alike>"]
    assert "PPO, step 3: all &lt;alike&gt;" in page_of(workspace)
    assert "No alarm" not in page_of(workspace)


def test_a_torn_earlier_report_is_named(workspace: Workspace) -> None:
    (workspace.path / "report.json").write_text("{")
    with pytest.raises(DataError, match=r"report\.json: not valid JSON"):
        write_report(RECIPE, workspace, lay_out(workspace, ("corpus",)), 0.0)
    assert not (workspace.path / "report.html").exists()


def test_plots_are_drawn_in_the_colours_of_the_page(whole: Workspace) -> None:
    captions = re.findall(r"<figcaption>([^<]+?)\s*(?:<|$)", page_of(whole))
    assert captions == [
        "Training loss, nats per token", "Held-out bits per byte", "Training loss, nats per answer token",
        "Exact answers by kind of question:", "Training loss, nats per pair",
        "Training pairs ordered as the simulated labeler said; a tie counts half",
        "Held out: how sure it is, how often it is right", "Score by the reward model",
        "Gold, by the rule of the simulated labeler", "Reward against gold, pale to dark as it learns",
        "KL to the SFT model, nats per answer", "Entropy, nats per token", "Length of the answers, tokens",
        "Share of the sampled answers that differ",
    ]  # fmt: skip
    drawings = re.findall(r"<svg viewBox.*?</svg>", page_of(whole), re.DOTALL)
    assert len(drawings) == len(captions)
    for svg in drawings:
        assert not any(placeholder in svg for placeholder in PLACEHOLDERS.values())
        assert "font-family" not in svg
        # What is left in a colour of its own would vanish on dark paper.
        assert not re.search(r"#[0-9a-f]{6}", svg)
    by_caption = dict(zip(captions, drawings, strict=True))
    assert "var(--rust)" in by_caption["Exact answers by kind of question:"]
    # What the evaluation measured is drawn into the plots of the stages that it is about.
    assert "the simulated labeler itself 0.75" in by_caption[captions[5]]
    assert "xz -9, primed 1.60" in by_caption["Held-out bits per byte"]


def test_every_layer_is_drawn() -> None:
    points, value = [(1.0, 0.5), (2.0, 0.7), (4.0, 0.6)], {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 3}
    for layer, drawn in (
        (Curve(points, "blue"), ("var(--blue)", 2)),
        (Line(points, "green", "a", [(0.4, 0.6)] * 3, [1]), ("var(--green)", 5)),
        (Trail(points, "rust"), ("var(--rust)", 3)),
        (Level(0.5, "gold", "the ceiling"), ("the ceiling", 1)),
        (Diagonal(0.5, 1), ("var(--grey)", 1)),
        (Bars([Group("kind", [Bar("a", "violet", value), Bar("b", "teal", value)], 0.3)], 0.5), ("var(--teal)", 1)),
    ):
        svg = draw(Plot("", [layer]), Hues(), "salt")
        assert svg.count(drawn[0]) >= drawn[1], layer


def test_a_name_has_one_hue_on_a_page_and_two_names_have_two() -> None:
    hues = Hues()
    assert [hues("ppo"), hues("kto"), hues("ppo"), hues("gold")] == ["rust", "violet", "rust", "gold"]
    plot = Plot("", [Line([(0, 0)], "kto", "KTO"), Level(0, "blue", "SFT"), Line([(1, 1)], "gold", "best of n")])
    assert [(label, hues(colour)) for label, colour in key_of(plot)] == [("KTO", "violet"), ("best of n", "gold")]


def test_long_runs_draw_no_more_than_short_ones() -> None:
    points = [(n, 1 / n) for n in range(1, 20_001)]
    assert len(draw(Plot("", [Curve(points, "ink")]), Hues(), "")) < 30_000


def test_what_is_said_later_under_the_same_label_is_shown_in_its_place() -> None:
    told = About("sft")
    level, curve = Level(0.5, "gold", "ceiling"), Curve([(1, 2)], "blue")
    told.add(Section("SFT", "It learns.", [Plot("Accuracy", [curve], name="accuracy")]), "sft")
    told.add(Section(blocks=[Note("n"), Figures([Figure("kl", 1), Figure("exact", 2)])]), "sft")
    told.add(Section(lead="It was asked.", blocks=[Figures([Figure("kl", 3)])], about="sft"), "eval")
    told.add(Section(blocks=[Plot("Ceiling", [level], name="accuracy")], about="sft"), "eval")
    told.add(Section("Samples", about="sft"), "eval")
    first, part = told.sections
    expected: list[Block] = [Figures([Figure("kl", 3), Figure("exact", 2)]), Note("n")]
    assert (first.title, first.lead, first.blocks) == ("SFT", "It learns. It was asked.", expected)
    assert first.grids == [[Plot("Accuracy", [curve, level], name="accuracy")]]
    assert part.title == "Samples"
    assert About("silent").sections == []


def test_what_is_about_no_stage_of_the_recipe_stays_with_the_stage_that_says_it() -> None:
    facts = Facts([Section("On the policy", about="policy")], [Card("exact", 0.5, about="policy")])
    told = gather({"sft": Facts(), "eval": facts})
    assert [section.title for section in told["eval"].sections] == ["eval", "On the policy"]
    assert list(told["eval"].cards) == ["exact"] and told["sft"].sections == []


def method(mean: float, kl: float, **more: Any) -> dict[str, Any]:
    shared = dict.fromkeys(("judge", "reward", "gain", "reward_gain"), interval(mean - 0.5))
    return {"win_rate": interval(mean), "kl": kl, "tokens": 9.6, "finished": 0.75, **shared, **more}


MODEL = {
    "n_pairs": 36, "accuracy": interval(0.6), "temperature": 1.5, "by_source": {"web": {"accuracy": interval(0.6)}},
    "calibration": [{"confidence": 0.6, "accuracy": 0.7, "n": 9}],
}  # fmt: skip
COMPARED: dict[str, Any] = {
    "judge": "a reward model that nothing was trained against",
    "n_prompts": 8,
    "temperature": 0.7,
    "methods": {
        "sft": method(0.5, 0.0, distinct=0.5, disagreement=interval(0.1)),
        "dpo": method(
            0.7, 1.0, distinct=0.6, best_of_n_there={"win_rate": 0.58},
            corrected=interval(0.7) | {"verdict": "better"}, against_longer=interval(0.6),
            against_longer_corrected=interval(0.6) | {"verdict": "better"},
        ),
        "grpo": method(0.6, 4.0, distinct=0.6, best_of_n_there=None),
        **{f"best of {n}": method(0.5 + n / 50, n / 4) for n in (1, 4)},
    },
    "curves": {
        "grpo": {
            "points": [{"step": n, "kl": n, "judge": interval(n), "reward": interval(n)} for n in (0, 2, 4)],
            "best": 2, "fall": interval(-0.5),
        }
    },
    "models": {"reward": MODEL | {"disagreement": {"divided": 0.25, "accuracy_divided": None}}, "judge": MODEL},
    "annotators": {"web": {"without_ties": 0.75, "n_pairs": 150}},
    "agreement": interval(0.64),
    "samples": [
        {"messages": [{"role": "system", "content": NASTY}, {"role": "user", "content": KOREAN}], "source": "web",
         "answers": {name: f"{name} says" for name in ("sft", "dpo", "grpo", "best of 4")}}
    ],
}  # fmt: skip
ALIGNED: dict[str, dict[str, Any]] = {
    "base": {},
    "data": {
        "data.json": {"by_source": {"train": {"web": 82}, "heldout": {}}, "rows": {"train": 82, "heldout": 0}},
        "rankings.train.jsonl": [{"messages": [], "answers": ["a", "b"], "ranks": [1, 2], "source": "web"}],
    },
    "sft": {},
    "reward": {},
    "judge": {},
    "dpo": {},
    "grpo": {"model/malmoi.json": {"alarms": {"collapse": "step 2: only 5% of the answers differ"}}},
    "compare": {"compare.json": COMPARED},
}


def test_a_comparison_has_its_methods_in_one_colour_each(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage, files in ALIGNED.items():
        monkeypatch.setitem(FILES, stage, files)
    for stage, like in (("judge", "reward"), ("dpo", "sft"), ("grpo", "ppo")):
        monkeypatch.setitem(METRICS, stage, METRICS[like])
    sources = ['data.rankings=["web.jsonl"]', 'data.conversations=["chats.jsonl"]']
    align = read_recipe(Path(__file__).parents[1] / "e2e" / "align.toml", sources)
    recipe = Recipe.of(align.table() | {"stages": list(ALIGNED)})
    report = write_report(recipe, workspace, lay_out(workspace, recipe.stages, recipe), 0.0)
    page = page_of(workspace)
    assert report["compare"] == COMPARED and report["grpo"]["kl"] == METRICS["ppo"][-1]["kl"]
    assert {f'id="{stage}"' in page for stage in ALIGNED} == {True}
    assert "simulated" not in page.replace("the rule of the simulated labeler", "")
    assert "Training pairs ordered as people said" in page
    assert page.count(KOREAN) == 1 and "system: &lt;/td&gt;" in page and "grpo says" in page
    # DPO is drawn first: its hue is the first free one, in its own section and next to the others.
    own = page[page.index('<h2 id="dpo">') : page.index('<h2 id="grpo">')]
    assert "var(--rust)" in own and "var(--violet)" not in own
    assert '<i style="background: var(--rust)"></i>DPO' in page
    assert '<i style="background: var(--violet)"></i>GRPO' in page
    assert "highest at step 2 of 4" in page and "it was over-optimised" in page
    assert "GRPO, step 2: only 5% of the answers differ" in page and report["alarms"]
    rows = {figure: shown for figure, *shown in summary_rows(report)}
    assert rows["DPO against SFT (KL 1.00): better"] == ["0.700", "[0.680, 0.720]"]
    # An earlier version did not look for the judge's error.
    assert "GRPO against SFT (KL 4.00): the judge's error is not known" in rows
    assert rows["judge model: people's pairs"][0] == "0.600"
    assert "best of 1: wins" not in " ".join(rows)


OTHERS = '''"""A stage of somebody else's."""
from malmoi.config import Settings
from malmoi.facts import Card, Curve, Facts, Figure, Figures, Plot, Section, Summary, points
from malmoi.stage import required

READS = {"policy": required("policy")}
MAKES = {"measurements": "found.json"}

def run(context, settings):
    pass

def facts(finished):
    about = finished.reads("policy").source
    plot = Plot("Shortness <b>", [Curve(points(finished.metrics, "loss"), finished.stage)], x_label="step")
    said = Section(blocks=[Figures([Figure("short", 0.25)])], about=about)
    return Facts(
        [Section("Conciseness", "How short & sweet.", [plot]), said],
        [Card("shortness", 0.25, 0.5)], [Summary("shortness", 0.25, 0.5)], ["too <short>"], ["Short is below ten."],
        {finished.stage: {"short": 0.25}},
    )
'''


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages that are no part of Malmoi: one with facts, one without."""
    folder = tmp_path / "others"
    write_text(folder / "concise.py", OTHERS)
    write_text(folder / "silent.py", OTHERS.partition("def facts")[0])
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(folder)])


@pytest.mark.usefixtures("others")
def test_a_stage_of_somebody_else_is_shown_without_another_line(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (*STAGES[: STAGES.index("sft") + 1], "concise", "silent")
    recipe = Recipe.of(RECIPE.table() | {"stages": list(names)})
    monkeypatch.setitem(METRICS, "concise", METRICS["sft"] * 3)
    report = write_report(recipe, workspace, lay_out(workspace, names, recipe), 0.0)
    page = page_of(workspace)
    assert re.findall(r"<h2[^>]*>([^<]+)</h2>", page)[-4:] == [
        "Supervised fine-tuning", "Conciseness", "Time", "Settings and lineage",
    ]  # fmt: skip
    of_sft, _, own = page[page.index('<h2 id="sft">') :].partition('<h2 id="concise">')
    assert "short</th>" in of_sft and "short</th>" not in own
    assert "How short &amp; sweet." in own and "Shortness &lt;b&gt;" in own and "var(--rust)" in own
    assert "too &lt;short&gt;" in page and "Short is below ten." in page
    assert report["concise"] == {"short": 0.25} and report["alarms"] == ["too <short>"]
    assert ("shortness", "0.500 → 0.250", "") in summary_rows(report)
    # Without facts: in the ring, which leads to its run, and in times, settings and lineage; nowhere else.
    assert 'href="#silent"' in page and '<tr id="silent">' in page
    assert page.count("silent") == 7 and report["runs"]["silent"]["run"] == "0008-silent"


def test_the_report_knows_no_stage_by_name() -> None:
    known = set(stage_names())
    for path in sorted(Path(next(iter(report_package.__path__))).iterdir()):
        if path.suffix == ".py":
            words = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            assert not words & known, path.name
        elif path.is_file():
            assert not re.search(rf"[\"'#-]({'|'.join(known)})[\"')]", path.read_text()), path.name


def test_the_contents_lead_to_every_heading_and_the_talk_is_a_command(whole: Workspace) -> None:
    page = page_of(whole)
    contents = page[page.index('<nav class="contents"') : page.index("</nav>")]
    assert re.findall(r'href="#([^"]+)"', contents) == re.findall(r'<h2 id="([^"]+)"', page)
    assert re.findall(r">([^<]+)</a>", contents) == re.findall(r"<h2[^>]*>([^<]+)</h2>", page)
    assert "malmoi chat ppo --workspace workspace" in page or "malmoi chat ppo --workspace whole" in page


def test_the_first_screen_is_what_a_stage_says_it_is(workspace: Workspace) -> None:
    asked = [{"role": "user", "content": KOREAN}]
    blocks = [Judged(asked, NASTY, True, "because <it> is"), Judged(asked, "", False), Note("not chosen")]
    opening = Section("What people ask", "Asked by people.", blocks)
    page = render(BARE, ["a", "b"], {}, {}, {}, [], [opening], "malmoi chat it")
    assert page.index("What people ask") < page.index('<div class="cards">')
    first = page[page.index('<section class="opening">') : page.index("</section>")]
    assert first.count(KOREAN) == 2 and "✓ right" in first and "✗ wrong" in first and "(nothing)" in first
    assert "because &lt;it&gt; is" in first and "&lt;script&gt;" in first and "malmoi chat it" in page


def test_noise_is_drawn_as_small_as_it_is() -> None:
    assert wide_enough(0.0, 1.0) == (0.0, 1.0)
    low, high = wide_enough(0.50, 0.51)
    assert low < 0.45 and high > 0.56 and (low + high) / 2 == pytest.approx(0.505)
    assert wide_enough(-2.01, -2.0)[1] > -1.8
    assert wide_enough(0.0, 0.0) == (0.0, 0.0)


def test_a_ranking_is_shown_with_its_scores() -> None:
    ranked = Ranked([(1, "good"), (2, "bad")], [0.91234, 0.2])
    page = render(BARE, ["a", "b"], {}, {}, {}, [], [Section("A", blocks=[ranked])])
    assert 'good</td><td class="number">0.912<' in page and 'bad</td><td class="number">0.200<' in page


def test_summary_fits_a_terminal_and_carries_alarms(whole: Workspace) -> None:
    report = report_of(whole)
    assert ("drilled questions, exact answers, base → SFT", "0.020 → 0.750", "[0.730, 0.770]") in summary_rows(report)
    report["alarms"] = ["PPO, step 9: KL [over] the budget"]
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        console.print(summary_table(report))
    lines = capture.get().splitlines()
    assert len(lines) == 2 + len(summary_rows(report))
    assert "alarm: PPO, step 9: KL [over] the budget" in lines[-1]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.12345, "0.123"), (12, "12"), (33_412.7, "33,413"), (interval(0.5), "0.500"), (-1, "-1")]
)
def test_figures_for_people(value: Any, shown: str) -> None:
    assert show(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (59.4, "59.4 s"), (59.96, "1 min 0 s"), (312, "5 min 12 s")]
)
def test_durations_for_people(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_torch_and_matplotlib_wait_until_a_report_is_written() -> None:
    code = "import sys, malmoi.report; sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
