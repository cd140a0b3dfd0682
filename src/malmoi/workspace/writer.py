"""Short writes of many callers in one thread: those that wait share the next transaction.

Each transaction of SQLite waits for the disk once, so that what is told is stored; together, callers wait once for all.
Source: group commit, DeWitt et al. 1984 (SIGMOD, "Implementation Techniques for Main Memory Database Systems").
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from malmoi.workspace.database import writing

T = TypeVar("T")
MOST_TOGETHER = 64


class Writer:
    """Runs functions of a connection in transactions. All methods may be called from any thread; `close` ends it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._waiting: SimpleQueue[tuple[Callable[[Connection], Any], Future[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def write(self, function: Callable[[Connection], T]) -> "Future[T]":
        """The result of a function of a connection, once what it wrote is stored; or what it raised: then it wrote
        nothing. It may be called twice, and must do nothing but read and write the database. A future that is cancelled
        before its function's turn is left out."""
        done: Future[T] = Future()
        self._waiting.put((function, done))
        return done

    def close(self) -> None:
        """Store what waits, and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            together = [first]
            while len(together) < MOST_TOGETHER and not self._waiting.empty():
                if (another := self._waiting.get()) is None:
                    self._waiting.put(None)
                    break
                together.append(another)
            # From here on it cannot be cancelled, and can be told its result.
            self._store([one for one in together if one[1].set_running_or_notify_cancel()])

    def _store(self, together: list[tuple[Callable[[Connection], Any], Future[Any]]]) -> None:
        try:
            with writing(self.engine) as connection:
                results = [function(connection) for function, _ in together]
        except BaseException as error:
            if len(together) == 1:
                together[0][1].set_exception(error)
                return
            for one in together:  # one of them fails: the others are stored without it
                self._store([one])
            return
        for (_, done), result in zip(together, results, strict=True):
            done.set_result(result)
