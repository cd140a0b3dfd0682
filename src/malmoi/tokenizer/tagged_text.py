"""Text whose characters remember who said them, so that a chat template cannot turn what people say into markup.

`TaggedText` moves every character to a private plane of Unicode: one for the assistant's words, one for all others.
Whatever a template does with it, even if the type is lost (joined, formatted), the characters keep their plane, and no
special token is written with such characters. Methods that ask about the text (what it contains, begins with, is split
at) answer for the untagged text.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, SupportsIndex

import numpy as np

# The private-use planes: the first is for the assistant's words, the second for everybody else's.
ASSISTANT, OTHERS = 0xF0000, 0x100000
BY_OTHERS = re.compile(f"[{chr(OTHERS)}-\U0010ffff]")
BY_ASSISTANT = re.compile(f"[{chr(ASSISTANT)}-{chr(OTHERS - 1)}]")
_PLANE_SIZE = 0x10000
# White space is not tagged: templates trim it, and no special token consists of white space.
_IS_SPACE = np.array([chr(code).isspace() for code in range(_PLANE_SIZE)])


class _TagTable(dict[int, int]):
    """Code point -> the tagged one, computed when first asked for."""

    def __init__(self, plane: int) -> None:
        self.plane = plane

    def __missing__(self, code: int) -> int:
        self[code] = code if code >= _PLANE_SIZE or _IS_SPACE[code] else code + self.plane
        return self[code]


# Up to this length a table is faster than arrays.
_SHORT = 200
_TABLES = {plane: _TagTable(plane) for plane in (ASSISTANT, OTHERS)}


def codes_of(text: str) -> np.ndarray:
    """The code points of a text, (len(text),), uint32."""
    return np.frombuffer(str.encode(text, "utf-32-le", "surrogatepass"), dtype="<u4")


def tag(text: str, plane: int) -> str:
    """The text with every character of Unicode's first plane, except white space, moved to `plane`."""
    if len(text) < _SHORT:
        return text.translate(_TABLES[plane])
    codes = codes_of(text).copy()
    moves = codes < _PLANE_SIZE
    moves[moves] = ~_IS_SPACE[codes[moves]]
    codes[moves] += plane
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


def untagged_codes(tagged: str) -> np.ndarray:
    codes = codes_of(tagged).copy()
    codes[codes >= ASSISTANT] &= _PLANE_SIZE - 1
    return codes


def untag(value: Any) -> Any:
    """The original of a tagged text; any other value unchanged."""
    if not isinstance(value, str) or str.isascii(value):
        return str.__str__(value) if type(value) is TaggedText else value
    return untagged_codes(value).tobytes().decode("utf-32-le", "surrogatepass")


def is_tagged_copy(tagged: str, text: str) -> bool:
    """Whether `tagged` is `text` with some characters tagged. Text may contain characters of the private planes."""
    if len(tagged) != len(text):
        return False
    codes, found = codes_of(text), codes_of(tagged)
    return bool(((untagged_codes(tagged) == codes) | (found == codes)).all())


class TaggedText(str):
    """Tagged text. Its methods answer for the original text, and its parts are `TaggedText` again."""

    __slots__ = ()

    def __str__(self) -> str:
        return self

    def __hash__(self) -> int:
        return hash(untag(self))

    def __eq__(self, other: object) -> bool:
        return bool(untag(self) == untag(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: str) -> bool:
        return bool(untag(self) < untag(other))

    def __le__(self, other: str) -> bool:
        return bool(untag(self) <= untag(other))

    def __gt__(self, other: str) -> bool:
        return bool(untag(self) > untag(other))

    def __ge__(self, other: str) -> bool:
        return bool(untag(self) >= untag(other))

    def __contains__(self, other: object) -> bool:
        return untag(other) in untag(self)

    def __getitem__(self, key: SupportsIndex | slice) -> "TaggedText":
        return TaggedText(super().__getitem__(key))

    def __iter__(self) -> Iterator[str]:
        return map(TaggedText, super().__iter__())

    def __add__(self, other: str) -> "TaggedText":
        return TaggedText(super().__add__(other))

    def __radd__(self, other: str) -> "TaggedText":
        return TaggedText(str.__add__(other, self))

    def __mul__(self, times: SupportsIndex) -> "TaggedText":
        return TaggedText(super().__mul__(times))

    __rmul__ = __mul__

    def __mod__(self, values: Any) -> "TaggedText":
        return TaggedText(super().__mod__(values))

    def join(self, parts: Iterable[str]) -> "TaggedText":
        return TaggedText(super().join(parts))

    def _between(self, places: Iterable[tuple[int, int]]) -> list[str]:
        return [self[begin:end] for begin, end in places]

    def _cut_at(self, parts: list[str], sep: str) -> list[str]:
        """The tagged text of these parts of the original, which one separator each divides."""
        ends = np.cumsum([len(part) + len(sep) for part in parts]).tolist()
        return self._between(
            (end - len(part) - len(sep), end - len(sep)) for part, end in zip(parts, ends, strict=True)
        )

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        if sep is None:
            return [TaggedText(part) for part in super().split(None, maxsplit)]
        return self._cut_at(untag(self).split(untag(sep), maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        if sep is None:
            return [TaggedText(part) for part in super().rsplit(None, maxsplit)]
        return self._cut_at(untag(self).rsplit(untag(sep), maxsplit), sep)

    def partition(self, sep: str) -> tuple[str, str, str]:
        return self._thirds([len(part) for part in untag(self).partition(untag(sep))])

    def rpartition(self, sep: str) -> tuple[str, str, str]:
        return self._thirds([len(part) for part in untag(self).rpartition(untag(sep))])

    def _thirds(self, lengths: list[int]) -> tuple[str, str, str]:
        first, second, third = self._between(pairwise([0, *np.cumsum(lengths).tolist()]))
        return first, second, third

    def splitlines(self, keepends: bool = False) -> list[str]:
        lines = untag(self).splitlines(keepends=True)
        ends = np.cumsum([len(line) for line in lines]).tolist()
        kept = lines if keepends else untag(self).splitlines()
        return self._between(
            (end - len(whole), end - len(whole) + len(line)) for end, whole, line in zip(ends, lines, kept, strict=True)
        )

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> "TaggedText":
        text, wanted = untag(self), untag(old)
        if not wanted:  # between all characters
            return TaggedText(super().replace("", new, count))
        return TaggedText(new.join(self.split(wanted, count)) if wanted in text else self)

    def strip(self, chars: str | None = None) -> "TaggedText":
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None) -> "TaggedText":
        return self[len(self) - len(untag(self).lstrip(untag(chars))) :]

    def rstrip(self, chars: str | None = None) -> "TaggedText":
        return self[: len(untag(self).rstrip(untag(chars)))]

    def removeprefix(self, prefix: str) -> "TaggedText":
        return self[len(prefix) * self.startswith(prefix) :]

    def removesuffix(self, suffix: str) -> "TaggedText":
        return self[: len(self) - len(suffix) * self.endswith(suffix)]

    def startswith(self, prefix: Any, *place: Any) -> bool:
        return bool(untag(self).startswith(_untag_all(prefix), *place))

    def endswith(self, suffix: Any, *place: Any) -> bool:
        return bool(untag(self).endswith(_untag_all(suffix), *place))

    def as_json(self, ensure_ascii: bool) -> "TaggedText":
        """The text as inside a JSON string; each tagged character stays tagged."""

        def escape(character: str) -> str:
            is_kept = ord(character) < ASSISTANT
            return character if is_kept else _retagged(character, partial(_in_json, ensure_ascii=ensure_ascii))

        return TaggedText("".join(map(escape, super().__iter__())))

    def _by_character(self, change: Callable[[str], str]) -> "TaggedText":
        """The text with each character changed; each result is tagged as the character was."""
        return TaggedText("".join(_retagged(character, change) for character in super().__iter__()))

    def _changed(self, change: Callable[[str], str]) -> "TaggedText":
        """The changed text. If the change alters the length, the characters are changed one by one."""
        text = change(untag(self))
        if len(text) != len(self):
            return self._by_character(change)
        planes = codes_of(self) & ~np.uint32(_PLANE_SIZE - 1)
        planes[planes < ASSISTANT] = 0
        codes = codes_of(text).copy()
        fits = codes < _PLANE_SIZE
        codes[fits] |= planes[fits]
        return TaggedText(codes.tobytes().decode("utf-32-le", "surrogatepass"))

    def lower(self) -> "TaggedText":
        return self._changed(str.lower)

    def upper(self) -> "TaggedText":
        return self._changed(str.upper)

    def title(self) -> "TaggedText":
        return self._changed(str.title)

    def capitalize(self) -> "TaggedText":
        return self._changed(str.capitalize)

    def swapcase(self) -> "TaggedText":
        return self._changed(str.swapcase)

    def casefold(self) -> "TaggedText":
        return self._changed(str.casefold)


def _in_json(text: str, ensure_ascii: bool) -> str:
    return json.dumps(text, ensure_ascii=ensure_ascii)[1:-1]


def _untag_all(value: Any) -> Any:
    return tuple(map(untag, value)) if isinstance(value, tuple) else untag(value)


def _retagged(character: str, change: Callable[[str], str]) -> str:
    code = ord(character)
    if code < ASSISTANT:
        return change(character)
    plane = code & ~(_PLANE_SIZE - 1)
    return "".join(chr(plane | ord(c)) if ord(c) < _PLANE_SIZE else c for c in change(chr(code & (_PLANE_SIZE - 1))))


def _query(name: str) -> Callable[..., Any]:
    """A method that only asks about the text."""
    method = getattr(str, name)

    def ask(self: str, *values: Any) -> Any:
        return method(untag(self), *map(untag, values))

    return ask


for _name in (
    "find", "rfind", "index", "rindex", "count", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit",
    "isidentifier", "islower", "isnumeric", "isprintable", "istitle", "isupper", "encode",
):  # fmt: skip
    setattr(TaggedText, _name, _query(_name))


def tag_message(message: Mapping[str, str]) -> dict[str, str]:
    """The message with its text tagged by its role."""
    plane = ASSISTANT if message["role"] == "assistant" else OTHERS
    return {"role": message["role"], "content": TaggedText(tag(message["content"], plane))}


def tag_document(document: Mapping[str, str]) -> dict[str, str]:
    """The document with its texts tagged as those of others."""
    return {name: TaggedText(tag(text, OTHERS)) for name, text in document.items()}


def n_untagged(text: str) -> int:
    """How many characters at the beginning carry no tag (white space and rare planes)."""
    found = BY_ASSISTANT.search(tag(text, ASSISTANT))
    return found.start() if found else len(text)
