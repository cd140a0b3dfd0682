"""The stages: one file each, found by name. `malmoi.stage.Stage` documents what such a file defines:

    Settings          hyper-parameters, a `malmoi.config.Settings`
    READS, MAKES      {role: required("kind")}, {kind: "path in out", or {part: path}}
    run(context, settings)
and optionally the names in `OPTIONAL`: TRAINS = True, UNUSED, LABEL, kinds(…), facts(…), …
"""

import importlib
import pkgutil
from difflib import get_close_matches
from functools import cache

from malmoi.errors import ConfigError
from malmoi.stage import ONLY, Stage

OPTIONAL = {
    "TRAINS": "trains",
    "UNUSED": "unused",
    "LABEL": "label",
    **{
        name: name
        for name in (
            "Inputs", "external_hashes", "external_inputs", "kinds", "check", "nothing_to_do", "models", "expects",
            "cost", "facts",
        )
    },
}  # fmt: skip
"""Optional name in a stage's module -> the field of `Stage` that it fills."""


def stage_names() -> list[str]:
    """Names of all stages, sorted. A module whose name begins with an underscore is not a stage."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))


def find_stage(name: str) -> Stage:
    """A stage by name. Raises ConfigError that suggests the nearest name."""
    if name not in (known := stage_names()):
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise ConfigError(f"{name}: no such stage; {hint}there are {', '.join(known)}")
    return _load(name)


def label_of(source: str) -> str:
    """The name shown for an input's source: a stage's label, or a role unchanged."""
    return find_stage(source).shown_name if source in stage_names() else source


@cache
def _load(name: str) -> Stage:
    module = importlib.import_module(f"{__name__}.{name}")
    given = {field: getattr(module, word) for word, field in OPTIONAL.items() if hasattr(module, word)}
    return Stage(
        name=name,
        about=(module.__doc__ or "").strip().partition("\n")[0],
        Settings=module.Settings,
        reads=module.READS,
        makes={kind: {ONLY: given} if isinstance(given, str) else given for kind, given in module.MAKES.items()},
        run=module.run,
        **given,
    )
