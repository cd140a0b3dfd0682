"""A folder for what is fetched."""

from pathlib import Path

import pytest


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    (tmp_path / "dest").mkdir()
    return tmp_path / "dest"
