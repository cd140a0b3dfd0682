"""Documents for questions: the passage that answers among others, or only others, cut to a prompt's room."""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from malmoi.text import unwrapped

Found = list[dict[str, str]]
"""Documents of a prompt: {"title", "text"} each."""
Find = Callable[[Sequence[Mapping[str, Any]]], Found]
"""Look-up, as in chat: from a conversation to the documents of its last message."""
MAX_DOCUMENTS = 3
MAX_CHARS, MAX_PASSAGE_CHARS = 50_000, 600
"""Of a text, and of what is given of it."""
N_WORDS = 6
"""Words by which a sentence is found in a text."""
_BREAK = re.compile(r"(?<=[.!?。])\s+|\n+")


class Book(NamedTuple):
    """What can be given as a document. title: what it is called, such as a name; heading: all that is said above it"""

    id: str
    title: str
    text: str
    heading: str = ""


class Shelf:
    """Gives documents.

    books: all there are; room: the most tokens that the documents of a prompt may take; count: tokens of a text
    """

    def __init__(self, books: Iterable[Book], room: int, count: Callable[[str], int]) -> None:
        self.books = {book.id: book for book in books}
        self.room, self.count = room, cache(count)
        self.order = list(self.books)
        self.by_word: dict[str, list[str]] = defaultdict(list)
        for book in self.books.values():
            for word in sorted(set(_words(book.title))):
                self.by_word[word].append(book.id)

    def right(self, document: str, answer: str, rng: random.Random, title: str = "") -> Found:
        """The document that answers, with the answer in it, among up to two others in any order.

        title: in place of the document's own, if the answer is in it
        """
        book = self.books[document]
        room = self.room - self.count(title or book.title)
        share = rng.choice((0.4, 0.6, 0.8, 1.0))
        found = [{"title": title or book.title, "text": self.cut(book.text, max(24, int(share * room)), answer)}]
        found = self._filled(found, self.others(document, rng), rng)
        if rng.random() < 0.4:
            rng.shuffle(found)
        return found

    def wrong(self, document: str, title: str, rng: random.Random) -> Found:
        """Only others, nearest by title."""
        return self._filled([], self.others(document, rng, title), rng)

    def others(self, document: str, rng: random.Random, title: str = "") -> list[str]:
        """Ids of documents whose titles share words with this one, the most alike first, then any."""
        title = title or (self.books[document].title if document in self.books else "")
        shared: dict[str, float] = defaultdict(float)
        for word in sorted(set(_words(title))):
            near = self.by_word.get(word, [])
            for one in rng.sample(near, min(20, len(near))):
                shared[one] += 1 / len(near)
        alike = sorted((one for one in shared if one != document), key=lambda one: (-shared[one], one))
        return alike[:MAX_DOCUMENTS] or [
            one for one in rng.sample(self.order, min(4, len(self.order))) if one != document
        ]

    def cut(self, text: str, room: int, keep: str = "") -> str:
        """Whole sentences of a passage that fit `room` tokens: from its beginning, or from `keep` on if that is far."""
        text = unwrapped(text[:MAX_CHARS])
        found = _found(text, keep)
        start = found.start() if found and self.count(text[: found.end()]) > room else 0
        text = text[start : start + MAX_PASSAGE_CHARS]
        ends = [*(match.start() for match in _BREAK.finditer(text)), len(text)]
        fitting = [end for end in ends if self.count(text[:end]) <= room]
        return text[: max(fitting, default=ends[0])].strip()

    def _filled(self, found: Found, others: Sequence[str], rng: random.Random) -> Found:
        left = self.room - sum(self.count(one["title"]) + self.count(one["text"]) for one in found)
        for one in others:
            book = self.books[one]
            left -= self.count(book.title)
            if len(found) == MAX_DOCUMENTS or left < 20:
                break
            text = self.cut(book.text, min(left, rng.choice((24, 40, 60))))
            if self.count(text) <= left and text:
                found.append({"title": book.title, "text": text})
                left -= self.count(text)
        return found


def holds(text: str, sentence: str) -> bool:
    """Whether a text has a sentence, or its beginning, however its lines are broken."""
    return _found(text[:MAX_CHARS], sentence) is not None


def _found(text: str, sentence: str) -> re.Match[str] | None:
    words = sentence.split()[:N_WORDS]
    return re.search(r"\s+".join(map(re.escape, words)), text) if words else None


def _words(title: str) -> list[str]:
    return [word for word in re.findall(r"\w+", title.lower()) if len(word) > 1]
