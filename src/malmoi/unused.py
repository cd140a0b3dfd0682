"""Settings that have no effect because of the value of another setting. They are refused, not ignored.

A file may hold settings that `--set` makes unused, so that `--set sft.lora.rank=0` needs no other file.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from functools import reduce
from typing import Any, NamedTuple

from malmoi.config import Settings
from malmoi.errors import ConfigError

READS = "reads."


class Unused(NamedTuple):
    """A setting, `key`, that has no effect if `is_dead` is true of the value of its switch. why: the reason, in words

    switch: another setting; or `reads.ROLE`, whose value is what the stage reads in that role
    """

    key: str
    switch: str
    is_dead: Callable[[Any], bool]
    why: str


def all_unused(keys: str, switch: str, is_dead: Callable[[Any], bool], why: str) -> tuple[Unused, ...]:
    return tuple(Unused(key, switch, is_dead, why) for key in keys.split())


def is_empty(value: Any) -> bool:
    """Whether a switch is off: empty, None or 0."""
    return not value


OF_OPTIM = (
    Unused("loop.optim.momentum", "loop.optim.name", lambda name: name != "muon", 'loop.optim.name is not "muon"'),
    Unused("loop.optim.final_lr_ratio", "loop.optim.decay", lambda decay: decay == "constant",
           'loop.optim.decay is "constant"'),
)  # fmt: skip
OF_PICTURES = (
    *OF_OPTIM,
    Unused("loop.recompute", "loop.recompute", bool, "networks of pictures keep what their layers computed"),
    Unused("loop.fsdp", "loop.fsdp", bool, "networks of pictures are whole on each rank"),
)
OF_PLAIN_PICTURES = (
    *OF_PICTURES,
    Unused("loop.compile", "loop.compile", bool, "it compiles blocks, and this network has none"),
)
OF_LORA = (
    *all_unused("lora.alpha lora.projections lora.frozen_share lora.seed", "lora.rank", is_empty, "lora.rank is 0"),
    Unused("loop.optim.embedding_lr", "lora.rank", bool, "adapters (lora.rank) leave the embeddings as they are"),
)
OF_LORA_WITH_HEAD = (Unused("loop.optim.head_lr", "lora.rank", bool, "adapters (lora.rank) leave the head as it is"),)
OF_ROLLOUTS = (Unused("kl_target", "beta", is_empty, "it adapts beta, and a beta of 0 stays 0"),)


def refuse_unused(
    settings: Settings, table: Mapping[str, Any], rules: Iterable[Unused], where: str, changed: Set[str],
    stage: str = "", reads: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Raises ConfigError for the first setting of a file or of --set that has no effect.

    table: the settings as given, including --set; changed: keys that --set gave; where: the file's name
    stage: the stage of a recipe that has these settings; reads: what it reads, by role
    """
    prefix = f"{stage}." if stage else ""
    for key, switch, is_dead, why in rules:
        is_read = switch.startswith(READS)
        value = (reads or {}).get(switch.removeprefix(READS)) if is_read else _value(settings, switch)
        given, turned = (any(_overlap(f"{prefix}{name}", one) for one in changed) for name in (key, switch))
        turned = turned or (is_read and bool(changed))  # settings of other stages decide what is available to read
        if _is_in(table, key) and is_dead(value) and (given or not turned):
            raise ConfigError(f"{'--set' if given else where}: {prefix}{key}: does nothing here: {why}; leave it out")


def _overlap(key: str, other: str) -> bool:
    """Whether one of two keys is in the other: a table holds its settings."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _is_in(table: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(table, dict) or part not in table:
            return False
        table = table[part]
    return True


def _value(settings: Settings, key: str) -> Any:
    return reduce(getattr, key.split("."), settings)
