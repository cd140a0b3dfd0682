"""Plans beside what was measured here: pretraining of two sizes on one and two ranks, of one thread each.

    python benchmarks/plans.py

The plan is that of `malmoi plan --machines Nxhere`: a few micro-batches, tried on all ranks now. What is measured is
the same stage, run on so many ranks by torchrun. Other work on the machine falls on both, but not equally.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from malmoi.files import read_jsonl

RECIPE = """
name = "plans"
stages = ["corpus", "tokenizer", "pretrain"]
[corpus]
packages = []
[tokenizer]
vocab_size = 2048
[pretrain]
n_steps = 24
batch_size = 8
micro_batch_size = 2
[pretrain.model]
n_layer = {n_layer}
n_embd = {n_embd}
n_head = {n_head}
n_kv_head = {n_head}
head_dim = 64
n_ff = {n_ff}
seq_len = 256
"""
SIZES = {"small": (4, 128), "larger": (6, 320)}
HERE = {**os.environ, "MALMOI_DEVICE": "cpu", "MALMOI_THREADS": "1", "OMP_NUM_THREADS": "1"}


def recipe(folder: Path, n_layer: int, n_embd: int) -> Path:
    path = folder / "plans.toml"
    path.write_text(RECIPE.format(n_layer=n_layer, n_embd=n_embd, n_head=n_embd // 64, n_ff=3 * n_embd), "utf-8")
    return path


def planned(path: Path, n_ranks: int) -> float:
    """Seconds of one step, as planned."""
    command = [sys.executable, "-m", "malmoi", "plan", str(path), "--machines", f"{n_ranks}xhere", "--json"]
    need = json.loads(subprocess.run(command, env=HERE, check=True, capture_output=True).stdout)["stages"]["pretrain"]
    return need["seconds"] / need["n_steps"]


def measured(path: Path, workspace: Path, n_ranks: int) -> float:
    """Median seconds of one step, without the first ones."""
    run = ["-m", "malmoi", "run", str(path), "--workspace", str(workspace)]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(n_ranks)] if n_ranks > 1 else []
    subprocess.run([sys.executable, *launch, *run], env=HERE, check=True, capture_output=True)
    rows = read_jsonl(next((workspace / "runs").glob("*-pretrain")) / "metrics.jsonl")
    return statistics.median(row["seconds"] for row in rows[4:])


def main() -> None:
    print("| network | ranks | planned, s a step | measured, s a step | measured / planned |\n|---|---|---|---|---|")
    for name, (n_layer, n_embd) in SIZES.items():
        for n_ranks in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                path = recipe(Path(folder), n_layer, n_embd)
                plan, found = planned(path, n_ranks), measured(path, Path(folder) / "w", n_ranks)
            print(
                f"| {name} ({n_layer} × {n_embd}) | {n_ranks} | {plan:.3f} | {found:.3f} | {found / plan:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
