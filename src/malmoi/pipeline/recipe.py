"""A recipe: the stages to run, in order, the settings of each, and what they read where that is not found by itself."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import create_model

from malmoi.config import Seed, Settings, override, parse, read_toml
from malmoi.errors import ConfigError
from malmoi.pipeline.plan import Bound, bind
from malmoi.stages import find_stage, stage_names
from malmoi.unused import refuse_unused

STAGES = ("corpus", "tokenizer", "pretrain", "demonstrations", "sft", "sample", "rank", "reward", "ppo", "eval")
"""Of a recipe that does not say: the whole ring, from raw text."""
OWN = ("name", "seed", "stages")
"""What a recipe says besides the tables of its stages."""
READS = "reads"
"""In a stage's table: role -> what it reads in that role."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a recipe makes.

    name: for the report; seed: of every stage that does not set its own
    settings: of each stage; reads: stage -> role -> what the recipe names for it
    """

    name: str
    seed: int
    stages: tuple[str, ...]
    settings: Mapping[str, Settings]
    reads: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __getitem__(self, stage: str) -> Any:
        """The settings of a stage. KeyError where the recipe does not have it."""
        return self.settings[stage]

    def __contains__(self, stage: str) -> bool:
        return stage in self.stages

    @cached_property
    def bound(self) -> dict[str, Bound]:
        """Stage -> where each of its roles is read from."""
        return bind(self.stages, self.settings, self.reads)

    def _check_bound(self, where: str, changed: Set[str]) -> None:
        try:
            for stage, reads in self.bound.items():
                find_stage(stage).check(self[stage], reads)
        except ConfigError as error:
            key = str(error).partition(":")[0]
            raise ConfigError(f"{'--set' if _is_in(key, changed) else where}: {error}") from None

    def table(self) -> dict[str, Any]:
        """As a recipe file holds it, with all defaults."""
        stages = {
            name: self.settings[name].model_dump(mode="json")
            | ({READS: dict(self.reads[name])} if self.reads.get(name) else {})
            for name in self.stages
        }
        return {"name": self.name, "seed": self.seed, "stages": list(self.stages), **stages}

    @classmethod
    def of(cls, table: Mapping[str, Any], where: str = "recipe", changed: Set[str] = frozenset()) -> "Recipe":
        """A recipe from a table such as a file holds. where: the file's name; changed: what --set gave

        Raises ConfigError that names the setting.
        """
        stages = _stages_of(table, where, changed)
        tables, reads = {}, {}
        for name, given in table.items():
            if name not in OWN:
                _check_known(name, where, changed)
                tables[name] = dict(given) if isinstance(given, dict) else given
                if isinstance(given, dict):
                    _check_paths(name, given, where, changed)
                    reads[name] = _reads_of(name, tables[name].pop(READS, {}), where, changed)
        seed = table.get("seed", 1)
        for name in (*stages, *tables):
            if (
                isinstance(given := tables.setdefault(name, {}), dict)
                and "seed" in find_stage(name).Settings.model_fields
            ):
                tables[name] = {"seed": seed} | given
        fields: dict[str, Any] = {name: (find_stage(name).Settings, ...) for name in tables}
        schema = create_model("Recipe", __base__=Settings, name=(str, "recipe"), seed=(Seed, 1), **fields)
        own = {name: value for name, value in table.items() if name in ("name", "seed")}
        parsed: Any = parse(schema, {**own, **tables}, where, changed)
        recipe = cls(
            parsed.name, parsed.seed, stages, {name: getattr(parsed, name) for name in stages},
            {name: given for name, given in reads.items() if given and name in stages},
        )  # fmt: skip
        recipe._check_bound(where, changed)
        return recipe


def read_recipe(path: Path, assignments: Iterable[str] = ()) -> Recipe:
    """Read a recipe file and apply `--set` assignments. Raises ConfigError that names the setting."""
    assignments = list(assignments)
    written = read_toml(path)
    table = override(written, assignments)
    changed = {assignment.partition("=")[0].strip() for assignment in assignments}
    _check_tables(written, table, path.name, changed)
    recipe = Recipe.of({"name": path.stem, **table}, path.name, changed)
    for stage in recipe.stages:
        found, given = find_stage(stage), table.get(stage, {})
        refuse_unused(recipe[stage], given, found.unused, path.name, changed, stage, recipe.bound[stage])
    return recipe


def _stages_of(table: Mapping[str, Any], where: str, changed: Set[str]) -> tuple[str, ...]:
    stages = table.get("stages", STAGES)
    where = "--set" if "stages" in changed else where
    if not isinstance(stages, list | tuple) or not all(isinstance(name, str) for name in stages) or not stages:
        raise ConfigError(f'{where}: stages: expected a list of at least one stage, such as ["corpus", "tokenizer"]')
    if len(set(stages)) < len(stages):
        twice = next(name for name in stages if stages.count(name) > 1)
        raise ConfigError(f"{where}: stages: {twice} is there twice; a stage runs once")
    for name in stages:
        try:
            find_stage(name)
        except ConfigError as error:
            raise ConfigError(f"{where}: stages: {error}") from None
    return tuple(stages)


def _check_known(name: str, where: str, changed: Set[str]) -> None:
    known = [*OWN, *stage_names()]
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ConfigError(f"{'--set' if _is_in(name, changed) else where}: {name}: unknown setting{hint}")


def _check_paths(stage: str, given: Mapping[str, Any], where: str, changed: Set[str]) -> None:
    """What a stage reads of other stages is no setting of a recipe; only `malmoi train` takes it from its file."""
    found = find_stage(stage)
    for name in given.keys() - found.Settings.model_fields.keys() - {READS}:
        if name in found.reads or (found.Inputs and name in found.Inputs.model_fields):
            key, roles = f"{stage}.{name}", ", ".join(found.reads)
            algorithm = found.Inputs and found.Inputs.__module__.rpartition(".")[2]
            outside = f", or train outside of a recipe with `malmoi train {algorithm}`" if algorithm else ""
            raise ConfigError(
                f"{'--set' if _is_in(key, changed) else where}: {key}: a recipe takes what a stage reads from the "
                f"stages before it; leave it out, or name something else in [{stage}.{READS}] ({roles}){outside}"
            )


def _reads_of(stage: str, given: Any, where: str, changed: Set[str]) -> dict[str, str]:
    key = f"{stage}.{READS}"
    if not isinstance(given, dict) or not all(isinstance(name, str) and name for name in given.values()):
        where = "--set" if _is_in(key, changed) else where
        raise ConfigError(f'{where}: {key}: expected a name or a path for each role, such as policy = "sft"')
    return dict(given)


def _check_tables(written: Mapping[str, Any], table: Mapping[str, Any], where: str, changed: Set[str]) -> None:
    """Refuse tables that nothing in this recipe reads. A file may hold tables of stages that --set leaves out."""
    stages, of_file = table.get("stages", STAGES), written.get("stages", STAGES)
    if not isinstance(stages, list | tuple) or not isinstance(of_file, list | tuple):
        return  # which is refused for that
    for stage in stage_names():
        if any(key.partition(".")[0] == stage for key in changed) and stage not in stages:
            raise ConfigError(f"--set {stage}.…: this recipe has no stage {stage}; add it to stages, or leave that out")
        if stage in written and stage not in of_file and stage not in stages:
            raise ConfigError(f"{where}: {stage}: is not among the stages; add it there, or leave its table out")


def _is_in(key: str, changed: Set[str]) -> bool:
    return any(f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.") for name in changed)


def find_recipe(name: str) -> Path:
    """A recipe by path, or by name one that Malmoi ships. Raises ConfigError where there is none."""
    path, shipped = Path(name), Path(str(resources.files("malmoi"))) / "recipes"
    found = shipped / (path.name if path.suffix == ".toml" or "/" in name else f"{name}.toml")
    for place in (path, found):
        if place.exists() and not place.is_dir():
            return place
    names = ", ".join(sorted(other.stem for other in shipped.glob("*.toml")))
    raise ConfigError(f"{name}: no such recipe; give a .toml file, or one that comes with Malmoi: {names}")
