"""Several ranks on one recipe: the first one decides, records and prints; the others train with it on its orders.

The first rank holds the workspace and runs all stages. For a stage that trains, it writes an order to a store that all
ranks share. The other ranks poll the store for the next order, and then run that stage with it. A rank that fails
writes its error to the store, and waits until the first rank has recorded it.
"""

import atexit
import contextlib
import functools
import itertools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch.distributed as dist
from pydantic import TypeAdapter
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from malmoi import device
from malmoi.config import Settings
from malmoi.errors import UserError
from malmoi.inference.generate import Generate, generating
from malmoi.stage import Context, InputsByRole, Stage
from malmoi.stages import find_stage
from malmoi.tokenizer.template_clock import fixed_time, template_time
from malmoi.train.loop import Hook
from malmoi.train.signals import listening
from malmoi.workspace.folder import Workspace

ASK_EVERY_S = 0.05
PATIENCE_S = 15.0
"""How long a failed rank waits for the first rank to record its error."""
WORD_WITHIN_S = 3.0
"""How long the first rank waits for another rank's error after a connection broke."""
_numbers = itertools.count()


@contextlib.contextmanager
def leading() -> Iterator[None]:
    """Run the block on the first rank only, and then tell the others, which follow until then, its exit code."""
    device.current()
    code = 1
    try:
        with device.single_rank():
            yield
        code = 0
    except KeyboardInterrupt:
        code = 130
        raise
    except UserError:
        code = 2
        raise
    finally:
        if device.current().world_size > 1:
            # At exit, after the error is printed: `torchrun` ends all ranks as soon as one of them ends.
            atexit.register(_say_over, code)


def _say_over(code: int) -> None:
    with contextlib.suppress(dist.DistError):
        _tell("over", {"code": code})


@contextlib.contextmanager
def all_ranks(stage: Stage, context: Context, settings: Settings, generate: Generate) -> Iterator[None]:
    """Run the block on the first rank and, if the stage trains, order all other ranks to run the stage as well.

    Raises UserError if another rank failed with one, RuntimeError if it failed by a bug.
    """
    with device.single_rank(False):
        n_others = device.current().world_size - 1
    if not stage.trains or not n_others:
        yield
        return
    number = next(_numbers)
    _tell(f"order {number}", order_of(stage, context, settings, generate))
    try:
        with device.single_rank(False):
            yield
        for rank in range(1, n_others + 1):
            _wait(f"done {number} {rank}", "failed")
    except UserError:
        raise
    except Exception as error:
        if (word := _ask("failed", within_s=WORD_WITHIN_S if is_lost_connection(error) else 0.0)) is not None:
            raise _error_of(word) from None
        if is_lost_connection(error):
            raise UserError(
                "another rank ended without an error (killed, or out of memory?); run the same command again to go on"
            ) from None
        raise
    if (word := _ask("failed", within_s=0.0)) is not None:
        raise _error_of(word)


def order_of(stage: Stage, context: Context, settings: Settings, generate: Generate) -> dict[str, Any]:
    """What another rank needs to know to run a stage too, as JSON values; `take_part` takes it."""
    return {
        "stage": stage.name,
        "settings": settings.model_dump(mode="json"),
        "generate": generate.model_dump(),
        "run_id": context.run_id,
        "workspace": str(context.workspace.path),
        "reads": context.reads.to_json(),
        "parents": context.parents,
        "begun": template_time().isoformat(),
    }


def is_lost_connection(error: Exception) -> bool:
    """Whether an exception means that another rank has ended. gloo has no exception class for this."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def follow() -> int:
    """Run the orders of the first rank until it ends, on all other ranks; returns the exit code."""
    here = device.current()
    for number in itertools.count():
        order = _wait(f"order {number}", "over")
        if "code" in order:
            return int(order["code"])
        try:
            with fixed_time(datetime.fromisoformat(order["begun"])), listening():
                take_part(order)
        except BaseException as error:
            return _leave(error)
        _tell(f"done {number} {here.rank}", {})
    raise AssertionError("unreachable")


def take_part(
    order: dict[str, Any], say: Callable[[str], None] = lambda line: None, hooks: Sequence[Hook] = ()
) -> None:
    """Run the stage of an order. It has no ledger."""
    stage = find_stage(order["stage"])
    workspace = Workspace(Path(order["workspace"]))
    folder, reads = workspace.runs / order["run_id"], InputsByRole.from_json(order["reads"])
    context = Context(order["run_id"], folder, reads, order["parents"], None, workspace, say, list(hooks))
    with generating(Generate.model_validate(order["generate"]), folder):
        stage.run(context, TypeAdapter(stage.Settings).validate_python(order["settings"]))


def _leave(error: BaseException) -> int:
    """Report an error to the first rank, close the connections, and wait for its end; returns the exit code."""
    is_stop, is_users = not isinstance(error, Exception), isinstance(error, UserError)
    line = str(error) if is_users else f"{type(error).__name__}: {error}"
    rank = device.current().rank
    trace = "".join(traceback.format_exception(error))
    with contextlib.suppress(dist.DistError):  # the first rank may be gone, and the store with it
        _tell("failed", {"rank": rank, "is_stop": is_stop, "is_users": is_users, "line": line, "trace": trace})
        dist.destroy_process_group()
        if (over := _ask("over", within_s=PATIENCE_S)) is not None:
            return int(over["code"])
    if not is_stop:
        print(f"error: rank {rank}: {' '.join(line.splitlines())}", file=sys.stderr, flush=True)
    return 130 if is_stop else 2 if is_users else 1


def _error_of(word: dict[str, Any]) -> BaseException:
    """The error that another rank reported, as an exception for the first rank."""
    if word["is_stop"]:
        return KeyboardInterrupt()
    line = f"rank {word['rank']}: {word['line']}"
    if word["is_users"]:
        return UserError(line)
    error = RuntimeError(line)
    error.add_note(word["trace"])
    return error


@functools.cache
def _store() -> PrefixStore:
    """A key-value store that all ranks share. Each restart by `torchrun` uses its own key prefix."""
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    there = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    return PrefixStore(f"malmoi {attempt}", there)


def _tell(key: str, value: dict[str, Any]) -> None:
    _store().set(key, json.dumps(value))


def _wait(*keys: str) -> dict[str, Any]:
    """Wait without limit for any of the keys; returns its value. Signals can interrupt."""
    while (found := _ask(*keys, within_s=60.0)) is None:
        pass
    return found


def _ask(*keys: str, within_s: float) -> dict[str, Any] | None:
    store, until = _store(), time.monotonic() + within_s
    while True:
        for key in keys:
            if store.check([key]):
                value: dict[str, Any] = json.loads(store.get(key))
                return value
        if time.monotonic() >= until:
            return None
        time.sleep(ASK_EVERY_S)
