"""A picture model in a thread of its own, for callers that wait elsewhere, such as an event loop."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from malmoi.errors import BusyError
from malmoi.image.draw import Picture, Progress, Request, draw
from malmoi.image.files import Pixels
from malmoi.image.lora import Lora, lent
from malmoi.image.model import PictureModel

N_WAITING = 16


class _StoppedError(Exception):
    """Nobody waits for the work any more."""


@dataclass(eq=False)
class Sketch:
    """A request in the making.

    loras: with which it is drawn, each with its scale; the model is given back as it was
    wake: called from the painter's thread when it went on
    done, of: steps; previews: the pictures of the batch at work, as they are now; first: which they are
    pictures: those that are finished; error: what ended it
    """

    request: Request
    wake: Callable[[], None]
    loras: Sequence[tuple[Lora, float]] = ()
    done: int = 0
    of: int = 0
    first: int = 0
    previews: Sequence[Pixels] = ()
    pictures: list[Picture] = field(default_factory=list)
    error: Exception | None = None
    is_over: bool = False
    is_cancelled: bool = False


class Painter:
    """Draws one request after another. All methods may be called from any thread; `close` ends it."""

    def __init__(self, model: PictureModel, n_waiting: int = N_WAITING) -> None:
        self.model, self.most = model, n_waiting
        self._waiting: deque[Sketch] = deque()
        self._running: Sketch | None = None
        self._changed = threading.Condition()
        self._is_closed = False
        # A step of a large model takes seconds: a request to stop is seen at every layer.
        self._hooks = [
            layer.register_forward_pre_hook(self._check)
            for network in (model.denoiser, model.autoencoder, *vars(model.text).values())
            if isinstance(network, nn.Module)
            for layer in network.modules()
        ]
        self._thread = threading.Thread(target=self._run, name="painter", daemon=True)
        self._thread.start()

    def submit(self, request: Request, wake: Callable[[], None], loras: Sequence[tuple[Lora, float]] = ()) -> Sketch:
        """Queue a request. Raises BusyError if too many wait, or once it is closed."""
        with self._changed:
            if self._is_closed or len(self._waiting) >= self.most:
                raise BusyError("drawing: too many pictures are asked for at once; try again soon")
            sketch = Sketch(request, wake, loras)
            self._waiting.append(sketch)
            self._changed.notify()
        return sketch

    def cancel(self, sketch: Sketch) -> None:
        """End a request, which keeps the pictures that are finished. May be called more than once."""
        with self._changed:
            sketch.is_cancelled = True
            if sketch in self._waiting:
                self._waiting.remove(sketch)
                sketch.is_over = True
            others = [*self._waiting]
        for one in (sketch, *others):
            one.wake()

    def place(self, sketch: Sketch) -> int:
        """Its place in the queue, from 1; 0: it is being drawn, or over."""
        with self._changed:
            return self._waiting.index(sketch) + 1 if sketch in self._waiting else 0

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        return self._running is None and not self._waiting

    def close(self) -> None:
        """End every request, and the thread."""
        with self._changed:
            self._is_closed = True
            left = [*self._waiting, *([self._running] if self._running else [])]
            self._changed.notify()
        for sketch in left:
            self.cancel(sketch)
        self._thread.join()
        for hook in self._hooks:
            hook.remove()

    def _check(self, *_: Any) -> None:
        if threading.current_thread() is self._thread and self._running is not None and self._running.is_cancelled:
            raise _StoppedError

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                sketch = self._running = self._waiting.popleft()
                others = [*self._waiting]
            for one in (sketch, *others):
                one.wake()
            try:
                self._draw(sketch)
            except _StoppedError:
                pass
            except Exception as error:  # the next request may be fine
                sketch.error = error
            with self._changed:
                self._running = None
                sketch.is_over = True
            sketch.wake()

    def _draw(self, sketch: Sketch) -> None:
        def follow(step: Progress) -> None:
            if sketch.is_cancelled:
                raise _StoppedError
            sketch.previews, sketch.first = step.preview(), step.first
            sketch.done, sketch.of = step.done, step.of
            sketch.wake()

        with lent(self.model, sketch.loras):
            for picture in draw(self.model, sketch.request, follow):
                sketch.pictures.append(picture)
                sketch.wake()
