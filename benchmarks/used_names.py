"""How often real code uses each name of the standard library: `python -m benchmarks.used_names`.

Reads the source of the standard library and of all installed packages, without their tests, and writes names with the
number of files that use them. The shipped list decides what the demo asks about; a list of counts holds no code.
"""

import argparse
import ast
import builtins
import contextlib
import importlib
import site
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from malmoi.files import write_text
from malmoi.synthetic.pydocs import SKIPPED
from malmoi.synthetic.used_names import PATH

BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("_"))
ROOTS = frozenset(name for name in sys.stdlib_module_names if not name.startswith("_")) - SKIPPED
# A method called on a value whose type the source does not say counts for the first of these types that has one.
TYPES = (str, list, dict, set, bytes, int, float, tuple)
LITERALS = {
    ast.JoinedStr: "str", ast.List: "list", ast.ListComp: "list", ast.Dict: "dict", ast.DictComp: "dict",
    ast.Set: "set", ast.SetComp: "set", ast.Tuple: "tuple",
}  # fmt: skip
SKIPPED_FOLDERS = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "__pycache__"}
MIN_FILES = 2


def used_names(tree: ast.AST) -> set[str]:
    """Dotted names that one file uses: of modules in full, of builtins bare, of methods after their class."""
    imported = dict(_imports(tree))
    own = _bound(tree)
    types = dict(_types(tree, imported, own))
    free = BUILTINS - own - set(imported)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = set(imported.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in free:
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            if (name := _dotted(node, imported)) is not None:
                found.add(name)
            elif (type_ := _type_of(node.value, imported, types, own)) is not None:
                found.add(f"{type_}.{node.attr}")
            elif id(node) in called:
                found.update(_method_of_a_builtin(node.attr))
    return found


def count_files(files: Iterable[Path]) -> Counter[str]:
    """Name -> files that use it, only names of the standard library and of the documented packages that exist here."""
    counts: Counter[str] = Counter()
    for path in files:
        with warnings.catch_warnings(), contextlib.suppress(SyntaxError, UnicodeDecodeError, ValueError, OSError):
            warnings.simplefilter("ignore")
            counts.update(used_names(ast.parse(path.read_text(encoding="utf-8"))))
    return Counter({name: n for name, n in counts.items() if n >= MIN_FILES and exists(name)})


def exists(name: str) -> bool:
    """Whether a name is a builtin, or belongs to a documented module and can be reached there."""
    parts = name.split(".")
    if any(part.startswith("_") for part in parts):
        return False
    if parts[0] in BUILTINS:
        return _reaches(builtins, parts)
    if parts[0] not in ROOTS:
        return False
    for n in range(len(parts), 0, -1):
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _reaches(importlib.import_module(".".join(parts[:n])), parts[n:])
    return False


def source_files() -> Iterator[Path]:
    """The standard library's and all installed packages' files, in sorted order, without tests."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for root in (library, *map(Path, site.getsitepackages())):
        for path in sorted(root.rglob("*.py")):
            folders = path.relative_to(root).parts[:-1]
            if not SKIPPED_FOLDERS & set(folders) and not (root == library and "site-packages" in folders):
                yield path


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Name in the file -> what it names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _bound(tree: ast.AST) -> set[str]:
    """Names that the file itself gives to something."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found


def _types(tree: ast.AST, imported: dict[str, str], own: set[str]) -> Iterator[tuple[str, str]]:
    """Variable -> its class, where an assignment, a `with` or an annotation says so."""
    for node in ast.walk(tree):
        target: ast.expr | None = None
        value: ast.expr | None = None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.withitem):
            target, value = node.optional_vars, node.context_expr
        elif isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            class_ = _dotted(node.annotation, imported)
            if class_ is not None and class_.split(".")[0] in ROOTS:
                name = node.arg if isinstance(node, ast.arg) else node.target
                yield (name if isinstance(name, str) else ast.unparse(name)), class_
            continue
        if target is not None and value is not None:
            class_ = _type_of(value, imported, {}, own)
            if class_ is not None:
                yield ast.unparse(target), class_


def _type_of(node: ast.expr, imported: dict[str, str], types: dict[str, str], own: set[str]) -> str | None:
    """The class of a value: of a literal, of a call of a class, of a variable whose class is known."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return type(node.value).__name__
    if type(node) in LITERALS:
        return LITERALS[type(node)]
    if isinstance(node, ast.Call):
        class_ = _dotted(node.func, imported)
        if class_ is None and isinstance(node.func, ast.Name) and node.func.id in BUILTINS - own:
            class_ = node.func.id
        return class_
    if isinstance(node, ast.Name | ast.Attribute):
        return types.get(ast.unparse(node))
    return None


def _dotted(node: ast.expr, imported: dict[str, str]) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in imported:
        return None
    return ".".join([imported[node.id], *reversed(parts)])


def _method_of_a_builtin(name: str) -> list[str]:
    return [f"{type_.__name__}.{name}" for type_ in TYPES if hasattr(type_, name)][:1]


def _reaches(value: object, names: Iterable[str]) -> bool:
    for name in names:
        if not hasattr(value, name):
            return False
        value = getattr(value, name)
    return True


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PATH)
    out = parser.parse_args().out
    counts = count_files(source_files())
    rows = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    write_text(out, "".join(f"{name}\t{n}\n" for name, n in rows))
    print(f"{len(rows):,} names: {out}")


if __name__ == "__main__":
    main()
