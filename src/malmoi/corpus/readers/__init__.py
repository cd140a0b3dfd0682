"""The formats of a corpus, one module each. To add a format, add a module here that defines `READER`.

Nothing else has to be edited: `docs/guides/add-a-reader.md` has an example.
"""

import importlib
import pkgutil
from functools import cache

from malmoi.corpus.input_file import Reader


@cache
def all_readers() -> dict[str, Reader]:
    """Suffix -> its reader, of every module of this package, sorted by suffix."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return dict(sorted((suffix, module.READER) for module in modules for suffix in module.READER.suffixes))


def reader_of(name: str) -> Reader | None:
    """The reader of the longest suffix that a file's name ends with, in any case; None if nothing reads it."""
    readers = all_readers()
    fitting = [suffix for suffix in readers if name.lower().endswith(suffix)]
    return readers[max(fitting, key=len)] if fitting else None
