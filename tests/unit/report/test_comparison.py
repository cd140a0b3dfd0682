"""A recipe that compares methods: each in one colour, with what the judge and people said."""

from pathlib import Path
from typing import Any

import pytest

from malmoi.pipeline.recipe import Recipe, read_recipe
from malmoi.report import summary_rows, write_report
from malmoi.workspace.folder import Workspace
from tests.unit.report.finished_recipe import FILES, KOREAN, METRICS, NASTY, interval, lay_out, page_of


def method(mean: float, kl: float, **more: Any) -> dict[str, Any]:
    shared = dict.fromkeys(("judge", "reward", "gain", "reward_gain", "words_gain"), interval(mean - 0.5))
    by_words = {"win_rate": interval(0.51), "corrected": interval(0.53) | {"verdict": "no difference shown"}}
    return {
        "win_rate": interval(mean), "by_words": by_words, "kl": kl, "tokens": 9.6, "finished": 0.75, **shared, **more,
    }  # fmt: skip


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
            "points": [
                {"step": n, "kl": n, **dict.fromkeys(("judge", "reward", "words"), interval(n))} for n in (0, 2, 4)
            ],
            "best": 2, "fall": interval(-0.5),
        }
    },
    "models": {"reward": MODEL | {"disagreement": {"divided": 0.25, "accuracy_divided": None}}, "judge": MODEL},
    "other_judge": {"accuracy": interval(0.57), "n_pairs": 36, "alarm": ""},
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
    align = read_recipe(Path(__file__).parents[2] / "e2e" / "align.toml", sources)
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
    assert "counted words, shares no network" in page and "0.530" in page and "No verdict by it" not in page
    assert "highest at step 2 of 4" in page and "it was over-optimised" in page
    assert "GRPO, step 2: only 5% of the answers differ" in page and report["alarms"]
    rows = {figure: shown for figure, *shown in summary_rows(report)}
    assert rows["DPO against SFT (KL 1.00): better"] == ["0.700", "[0.680, 0.720]"]
    # An earlier version did not look for the judge's error.
    assert "GRPO against SFT (KL 4.00): the judge's error is not known" in rows
    assert rows["judge model: people's pairs"][0] == "0.600"
    assert "best of 1: wins" not in " ".join(rows)
