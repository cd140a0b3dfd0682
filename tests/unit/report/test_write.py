"""What a report says: right figures, nothing invented."""

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from malmoi.errors import DataError
from malmoi.evals.interval import bootstrap
from malmoi.facts import show
from malmoi.files import write_json
from malmoi.pipeline.recipe import STAGES
from malmoi.report import summary_rows, summary_table, write_report
from malmoi.units import duration
from malmoi.workspace.folder import Workspace
from tests.unit.report.finished_recipe import EVAL, FILES, METRICS, RECIPE, interval, lay_out, page_of, report_of


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


def test_summary_fits_a_terminal_and_carries_alarms(whole: Workspace) -> None:
    report = report_of(whole)
    assert ("drilled questions, exact answers, base → SFT", "0.020 → 0.750", "[0.730, 0.770]") in summary_rows(report)
    report["alarms"] = ["PPO, step 9: KL [over] the budget"]
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        console.print(summary_table(report))
    lines = capture.get().splitlines()
    assert len(lines) == 2 + len(summary_rows(report))
    assert "held out" in lines[0] and "alarm: PPO, step 9: KL [over] the budget" in lines[-1]
    with console.capture() as capture:  # the recipe `answers` has no figures of what it learned
        console.print(summary_table(report | {"summary": [], "alarms": []}))
    assert [line.split()[0] for line in capture.get().splitlines()] == ["time", "peak"]


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
