"""`malmoi quantise`: what a model costs and says in fewer bits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from malmoi.cli.printing import table
from malmoi.corpus.folder import ReadReport, read_folder
from malmoi.errors import DataError
from malmoi.evals.quantised import compare_weights
from malmoi.files import read_jsonl
from malmoi.formats.folder import load_model, load_text
from malmoi.inference.weights import Weights
from malmoi.synthetic.pydocs import PACKAGES, read_python_docs
from malmoi.units import size
from malmoi.workspace.folder import Workspace
from malmoi.workspace.models import find_model

LONGEST = 256
N_TEXTS = 40
N_PROMPT = 16


def quantise(folder: Path, model: str | None, formats: Sequence[Weights], text: Path | None) -> dict[str, Any]:
    """Compare number formats of a model's weights on text that it was not trained on; see `compare_weights`."""
    name, path = find_model(Workspace(folder), model)
    network, (tokenizer, _) = load_model(path), load_text(path)
    source, documents = _heldout(folder, text)
    longest = min(LONGEST, network.config.seq_len)
    texts, n_bytes = [], 0
    for document in documents:
        ids = [tokenizer.end_of_text_id, *tokenizer.encode(document)][:longest]
        if len(ids) > N_PROMPT:
            texts.append(ids)
            n_bytes += len(tokenizer.decode(ids[1:]).encode())
        if len(texts) == N_TEXTS:
            break
    if not texts:
        raise DataError(f"{source}: no document of more than {N_PROMPT} tokens to measure on; name another with --text")
    rows = compare_weights(network, formats, texts, n_bytes, [ids[:N_PROMPT] for ids in texts])
    return {"model": name, "text": source, "n_bytes": n_bytes, "formats": rows}


def _heldout(folder: Path, text: Path | None) -> tuple[str, list[str]]:
    """The user's text, else what the workspace's newest corpus holds out, else Python's documentation."""
    if text is not None:
        return str(text), [document.text for document in read_folder(text, "strict", ReadReport())]
    held = sorted((folder / "runs").glob("*-corpus/out/heldout.jsonl"))
    if held:
        return f"held-out text of {held[-1].parents[1].name}", [row["text"] for row in read_jsonl(held[-1])]
    return "Python's documentation", [document.text for document, _ in read_python_docs(PACKAGES)]


def as_table(found: dict[str, Any]) -> Table:
    columns = ("weights", "bytes", "tokens/s", "perplexity", "bits/byte", "same likeliest token")
    rows = [
        (
            row["weights"], size(row["bytes"]), f"{row['tokens_per_s']:.0f}", f"{row['perplexity']:.2f}",
            f"{row['bits_per_byte']:.3f}", f"{row['agreement']:.1%}",
        )
        for row in found["formats"]
    ]  # fmt: skip
    made = table(columns, rows)
    made.caption = f"{found['model']}, {found['n_bytes']:,} bytes of {found['text']}"
    return made
