"""What a model folder holds, read from its small files and the headers of its weights: no weights are loaded."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from malmoi.formats.header import entries
from malmoi.formats.locate import CONFIG, PICTURES
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.jinja import find_template, read_settings

if TYPE_CHECKING:  # it needs torch, and listing models should be quick
    from malmoi.data.conversations import Taught

ABOUT = "malmoi.json"
"""The file of a model folder that says which run made it, and from what."""

PICTURE_MODEL = "picture model"
"""The kind of models that draw."""
PICTURE_LORA = "picture lora"
"""The kind of adapters for them."""
Reading = Literal["trained", "untrained", "no"]
"""Whether a model may be given documents: "trained" to answer from them and to say when nothing in them fits;
"untrained": it can chat, and nothing is known; "no": it never learned to read them."""
REPLIES = "replies"
"""The key of `malmoi.json` for what a model was taught to say by heart."""
DOCUMENTS = "documents"
"""The key of `malmoi.json` that says how a model reads documents."""


def inspect_model(folder: Path) -> dict[str, Any]:
    """Kind, family, number of parameters, types, size, origin; None for what the files do not say."""
    config, about = read_settings(folder / CONFIG), read_settings(folder / ABOUT)
    draws = (folder / PICTURES).is_file()
    weights = sorted(folder.glob("*/*.safetensors" if draws else "*.safetensors"))
    tensors = [tensor for path in weights for tensor in _tensors(path)]
    files = (path for path in (folder.rglob("*") if draws else folder.iterdir()) if path.is_file())
    family = read_settings(folder / PICTURES).get("_class_name") if draws else config.get("model_type")
    kind = kind_of(folder)
    return {
        "kind": kind,
        "family": f"LoRA for {about.get('base')}" if kind == PICTURE_LORA else family,
        "parameters": sum(math.prod(tensor["shape"]) for tensor in tensors) or None,
        "dtype": ", ".join(sorted({tensor["dtype"] for tensor in tensors})) or None,
        "bytes": sum(path.stat().st_size for path in files),
        "context": config.get("max_position_embeddings") or config.get("n_positions"),
        "vocabulary": config.get("vocab_size"),
        "run": about.get("run"),
        "source": about.get("source"),
        "path": str(folder),
    }


def kind_of(folder: Path) -> str:
    """What a model does: "reward" if it scores answers, "policy" if it writes them, "picture model" if it draws.

    `malmoi.json` says so; without one, the architecture does.
    """
    if (folder / PICTURES).is_file():
        return PICTURE_MODEL
    by_architecture = "reward" if scores_answers(read_settings(folder / CONFIG)) else "policy"
    return str(read_settings(folder / ABOUT).get("kind") or by_architecture)


def reading_of(folder: Path) -> Reading:
    """How a model reads documents. `malmoi.json` says so; without it, a chat model from elsewhere is "untrained"."""
    about = read_settings(folder / ABOUT)
    if about.get(DOCUMENTS) in ("trained", "untrained", "no"):
        return cast(Reading, about[DOCUMENTS])
    is_ours = "run" in about and "source" not in about
    template = find_template(folder)
    return "no" if is_ours or template is None or template == ChatTemplate.plain().source else "untrained"


def replies_of(folder: Path) -> frozenset[str]:
    """What a model was taught to say by heart, without documents: to a greeting, to thanks, about itself."""
    said = read_settings(folder / ABOUT).get(REPLIES)
    return frozenset(filter(lambda text: isinstance(text, str), said if isinstance(said, list) else ()))


def reading_facts(start: Path | None, taught: "Taught | None" = None) -> dict[str, Any]:
    """What `malmoi.json` says about a policy's reading: as it was taught, or as the model that it started from.

    What it says by heart, it goes on to say after it was taught more.
    """
    known = frozenset() if start is None else replies_of(start)
    if taught is not None and taught.documents:
        return {DOCUMENTS: "trained", REPLIES: sorted(known.union(taught.replies))}
    reading = "no" if start is None else reading_of(start)
    if reading == "no":
        return {}
    return {DOCUMENTS: reading} | ({REPLIES: sorted(known)} if known else {})


def scores_answers(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is that of a reward model."""
    heads = ("SequenceClassification" in str(name) for name in config.get("architectures") or ())
    return "probe_layers" in config or any(heads)


def _tensors(path: Path) -> list[dict[str, Any]]:
    """The entries of a safetensors file's header; an empty list if the file is broken."""
    try:
        return [{"shape": [*entry["shape"]], "dtype": str(entry["dtype"])} for entry in entries(path).values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
