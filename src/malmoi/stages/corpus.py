"""Documents from text: read, normalise, drop duplicates and boilerplate, split by document."""

import contextlib
import platform
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from malmoi import config, device
from malmoi.config import Seed
from malmoi.corpus import clean
from malmoi.corpus.addresses import public
from malmoi.corpus.build import build
from malmoi.corpus.documents import Document, each_document
from malmoi.corpus.encodings import UTF8, encoding_name
from malmoi.corpus.folder import ReadReport, read_folder
from malmoi.corpus.folder import identity as text_identity
from malmoi.corpus.form import DATA, STEPS, WEB
from malmoi.corpus.form import Settings as PageSettings
from malmoi.corpus.sources import find_sources
from malmoi.corpus.sources import identity as sources_identity
from malmoi.cost import Cost, Sizes
from malmoi.errors import ConfigError, DataError, UserError
from malmoi.facts import Facts, Listing, Section, listed
from malmoi.files import open_atomic, read_json, to_json, write_json, write_jsonl
from malmoi.stage import Context, Finished, Role
from malmoi.synthetic.pydocs import WIDELY_USED, Item, read_python_docs
from malmoi.synthetic.text_questions import TOO_LITTLE, can_be_asked_about
from malmoi.text import text_digest
from malmoi.units import size
from malmoi.unused import Unused, is_empty
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes

TRIAL_BYTES = 100_000
"""Training text below this size gets a remark on how much text is needed."""
TEXT_SHARE = 0.1
"""Bytes of text that are left of a byte of archives, as they are zipped: most of a page is no text, most pages go."""
PAGES_S_PER_MB = 13.0
"""For a MB of this text 10 MB of archives are unpacked to about 40 MB of pages, at about 3 MB/s."""
MAX_WORKERS = 4
"""Processes that read pages; each takes about 200 MB. The result does not depend on it."""


class Settings(config.Settings):
    """The text, and how it is cleaned."""

    text: str = ""
    """File or folder of the user's own text; empty: `sources`, else the documentation of this Python and of
    `packages`."""
    sources: tuple[str, ...] = ()
    """Archives of the web, folders, addresses: a corpus is built of them first, as by `malmoi corpus build`."""
    web: PageSettings = PageSettings()
    """How pages of `sources` become text, step by step."""
    packages: tuple[str, ...] = ("jinja2", "rich", "typer")
    """Installed packages whose docstrings are read in addition to the standard library's."""
    errors: Literal["strict", "skip"] = "strict"
    """What to do with a file or a row that cannot be read."""
    encoding: Annotated[str, AfterValidator(encoding_name)] = UTF8
    """Encoding of files that have no byte order mark and are not UTF-8, such as cp949 or euc-kr."""
    heldout_fraction: float = Field(0.05, gt=0, lt=1)
    """Share of the documents that are held out from training."""
    min_chars: int = Field(20, ge=0)
    """Shortest document that is kept, after cleaning."""
    seed: Seed = 1
    """Seed of the split."""
    added = frozenset({"sources", "web"})

    @property
    def is_own(self) -> bool:
        """Whether it is text of the user, and not documentation."""
        return bool(self.text or self.sources)


READS: dict[str, Role] = {}
MAKES = {
    "documents": {"train": "train.jsonl", "heldout": "heldout.jsonl", "facts": "corpus.json"},
    "items": "items.jsonl",
}
_OWN = "it is about your text, and corpus.text names none"
UNUSED = (
    Unused("packages", "text", bool, "your own text (corpus.text) is read in place of documentation"),
    Unused("packages", "sources", bool, "pages of the web (corpus.sources) are read in place of documentation"),
    Unused("sources", "text", bool, "your own text (corpus.text) is read in their place"),
    Unused("web", "sources", is_empty, "it is about pages of the web, and corpus.sources names none"),
    Unused("errors", "text", is_empty, _OWN),
    Unused("min_chars", "text", is_empty, _OWN),
)


def kinds(settings: Settings) -> Collection[str]:
    """Only documentation has items to ask about."""
    return ("documents",) if settings.is_own else MAKES


def external_hashes(settings: Settings, workspace: Workspace, hashes: Hashes) -> dict[str, str]:
    """The text's hash, or the versions of Python and the packages."""
    if settings.text:
        path = Path(settings.text)
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; give --text a file or a folder of text")
        with hashes.keeping() as of_file:
            return {"text": text_identity(path, of_file)}
    if settings.sources:
        with hashes.keeping() as of_file:
            return {"sources": sources_identity(settings.sources, settings.web, of_file)}
    versions = {"python": platform.python_version()}
    for name in settings.packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise ConfigError(f"corpus.packages: {name} is not installed here; install it or leave it out") from None
    return versions


def expects(settings: Settings, sizes: Sizes) -> Sizes:
    """Whose text it is, and its bytes."""
    if settings.sources and not settings.text:
        n_bytes = sum(source.n_bytes for source in find_sources(settings.sources)[0])
        return replace(sizes, is_own_text=True, text_bytes=int(n_bytes * TEXT_SHARE))
    if not settings.text or not (path := Path(settings.text)).exists():
        return sizes
    files = [path] if path.is_file() else path.rglob("*")
    return replace(sizes, is_own_text=True, text_bytes=sum(file.stat().st_size for file in files if file.is_file()))


def check(settings: Settings, reads: Mapping[str, Any]) -> None:
    """Raises ConfigError for an address that a recipe must not keep."""
    if any(public(one) != one for one in settings.sources):
        raise ConfigError(
            "corpus.sources: an address has a password or a signature, which a recipe would keep; build with `malmoi "
            "corpus build`, and give corpus.text"
        )


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Reading and cleaning."""
    return Cost(s_per_mb=1.6 + (PAGES_S_PER_MB if settings.sources and not settings.text else 0), holds_model=False)


def run(context: Context, settings: Settings) -> None:
    """Read, normalise, drop duplicates and boilerplate, split by document. Only hashes of the texts stay in memory."""
    counts: Counter[str] = Counter()
    report = ReadReport()
    items: list[Item] = []
    text, pages = _text_of(context, settings)

    def documents() -> Iterator[Document]:
        if text is not None:
            yield from read_folder(text, settings.errors, report, settings.encoding)
            return
        for document, item in read_python_docs(settings.packages):
            if item is not None:
                items.append(item)
            yield document

    with contextlib.ExitStack() as held:
        kept = held.enter_context(_on_disk(context, clean.drop_duplicates(clean.normalised(documents()), counts)))
        if settings.is_own:
            kept = held.enter_context(_on_disk(context, clean.drop_boilerplate(kept, settings.min_chars, counts)))
        origins = Counter(document.origin for document in kept())
        licenses = Counter(document.license for document in kept())
        # An assistant that has not read about the names that everybody uses answers nobody's first question.
        widely_used = {item.document for item in items if item.used >= WIDELY_USED}
        n_documents, n_bytes, trained_on = _write_sides(context, settings, kept, counts, widely_used)
    if not settings.is_own:
        write_jsonl(context.out / "items.jsonl", (item.to_row() for item in items if item.document in trained_on))
    facts = {
        "documents": n_documents,
        "bytes": n_bytes,
        "origins": dict(origins),
        "licenses": dict(licenses.most_common(20)),
        "dropped": dict(counts),
        "skipped": dict(report.skipped),
        "notes": dict(report.notes),
        **pages,
    }
    write_json(context.out / "corpus.json", facts)
    said = size(sum(n_bytes.values()))
    context.say(f"{_number(origins.total(), 'document')}, {said}; dropped: {_listed(counts) or 'nothing'}")
    if settings.is_own:
        _say_of_own(context, settings, report, n_bytes["train"])


def facts(finished: Finished) -> Facts:
    """What was read, how it was split, and what was left out."""
    found = read_json(finished.out / "corpus.json")
    settings = finished.settings
    read = settings.text or ", ".join(settings.sources) or "the documentation of the Python that ran Malmoi"
    rows = [("read from", read), *_rows_of_pages(found.get("pages", {}))]
    rows += [
        (label, f"{found['documents'][side]:,} documents, {found['bytes'][side] / 1e6:.2f} MB")
        for side, label in (("train", "to train on"), ("heldout", "held out"))
    ]
    labels = {
        "origins": "origin",
        "licenses": "licence",
        "dropped": "dropped",
        "skipped": "passed over",
        "notes": "noticed",
    }
    rows += [(label, listed(found[key])) for key, label in labels.items() if found.get(key)]  # older runs have no notes
    lead = (
        "The text, normalised, without duplicates and boilerplate, and split by document. Everything measured on text "
        "below is measured on the held-out side."
    )
    return Facts([Section("Corpus", lead, [Listing(rows)])])


def _text_of(context: Context, settings: Settings) -> tuple[Path | None, dict[str, Any]]:
    """The text to read, after the pages of `sources` have become one; and what the facts tell of these pages."""
    if settings.text or not settings.sources:
        return (Path(settings.text) if settings.text else None), {}
    folder = context.folder / WEB
    n_workers = min(MAX_WORKERS, device.n_cores())
    made = build(settings.sources, folder, settings.web, n_workers, context.say)
    context.say(f"{made['n_kept']:,} pages kept of {made['n_read']:,} records; malmoi corpus show {folder}")
    dropped = {step: sum(made["dropped"][step].values()) for step in STEPS if made["dropped"].get(step)}
    told = {"n_read": made["n_read"], "n_kept": made["n_kept"], "dropped": dropped, "masked": dict(made["masked"])}
    return folder / DATA, {"pages": told}


def _rows_of_pages(pages: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not pages:
        return []
    rows = [("pages of the web", f"{pages['n_kept']:,} kept of {pages['n_read']:,} records")]
    labels = {"dropped": "dropped by step", "masked": "personal data masked"}
    return rows + [(label, listed(pages[key])) for key, label in labels.items() if pages[key]]


def _say_of_own(context: Context, settings: Settings, report: ReadReport, n_bytes: int) -> None:
    """Remarks on the user's own text. n_bytes: size of the training text"""
    if report.skipped:
        context.say(f"passed over: {_listed(report.skipped)}")
        for example in report.examples:
            context.say(f"  {example}")
    if report.notes:
        context.say(f"read, and worth knowing: {_listed(report.notes)}")
    for name, n in (+report.converted).items():
        context.say(f"{_number(n, 'file')} read as {name}")
    if n_bytes < TRIAL_BYTES:
        context.say("this text is enough to try every stage; learning the language takes about 1 MB")
    if not can_be_asked_about(partial(each_document, context.out / "train.jsonl")):
        context.say(TOO_LITTLE)


@contextlib.contextmanager
def _on_disk(context: Context, documents: Iterable[Document]) -> Iterator[Callable[[], Iterator[Document]]]:
    """Store documents on disk for the block; the returned function reads them, any number of times."""
    with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=context.folder) as folder:
        write_jsonl(Path(folder) / "kept.jsonl", (document.to_row() for document in documents))
        yield partial(each_document, Path(folder) / "kept.jsonl")


def _write_sides(
    context: Context,
    settings: Settings,
    kept: Callable[[], Iterator[Document]],
    counts: Counter[str],
    widely_used: Collection[str],
) -> tuple[dict[str, int], dict[str, int], set[str]]:
    """Write the documents of each side. Returns their numbers, bytes of text, and the ids of the training documents."""
    n_documents, n_bytes = {"train": 0, "heldout": 0}, {"train": 0, "heldout": 0}
    trained_on: set[str] = set()
    with contextlib.ExitStack() as opened:
        files = {side: opened.enter_context(open_atomic(context.out / f"{side}.jsonl")) for side in n_documents}
        for side, document in _sides(context, settings, kept, counts, widely_used):
            files[side].write(to_json(document.to_row()).encode() + b"\n")
            n_documents[side] += 1
            n_bytes[side] += len(document.text.encode())
            if side == "train":
                trained_on.add(document.id)
        if not all(n_documents.values()):
            empty = " and ".join(side for side, n in n_documents.items() if not n)
            raise DataError(
                f"corpus: {sum(n_documents.values())} document(s) leave none for {empty}; give at least two "
                "different texts"
            )
    return n_documents, n_bytes, trained_on


def _sides(
    context: Context,
    settings: Settings,
    kept: Callable[[], Iterator[Document]],
    counts: Counter[str],
    widely_used: Collection[str],
) -> Iterator[tuple[clean.Split, Document]]:
    """Each document with its side. The end of a single document is held out; `widely_used` ones are trained on."""
    first = list(islice(kept(), 2))
    if len(first) != 1:
        yield from clean.split(kept, settings.heldout_fraction, settings.seed, counts, widely_used)
        return
    [only] = first
    parts = clean.cut_end(only, settings.heldout_fraction)
    if parts is None or text_digest(parts[0]) == text_digest(parts[1]):
        raise DataError("corpus: one document of one sentence leaves nothing to hold out; give more text or more files")
    n_end = len(parts[1])
    begin, end = clean.part_of(only, 0, len(parts[0])), clean.part_of(only, len(only.text) - n_end, len(only.text))
    context.say(f"one document: its last {len(end.text) / len(only.text):.0%} is held out")
    yield "train", begin
    yield "heldout", end


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{n:,} × {reason}" for reason, n in counts.items() if n)
