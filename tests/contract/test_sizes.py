"""No file is longer than 450 lines and no function longer than 60, its signature included."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_IN_FILE, MOST_IN_FUNCTION = 450, 60
SUFFIXES = {".py", ".c", ".h", ".jinja", ".css", ".ts", ".tsx"}
TEXTS = {"web/src/text/en.ts", "web/src/text/ko.ts"}
"""The pages' texts, one a line: tables to look up in, not code to read from top to bottom."""
FILES = sorted(
    path
    for folder in ("src", "tests", "benchmarks", "web/src")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in SUFFIXES and "static" not in path.parts
)


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_read() -> None:
    assert {path.suffix for path in FILES} == SUFFIXES


def test_no_file_is_too_long() -> None:
    lengths = {where(path): path.read_text(encoding="utf-8").count("\n") for path in FILES}
    assert {name: length for name, length in lengths.items() if length > MOST_IN_FILE and name not in TEXTS} == {}


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{where(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in FILES
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > MOST_IN_FUNCTION} == {}
