"""One algorithm outside of any workspace, on model folders and data files, as `malmoi train` runs it.

The output folder holds `config.json` (what is trained, and from what), `metrics.jsonl`, a checkpoint until the end,
and then `model`. Run again with the same config, training goes on where it stopped. Started by `torchrun`, all ranks
train and the first one writes.
"""

import contextlib
import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import create_model

from malmoi import __version__, algorithms, device, progress
from malmoi.algorithms import pretrain, reward, sft
from malmoi.config import Settings, override, parse, read_toml
from malmoi.data.comparisons import read_rankings
from malmoi.data.conversations import taught_by
from malmoi.data.tokens import warning_if_short
from malmoi.errors import ConfigError, UserError
from malmoi.evals.heldout import keep_best_of_text
from malmoi.evals.reward_scores import score_spread
from malmoi.evals.watch import PolicyWatch
from malmoi.files import read_json, sha256_of, write_json
from malmoi.formats.folder import load_text, save_model
from malmoi.formats.generation import greedy_unless_chosen
from malmoi.formats.inspect import reading_facts
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.watcher import Watcher
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.template_clock import fixed_time, start_of
from malmoi.train.finished import finished
from malmoi.train.hooks import MetricsFile
from malmoi.train.loop import Hook, fit
from malmoi.train.rollouts import RolloutSteps
from malmoi.train.signals import listening
from malmoi.unused import refuse_unused
from malmoi.workspace.locks import LOCK, holding_for_now

NOBODY = Watcher()


@dataclass(frozen=True)
class Trained:
    """The model's folder, and, of a reward model, the rankings that it learned from. is_new: trained just now"""

    model: Path
    is_new: bool
    rankings: Path | None = None


def train(
    algorithm: str, config_path: Path, assignments: Sequence[str], out: Path | None, now: datetime | None = None,
    watcher: Watcher = NOBODY,
) -> Trained:  # fmt: skip
    """Train and save `out`/model, unless that is done. out: by default the config's name, in the current folder

    now: the time that chat templates get in a training that begins now; None: the system clock's
    Raises ConfigError for an unknown algorithm or setting, and when `out` holds another training.
    """
    module = find_algorithm(algorithm)
    table = override(read_toml(config_path), assignments)
    changed = {assignment.partition("=")[0].strip() for assignment in assignments}
    given = parse(_schema_of(module), table, config_path.name, changed)
    refuse_unused(given, table, getattr(module, "UNUSED", ()), config_path.name, changed)
    config, inputs = _part_of(given, module.Config), _part_of(given, module.Inputs)
    hashes = hash_inputs(inputs, config_path.name)
    out = Path(config_path.stem) if out is None else out
    with _holding(out):
        described = {"algorithm": algorithm, "settings": given.model_dump(mode="json"), "inputs": hashes}
        is_new = device.current().is_main and _claim(out, described, given.renamed, now)
        device.barrier()
        if (out / "model").exists():
            return Trained(out / "model", is_new=False)
        with _given_back(out, is_new), fixed_time(start_of(out / "config.json")):
            _train(module, config, inputs, hashes, out, watcher)
    rankings = inputs.data if isinstance(inputs, reward.Inputs) else None
    return Trained(out / "model", is_new=True, rankings=rankings)


def _train(module: ModuleType, config: Any, inputs: Any, hashes: dict[str, str], out: Path, watcher: Watcher) -> None:
    algorithm = module.__name__.rpartition(".")[2]
    text = load_text(_text_folder(inputs))
    config = _with_vocabulary(config, text[0].vocab_size)
    job = module.build(config, inputs)
    watcher.started(f"{algorithm} → {out}", "", resumed=(out / "checkpoint.safetensors").exists())
    for line in job.notes:
        watcher.say(line)
    if isinstance(config, pretrain.Config) and (said := warning_if_short(inputs.shards, config.model.seq_len)):
        watcher.say(said)
    if isinstance(config, pretrain.Config) and (inputs.shards / "heldout.index.json").exists():
        keep_best_of_text(job, inputs.shards, text[0].pad_id, config.batch_size, watcher.say)
    hooks: list[Hook] = [MetricsFile(out / "metrics.jsonl"), watcher.step]
    watch = None
    if isinstance(job.steps, RolloutSteps):
        watch = PolicyWatch(job.steps, text[0], out, watcher.say)
        hooks.insert(0, watch)
    with listening(), progress.listening(watcher.progress):
        fit(job, config.loop, hooks, out / "checkpoint.safetensors")
    if watch is not None:
        watch.ended(job.n_steps)
    model = finished(job)
    if device.current().is_main:
        assert model is not None
        about = {"run": out.name, "algorithm": algorithm, "parents": hashes, **_facts(model, config, inputs, text)}
        about |= ({} if watch is None else {"alarms": watch.alarms}) | job.about
        if isinstance(model, LanguageModel) and not isinstance(config, pretrain.Config):
            text = greedy_unless_chosen(text[0]), text[1]
        save_model(out / "model", model, *text, about)
        (out / "checkpoint.safetensors").unlink(missing_ok=True)
    device.barrier()


def find_algorithm(name: str) -> ModuleType:
    """The module of that name in malmoi.algorithms. Raises ConfigError that suggests the nearest name."""
    known = sorted(found.name for found in pkgutil.iter_modules(algorithms.__path__))
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise ConfigError(f"{name}: unknown algorithm; {hint}there are {', '.join(known)}")
    return importlib.import_module(f"malmoi.algorithms.{name}")


def _schema_of(module: ModuleType) -> type[Settings]:
    """One schema for an algorithm's inputs and hyper-parameters, which are one table in its file."""
    return create_model("Settings", __base__=(module.Config, module.Inputs), __module__=module.__name__)


def _part_of(given: Settings, schema: type[Settings]) -> Settings:
    return schema.model_validate({name: getattr(given, name) for name in schema.model_fields})


def hash_inputs(inputs: Settings, where: str) -> dict[str, str]:
    """Setting -> SHA-256 of the file or folder that it names. Raises ConfigError if one is missing."""
    paths = {name: value for name, value in inputs if isinstance(value, Path)}
    for name, path in paths.items():
        if path == Path():
            raise ConfigError(f"{where}: {name}: missing; name a file or folder there or with --set {name}=…")
        if not path.exists():
            raise ConfigError(f"{where}: {name}: {path}: no such file or folder (paths start at the current folder)")
    return {name: sha256_of(path) for name, path in paths.items()}


def _claim(out: Path, described: dict[str, Any], renamed: Mapping[str, str], now: datetime | None) -> bool:
    """Record in `out` what is trained there; whether this was new. Raises ConfigError if it holds anything else.

    renamed: settings that an earlier version may have written under other names
    """
    path = out / "config.json"
    if path.exists():
        there = {key: value for key, value in read_json(path).items() if key in described}
        there["settings"] = {renamed.get(name, name): value for name, value in there.get("settings", {}).items()}
        if there != described:
            name = _first_difference(there, described)
            raise ConfigError(f"{out}: holds a training with another {name}; choose another --out, or delete it")
    elif any(file.name != LOCK for file in out.iterdir()):
        raise ConfigError(f"{out}: is not empty and holds no training of Malmoi; choose another --out")
    else:
        write_json(path, {**described, "malmoi": __version__, "begun": start_of(path, now).isoformat()})
        return True
    return False


def _first_difference(there: Any, here: Any) -> str:
    """The dotted name of the first setting that differs."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(there.keys() | here.keys()):
            if there.get(key) != here.get(key):
                below = _first_difference(there.get(key), here.get(key))
                return f"{key}.{below}" if below else key
    return ""


@contextlib.contextmanager
def _holding(out: Path) -> Iterator[None]:
    """Allow one training at a time in its folder. With several ranks, the first one holds the lock."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; --out names a folder")
    if not device.current().is_main:
        yield
        return
    with holding_for_now(out / LOCK, str(out)):
        yield


@contextlib.contextmanager
def _given_back(out: Path, is_new: bool) -> Iterator[None]:
    """A training that is refused before its first step leaves `out` free for another."""
    try:
        yield
    except UserError:
        if is_new and {file.name for file in out.iterdir()} == {LOCK, "config.json"}:
            (out / "config.json").unlink()
        raise


def _text_folder(inputs: Settings) -> Path:
    """The folder of tokenizer and chat template: the model to start from, or the shards of pretraining."""
    named = (getattr(inputs, name, None) for name in ("policy", "model", "shards"))
    return next(path for path in named if isinstance(path, Path))


def _with_vocabulary(config: Any, vocab_size: int) -> Any:
    shape = getattr(config, "model", None)
    if isinstance(shape, ModelConfig) and not shape.vocab_size:
        return config.model_copy(update={"model": shape.model_copy(update={"vocab_size": vocab_size})})
    return config


def _facts(
    model: LanguageModel | ScalarModel, config: Any, inputs: Any, text: tuple[Tokenizer, ChatTemplate]
) -> dict[str, Any]:
    """Further values for the model's folder: the spread of a reward model's scores; how a policy reads documents."""
    if not isinstance(model, ScalarModel):
        start = getattr(inputs, "policy", getattr(inputs, "model", None))
        return reading_facts(start, taught_by(inputs.data) if isinstance(inputs, sft.Inputs) else None)
    rankings = read_rankings(inputs.data, *text, model.config.seq_len)
    scores = model.to(device.current().torch_device)
    return {"score_std": score_spread(scores, rankings, text[0].pad_id, config.seed), "caution": config.caution}
