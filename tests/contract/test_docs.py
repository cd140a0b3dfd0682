"""What the documents name exists: pages, headings, files, and what is in them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from malmoi.pipeline.recipe import Recipe, read_recipe
from malmoi.stages import find_stage, stage_names

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md"])
EXAMPLES = {"algorithms/ipo.py", "stages/votes.py", "data/test_stack_exchange.py", "algorithms/test_ipo.py"}
"""Files that a guide tells how to write."""
PLACES = [ROOT / place for place in (".", "src", "src/malmoi", "tests", "tests/unit", "tests/golden")]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def files_named(page: Path) -> Iterator[tuple[str, str]]:
    """(path, name in it) of every file of code that a page names, such as `train/loop.py:fit`."""
    for path, name in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|c|h|jinja))(?::{1,2}(\w+))?`", text_of(page)):
        if not any(path.endswith(example) for example in EXAMPLES):
            yield path, name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text_of(page)):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors_of(there), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_of_code_that_is_named_exists(page: Path) -> None:
    for path, name in files_named(page):
        found = [place / path for place in PLACES if (place / path).exists()]
        assert found, path
        assert not name or re.search(rf"\b{name}\b", found[0].read_text(encoding="utf-8")), f"{path}:{name}"


def test_every_link_of_the_map_leads_somewhere() -> None:
    targets = re.findall(r'href="([^"#]+)"', (DOCS / "map.svg").read_text(encoding="utf-8"))
    assert len(targets) > 20 and all((DOCS / target).exists() for target in targets), targets


def test_the_page_about_recipes_has_every_kind_and_who_makes_it() -> None:
    page = DOCS / "reference" / "recipes.md"
    rows = re.findall(r"^\| ([\w ,]+) \|.*\| ([^|]+) \|$", text_of(page), flags=re.MULTILINE)
    told = {kind: set(re.findall(r"\w+", makers)) for kinds, makers in rows for kind in kinds.split(", ")}
    for name in stage_names():
        for kind in find_stage(name).makes:
            assert name in told[kind], (kind, name)


def test_the_recipe_on_that_page_is_one(tmp_path: Path) -> None:
    text = (DOCS / "reference" / "recipes.md").read_text(encoding="utf-8")
    recipe, reads = re.findall(r"^```toml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.toml").write_text(recipe)
    assert read_recipe(tmp_path / "mine.toml").bindings["reward"]["rankings"][0].stage == "data"
    (tmp_path / "reads.toml").write_text(f'stages = ["rank", "reward"]\n[reward]\nn_steps = 1\n{reads}')
    with pytest.raises(Exception, match="rank needs answers"):
        read_recipe(tmp_path / "reads.toml")
    (tmp_path / "reads.toml").write_text(
        f'stages = ["rank", "reward"]\n[rank.reads]\nanswers = "0006-sample"\n[reward]\nn_steps = 1\n{reads}'
    )
    bound = read_recipe(tmp_path / "reads.toml").bindings["reward"]
    assert (bound["rankings"][0].stage, bound["policy"][0].name) == ("rank", "smollm2-135m")
    refused = re.search(r"^error: mine\.toml: (stages: reward .*)$", text, flags=re.MULTILINE)
    assert refused is not None
    with pytest.raises(Exception, match=re.escape(refused[1])):
        Recipe.of({"stages": ["base", "reward"], "reward": {"n_steps": 1, "reads": {"rankings": "a.jsonl"}}})


def settings_told() -> Iterator[tuple[str, str, str]]:
    """(setting, default, page) of the rows of tables of settings whose default is a number, or true or false."""
    for page in sorted((DOCS / "concepts").glob("*.md")):
        for table in re.findall(r"^\| setting \| default \|.*\n((?:\|.*\n)+)", text_of(page), flags=re.MULTILINE):
            for name, default in re.findall(r"^\| `([\w.]+)` \| ([-\d.e]+|true|false) \|", table, flags=re.MULTILINE):
                yield name, default, name_of(page)


def test_there_are_defaults_told() -> None:
    assert len(list(settings_told())) > 30


@pytest.mark.parametrize(("name", "told", "page"), sorted(settings_told()))
def test_the_default_of_a_setting_is_the_one_that_its_page_gives(name: str, told: str, page: str) -> None:
    stage, *tables, key = name.split(".")
    settings: Any = find_stage(stage).Settings
    for table in tables:
        settings = settings.model_fields[table].annotation
    assert settings.model_fields[key].default == json.loads(told), page
