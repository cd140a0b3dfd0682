"""The worked example of CONTRIBUTING.md runs as it is printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_algorithm_passes_its_own_test(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    algorithm, its_test = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shutil.copytree(ROOT / "src" / "malmoi", tmp_path / "src" / "malmoi", symlinks=False)
    (tmp_path / "src" / "malmoi" / "algorithms" / "ipo.py").write_text(algorithm, encoding="utf-8")
    folder = tmp_path / "tests"
    folder.mkdir()
    shutil.copy(ROOT / "tests" / "unit" / "conftest.py", folder / "conftest.py")
    (folder / "test_ipo.py").write_text(its_test, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, folder],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
