"""Documents -> clean documents: normalised, without copies and boilerplate, split into train and held-out.

Each step yields documents one by one and counts what it removes in the `dropped` counter that it is given.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Literal

from malmoi.corpus.documents import Document, Reopenable, opener
from malmoi.corpus.readers import reader_of
from malmoi.text import normalise, text_digest

Split = Literal["train", "heldout"]


def normalised(documents: Iterable[Document]) -> Iterator[Document]:
    """The documents with normalised text; each keeps its id, and knows its lines of the file."""
    for document in documents:
        text = normalise(document.text)
        yield _with_lines(document, text, lambda document=document: _full_lines(document))  # type: ignore[misc]


def _full_lines(document: Document) -> list[int]:
    """The line of the file of each line that is not blank after it was normalised."""
    lines = enumerate(re.split(r"\r\n|[\r\n]", document.text))
    return [document.line_at(at) for at, line in lines for part in normalise(line).split("\n") if part]


def _with_lines(document: Document, text: str, full_lines: Callable[[], list[int]]) -> Document:
    """The document with another text. full_lines: gives the line of the file of each line of it that is not blank"""
    if not document.line or document.place or text == document.text:
        return replace(document, text=text)
    numbers = iter(full_lines())
    places = [(at, next(numbers)) for at, line in enumerate(text.split("\n")) if line]
    if not places:
        return replace(document, text=text)
    (first, number), shift = places[0], 0
    begin, gaps = number - first, list[tuple[int, int]]()
    for at, number in places:
        if number - begin - at != shift:
            shift = number - begin - at
            gaps.append((at, shift))
    return replace(document, text=text, line=begin, gaps=tuple(gaps))


def drop_duplicates(documents: Iterable[Document], dropped: Counter[str] | None = None) -> Iterator[Document]:
    """The first document with each text. Keeps 16 bytes per document in memory. Counts "duplicate"."""
    dropped = Counter() if dropped is None else dropped
    seen: set[bytes] = set()
    for document in documents:
        key = text_digest(document.text)
        if key in seen:
            dropped["duplicate"] += 1
        else:
            seen.add(key)
            yield document


BOILERPLATE_CHARS = 20
BOILERPLATE_DOCUMENTS = 5
BOILERPLATE_SHARE = 0.02
MAX_DISTINCT_LINES = 5_000_000
_COMMENT_MARK = re.compile(r"^(#|//+|/\*+| \*+|--|;+|<!--|\.\.) +")
_CODE = re.compile(r"[{}=<>|`\\]|::|__|\w\(|[:;]$|^([-*+#]|\d+\.) |^(import|from|package|using|def|class|return) ")


def drop_boilerplate(documents: Reopenable, min_chars: int, dropped: Counter[str] | None = None) -> Iterator[Document]:
    """Remove the lines that many documents of one family repeat: licence headers, cookie banners, share buttons.

    A family is a host, a folder, or a file of rows. A line is removed if it has at least 20 characters and appears in
    at least 5 documents and 2 % of its family. Code, lists, tables, headings and indented lines are never touched.
    documents: a list, or a function that opens the stream again; it is read twice
    min_chars: a document that loses lines and then has fewer characters is dropped
    Counts "boilerplate line" and "boilerplate document". After 5 million distinct lines, rare ones are forgotten (lossy
    counting, Manku and Motwani 2002): this can only keep a line.
    """
    dropped = Counter() if dropped is None else dropped
    open_documents = opener(documents)
    boilerplate = _repeated_lines(open_documents())
    for document in open_documents():
        lines = document.text.split("\n")
        removed = {at for at, key in _countable(document, lines) if key in boilerplate}
        if not removed:
            yield document
            continue
        dropped["boilerplate line"] += len(removed)
        kept = [(at, line) for at, line in enumerate(lines) if at not in removed]
        text = normalise("\n".join(line for _, line in kept))
        if len(text) < max(1, min_chars):
            dropped["boilerplate document"] += 1
        else:
            full = [document.line_at(at) for at, line in kept if line]
            yield _with_lines(document, text, lambda full=full: full)  # type: ignore[misc]


def family(source: str) -> str:
    """The group of documents that may share a template: the host of a URL, a file of rows, else the folder."""
    if "://" in source:
        return source.split("/")[2]
    path = source.partition("#")[0]
    reader = reader_of(path)
    return path if reader is not None and reader.has_rows else path.rpartition("/")[0]


def _repeated_lines(documents: Iterable[Document]) -> set[tuple[str, int]]:
    n_documents: Counter[str] = Counter()
    n_with_line: Counter[tuple[str, int]] = Counter()
    rare = 0
    for document in documents:
        n_documents[family(document.source)] += 1
        n_with_line.update({key for _, key in _countable(document, document.text.split("\n"))})
        if len(n_with_line) > MAX_DISTINCT_LINES:
            rare += 1
            n_with_line = Counter({key: n for key, n in n_with_line.items() if n > rare})
    return {
        key
        for key, n in n_with_line.items()
        if n >= max(BOILERPLATE_DOCUMENTS, BOILERPLATE_SHARE * n_documents[key[0]])
    }


def _countable(document: Document, lines: list[str]) -> Iterator[tuple[int, tuple[str, int]]]:
    """Lines that may be boilerplate: index, and a key of the family and the line."""
    name, in_code = family(document.source), False
    for at, line in enumerate(lines):
        words = _COMMENT_MARK.sub("", line).strip()
        is_plain = " " in words and sum(map(str.isalpha, words)) * 2 > len(words) and not _CODE.search(words)
        in_code ^= line.startswith(("```", "~~~"))
        if in_code or len(words) < BOILERPLATE_CHARS or not is_plain or line.startswith(("    ", "\t")):
            continue
        # A single line with # is a heading; a licence in # comments has several.
        if not line.startswith("#") or any(x.startswith("#") for x in (*lines[at - 1 : at], *lines[at + 1 : at + 2])):
            yield at, (name, _line_key(words))


def _line_key(words: str) -> int:
    """A hash that is the same in every process, unlike Python's own."""
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big")


def _hash_position(document_id: str, seed: int) -> int:
    digest = hashlib.sha256(f"{seed}:{document_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def split(
    documents: Reopenable,
    heldout_fraction: float,
    seed: int,
    dropped: Counter[str] | None = None,
    trained_on: Collection[str] = (),
) -> Iterator[tuple[Split, Document]]:
    """Each document with its side of the split. Drops a training document whose text is also held out.

    documents: a list, or a function that opens the stream again; it is read three times
    heldout_fraction: in (0, 1). A document is held out if the hash of its id and the seed is below this fraction of all
        hashes; other documents do not matter. There is one exception: if no document of several would be held out, the
        one with the smallest hash is; if all would be, the one with the largest hash is trained on
    trained_on: ids of documents that are never held out
    Counts "copy of held-out text".
    """
    dropped = Counter() if dropped is None else dropped
    open_documents = opener(documents)
    limit = _heldout_limit(open_documents(), heldout_fraction, seed)

    def is_heldout(document: Document) -> bool:
        return _hash_position(document.id, seed) < limit and document.id not in trained_on

    heldout = {text_digest(document.text) for document in open_documents() if is_heldout(document)}
    for document in open_documents():
        if is_heldout(document):
            yield "heldout", document
        elif text_digest(document.text) in heldout:
            dropped["copy of held-out text"] += 1
        else:
            yield "train", document


def cut_end(document: Document, share: float) -> tuple[str, str] | None:
    """Cut the text of a single document into a beginning and an end, which is to be held out.

    The cut is at the blank line that brings the end's share of the characters nearest to `share`; without blank lines
    at the end of a line, else of a sentence. None for a text of one sentence.
    """
    text = document.text
    for border in (r"\n{2,}", r"\n", r"(?<=[.?!…。！？])\s+"):
        cuts = [found.span() for found in re.finditer(border, text)]
        if cuts:
            start, end = min(cuts, key=lambda cut: abs(len(text) - cut[1] - share * len(text)))
            return text[:start], text[end:]
    return None


def part_of(document: Document, start: int, stop: int) -> Document:
    """The characters from `start` to `stop` as a document of its own, which knows its lines."""
    text, first = document.text[start:stop], document.text.count("\n", 0, start)
    line = document.line_at(first)
    n_before = line - document.line - first
    n_lines = text.count("\n") + 1
    gaps = ((at - first, n - n_before) for at, n in document.gaps if first < at < first + n_lines)
    return replace(document, text=text, id="", line=line, gaps=tuple(gaps))


def _heldout_limit(documents: Iterable[Document], heldout_fraction: float, seed: int) -> float:
    """Documents with a hash position below this limit are held out: the fraction, moved if one side would be empty."""
    limit = heldout_fraction * 2**64
    lowest, highest = 2**64, -1
    for document in documents:
        position = _hash_position(document.id, seed)
        lowest, highest = min(lowest, position), max(highest, position)
    if lowest < highest and 0 < heldout_fraction < 1:
        limit = min(max(limit, lowest + 1), highest)
    return limit
