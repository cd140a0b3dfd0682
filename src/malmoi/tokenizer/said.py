"""What people say, as a chat template may see it: it answers like the real text, and stays known for what it is.

`Said` spells every character in a plane of Unicode that no text uses, one for one. Whatever a template does with it,
even where it loses the type (joined, formatted), its characters cannot become markup: no special token is spelled with
them. Asked about itself (what it contains, begins with, is split at), it answers for the real text.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, SupportsIndex

import numpy as np

# The private-use planes: the assistant's words are spelled in the first, everybody else's in the second.
ASSISTANT, OTHERS = 0xF0000, 0x100000
BY_OTHERS = re.compile(f"[{chr(OTHERS)}-\U0010ffff]")
BY_ASSISTANT = re.compile(f"[{chr(ASSISTANT)}-{chr(OTHERS - 1)}]")
_N_SPELLED = 0x10000
# White space stays: templates trim it, and no special token consists only of it.
_STAYS = np.array([chr(code).isspace() for code in range(_N_SPELLED)])


class _Spelled(dict[int, int]):
    """Code -> its spelling in a plane, made when first asked for."""

    def __init__(self, plane: int) -> None:
        self.plane = plane

    def __missing__(self, code: int) -> int:
        self[code] = code if code >= _N_SPELLED or _STAYS[code] else code + self.plane
        return self[code]


# Up to this length a table is faster than arrays.
_SHORT = 200
_SPELLED = {plane: _Spelled(plane) for plane in (ASSISTANT, OTHERS)}


def codes_of(text: str) -> np.ndarray:
    """The code points of a text, (len(text),), uint32."""
    return np.frombuffer(str.encode(text, "utf-32-le", "surrogatepass"), dtype="<u4")


def spell(text: str, plane: int) -> str:
    """Every character of the first plane but white space, moved to `plane`."""
    if len(text) < _SHORT:
        return text.translate(_SPELLED[plane])
    codes = codes_of(text).copy()
    moves = codes < _N_SPELLED
    moves[moves] = ~_STAYS[codes[moves]]
    codes[moves] += plane
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


def real_codes(spelled: str) -> np.ndarray:
    codes = codes_of(spelled).copy()
    codes[codes >= ASSISTANT] &= _N_SPELLED - 1
    return codes


def real(value: Any) -> Any:
    """The real text of what is spelled; anything else as it is."""
    if not isinstance(value, str) or str.isascii(value):
        return str.__str__(value) if type(value) is Said else value
    return real_codes(value).tobytes().decode("utf-32-le", "surrogatepass")


def is_spelling_of(spelled: str, text: str) -> bool:
    """Whether `spelled` reads as `text`. Characters that people typed in the private planes are themselves."""
    if len(spelled) != len(text):
        return False
    codes, found = codes_of(text), codes_of(spelled)
    return bool(((real_codes(spelled) == codes) | (found == codes)).all())


class Said(str):
    """Spelled text whose methods answer for the real one, and whose parts are `Said` again."""

    __slots__ = ()

    def __str__(self) -> str:
        return self

    def __hash__(self) -> int:
        return hash(real(self))

    def __eq__(self, other: object) -> bool:
        return bool(real(self) == real(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: str) -> bool:
        return bool(real(self) < real(other))

    def __le__(self, other: str) -> bool:
        return bool(real(self) <= real(other))

    def __gt__(self, other: str) -> bool:
        return bool(real(self) > real(other))

    def __ge__(self, other: str) -> bool:
        return bool(real(self) >= real(other))

    def __contains__(self, other: object) -> bool:
        return real(other) in real(self)

    def __getitem__(self, key: SupportsIndex | slice) -> "Said":
        return Said(super().__getitem__(key))

    def __iter__(self) -> Iterator[str]:
        return map(Said, super().__iter__())

    def __add__(self, other: str) -> "Said":
        return Said(super().__add__(other))

    def __radd__(self, other: str) -> "Said":
        return Said(str.__add__(other, self))

    def __mul__(self, times: SupportsIndex) -> "Said":
        return Said(super().__mul__(times))

    __rmul__ = __mul__

    def __mod__(self, values: Any) -> "Said":
        return Said(super().__mod__(values))

    def join(self, parts: Iterable[str]) -> "Said":
        return Said(super().join(parts))

    def _between(self, places: Iterable[tuple[int, int]]) -> list[str]:
        return [self[begin:end] for begin, end in places]

    def _cut_at(self, parts: list[str], sep: str) -> list[str]:
        """The spelled text of these parts of the real one, between which there is one separator each."""
        ends = np.cumsum([len(part) + len(sep) for part in parts]).tolist()
        return self._between(
            (end - len(part) - len(sep), end - len(sep)) for part, end in zip(parts, ends, strict=True)
        )

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        if sep is None:
            return [Said(part) for part in super().split(None, maxsplit)]
        return self._cut_at(real(self).split(real(sep), maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        if sep is None:
            return [Said(part) for part in super().rsplit(None, maxsplit)]
        return self._cut_at(real(self).rsplit(real(sep), maxsplit), sep)

    def partition(self, sep: str) -> tuple[str, str, str]:
        return self._thirds([len(part) for part in real(self).partition(real(sep))])

    def rpartition(self, sep: str) -> tuple[str, str, str]:
        return self._thirds([len(part) for part in real(self).rpartition(real(sep))])

    def _thirds(self, lengths: list[int]) -> tuple[str, str, str]:
        first, second, third = self._between(pairwise([0, *np.cumsum(lengths).tolist()]))
        return first, second, third

    def splitlines(self, keepends: bool = False) -> list[str]:
        lines = real(self).splitlines(keepends=True)
        ends = np.cumsum([len(line) for line in lines]).tolist()
        kept = lines if keepends else real(self).splitlines()
        return self._between(
            (end - len(whole), end - len(whole) + len(line)) for end, whole, line in zip(ends, lines, kept, strict=True)
        )

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> "Said":
        text, wanted = real(self), real(old)
        if not wanted:  # between all characters
            return Said(super().replace("", new, count))
        return Said(new.join(self.split(wanted, count)) if wanted in text else self)

    def strip(self, chars: str | None = None) -> "Said":
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None) -> "Said":
        return self[len(self) - len(real(self).lstrip(real(chars))) :]

    def rstrip(self, chars: str | None = None) -> "Said":
        return self[: len(real(self).rstrip(real(chars)))]

    def removeprefix(self, prefix: str) -> "Said":
        return self[len(prefix) * self.startswith(prefix) :]

    def removesuffix(self, suffix: str) -> "Said":
        return self[: len(self) - len(suffix) * self.endswith(suffix)]

    def startswith(self, prefix: Any, *place: Any) -> bool:
        return bool(real(self).startswith(_all_real(prefix), *place))

    def endswith(self, suffix: Any, *place: Any) -> bool:
        return bool(real(self).endswith(_all_real(suffix), *place))

    def as_json(self, ensure_ascii: bool) -> "Said":
        """The text as it is written inside a JSON string, each character that is spelled stays so."""

        def escape(character: str) -> str:
            is_kept = ord(character) < ASSISTANT
            return character if is_kept else _respelled(character, partial(_in_json, ensure_ascii=ensure_ascii))

        return Said("".join(map(escape, super().__iter__())))

    def _by_character(self, change: Callable[[str], str]) -> "Said":
        """The text with each character changed, each result spelled as the character was."""
        return Said("".join(_respelled(character, change) for character in super().__iter__()))

    def _changed(self, change: Callable[[str], str]) -> "Said":
        """The text after a change that keeps its length; otherwise its characters are changed one by one."""
        text = change(real(self))
        if len(text) != len(self):
            return self._by_character(change)
        planes = codes_of(self) & ~np.uint32(_N_SPELLED - 1)
        planes[planes < ASSISTANT] = 0
        codes = codes_of(text).copy()
        fits = codes < _N_SPELLED
        codes[fits] |= planes[fits]
        return Said(codes.tobytes().decode("utf-32-le", "surrogatepass"))

    def lower(self) -> "Said":
        return self._changed(str.lower)

    def upper(self) -> "Said":
        return self._changed(str.upper)

    def title(self) -> "Said":
        return self._changed(str.title)

    def capitalize(self) -> "Said":
        return self._changed(str.capitalize)

    def swapcase(self) -> "Said":
        return self._changed(str.swapcase)

    def casefold(self) -> "Said":
        return self._changed(str.casefold)


def _in_json(text: str, ensure_ascii: bool) -> str:
    return json.dumps(text, ensure_ascii=ensure_ascii)[1:-1]


def _all_real(value: Any) -> Any:
    return tuple(map(real, value)) if isinstance(value, tuple) else real(value)


def _respelled(character: str, change: Callable[[str], str]) -> str:
    code = ord(character)
    if code < ASSISTANT:
        return change(character)
    plane = code & ~(_N_SPELLED - 1)
    return "".join(chr(plane | ord(c)) if ord(c) < _N_SPELLED else c for c in change(chr(code & (_N_SPELLED - 1))))


def _asked(name: str) -> Callable[..., Any]:
    """A method that only asks about the text."""
    method = getattr(str, name)

    def ask(self: str, *values: Any) -> Any:
        return method(real(self), *map(real, values))

    return ask


for _name in (
    "find", "rfind", "index", "rindex", "count", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit",
    "isidentifier", "islower", "isnumeric", "isprintable", "istitle", "isupper", "encode",
):  # fmt: skip
    setattr(Said, _name, _asked(_name))


def said(message: Mapping[str, str]) -> dict[str, str]:
    """A message whose text is spelled."""
    plane = ASSISTANT if message["role"] == "assistant" else OTHERS
    return {"role": message["role"], "content": Said(spell(message["content"], plane))}


def n_unspelled(text: str) -> int:
    """Characters before the first that shows whose it is."""
    found = BY_ASSISTANT.search(spell(text, ASSISTANT))
    return found.start() if found else len(text)
