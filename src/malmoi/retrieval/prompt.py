"""What of the findings goes into a model's prompt."""

from collections.abc import Callable

from malmoi.retrieval.findings import Findings, Source, title_of
from malmoi.retrieval.sentences import sentences
from malmoi.text import unwrapped

MAX_DOCUMENTS = 3
OF_THE_HEADING = ("parameters", "kind")
"""What is wanted of a name that its whole heading says."""


def documents_for(findings: Findings, room: int, count: Callable[[str], int]) -> list[dict[str, str]]:
    """At most three passages as {"title", "text"}, which together take at most `room`, as measured by `count`.

    A passage that does not fit is reduced to whole sentences around the one that answers; the first sources come first,
    and one of which not even that sentence fits is left out. A title is the name, or the whole heading if that answers.
    """
    documents: list[dict[str, str]] = []
    for source in findings.sources[:MAX_DOCUMENTS]:
        in_full = findings.wanted in OF_THE_HEADING and source.passage.heading
        title = source.passage.heading if in_full else title_of(source.passage)
        text = unwrapped(_trimmed(source, room - count(title), count))
        if text:
            documents.append({"title": title, "text": text})
            room -= count(title) + count(text)
    return documents


def _trimmed(source: Source, room: int, count: Callable[[str], int]) -> str:
    """The passage, or the widest run of whole sentences around the one that answers that fits; "" if none does."""
    text = source.passage.text
    if count(text) <= room:
        return text
    parts = sentences(text)
    ends = [*(part.start for part in parts[1:]), len(text)]
    best = next((n for n, part in enumerate(parts) if part.text == source.sentence), 0)
    first = last = best

    def between(first: int, last: int) -> str:
        return text[parts[first].start : ends[last]].strip()

    if not parts or count(between(best, best)) > room:
        return ""
    while True:
        wider = [(first, last + 1), (first - 1, last)]
        fitting = [(a, b) for a, b in wider if a >= 0 and b < len(parts) and count(between(a, b)) <= room]
        if not fitting:
            return between(first, last)
        first, last = fitting[0]
