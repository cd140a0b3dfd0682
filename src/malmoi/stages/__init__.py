"""The stages: one file each, found by its name. `malmoi.stage` says what such a file holds.

    Settings          hyper-parameters, a `malmoi.config.Settings`
    READS, MAKES      {role: need("kind")}, {kind: "path in out", or {part: path}}
    run(context, settings)
and, where it applies, what `malmoi.stage.Stage` names: TRAINS = True, UNUSED, kinds(…), facts(…), …
"""

import importlib
import pkgutil
from difflib import get_close_matches
from functools import cache

from malmoi.errors import ConfigError
from malmoi.stage import ONLY, Stage

OPTIONAL = {"TRAINS": "trains", "UNUSED": "unused", "Inputs": "Inputs", "LABEL": "label"} | {
    name: name for name in ("outside", "brings", "kinds", "check", "models", "expects", "cost", "facts")
}
"""What a module may have besides, and the field of `Stage` that says what it is."""


def stage_names() -> list[str]:
    """Of all stages that there are, in order of the alphabet. A name with a leading underscore is no stage."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))


def find_stage(name: str) -> Stage:
    """Raises ConfigError that names the nearest."""
    if name not in (known := stage_names()):
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise ConfigError(f"{name}: no such stage; {hint}there are {', '.join(known)}")
    return _load(name)


def label_of(source: str) -> str:
    """The name for people of where something comes from: that of a stage, or a role as it is."""
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
