"""How often something may be tried: passwords by one address, answers by one person at once."""

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from malmoi.feedback.refusals import RefusedError

MOST_KEYS = 10_000


@dataclass
class Tries:
    """At most `most` tries within `within_s` seconds for each key."""

    most: int
    within_s: float
    clock: Callable[[], float] = time.monotonic
    _times: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def count(self, key: str) -> None:
        """Count a try. Raises RefusedError if there were too many."""
        now = self.clock()
        with self._lock:
            times = self._times.setdefault(key, deque())
            self._times.move_to_end(key)
            while len(self._times) > MOST_KEYS:
                self._times.popitem(last=False)
            while times and times[0] <= now - self.within_s:
                times.popleft()
            if len(times) >= self.most:
                wait = max(1, round(times[0] + self.within_s - now))
                raise RefusedError("too_many_logins", f"too many tries; wait {wait} s", retry_after_s=wait)
            times.append(now)

    def take_back(self, key: str) -> None:
        """One try was right: it does not count. Others stay, so that a right one between them hides no wrong ones."""
        with self._lock:
            if times := self._times.get(key):
                times.pop()

    def forget(self, key: str) -> None:
        """The tries were right: they do not count."""
        with self._lock:
            self._times.pop(key, None)


@dataclass
class AtOnce:
    """At most `most` of something at once for each person. code, what: of the refusal, and what it calls them"""

    most: int
    code: str = "too_many_requests"
    what: str = "answers"
    _counts: Counter[str] = field(default_factory=Counter)

    def take(self, person_id: str, n: int = 1) -> None:
        """Raises RefusedError if that would be too many."""
        if self._counts[person_id] + n > self.most:
            raise RefusedError(
                self.code, f"at most {self.most} {self.what} at once; wait for one to end", most=self.most
            )
        self._counts[person_id] += n

    def free(self, person_id: str, n: int = 1) -> None:
        self._counts[person_id] -= n
        if not self._counts[person_id]:
            del self._counts[person_id]

    @contextmanager
    def holding(self, person_id: str, n: int = 1) -> Iterator[None]:
        self.take(person_id, n)
        try:
            yield
        finally:
            self.free(person_id, n)
