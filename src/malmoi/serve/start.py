"""Start a server: its workspace, its database, its address; and end it without losing an answer."""

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn

from malmoi.cluster.client import address_of
from malmoi.errors import UserError
from malmoi.feedback.accounts import invite_owner, needs_owner
from malmoi.inference.grounded import NO_VOICE
from malmoi.serve.address import NO_TLS, check_address
from malmoi.serve.app import make_app
from malmoi.serve.connection import Connection
from malmoi.serve.state import State
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import wake
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.models import find_model
from malmoi.workspace.opening import opened as opened_workspace

if TYPE_CHECKING:  # torch takes seconds
    from malmoi.inference.vllm.weights import Remote

BACKLOG, MOST_CONNECTIONS = 128, 256
END_WITHIN_S = 10
VLLM_PATIENCE_S, VLLM_SILENT_S = 5.0, 60.0
"""How long a vLLM server may be away or silent while a person waits."""


@dataclass(frozen=True)
class Options:
    """See `malmoi serve --help`."""

    workspace: Path
    host: str = "127.0.0.1"
    port: int = 8000
    model: str | None = None
    public_url: str | None = None
    vllm: str | None = None
    on: str | None = None
    ranks: int | None = None


@dataclass(frozen=True)
class Started:
    """A server whose port is already ours. base: its address; link: to open first; lines: for the terminal"""

    server: "Server"
    listening: socket.socket
    base: str
    link: str
    lines: list[str]

    def run(self) -> None:
        """Serve until the process is asked to end."""
        self.server.run([self.listening])


def serve(options: Options, tell: Callable[[str], None], opened: Callable[[str], None] = lambda _: None) -> None:
    """Serve until the process is asked to end. tell: is given lines for the terminal; opened: the address to open

    Raises UserError if the address may not be used or is in use, or if the workspace or its database cannot be opened.
    """
    is_new = not Workspace(options.workspace).exists
    with opened_workspace(options.workspace) as workspace, Ledger.open(workspace) as ledger:
        started = start(options, workspace, ledger)
        for line in [f"new workspace: {options.workspace}"] * is_new + started.lines:
            tell(line)
        opened(started.link)
        started.run()


def start(options: Options, workspace: Workspace, ledger: Ledger) -> Started:
    """A server that listens, and answers as soon as it is run. Raises UserError as `serve`."""
    if options.model not in (None, NO_VOICE):
        find_model(workspace, options.model)
    if options.on is not None:
        address_of(options.on)
    remote = None if options.vllm is None else _remote(options.vllm)
    first = needs_owner(ledger)
    warning = check_address(options.host, first, options.public_url)
    listening = listen(options.host, options.port)
    port = int(listening.getsockname()[1])
    base = options.public_url or f"http://{_shown(options.host)}:{port}"
    # Made once the port is ours: a start that fails makes no link of a running server invalid.
    link = f"{base}/setup#{invite_owner(ledger)}" if first else base
    state = State(
        workspace,
        ledger,
        options.model,
        options.public_url,
        port,
        warning and NO_TLS,
        remote,
        options.on,
        options.ranks,
    )
    config = uvicorn.Config(
        make_app(state, _names(options)), log_config=None, access_log=False, server_header=False, proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS, timeout_graceful_shutdown=END_WITHIN_S, ws="none",
        http=Connection,
    )  # fmt: skip
    wake(ledger)  # jobs that were asked for, or were killed, while no process worked
    lines = [warning] if warning else []
    lines.append(f"Malmoi is at {base}; Ctrl-C ends it")
    if first:
        lines.append(f"open this link once, to make the owner's account: {link}")
    return Started(Server(config, state), listening, base, link, lines)


def _remote(url: str) -> "Remote":
    """A vLLM server in place of our engine. Raises UserError if it is away: it may be started with another address."""
    from malmoi.inference.vllm.server import Server as VllmServer
    from malmoi.inference.vllm.weights import Remote

    server = VllmServer(url, VLLM_PATIENCE_S, VLLM_SILENT_S)
    server.wait()
    return Remote(server)


class Server(uvicorn.Server):
    """Ends answers in the making when it is asked to end, so that what there is of them is stored and told."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self.state = state

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.state.stop_answers()
        await asyncio.sleep(0)
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UserError if the port is in use or may not be used."""
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(info[0], info[1])
    except (OSError, OverflowError):
        raise UserError(f"--host {host}: no such address here; use 127.0.0.1, or this machine's address") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(info[4])
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"--port {port}: is in use; is Malmoi running already at http://{_shown(host)}:{port}? Else choose "
                f"another port, such as --port {port + 1}"
            ) from None
        if error.errno == errno.EACCES:
            raise UserError(f"--port {port}: this user may not use it; choose a port above 1023") from None
        raise UserError(f"--host {host}: {error.strerror}; use 127.0.0.1, or this machine's address") from None
    return listening


def _names(options: Options) -> set[str]:
    names = {"localhost", options.host.lower(), socket.gethostname().lower()}
    if options.public_url is not None:
        names.add((urlsplit(options.public_url).hostname or "").lower())
    return names


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
