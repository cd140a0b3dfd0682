"""Names of programs: in headings, as people write them, and as they are used."""

import re
from dataclasses import dataclass
from functools import lru_cache
from math import log

from malmoi.retrieval.words import word_list
from malmoi.synthetic.used_names import used_names
from malmoi.text import nfc

KINDS = ("function", "class", "method", "module", "property", "attribute", "topic")
_HEADING = re.compile(r"(?P<kind>[a-z]+) (?P<name>[A-Za-z_][\w.]*)(?:\((?P<parameters>.*)\))?\s*")
# Where a name is documented, and how programs write it.
_WRITTEN = (
    ("posixpath.", "os.path."),
    ("ntpath.", "os.path."),
    ("builtins.", ""),
    ("random.Random.", "random."),
    ("io.open", "open"),
)
_TYPED = re.compile(
    r"`(?P<quoted>[A-Za-z_]\w*(?:\.\w+)*)(?:\(\))?`"
    r"|(?<![\w@/])(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)(?P<call>\(\w*\))?(?![A-Za-z0-9_])"
)
_FILE_ENDINGS = frozenset(word_list("file_endings.txt"))
_CAMEL = re.compile(r"[a-z][A-Z]|[A-Z]{2,}[a-z]{2}")
_LATIN = {"e.g", "i.e", "a.m", "p.m", "u.s", "ph.d", "vs"}


@dataclass(frozen=True)
class Name:
    """What a heading says of a program: the kind ("function"), the name as documented, and its parameters, in order."""

    kind: str
    name: str
    parameters: tuple[str, ...] | None

    @property
    def written(self) -> str:
        """The name as programs write it: os.path.join, len, str.upper."""
        return written(self.name)


@lru_cache(maxsize=1 << 14)
def name_of(heading: str) -> Name | None:
    """The name in a heading such as "function json.dumps(obj, indent)"; None for all other headings."""
    match = _HEADING.fullmatch(heading)
    if match is None or match["kind"] not in KINDS:
        return None
    inside = match["parameters"]
    parameters = None if inside is None else tuple(part.strip() for part in inside.split(",") if part.strip())
    return Name(match["kind"], match["name"], parameters)


@lru_cache(maxsize=1 << 14)
def written(name: str) -> str:
    """A documented name as programs write it."""
    for documented, short in _WRITTEN:
        if name == documented or (documented.endswith(".") and name.startswith(documented)):
            return short + name[len(documented) :]
    return "os.path" if name in ("posixpath", "ntpath") else name


def uses(name: str) -> float:
    """How common a name is in real code, from 0 to about 1: the logarithm of how many files use it."""
    return log(1 + used_names().get(written(name), 0)) / 8


def asked_parameter(question: str, name: Name) -> str:
    """The parameter of a name that a question asks about, or "": key of "what is the key parameter of sorted?"."""
    words = set(re.findall(r"[a-z_]\w+", question.lower().replace(name.written.lower(), " ")))
    return next((one for one in name.parameters or () if one.lower() in words), "")


def typed_names(question: str) -> list[str]:
    """What a question says in the form of an identifier: with dots, underscores, parentheses or capitals."""
    found = []
    for match in _TYPED.finditer(nfc(question)):
        name = match["quoted"] or match["name"]
        if match["quoted"] or match["call"] or _is_identifier(name):
            found.append(name)
    return list(dict.fromkeys(found))


def _is_identifier(name: str) -> bool:
    lowered = name.lower()
    if "." in name:
        return lowered not in _LATIN and lowered.rsplit(".", 1)[1] not in _FILE_ENDINGS
    return "_" in name.strip("_") or (name.startswith("__") and len(name) > 4) or _CAMEL.search(name) is not None


def likeness(asked: str, documented: str) -> float:
    """How well a name as asked, in lower case, is the documented one: 1 the same, 0 not at all.

    `json.dumps` is asked in full; `Path.read_text` without its package; `random.shuffle` without a class; `dumps` bare.
    """
    forms = {documented.lower(), written(documented).lower()}
    if asked in forms:
        return 1.0
    best = 0.0
    parts = asked.split(".")
    for form in forms:
        whole = form.split(".")
        if whole[-1] != parts[-1] or len(parts) > len(whole):
            continue
        if len(parts) == 1:
            best = max(best, 0.7 if len(whole) <= 2 else 0.6)
        elif whole[-len(parts) :] == parts:
            best = max(best, 0.95)
        elif parts[0] == whole[0] and _is_within(parts, whole):
            best = max(best, 0.9)
    return best


def _is_within(parts: list[str], whole: list[str]) -> bool:
    """Whether the parts occur in the whole in their order, perhaps with others between them."""
    rest = iter(whole)
    return all(part in rest for part in parts)


def distance(a: str, b: str, limit: int) -> int:
    """Letters typed too much, too little, wrong or in the wrong order; limit + 1 if they are more than limit."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    last: list[int] = []
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]
