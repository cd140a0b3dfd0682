"""What the README tells a newcomer to type exists, in both languages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READMES = ["README.md", "README.ko.md"]


def typed(readme: str) -> list[str]:
    """The commands of its blocks of code, in order, without the remarks after them."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("malmoi ", "make ", "git ", "source "))]


def test_there_is_something_to_type() -> None:
    assert sum(line.startswith("malmoi ") for line in typed("README.md")) >= 6


def test_both_readmes_have_the_same_commands_in_the_same_order() -> None:
    english, korean = map(typed, READMES)
    assert korean == english


@pytest.mark.parametrize("readme", READMES)
def test_make_targets_exist(readme: str) -> None:
    targets = [line.split()[1] for line in typed(readme) if line.startswith("make ")]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == ["demo", "install", "test"]
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


@pytest.mark.parametrize("readme", READMES)
def test_files_and_folders_that_the_readme_names_exist(readme: str) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    names = re.findall(r"`((?:src|docs|recipes)/[\w./-]+|CONTRIBUTING\.md)`", text)
    assert names and all((ROOT / name).exists() for name in names), names
