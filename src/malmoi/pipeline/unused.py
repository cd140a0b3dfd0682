"""Settings that do nothing because of what another one says: refused where they are given, not ignored.

A file may hold what a switch of the command line makes unused: `--set sft.lora.rank=0` needs no other file.
"""

from collections.abc import Callable, Iterable, Set
from functools import reduce
from typing import Any, NamedTuple

from malmoi.config import Settings
from malmoi.errors import ConfigError


class Unused(NamedTuple):
    """A setting that does nothing where `is_dead` holds of the value of another one, its switch; why: in words."""

    key: str
    switch: str
    is_dead: Callable[[Any], bool]
    why: str


def _all(keys: str, switch: str, is_dead: Callable[[Any], bool], why: str) -> tuple[Unused, ...]:
    return tuple(Unused(key, switch, is_dead, why) for key in keys.split())


def _no(value: Any) -> bool:
    return not value


OF_RECIPES = (
    Unused("corpus.packages", "corpus.text", bool, "your own text (corpus.text) is read in place of documentation"),
    *_all("corpus.errors corpus.min_chars", "corpus.text", _no, "it is about your text, and corpus.text names none"),
    Unused("demonstrations.n_unseen", "corpus.text", bool, "of your own text (corpus.text) a fifth is left for last"),
    *_all("data.n_conversations data.longest_conversation", "data.conversations", _no, "data.conversations is empty"),
    *_all("data.n_rankings data.judge_fraction", "data.rankings", _no, "data.rankings is empty"),
    Unused("compare.not_shown", "compare.n_shown", _no, "compare.n_shown is 0"),
)  # fmt: skip
_OPTIM = (
    Unused("loop.optim.momentum", "loop.optim.name", lambda name: name != "muon", 'loop.optim.name is not "muon"'),
    Unused("loop.optim.final_lr_ratio", "loop.optim.decay", lambda decay: decay == "constant",
           'loop.optim.decay is "constant"'),
)  # fmt: skip
_LORA = (
    *_all("lora.alpha lora.projections lora.frozen_share lora.seed", "lora.rank", _no, "lora.rank is 0"),
    Unused("loop.optim.embedding_lr", "lora.rank", bool, "adapters (lora.rank) leave the embeddings as they are"),
)
_NO_HEAD = (Unused("loop.optim.head_lr", "lora.rank", bool, "adapters (lora.rank) leave the head as it is"),)
_ROLLOUTS = (Unused("kl_target", "beta", _no, "it adapts beta, and a beta of 0 stays 0"),)
OF_ALGORITHMS: dict[str, tuple[Unused, ...]] = {
    "pretrain": _OPTIM,
    "sft": (*_OPTIM, *_LORA, *_NO_HEAD),
    "reward": (*_OPTIM, *_LORA),
    "ppo": (*_OPTIM, *_LORA, *_ROLLOUTS,
            *_all("ptx_windows_per_answer ptx_shards", "ptx_coef", _no, "ptx_coef is 0")),
    "dpo": (*_OPTIM, *_LORA, *_NO_HEAD),
    "grpo": (*_OPTIM, *_LORA, *_NO_HEAD, *_ROLLOUTS),
}  # fmt: skip


def refuse_unused(
    settings: Settings, table: dict[str, Any], rules: Iterable[Unused], where: str, changed: Set[str], stage: str = ""
) -> None:
    """Raises ConfigError for the first setting of a file or of --set that does nothing.

    table: what was given, --set included; changed: what --set gave; where: the file's name
    stage: the table of a recipe that the rules' names lie in
    """
    prefix = f"{stage}." if stage else ""
    for key, switch, is_dead, why in rules:
        given, turned = (any(f"{prefix}{name}.".startswith(f"{one}.") for one in changed) for name in (key, switch))
        if _is_in(table, prefix + key) and is_dead(_value(settings, prefix + switch)) and (given or not turned):
            raise ConfigError(f"{'--set' if given else where}: {prefix}{key}: does nothing here: {why}; leave it out")


def _is_in(table: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(table, dict) or part not in table:
            return False
        table = table[part]
    return True


def _value(settings: Settings, key: str) -> Any:
    return reduce(getattr, key.split("."), settings)
