"""How often code uses a name."""

import ast
from pathlib import Path

from benchmarks.used_names import count_files, exists, used_names

SOURCE = """
import os
import numpy as np
from collections import defaultdict as dd
from pathlib import Path

def read(folder: Path, input):
    found = dd(list)
    print(os.path.join(folder, "a"), input(), np.array([1]))
    folder.exists()
    found.items()
    return " ".join(unknown.split()) + unknown.nothing()
"""


def test_names_are_resolved_through_imports_types_and_literals() -> None:
    found = used_names(ast.parse(SOURCE))
    assert {
        "os",
        "os.path",
        "os.path.join",
        "collections.defaultdict",
        "print",
        "list",
        "str.join",
        "str.split",
    } <= found
    assert {"pathlib.Path", "pathlib.Path.exists", "collections.defaultdict.items"} <= found
    assert not {"input", "dd", "Path", "str.nothing"} & found


def test_only_names_that_exist_in_the_library_count(tmp_path: Path) -> None:
    for n in range(2):
        (tmp_path / f"{n}.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("def (")
    counts = count_files(sorted(tmp_path.iterdir()))
    assert counts["os.path.join"] == 2 and counts["pathlib.Path.exists"] == 2
    assert not any(name.startswith("numpy") for name in counts)
    assert exists("str.split") and not exists("str.nothing") and not exists("os._exit")
