"""A workspace in which everything is there for a job that improves the assistant."""

from pathlib import Path

import pytest

from malmoi.workspace.folder import Workspace
from tests.ranked_workspace import SMALL, ranked_workspace


@pytest.fixture
def small_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A tiny policy, and rankings of its answers by two people."""
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MALMOI_DATABASE_URL", raising=False)
    return ranked_workspace(tmp_path / "w", 120, n_heldout=6, seq_len=64)
