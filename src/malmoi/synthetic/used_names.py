"""How often real code uses each name of the standard library: a list that ships with Malmoi.

`python -m benchmarks.used_names` counts it over the source of the standard library and of installed packages.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

PATH = Path(__file__).with_name("used_names.tsv")


@cache
def used_names() -> Mapping[str, int]:
    """Name as people write it (`os.path.join`, `str.split`) -> number of files that use it; most used first."""
    lines = PATH.read_text(encoding="utf-8").splitlines()
    return MappingProxyType({name: int(n) for name, n in (line.split("\t") for line in lines)})
