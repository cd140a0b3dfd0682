"""What one running server holds: the workspace, its ledger, what is in service, and the answers in the making."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from malmoi.errors import UserError
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.service import Service, open_service, renewed
from malmoi.feedback.studio import Order, Studio, newest, open_studio
from malmoi.serve.errors import refusal_of
from malmoi.serve.limits import AtOnce, Tries
from malmoi.serve.making import Making
from malmoi.workspace.answers import NewAnswer, insert_answer, name_of
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import index_state
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.models import policy_names
from malmoi.workspace.versions import serving_number
from malmoi.workspace.writer import Writer

if TYPE_CHECKING:  # torch takes seconds
    from malmoi.feedback.contenders import Match
    from malmoi.inference.vllm.weights import Remote
    from malmoi.pipeline.there import Place

log = logging.getLogger("malmoi.serve")
T = TypeVar("T")
COOKIE = "malmoi"
RETIRE_EVERY_S = 0.1
SETTLED_NS = 2_000_000_000


@dataclass
class State:
    """model: the name that was asked for; None: the newest; public_url: where a server that speaks TLS passes us on

    port: part of the cookie's name, because browsers give one host's cookies to all of its ports
    remote: a vLLM server that answers in place of our engine
    on, n_ranks: the cluster on which jobs that begin here train, as in `pipeline.there.place_of`
    warning: what people who sign in should know, for example that nothing is encrypted
    """

    workspace: Workspace
    ledger: Ledger
    model: str | None = None
    public_url: str | None = None
    port: int = 8000
    warning: str | None = None
    remote: "Remote | None" = None
    on: str | None = None
    n_ranks: int | None = None
    service: Service | None = None
    problem: RefusedError | None = None
    makings: dict[str, Making] = field(default_factory=dict)
    """Answers in the making, by the id of their message."""
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    at_once: AtOnce = field(default_factory=lambda: AtOnce(2))
    at_once_with_keys: AtOnce = field(default_factory=lambda: AtOnce(16))
    of_programs: set[Making] = field(default_factory=set)
    """Answers that programs wait for."""
    logins: Tries = field(default_factory=lambda: Tries(10, 60))
    logins_of_name: Tries = field(default_factory=lambda: Tries(30, 3600))
    preparing: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "prepare"))
    """One thread that looks up and checks: the look-up is used by one caller at a time."""
    reading: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "read"))
    """Threads that read the database for a moment."""
    match: "Match | None" = None
    """Two versions in memory that answer for blind comparisons."""
    matching: asyncio.Lock = field(default_factory=asyncio.Lock)
    studio: Studio | None = None
    orders: set[Order] = field(default_factory=set)
    """Drawings in the making."""
    being_drawn: dict[tuple[str, str], Any] = field(default_factory=dict)
    """`drawing.Making` by person and the client's id, from the moment that it is asked for."""
    drawing_at_once: AtOnce = field(default_factory=lambda: AtOnce(2, "too_many_drawings", "drawings"))
    opening_studio: asyncio.Lock = field(default_factory=asyncio.Lock)
    _opening: "asyncio.Task[Service] | None" = None
    _names: tuple[int, str | None] | None = None
    """When the folder of models had changed last, and the newest policy then."""

    def place(self) -> "Place | None":
        """Where jobs that begin here are asked to train."""
        from malmoi.pipeline.there import asked_place  # with torch, which takes seconds

        return asked_place(self.workspace, self.on, self.n_ranks)

    @cached_property
    def writer(self) -> Writer:
        """What stores answers."""
        return Writer(self.ledger.engine)

    @property
    def cookie(self) -> str:
        return f"{COOKIE}_{self.port}"

    async def in_service(self) -> Service:
        """What answers; waits until it is loaded. Raises RefusedError if nothing can answer."""
        if self.service is not None and not await asyncio.to_thread(self._has_changed, self.service):
            return self.service
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def with_service(self, function: Callable[[Service], T]) -> T:
        """What a function makes of what answers, in the thread that looks up and checks: in one go with the look
        whether something else answers by now. Raises RefusedError if nothing can answer."""

        def begin() -> tuple[T] | None:
            service = self.service
            return None if service is None or self._has_changed(service) else (function(service),)

        begun = await self.prepare(begin)
        return begun[0] if begun is not None else await self.prepare(function, await self.in_service())

    async def read(self, function: Callable[..., T], *given: Any) -> T:
        """Call a function that reads the database for a moment, in a thread for that."""
        return await asyncio.get_running_loop().run_in_executor(self.reading, function, *given)

    async def record(self, answer: NewAnswer) -> str:
        """Store an answer, together with others that wait to be stored; returns its name. Raises WorkspaceError."""
        return name_of(await asyncio.wrap_future(self.writer.write(partial(insert_answer, answer=answer))))

    async def in_studio(self) -> Studio:
        """What draws, the newest picture model; waits until it is loaded. Raises RefusedError if nothing can draw."""
        async with self.opening_studio:
            before = self.studio
            if before is not None and before.folder == await asyncio.to_thread(newest, self.workspace):
                return before
            try:
                self.studio = await asyncio.to_thread(open_studio, self.workspace)
            except Exception as error:
                refused = refusal_of(error)
                if refused.code != "no_picture_model":
                    log.warning("nothing draws: %s", error)
                    refused = RefusedError("model_failed", "the model cannot be loaded; the server's log says why")
                raise refused from None
            if before is not None:
                self.begin(asyncio.create_task(self._retire_studio(before)))
            return self.studio

    async def _retire_studio(self, studio: Studio) -> None:
        while not studio.painter.is_idle:
            await asyncio.sleep(RETIRE_EVERY_S)
        await asyncio.to_thread(studio.close)

    async def look_again(self) -> None:
        """Take up what may answer by now: documents that were added, a model that was built."""
        with contextlib.suppress(UserError):
            await self.in_service()

    def is_outdated(self) -> bool:
        """Whether something else may answer by now: another version or index, or a first one where nothing was.

        What could not be loaded is tried again by the next message, and not by everyone who looks at a page.
        """
        if self.service is not None:
            return self.problem is None and self._has_changed(self.service)
        is_empty = self.problem is not None and self.problem.code == "no_model"
        return is_empty and (index_state(self.workspace) is not None or bool(policy_names(self.workspace)))

    def _has_changed(self, service: Service) -> bool:
        """Whether another version, or another index, is there since this was loaded, from wherever."""
        return self._has_other_voice(service) or service.index_state != index_state(self.workspace)

    def _has_other_voice(self, service: Service) -> bool:
        if self.model is not None:
            return False
        number = serving_number(self.ledger)
        if number is not None or service.version is not None:
            return number != (service.version and service.version.number)
        # Without versions the model that was made last answers: a build makes one after the other.
        name = self._newest_policy()
        return name is not None and service.name != name

    def _newest_policy(self) -> str | None:
        """The name of the model that was made last; None if there is none.

        Names come and go by changes of their folder. They are read again after each, and where the last was so short a
        time ago that another might have the same time.
        """
        try:
            changed = self.workspace.models.stat().st_mtime_ns
        except OSError:
            changed = 0
        if self._names is None or self._names[0] != changed:
            names = policy_names(self.workspace)
            is_settled = time.time_ns() - changed > SETTLED_NS
            self._names = (changed if is_settled else -1, names[-1] if names else None)
        return self._names[1]

    async def _retire(self, service: Service) -> None:
        """Let a version that no longer serves end its answers."""
        while service.speaker is not None and not service.speaker.engine.is_idle:
            await asyncio.sleep(RETIRE_EVERY_S)
        await asyncio.to_thread(service.close)

    async def _open(self) -> Service:
        before = self.service
        try:
            if (
                before is not None
                and before.speaker is not None
                and not await asyncio.to_thread(self._has_other_voice, before)
            ):
                self.service = await self.prepare(renewed, before, self.workspace)
            else:
                if self.remote is not None and before is not None:
                    await self._retire(before)  # one server has one version's weights
                self.service = await self.prepare(open_service, self.workspace, self.model, self.remote)
        except Exception as error:
            if isinstance(error, UserError):
                log.warning("nothing is in service: %s", error)
            self.problem = error if isinstance(error, RefusedError) else refusal_of(error)
            if self.problem.code == "no_model":
                self.service = None
            if self.problem.code not in ("no_model", "disk_full", "model_too_large"):
                self.problem = RefusedError("model_failed", "the model cannot be loaded; the server's log says why")
            raise self.problem from None
        self.problem = None
        if before is not None and before.speaker is not self.service.speaker:
            self.begin(asyncio.create_task(self._retire(before)))
        return self.service

    async def prepare(self, function: Callable[..., T], *given: Any) -> T:
        """Call a function that computes for some hundredths of a second, or loads, in the one thread for that."""
        return await asyncio.get_running_loop().run_in_executor(self.preparing, function, *given)

    def begin(self, task: "asyncio.Task[None]") -> None:
        """Keep a task until it has ended."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def stop_answers(self) -> None:
        for making in (*self.makings.values(), *self.of_programs):
            making.stop()
        for order in list(self.orders):
            order.cancel()

    async def close(self) -> None:
        """Stop every answer and store what there is of it."""
        self.stop_answers()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=10)
        if self.service is not None:
            await asyncio.to_thread(self.service.close)
        if self.studio is not None:
            await asyncio.to_thread(self.studio.close)
        for threads in (self.preparing, self.reading):
            threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self.writer.close)
        self.ledger.close()
