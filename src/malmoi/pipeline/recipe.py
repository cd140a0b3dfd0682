"""A recipe: the stages to run, in order, their settings, and the inputs that it names itself."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import create_model

from malmoi.config import Seed, Settings, override, parse, read_toml
from malmoi.errors import ConfigError
from malmoi.inference.generate import Generate
from malmoi.pipeline.plan import Bindings, bind
from malmoi.stages import find_stage, stage_names
from malmoi.unused import all_unused, refuse_unused

STAGES = (
    "corpus", "tokenizer", "index", "pretrain", "demonstrations", "sft", "sample", "rank", "reward", "ppo", "eval",
    "natural",
)  # fmt: skip
"""Default stages: the whole ring, from raw text."""
OWN = ("name", "seed", "stages", "generate")
"""Keys of a recipe other than its stages' tables."""
UNUSED = all_unused(
    "url folder patience_s timeout_s", "backend", lambda backend: backend == "malmoi", 'generate.backend is "malmoi"'
)
READS = "reads"
"""Table of a stage: role -> the source of that input."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a recipe makes.

    name: shown in the report; seed: for every stage that does not set its own
    settings: stage -> settings; reads: stage -> role -> source that the recipe names
    generate: who answers where a stage samples. As the device, it does not decide whether a stage is run again
    """

    name: str
    seed: int
    stages: tuple[str, ...]
    settings: Mapping[str, Settings]
    reads: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    generate: Generate = field(default_factory=Generate)

    def __getitem__(self, stage: str) -> Any:
        """The settings of a stage. Raises KeyError if the recipe does not have it."""
        return self.settings[stage]

    def __contains__(self, stage: str) -> bool:
        return stage in self.stages

    @cached_property
    def bindings(self) -> dict[str, Bindings]:
        """Stage -> the sources of each of its roles."""
        return bind(self.stages, self.settings, self.reads)

    def without(self, stage: str) -> "Recipe":
        """The recipe without a stage, and without the stages that need what it makes."""
        kept: tuple[str, ...] = ()
        left_out = {stage}
        for name in self.stages:
            if name == stage or left_out & set(self.reads.get(name, {}).values()):
                left_out.add(name)
                continue
            try:
                bound = bind((*kept, name), self.settings, self.reads)
                find_stage(name).check(self[name], bound[name])
            except ConfigError:
                left_out.add(name)
            else:
                kept = (*kept, name)
        return replace(self, stages=kept)

    def _check_bindings(self, where: str, changed: Set[str]) -> None:
        try:
            for stage, reads in self.bindings.items():
                find_stage(stage).check(self[stage], reads)
        except ConfigError as error:
            key = str(error).partition(":")[0]
            raise ConfigError(f"{'--set' if _is_in(key, changed) else where}: {error}") from None

    def table(self) -> dict[str, Any]:
        """The recipe as a table of a recipe file, with all defaults."""
        stages = {
            name: self.settings[name].model_dump(mode="json")
            | ({READS: dict(self.reads[name])} if self.reads.get(name) else {})
            for name in self.stages
        }
        own = {"name": self.name, "seed": self.seed, "stages": list(self.stages)}
        return own | ({"generate": self.generate.model_dump()} if self.generate != Generate() else {}) | stages

    @classmethod
    def of(cls, table: Mapping[str, Any], where: str = "recipe", changed: Set[str] = frozenset()) -> "Recipe":
        """A recipe from the table of a recipe file. where: the file's name; changed: keys that --set gave

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
        fields["generate"] = (Generate, Generate())
        schema = create_model("Recipe", __base__=Settings, name=(str, "recipe"), seed=(Seed, 1), **fields)
        own = {name: value for name, value in table.items() if name in ("name", "seed", "generate")}
        parsed: Any = parse(schema, {**own, **tables}, where, changed)
        recipe = cls(
            parsed.name, parsed.seed, stages, {name: getattr(parsed, name) for name in stages},
            {name: given for name, given in reads.items() if given and name in stages}, parsed.generate,
        )  # fmt: skip
        recipe._check_bindings(where, changed)
        return recipe


def read_recipe(path: Path, assignments: Iterable[str] = ()) -> Recipe:
    """Read a recipe file and apply `--set` assignments. Raises ConfigError that names the setting."""
    assignments = list(assignments)
    written = read_toml(path)
    table = override(written, assignments)
    changed = {assignment.partition("=")[0].strip() for assignment in assignments}
    _check_tables(written, table, path.name, changed)
    recipe = Recipe.of({"name": path.stem, **table}, path.name, changed)
    refuse_unused(recipe.generate, table.get("generate", {}), UNUSED, path.name, changed, "generate")
    for stage in recipe.stages:
        found, given = find_stage(stage), table.get(stage, {})
        refuse_unused(recipe[stage], given, found.unused, path.name, changed, stage, recipe.bindings[stage])
    return recipe


def _stages_of(table: Mapping[str, Any], where: str, changed: Set[str]) -> tuple[str, ...]:
    stages = table.get("stages", STAGES)
    where = "--set" if "stages" in changed else where
    if not isinstance(stages, list | tuple) or not all(isinstance(name, str) for name in stages) or not stages:
        raise ConfigError(f'{where}: stages: expected a list of at least one stage, such as ["corpus", "tokenizer"]')
    if len(set(stages)) < len(stages):
        twice = next(name for name in stages if stages.count(name) > 1)
        raise ConfigError(f"{where}: stages: {twice} is listed twice; leave one out, since a stage runs once")
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
    """Refuse input paths in a stage's table: a recipe takes them from its stages, only `malmoi train` from its file."""
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
    """Refuse tables of stages that the recipe lacks. A file may hold tables of stages that --set left out."""
    stages, of_file = table.get("stages", STAGES), written.get("stages", STAGES)
    if not isinstance(stages, list | tuple) or not isinstance(of_file, list | tuple):
        return  # `Recipe.of` refuses it
    for stage in stage_names():
        if any(key.partition(".")[0] == stage for key in changed) and stage not in stages:
            raise ConfigError(f"--set {stage}.…: this recipe has no stage {stage}; add it to stages, or leave that out")
        if stage in written and stage not in of_file and stage not in stages:
            raise ConfigError(f"{where}: {stage}: is not among the stages; add it to stages, or leave its table out")


def _is_in(key: str, changed: Set[str]) -> bool:
    return any(f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.") for name in changed)


def find_recipe(name: str) -> Path:
    """A recipe by its path, or by the name of one that Malmoi ships. Raises ConfigError if there is none."""
    path, shipped = Path(name), Path(str(resources.files("malmoi"))) / "recipes"
    found = shipped / (path.name if path.suffix == ".toml" or "/" in name else f"{name}.toml")
    for place in (path, found):
        if place.exists() and not place.is_dir():
            return place
    names = sorted(other.stem for other in shipped.glob("*.toml"))
    near = get_close_matches(path.stem, names, n=1, cutoff=0.7)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    raise ConfigError(
        f"{name}: no such recipe; {hint}give a .toml file, or one that comes with Malmoi: {', '.join(names)}"
    )
