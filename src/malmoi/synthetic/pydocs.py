"""A text that every machine has: the documentation of the Python that runs Malmoi.

Docstrings of the standard library and of installed packages, by import and inspection, and the language topics of
`pydoc_data`. Each docstring is one document. Each documented name is also an `Item`, a fact to ask questions about.
"""

import contextlib
import importlib
import inspect
import io
import pkgutil
import pydoc_data.topics
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from types import ModuleType
from typing import Any

from malmoi import progress
from malmoi.corpus.documents import Document

LICENSE = "PSF-2.0"
PACKAGES = ("jinja2", "rich", "typer")
# Importing these opens a browser, prints a poem, needs a display, or runs tests.
SKIPPED = {
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
SKIPPED_PARTS = {"test", "tests", "__main__", "testing", "conftest"}
MAX_SUMMARY_CHARS = 90
MAX_PARAMETERS = 6


@dataclass(frozen=True)
class Item:
    """One documented name.

    name: qualified, e.g. json.dumps
    kind: function, class, method or module
    module: where it is defined; parameters: names in order, None if the signature cannot be read
    summary: the docstring's first sentence, on one line
    document: id of the document that describes it
    """

    name: str
    kind: str
    module: str
    parameters: tuple[str, ...] | None
    summary: str
    document: str

    def to_row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Item":
        parameters = row["parameters"]
        return cls(**{**row, "parameters": None if parameters is None else tuple(parameters)})


def read_python_docs(packages: tuple[str, ...] = PACKAGES) -> Iterator[tuple[Document, Item | None]]:
    """Every documented name once, in sorted order, then the language topics, which are not items."""
    seen: set[str] = set()
    library = sorted(name for name in sys.stdlib_module_names if not name.startswith("_") and name not in SKIPPED)
    for name in progress.track((*library, *packages), "modules"):
        license_ = LICENSE if name in sys.stdlib_module_names else _package_license(name)
        for module in _modules(name):
            with warnings.catch_warnings():  # some modules warn when a name of theirs is accessed
                warnings.simplefilter("ignore")
                documented = list(_documented(module))
            for found in documented:
                if found.text not in seen:
                    seen.add(found.text)
                    yield _document_and_item(found, license_)
    version = ".".join(map(str, sys.version_info[:2]))
    for topic, text in sorted(pydoc_data.topics.topics.items()):
        yield (
            Document(text=text.strip(), source=f"python-{version}:topic:{topic}", license=LICENSE, origin="human"),
            None,
        )


@dataclass(frozen=True)
class _Found:
    name: str
    kind: str
    module: str
    text: str
    signature: inspect.Signature | None


def _modules(name: str) -> Iterator[ModuleType]:
    module = _import(name)
    if module is None:
        return
    yield module
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


def _documented(module: ModuleType) -> Iterator[_Found]:
    yield from _found(module.__name__, "module", module.__name__, module)
    for name, value in sorted(vars(module).items()):
        if (
            name.startswith("_")
            or not (inspect.isclass(value) or inspect.isroutine(value))
            or _belongs_elsewhere(value, module)
        ):
            continue
        kind = "class" if inspect.isclass(value) else "function"
        yield from _found(f"{module.__name__}.{name}", kind, module.__name__, value)
        if inspect.isclass(value):
            for member_name, member in sorted(vars(value).items()):
                if not member_name.startswith("_"):
                    yield from _found(f"{module.__name__}.{name}.{member_name}", "method", module.__name__, member)


def _belongs_elsewhere(value: Any, module: ModuleType) -> bool:
    """Whether an object belongs to another module, which documents it under that module's name.

    What `_io` defines belongs to `io`; what no public module defines is documented where it is found.
    """
    home = getattr(value, "__module__", None) or module.__name__
    home = "os" if home in ("posix", "nt") else home
    if home.startswith("_") and home.lstrip("_") in sys.stdlib_module_names:
        home = home.lstrip("_")
    is_public = not any(part.startswith("_") or part in SKIPPED for part in home.split("."))
    return is_public and home != module.__name__


def _found(name: str, kind: str, module: str, value: Any) -> Iterator[_Found]:
    text = getattr(value, "__doc__", None)
    if not inspect.isclass(value) and text == type(value).__doc__:
        return  # the documentation of its type says nothing about this attribute
    if inspect.isclass(value) and kind == "method" and value.__qualname__ != name[len(module) + 1 :]:
        return  # an attribute that is another class
    if isinstance(text, str) and len(text.strip()) >= 10:
        yield _Found(name, kind, module, inspect.cleandoc(text), None if kind == "module" else _signature(value))


def _signature(value: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(value)
    except (TypeError, ValueError, NameError, AttributeError):
        return None


def _document_and_item(found: _Found, license_: str) -> tuple[Document, Item]:
    parameters = None if found.signature is None else tuple(p for p in found.signature.parameters if p != "self")
    arguments = "" if parameters is None else f"({', '.join(parameters)})"
    text = f"{found.kind} {found.name}{arguments}\n{found.text}"
    document = Document(text=text, source=f"python:{found.name}", license=license_, origin="human")
    item = Item(found.name, found.kind, found.module, parameters, first_sentence(found.text), document.id)
    return document, item


def first_sentence(text: str) -> str:
    """The first sentence on one line, or "" if there is none of a usable length.

    Skips a leading signature such as `dumps(obj) -> str`, and removes markup quotes.
    """
    paragraphs = [re.sub(r"\s+", " ", part).strip() for part in re.split(r"\n\s*\n", text)]
    while paragraphs and re.match(r"^[\w.]+\([^)]*\)(\s*->\s*.*)?$", paragraphs[0]):
        paragraphs.pop(0)
    if not paragraphs:
        return ""
    paragraph = re.sub(r"^[\w.]+\([^)]*\)\s*(->\s*[\w\[\], ]+)?\s*(--?|:)?\s*(?=[A-Z])", "", paragraphs[0])
    paragraph = re.sub(r":[a-z:]+:`~?([^`]*)`", r"\1", paragraph).replace("``", "").replace("`", "")
    match = re.match(r"(.+?[.!?])(?:\s+(?=[A-Z(\"'*])|$)", paragraph)
    sentence = (match.group(1) if match else paragraph).strip()
    is_usable = 12 <= len(sentence) <= MAX_SUMMARY_CHARS and sentence[0].isupper() and " " in sentence
    if not is_usable or re.search(r"[{}<>=|\\]|--|\.\.\.|::", sentence) or sentence.count("(") != sentence.count(")"):
        return ""
    return sentence if sentence[-1] in ".!?" else sentence + "."


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
