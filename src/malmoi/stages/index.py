"""An index of all documents: passages that answers are looked up in."""

from collections.abc import Iterator

from malmoi import config
from malmoi.corpus.documents import Document, each_document
from malmoi.cost import Cost, Sizes
from malmoi.facts import Facts, Figure, Figures, Section
from malmoi.files import folder_atomic, read_json
from malmoi.retrieval.index import build_index
from malmoi.retrieval.writer import FACTS, FORMAT
from malmoi.stage import Context, Finished, Input, required
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes
from malmoi.workspace.indexes import INDEX


class Settings(config.Settings):
    """The index."""


READS = {"documents": required("documents")}
MAKES = {INDEX: INDEX}


def external_hashes(settings: Settings, workspace: Workspace, hashes: Hashes) -> dict[str, str]:
    """The format: an index of another version is made again."""
    return {"format": FORMAT}


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Cutting the text into passages, and their terms."""
    return Cost(s_per_mb=0.5, holds_model=False)


def run(context: Context, settings: Settings) -> None:
    """Cut the documents of both sides into passages and index them. Held-out text is looked up, and not trained on."""
    with folder_atomic(context.out / INDEX) as folder:
        facts = build_index(_documents(context.reads("documents")), folder)
    context.say(f"{facts['passages']:,} passages of {facts['files']:,} files to look up")


def facts(finished: Finished) -> Facts:
    """How much there is to look up."""
    found = read_json(finished.out / INDEX / FACTS)
    languages = ", ".join(f"{n:,} {language}" for language, n in found["languages"].items())
    lead = "Passages of a few sentences, each with its file, heading and line: what answers are looked up in."
    rows = [Figure("passages", found["passages"], languages), Figure("files", found["files"])]
    return Facts([Section("Look-up", lead, [Figures(rows)])])


def _documents(source: Input) -> Iterator[Document]:
    for side in ("train", "heldout"):
        yield from each_document(source.part(side))
