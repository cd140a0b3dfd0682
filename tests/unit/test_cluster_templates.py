"""The templates in recipes/cluster: bash reads them, and they hold only what Slurm, SkyPilot and Malmoi know."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from malmoi.pipeline.recipe import find_recipe

FOLDER = Path(__file__).parents[2] / "recipes" / "cluster"
SLURM = {
    "job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "signal", "requeue", "open-mode",
    "output",
}  # fmt: skip
SKYPILOT = {"name", "workdir", "num_nodes", "resources", "envs", "file_mounts", "setup", "run", "secrets", "volumes"}
RESOURCES = {"accelerators", "disk_size", "use_spot", "cpus", "memory", "infra", "autostop", "any_of", "ordered"}
GIVEN = {"SKYPILOT_NODE_IPS", "SKYPILOT_NUM_NODES", "SKYPILOT_NODE_RANK", "SKYPILOT_NUM_GPUS_PER_NODE"}


OF_SKYPILOT = """
import sys, yaml
from sky.utils import common_utils, schemas
found = yaml.safe_load(open(sys.argv[1]))
for wrong, given in ((False, found), (True, found | {"resourcs": {}}), (True, found | {"num_nodes": "two"})):
    try:
        common_utils.validate_schema(given, schemas.get_task_schema(), "")
        common_utils.validate_schema(given["resources"], schemas.get_resources_schema(), "")
        print("taken")
    except ValueError:
        print("refused")
"""
"""A dry run would need SkyPilot's catalogue of clouds from the internet."""


def checked_by_bash(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sbatch")), ids=lambda path: path.name)
def test_bash_reads_the_scripts_for_slurm(path: Path, tmp_path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith("#!/bin/bash\n")
    checked_by_bash(text)
    given = re.findall(r"^#SBATCH --([a-z-]+)", text, re.MULTILINE)
    assert len(given) == text.count("#SBATCH") and set(given) <= SLURM
    # Options after the first command are no options: Slurm stops reading there.
    assert text.rindex("#SBATCH") < text.index("set -euo pipefail")


def test_a_script_starts_the_ranks_that_slurm_gives_it(tmp_path: Path) -> None:
    """Stand-ins for srun, scontrol and torchrun say what they are asked."""
    bin_ = tmp_path / ".venv" / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "activate").write_text(f"export PATH={bin_}:$PATH\n")
    stand_ins = {"srun": 'exec "$@"', "scontrol": "printf 'first\\nsecond\\n'", "torchrun": 'echo "$@"'}
    for name, body in stand_ins.items():
        (bin_ / name).write_text(f"#!/bin/bash\n{body}\n")
        (bin_ / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "a[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_NODEID": "1", "SLURM_JOB_ID": "7123",
             "SLURM_GPUS_ON_NODE": "8"}  # fmt: skip
    done = subprocess.run(
        ["bash", FOLDER / "many-nodes.sbatch", "my recipe.toml", "/shared/w"], cwd=tmp_path, text=True,
        capture_output=True, env={"PATH": "/usr/bin:/bin", **slurm},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "--nnodes 2 --node-rank 1 --nproc-per-node 8 --rdzv-backend static --master-addr first --master-port 29623 "
        "-m malmoi run my recipe.toml --workspace /shared/w\n"
    )
    asked = subprocess.run(["bash", FOLDER / "one-node.sbatch"], cwd=tmp_path, text=True, capture_output=True)
    assert asked.returncode and "which recipe?" in asked.stderr


def test_skypilot_knows_what_its_file_says() -> None:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "skypilot.yaml").read_text("utf-8"))
    assert found.keys() <= SKYPILOT and found["resources"].keys() <= RESOURCES
    assert re.fullmatch(r"[A-Z0-9-]+:\d+", found["resources"]["accelerators"])
    for name in ("setup", "run"):
        checked_by_bash(found[name])
    used = set(re.findall(r"\$\{?([A-Z_]+)", found["run"])) - {"HEAD"}
    assert used == GIVEN | found["envs"].keys()
    assert find_recipe(found["envs"]["RECIPE"]).exists()


def test_skypilot_itself_takes_its_file(tmp_path: Path) -> None:
    """Its packages do not go with ours: MALMOI_TEST_SKYPILOT is the Python of an environment that has it."""
    python = os.environ.get("MALMOI_TEST_SKYPILOT") or (sys.executable if find_spec("sky") else "")
    if not python:
        pytest.skip("MALMOI_TEST_SKYPILOT: pip install skypilot in an environment of its own, and name its python")
    command = [python, "-c", OF_SKYPILOT, str(FOLDER / "skypilot.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)})
    assert done.stdout.split() == ["taken", "refused", "refused"], done.stdout + done.stderr
