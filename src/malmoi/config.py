"""Recipe files -> frozen settings. An unknown key is an error, which names the nearest known one."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Set
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_jsonable_python

from malmoi.errors import RENAME, ConfigError, printable


class Settings(BaseModel):
    """Base of every settings table: frozen, no unknown keys. The string under a field documents it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )
    renamed: ClassVar[Mapping[str, str]] = {}
    """Names that fields had in the first version -> their names now. The old ones are refused with the new ones, and
    work is still found under them."""
    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that the first version did not have. With their default values all is done as before, so that earlier
    work is still found."""

    @classmethod
    def under_first_names(cls, dumped: Mapping[str, Any]) -> dict[str, Any]:
        """What `model_dump` gave, under the names of the first version, by which its work is found."""
        first = {now: before for before, now in cls.renamed.items()}
        return {
            first.get(name, name): value
            for name, value in dumped.items()
            if name not in cls.added or value != to_jsonable_python(cls.model_fields[name].default)
        }


Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""The seed of a random number generator."""


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; give a recipe file (.toml)") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from None


def override(table: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of a table with `a.b=value` assignments applied. Values are TOML; bare words are strings."""
    table = _copy(table)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {assignment}: expected KEY=VALUE, for example ppo.beta=0.05")
        if printable(assignment) != assignment:
            raise ConfigError(f"--set {assignment}: not UTF-8; if it names a file, rename it, such as by {RENAME} FILE")
        *parents, leaf = key.strip().split(".")
        target = table
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise ConfigError(f"--set {assignment}: {parent} is a value, not a table")
        target[leaf] = _parse_value(text.strip())
    return table


S = TypeVar("S", bound="Settings")


def parse(schema: type[S], table: dict[str, Any], where: str, changed: Set[str] = frozenset()) -> S:
    """Check a table against its schema.

    where: the file's name, with which an error begins
    changed: settings (a.b) that were given with --set; an error about one of them does not name the file
    Raises ConfigError, which names the setting and what is wrong, and for an unknown setting the nearest name.
    """
    try:
        return schema.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        key = ".".join(path)
        where = _place_of_mistake(key, where, changed)
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{where}: {key}: {_unknown(path[-1], _schema_at(schema, path[:-1]))}") from None
        if first["type"] == "missing":
            raise ConfigError(f"{where}: {key}: missing; add it to the file or with --set {key}=…") from None
        message = first["msg"].removeprefix("Value error, ")
        # If settings contradict each other, the message names them; the value would be a whole table, so leave it out.
        is_table = first["type"] == "value_error" and isinstance(first["input"], dict)
        got = "" if is_table else f" (got {first['input']!r})"
        raise ConfigError(f"{where}: {key}: {message}{got}".replace(": : ", ": ")) from None


def _place_of_mistake(key: str, where: str, changed: Set[str]) -> str:
    """Where a setting was given: in the file, with --set, or, for settings that contradict each other, both."""
    if any(key == name or key.startswith(f"{name}.") for name in changed):
        return "--set"
    below = [name for name in sorted(changed) if not key or name.startswith(f"{key}.")]
    return f"{where} with --set {' '.join(below)}" if below else where


def _unknown(name: str, schema: type[BaseModel] | None) -> str:
    """What is wrong with a setting that is not in its table."""
    if schema is None:
        return "unknown setting"
    if issubclass(schema, Settings) and name in schema.renamed:
        return f"is called {schema.renamed[name]} now; write that in its place"
    near = get_close_matches(name, schema.model_fields, n=1, cutoff=0.5)
    return f'unknown setting; did you mean "{near[0]}"?' if near else "unknown setting"


def _schema_at(schema: type[BaseModel], path: list[str]) -> type[BaseModel] | None:
    for name in path:
        field = schema.model_fields.get(name)
        found = next(_schemas_in(field.annotation), None) if field else None
        if found is None:
            return None
        schema = found
    return schema


def _schemas_in(annotation: Any) -> Iterator[type[BaseModel]]:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            yield candidate


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _copy(table: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in table.items()}
