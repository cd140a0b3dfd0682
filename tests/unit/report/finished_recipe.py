"""Finished runs as the pipeline leaves them, and the report that is written from them."""

import json
from pathlib import Path
from typing import Any

from malmoi.files import write_json, write_jsonl
from malmoi.pipeline.recipe import STAGES, Recipe, read_recipe
from malmoi.pipeline.run import Done
from malmoi.stage import InputsByRole
from malmoi.stages import find_stage
from malmoi.workspace.folder import Workspace

RECIPE = read_recipe(Path(__file__).parents[3] / "recipes" / "nano.toml")
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


def report_of(workspace: Workspace) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((workspace.path / "report.json").read_text(encoding="utf-8"))
    return report


def page_of(workspace: Workspace) -> str:
    return (workspace.path / "report.html").read_text(encoding="utf-8")
