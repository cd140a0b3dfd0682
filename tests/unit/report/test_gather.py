"""What stages say comes together by what it is about; the report knows no stage by name."""

import ast
import re
from pathlib import Path

import pytest

from malmoi import report as report_package
from malmoi import stages
from malmoi.facts import Block, Card, Curve, Facts, Figure, Figures, Level, Note, Plot, Section
from malmoi.files import write_text
from malmoi.pipeline.recipe import STAGES, Recipe
from malmoi.report import summary_rows, write_report
from malmoi.report.gather import About, gather
from malmoi.stages import stage_names
from malmoi.workspace.folder import Workspace
from tests.unit.report.finished_recipe import METRICS, RECIPE, lay_out, page_of


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
