"""A workspace with the report of all stages."""

import pytest

from malmoi.report import write_report
from malmoi.workspace.folder import Workspace
from tests.unit.report.finished_recipe import RECIPE, lay_out


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the report of all stages."""
    workspace = Workspace.open(tmp_path_factory.mktemp("whole"))
    write_report(RECIPE, workspace, lay_out(workspace), wall_seconds=0.0)
    return workspace
