"""A vLLM server, by four of its routes: completions, models, and two that give it other weights.

Source: https://docs.vllm.ai; checked with vLLM 0.32.0 by `benchmarks/vllm_side.py`.
"""

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from malmoi.errors import ConfigError, UserError

PROBE_TOKENS = 16
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
LONGEST_ANSWER = 1 << 26
"""Bytes of a response; a longer one is refused."""
START = "start it with VLLM_SERVER_DEV_MODE=1, reachable only by Malmoi"


class ServerError(UserError):
    """A vLLM server that cannot do what it was asked."""


class LostError(ServerError):
    """A server that is away, or broke: the same request may succeed later."""


class FixedError(ServerError):
    """A server that takes no other weights."""


class BusyServerError(LostError):
    """A server that is too busy, or is starting."""


class Served(NamedTuple):
    """A model that a server names. root: the folder or name that it was started with; n_max: its context in tokens"""

    name: str
    root: str
    n_max: int


class Piece(NamedTuple):
    """Part of an answer. logprobs: of each token, in nats; top: token -> logprob of the likeliest at its place

    finish: stop | length once the answer has ended, else ""
    """

    ids: list[int]
    logprobs: list[float]
    top: list[dict[int, float]]
    finish: str


@dataclass(frozen=True)
class Server:
    """A server at `url`. patience_s: how long it may be away; timeout_s: how long it may be silent"""

    url: str
    patience_s: float = 300.0
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.username or parts.query or parts.fragment:
            raise ConfigError(f"vllm: {self.url!r}: no address of a server; use one such as http://127.0.0.1:8000")

    def served(self) -> Served:
        """The model that it serves."""
        try:
            found = self._json("GET", "/v1/models")["data"][0]
            return Served(str(found["id"]), str(found.get("root") or ""), int(found["max_model_len"]))
        except (KeyError, IndexError, TypeError, ValueError):
            raise self._not_vllm("/v1/models names no model with its context") from None

    def wait(self) -> Served:
        """As `served`, of a server that may be starting. Raises LostError if it is away for `patience_s`."""
        until, pause = time.monotonic() + self.patience_s, FIRST_PAUSE_S
        while True:
            try:
                return self.served()
            except LostError:
                if time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def load(self, folder: Path) -> None:
        """Make it read the weights of a folder, which lies under the same path on its machine, and forget its cache.

        Raises ServerError if it cannot.
        """
        asked = {"method": "reload_weights", "kwargs": {"weights_path": str(folder.absolute())}}
        try:
            self._json("POST", "/collective_rpc", asked)
            self._forget_cache()
        except _NotFoundError:
            raise FixedError(f"vLLM at {self.url}: does not take other weights; {START}") from None
        except _FailedError as error:
            raise ServerError(f"{error}; does it find {folder} under this path, with its own architecture?") from None

    def _forget_cache(self) -> None:
        until = time.monotonic() + self.timeout_s
        while not self._json("POST", "/reset_prefix_cache").get("success", True):  # other answers hold it
            if time.monotonic() > until:
                raise ServerError(f"vLLM at {self.url}: is kept busy by others, so its cache has the earlier weights")
            time.sleep(FIRST_PAUSE_S)

    def logprobs(self, name: str, ids: Sequence[int]) -> list[float]:
        """log p of every id but the first, in nats, by the weights that it has now."""
        body = {"model": name, "prompt": list(ids), "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        found = self._json("POST", "/v1/completions", body | {"return_token_ids": True})
        try:
            rows = found["choices"][0]["prompt_logprobs"]
            return [float(row[str(token)]["logprob"]) for row, token in zip(rows[1:], ids[1:], strict=True)]
        except (KeyError, IndexError, TypeError, ValueError):
            raise self._not_vllm("it gives no log-probabilities of a prompt") from None

    def complete(self, body: Mapping[str, Any], held: "Held") -> Iterator[Piece]:
        """The pieces of an answer; held: by which another thread can end it.

        Raises LostError if the server goes away; ServerError if it refuses.
        """
        with self._open("POST", "/v1/completions", body, held) as response:
            if not body.get("stream"):
                yield self._piece(self._read(response))
                return
            for line in self._lines(response):
                if line == "[DONE]":
                    return
                yield self._piece(_parsed(line) or {})
        raise LostError(f"vLLM at {self.url}: an answer broke off")

    def _piece(self, found: Any) -> Piece:
        if isinstance(found, dict) and "error" in found:
            raise LostError(f"vLLM at {self.url}: {_message(found)}")
        try:
            choice = found["choices"][0]
            ids, finish = [int(token) for token in choice["token_ids"]], str(choice["finish_reason"] or "")
            logprobs = choice.get("logprobs") or {"token_logprobs": [], "top_logprobs": []}
            top = [{_id(name): float(value) for name, value in row.items()} for row in logprobs["top_logprobs"]]
            return Piece(ids, [float(value) for value in logprobs["token_logprobs"]], top, finish)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise self._not_vllm("it gives no token ids") from None

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[str]:
        try:
            for line in response:
                if line.startswith(b"data: "):
                    yield line[6:].decode("utf-8", "replace").strip()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._lost(error) from None

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What a route answers."""
        with self._open(method, path, body) as response:
            return self._read(response)

    def _read(self, response: http.client.HTTPResponse) -> Any:
        try:
            data = response.read(LONGEST_ANSWER)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            raise self._lost(error) from None
        if response.length:
            raise LostError(f"vLLM at {self.url}: an answer broke off")
        if (found := _parsed(data)) is None:
            raise self._not_vllm("it answers no JSON")
        return found

    @contextmanager
    def _open(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, held: "Held | None" = None
    ) -> Iterator[http.client.HTTPResponse]:
        """An open response with status 200. Raises LostError, and ServerError for a refusal."""
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self.timeout_s)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if key := os.environ.get("MALMOI_VLLM_KEY", "").strip():
            headers["Authorization"] = f"Bearer {key}"
        with closing(connection):
            try:
                connection.connect()
                if held is not None:
                    held.take(connection.sock)
                connection.request(method, parts.path.rstrip("/") + path, json.dumps(body) if body else None, headers)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                raise self._lost(error) from None
            with closing(response):
                if response.status != 200:
                    raise self._refusal(response, path)
                yield response

    def _refusal(self, response: http.client.HTTPResponse, path: str) -> ServerError:
        try:
            said = _message(_parsed(response.read(LONGEST_ANSWER)))
        except (OSError, http.client.HTTPException):
            said = ""
        line = f"vLLM at {self.url}: {path}: {response.status} {said or response.reason}"
        if response.status in (429, 503):
            return BusyServerError(line)
        if response.status >= 500:
            return _FailedError(line)
        if response.status in (401, 403):
            return ServerError(f"{line}; put its key into MALMOI_VLLM_KEY")
        return (_NotFoundError if response.status in (404, 405) else ServerError)(line)

    def _lost(self, error: Exception) -> LostError:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return LostError(f"vLLM at {self.url}: {said}; is it running there?")

    def _not_vllm(self, what: str) -> ServerError:
        return ServerError(f"vLLM at {self.url}: {what}; is it vLLM, and 0.10.2 or newer?")


class _FailedError(LostError):
    """A server that is there, and could not do it."""


class _NotFoundError(ServerError):
    """A route or a model that a server does not have."""


@dataclass(eq=False)
class Held:
    """A connection that another thread may end: the server then stops its answer."""

    sock: socket.socket | None = None
    is_ended: bool = False

    def take(self, sock: socket.socket) -> None:
        self.sock = sock
        if self.is_ended:
            self.end()

    def end(self) -> None:
        self.is_ended = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def _parsed(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _message(found: Any) -> str:
    """The first line of an error message."""
    error = found.get("error", found.get("detail", "")) if isinstance(found, dict) else ""
    said = error.get("message", "") if isinstance(error, dict) else error
    return " ".join(str(said).split())[:300]


def _id(name: str) -> int:
    """The id in `token_id:17`."""
    return int(name.removeprefix("token_id:"))
