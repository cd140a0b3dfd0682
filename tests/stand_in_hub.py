"""A stand-in for the Hugging Face hub: a server in this process that answers as the hub does, and that can cut a file
off, hold it back, send another one, or send on to another host."""

import contextlib
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class StandInHub:
    """What the stand-in has and how it misbehaves.

    cut: file -> at which bytes the connection ends, one after the other; elsewhere: files that another host sends
    held: file -> until this event is set, only its first half is sent
    seen: (method of what, Authorization, Range) of every request
    """

    files: dict[str, bytes]
    model: str = "team/smol"
    token: str | None = None
    cut: dict[str, list[int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    held: dict[str, threading.Event] = field(default_factory=dict)
    ranges: bool = True
    status: int = 200
    seen: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def listing(self) -> bytes:
        siblings = [
            {
                "rfilename": name,
                "size": self.sizes.get(name, len(data)),
                **({"lfs": {"sha256": self.digest(name)}} if name.endswith(".safetensors") else {}),
            }
            for name, data in self.files.items()
        ]
        return json.dumps({"sha": COMMIT, "siblings": siblings}).encode()

    def digest(self, name: str) -> str:
        return self.digests.get(name) or hashlib.sha256(self.files[name]).hexdigest()


def serve(hub: StandInHub) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path  # all of an address where this server is in place of a proxy too
            hub.seen.append((path, self.headers["Authorization"], self.headers["Range"]))
            name = path.rpartition("/")[2]
            if hub.status != 200 or (hub.token and self.headers["Authorization"] != f"Bearer {hub.token}"):
                self.answer(401 if hub.status == 200 else hub.status, b"")
            elif path == f"/api/models/{hub.model}/revision/main":
                self.answer(200, hub.listing())
            elif name in hub.elsewhere:
                self.answer(302, b"", {"Location": hub.elsewhere[name]})
            elif path in (f"/{hub.model}/resolve/{COMMIT}/{name}", f"/blobs/{name}") and name in hub.files:
                start = int((self.headers["Range"] or "bytes=0-")[6:-1]) if hub.ranges else 0
                part = {"Content-Range": f"bytes {start}-*/{len(hub.files[name])}"} if start else {}
                self.answer(206 if start else 200, hub.files[name][start:], part, name, start)
            else:
                self.answer(404, b"")

        def answer(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, name: str = "", start: int = 0
        ) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            cuts, held = hub.cut.get(name), hub.held.get(name)
            if held is not None and not held.is_set():
                self.wfile.write(body[: len(body) // 2])
                held.wait(600)
                body = body[len(body) // 2 :]
            with contextlib.suppress(ConnectionError):  # who asked has gone meanwhile
                self.wfile.write(body[: cuts.pop(0) - start] if cuts else body)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server
