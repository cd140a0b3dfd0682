"""A text that every machine has: the documentation of the Python that runs Malmoi.

Docstrings of the standard library and of installed packages, by import and inspection, and the language topics of
`pydoc_data`. Each docstring is one document. Each documented name is also an `Item`, a fact to ask questions about. An
object that can be reached under several names has the one that people write: `os.path.join`, not `posixpath.join`.
"""

import contextlib
import functools
import importlib
import inspect
import io
import os
import pkgutil
import pydoc_data.topics
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from types import ModuleType
from typing import Any

from malmoi import progress
from malmoi.corpus.documents import Document
from malmoi.synthetic.docstrings import first_sentence, plain_text
from malmoi.synthetic.used_names import used_names

LICENSE = "PSF-2.0"
# Importing these opens a browser, prints a poem, needs a display, or runs tests; distutils is gone from Python 3.12,
# and its copies of shutil would answer for shutil.
SKIPPED = {
    "distutils",
    "antigravity",
    "this",
    "idlelib",
    "turtledemo",
    "turtle",
    "tkinter",
    "lib2to3",
    "ensurepip",
    "test",
    "posix",
    "nt",
}
PATHS = ("posixpath", "ntpath", "genericpath")
"""Modules that people know as `os.path`."""
SKIPPED_PARTS = {"test", "tests", "__main__", "testing", "conftest"}
MAX_PARAMETERS = 6
WIDELY_USED = 30
"""Number of files from which on a name is an item even if it has another's description, as `dict.copy`, or none."""
N_MEMBERS = 6
_ATTRIBUTES = (property, functools.cached_property)
_LISTED = re.compile(r"^(\w+) -- (.+(?:\n  +.+)*)$", re.MULTILINE)


@dataclass(frozen=True)
class Item:
    """One documented name.

    name: as people write it, e.g. json.dumps, os.path.join, print, str.split
    kind: function, class, method, attribute or module
    module: where people find it; parameters: names in order, None if the signature cannot be read
    summary: the docstring's first sentence, on one line; "" if it has none that can be used
    document: id of the document that describes it
    aliases: other names of the same object, such as posixpath.join
    used: how many files use it, see `used_names`
    """

    name: str
    kind: str
    module: str
    parameters: tuple[str, ...] | None
    summary: str
    document: str
    aliases: tuple[str, ...] = ()
    used: int = 0

    @property
    def short(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]

    def to_row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Item":
        parameters = row["parameters"]
        return cls(
            **{
                **row,
                "parameters": None if parameters is None else tuple(parameters),
                "aliases": tuple(row.get("aliases", ())),
            }
        )


def read_python_docs(packages: tuple[str, ...] = ()) -> Iterator[tuple[Document, Item | None]]:
    """Every documented object once, in the order of modules, then the language topics, which are not items."""
    library = sorted({name for name in sys.stdlib_module_names if not name.startswith("_")} - SKIPPED - {*PATHS})
    found: list[_Found] = []
    with warnings.catch_warnings():  # some modules warn when a name of theirs is accessed
        warnings.simplefilter("ignore")
        for name in progress.track((*library, *packages), "modules"):
            found += (one for module in _modules(name) for one in _described(module))
    licenses = {name: _package_license(name) for name in packages}
    seen: set[str] = set()
    for one in _one_for_each_object(found):
        if one.text not in seen or one.used >= WIDELY_USED:
            seen.add(one.text)
            yield _document_and_item(one, licenses.get(one.module.split(".")[0], LICENSE))
    version = ".".join(map(str, sys.version_info[:2]))
    for topic, text in sorted(pydoc_data.topics.topics.items()):
        yield (
            Document(text=text.strip(), source=f"python-{version}:topic:{topic}", license=LICENSE, origin="human"),
            None,
        )


@dataclass(frozen=True)
class _Found:
    """A documented object under one of its names. value: None if others have the same, as numbers do"""

    name: str
    kind: str
    module: str
    text: str
    value: Any
    aliases: tuple[str, ...] = ()
    origin: str = "human"

    @property
    def used(self) -> int:
        return used_names().get(self.name, 0)

    @property
    def order(self) -> tuple[int, int, int, str]:
        """The name that people write first: the one of fewest parts, then the most used."""
        return self.name.count("."), -self.used, len(self.name), self.name


def _one_for_each_object(found: Iterable[_Found]) -> list[_Found]:
    """Each object under the name that people write, with its other names, in the order in which they were found."""
    by_object: dict[int | str, list[_Found]] = {}
    for one in found:
        by_object.setdefault(one.name if one.value is None else _identity(one.value), []).append(one)
    chosen = []
    for ones in by_object.values():
        first, *others = sorted(ones, key=lambda one: one.order)
        names = dict.fromkeys(one.name for one in others if one.used or one.name == _name_at_home(one.value))
        chosen.append(replace(first, aliases=tuple(name for name in names if name != first.name)))
    return chosen


def _name_at_home(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"


def _identity(value: Any) -> int:
    """The same for a function and for the methods bound to it: `random.shuffle` is a method of a hidden object."""
    return id(getattr(value, "__func__", value))


def _modules(name: str) -> Iterator[ModuleType]:
    module = _import(name)
    if module is None:
        return
    yield module
    if module is os:
        yield os.path
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), name + ".", onerror=lambda _: None):
        parts = info.name.split(".")
        if not any(part in SKIPPED_PARTS or part.startswith("_") for part in parts):
            child = _import(info.name)
            if child is not None:
                yield child


def _import(name: str) -> ModuleType | None:
    """Import without output; None if it fails, as for modules of another system or with a missing dependency."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except (ImportError, AttributeError, OSError, RuntimeError, SystemExit, TypeError, ValueError):
            return None


def _described(module: ModuleType) -> Iterator[_Found]:
    """What a module has, and the module, each with its text."""
    where = _public(module.__name__)
    prefix = "" if where == "builtins" else f"{where}."
    yield from _found(where, "module", where, module)
    listed = dict(_LISTED.findall(module.__doc__ or ""))
    for name in sorted({*vars(module), *_used_in(where)}):
        value = getattr(module, name, None)
        if (
            name.startswith("_")
            or not hasattr(module, name)
            or inspect.ismodule(value)
            or _belongs_elsewhere(value, module)
        ):
            continue
        full = prefix + name
        if inspect.isclass(value):
            yield from _found(full, "class", where, value)
            yield from _members(full, where, value)
        elif inspect.isroutine(value) or hasattr(value, "__wrapped__"):
            yield from _found(full, "function", where, value)
        elif name in listed:
            yield _Found(full, "attribute", where, plain_text(listed[name].strip()), None)
        elif full in used_names():
            yield from _found(full, "class" if where == "typing" and callable(value) else "attribute", where, value)


@functools.cache
def _by_module() -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in used_names():
        module, _, last = name.rpartition(".")
        found.setdefault(module or "builtins", []).append(last)
    return found


def _used_in(module: str) -> list[str]:
    """The last parts of the module's names that people use, also those that it imports only when they are asked for."""
    return _by_module().get(module, [])


def _members(name: str, where: str, class_: type) -> Iterator[_Found]:
    """What the class defines, and what people use of its bases."""
    own = vars(class_)
    inherited = [member for member in dir(class_) if member not in own and f"{name}.{member}" in used_names()]
    for member in sorted((*own, *inherited)):
        if not member.startswith("_"):
            value = inspect.getattr_static(class_, member)
            kind = "attribute" if isinstance(value, _ATTRIBUTES) or inspect.isdatadescriptor(value) else "method"
            yield from _found(f"{name}.{member}", kind, where, value)


def _public(module: str) -> str:
    """The name under which people know a module: what `_io` defines belongs to `io`."""
    root, *rest = module.split(".")
    if root in PATHS:
        return "os.path"
    if root in ("posix", "nt"):
        return "os"
    if root.startswith("_") and root.lstrip("_") in sys.stdlib_module_names:
        root = root.lstrip("_")
    return ".".join([root, *rest])


def _belongs_elsewhere(value: Any, module: ModuleType) -> bool:
    """Whether an object belongs to another package, which documents it under that package's name.

    What no public module defines is documented where it is found.
    """
    where = _public(module.__name__)
    home = getattr(value, "__module__", None)
    if where == "builtins" or not isinstance(home, str):
        return False
    home = _public(home)
    is_public = not any(part.startswith("_") or part in SKIPPED for part in home.split("."))
    return is_public and home.split(".")[0] != where.split(".")[0] and home != where


def _found(name: str, kind: str, module: str, value: Any) -> Iterator[_Found]:
    text = getattr(value, "__doc__", None)
    if not inspect.isclass(value) and text == type(value).__doc__:
        text = None  # the documentation of its type says nothing about this attribute
    if inspect.isclass(value) and kind == "method" and value.__qualname__ != name[len(module) + 1 :]:
        return  # an attribute that is another class
    if isinstance(text, str) and len(text.strip()) >= 10:
        yield _Found(name, kind, module, plain_text(inspect.cleandoc(text)), value)
    elif used_names().get(name, 0) >= WIDELY_USED:
        is_shared = isinstance(value, bool | int | float | str | None)  # by everything else that has this value
        yield _Found(
            name,
            kind,
            module,
            _stand_in(name, kind, module),
            None if is_shared else value,
            origin="generated by malmoi",
        )


def _stand_in(name: str, kind: str, module: str) -> str:
    """For what people use and nobody described: where it is, or what it has."""
    if kind == "module":
        members = [member for member in _used_in(name) if not member.startswith("_")][:N_MEMBERS]
        return f"A module with {', '.join(members[:-1])} and {members[-1]}." if len(members) > 1 else "A module."
    return (
        f"A built-in {kind}." if module == "builtins" else f"{'An' if kind == 'attribute' else 'A'} {kind} of {module}."
    )


def _signature(value: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(value)
    except (TypeError, ValueError, NameError, AttributeError):
        return None


def _document_and_item(found: _Found, license_: str) -> tuple[Document, Item]:
    signature = None if found.kind in ("module", "attribute") else _signature(found.value)
    parameters = None if signature is None else tuple(p for p in signature.parameters if p != "self")
    arguments = "" if parameters is None else f"({', '.join(parameters)})"
    also = f"\n\nAlso called {', '.join(found.aliases)}." if found.aliases else ""
    text = f"{found.kind} {found.name}{arguments}\n{found.text}{also}"
    document = Document(text=text, source=f"python:{found.name}", license=license_, origin=found.origin)
    item = Item(
        found.name, found.kind, found.module, parameters, first_sentence(found.text), document.id, found.aliases,
        found.used,
    )  # fmt: skip
    return document, item


def _package_license(name: str) -> str:
    with contextlib.suppress(metadata.PackageNotFoundError):
        fields = metadata.metadata(name)
        for field in ("License-Expression", "License"):
            if field in fields and 0 < len(fields[field]) < 40:
                return fields[field]
        for classifier in fields.get_all("Classifier") or []:
            if classifier.startswith("License :: OSI Approved :: "):
                return str(classifier.rsplit(" :: ", 1)[1])
    return "unknown"
