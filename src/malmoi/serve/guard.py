"""What every request passes through: whose page sent it, how large it is, and what the answer lets a browser do."""

import asyncio
import ipaddress
import time
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from malmoi.feedback.refusals import RefusedError
from malmoi.serve.errors import response_of

CSP = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "font-src 'self'",
    "connect-src 'self'", "manifest-src 'self'", "base-uri 'none'", "form-action 'self'", "object-src 'none'",
    "frame-ancestors 'none'",
))  # fmt: skip
HEADERS = {
    "Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY", "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}  # fmt: skip
RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
CACHED = (b"cache-control", b"no-store")
SAFE = ("GET", "HEAD")
LARGEST, LARGEST_IMPORT, LARGEST_UPLOAD = 2**20, 20 * 2**20, 50 * 2**20
IMPORT, UPLOAD, DRAW = "/api/chats/import", "/api/data/uploads", "/api/drawings"
FORMS = ("/v1/images/edits", "/v1/images/variations")
"""Where pictures come as the parts of a form, as OpenAI's clients send them."""
READ_WITHIN_S, UPLOADED_WITHIN_S = 30, 300
"""A body that takes longer to arrive is given up: otherwise it would hold a connection without end."""


@dataclass(frozen=True)
class Guard:
    """An ASGI application around another one.

    names: host names that are ours; an address in digits always is, because a name that another page's owner points at
    this machine is not one (DNS rebinding)
    public_url: where the service is reached behind a server that speaks TLS, such as https://chat.example.org
    """

    app: ASGIApp
    names: Collection[str]
    public_url: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [*message.get("headers", ())]
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [one for one in (*RAW_HEADERS, CACHED) if one[0] not in names]
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check_host(headers)
            if scope["method"] not in SAFE:
                self._check_origin(headers)
                receive = await _read(scope, headers, receive)
        except RefusedError as error:
            await response_of(error, scope["path"])(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _check_host(self, headers: Headers) -> None:
        host = _host_of(headers.get("host", ""))
        if host not in self.names and not _is_address(host):
            raise RefusedError("wrong_host", "this server has another name; open it by its address")

    def _check_origin(self, headers: Headers) -> None:
        """A browser says which page a request comes from; a program says nothing."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        is_ours = origin is None or origin in (self.public_url, f"http://{headers.get('host', '')}")
        if not is_ours or site not in (None, "same-origin", "none"):
            raise RefusedError("other_origin", "the request comes from another site's page")


async def _read(scope: Scope, headers: Headers, receive: Receive) -> Receive:
    """Read the body, and give it again. Raises RefusedError if it is no JSON, too large or too slow."""
    if scope["path"] == UPLOAD:
        return _counted(headers, receive)
    path = scope["path"]
    largest = LARGEST_IMPORT if path in (IMPORT, DRAW, *FORMS) else LARGEST
    too_large = _check_size(headers, largest)
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError("too_slow", "the request broke off")
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > largest:
                    raise too_large
    except TimeoutError:
        raise RefusedError("too_slow", f"the request took longer than {READ_WITHIN_S} s to arrive") from None
    wanted = "multipart/form-data" if path in FORMS else "application/json"
    if body and _kind_of(headers) != wanted:
        what = "a form with files" if path in FORMS else "JSON"
        raise RefusedError("not_json", f"a request is {what}: Content-Type: {wanted}")
    is_given = False

    async def receive_again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return receive_again


def _counted(headers: Headers, receive: Receive) -> Receive:
    """The parts of a file as they come, so that nothing is kept for somebody who may not send one. Raises RefusedError
    as `_read`, at the part that is too much or too late."""
    if _kind_of(headers) != "application/octet-stream":
        raise RefusedError("not_json", "a file is sent as Content-Type: application/octet-stream")
    too_large, n_bytes = _check_size(headers, LARGEST_UPLOAD), 0
    end = time.monotonic() + UPLOADED_WITHIN_S

    async def receive_part() -> Message:
        nonlocal n_bytes
        try:
            async with asyncio.timeout(max(0.0, end - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise RefusedError("too_slow", f"the file took longer than {UPLOADED_WITHIN_S} s to arrive") from None
        n_bytes += len(message.get("body", b""))
        if n_bytes > LARGEST_UPLOAD:
            raise too_large
        return message

    return receive_part


def _kind_of(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_size(headers: Headers, largest: int) -> RefusedError:
    """Raises the refusal of what is too large, if the request says so itself; returns it for later."""
    too_large = RefusedError("too_large", f"a request has at most {largest} bytes", max_bytes=largest)
    if headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", "0")) > largest:
        raise too_large
    return too_large


def _host_of(header: str) -> str:
    """The name or address without its port, in small letters; "" if it is none."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
