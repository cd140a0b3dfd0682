"""Lists of nothing say so, and what makes the first one."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.workspace.folder import Workspace


@pytest.mark.parametrize(("command", "says"), [("versions", "no version yet"), ("jobs", "no job yet")])
def test_an_empty_list_names_the_command_that_fills_it(tmp_path: Path, command: str, says: str) -> None:
    Workspace.open(tmp_path / "new")
    shown = CliRunner().invoke(app, [command, "list", "--workspace", str(tmp_path / "new")])
    assert shown.exit_code == 0 and shown.output.startswith(says) and "malmoi improve" in shown.output
    rows = CliRunner().invoke(app, [command, "list", "--json", "--workspace", str(tmp_path / "new")])
    assert rows.output.strip() == "[]"
