"""The page of attacks names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_attack_names_a_test_that_there_is() -> None:
    page = (ROOT / "docs" / "reference" / "attacks.md").read_text("utf-8")
    rows = [row for row in page.splitlines() if row.startswith("| ") and not row.startswith(("| attack", "| **"))]
    named = [re.search(r"`(tests/\S+\.py)::(\w+)` \|$", row) for row in rows]
    assert len(rows) > 30 and all(named), rows
    for found in named:
        assert found is not None
        assert f"def {found[2]}(" in (ROOT / found[1]).read_text("utf-8"), found[0]
