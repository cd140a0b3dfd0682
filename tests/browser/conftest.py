"""A real server over a folder of notes, and Debian's Chromium in front of it; what is missing is skipped, and said."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
PATIENCE_MS = 180_000
"""Whatever a page waits for: a machine that runs other tests too may be slow, and a job goes last."""
NAME, PASSWORD = "관리자", "말모이 말모이 사전"

NOTES = {
    "tea.md": "# Tea\n\nGreen tea is steeped at 70 to 80 degrees. Black tea is steeped at 95 degrees.\n",
    "차.md": "# 녹차\n\n녹차는 70도에서 80도 사이의 물에 우린다. 홍차는 95도의 물에 우린다.\n",
    "library.md": "# Library\n\nThe library opens at nine. A book may be kept for three weeks.\n",
}


@dataclass(frozen=True)
class Site:
    """base: the server's address; state: the cookies of its owner, who is signed in"""

    base: str
    state: Any
    workspace: Path


def malmoi(*args: str, **options: Any) -> list[str]:
    return [sys.executable, "-m", "malmoi", *args]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install 'malmoi[browser]'")
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # As root, as in a container, Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    notes, workspace = folder / "notes", folder / "workspace"
    notes.mkdir()
    for name, text in NOTES.items():
        (notes / name).write_text(text, encoding="utf-8")
    subprocess.run([*malmoi("index", str(notes), "--workspace", str(workspace))], check=True)
    with serving(chromium, workspace, folder / "log") as served:
        yield served


@pytest.fixture(scope="session")
def speaking_site(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with a tiny network that was not trained: its answers do not end by themselves, and no two are alike."""
    import torch

    from malmoi.formats.folder import save_model
    from malmoi.model.config import ModelConfig
    from malmoi.model.transformer import LanguageModel
    from malmoi.tokenizer.bpe import train_bpe
    from malmoi.tokenizer.chat_template import ChatTemplate
    from malmoi.workspace.folder import Workspace

    folder = tmp_path_factory.mktemp("speaking")
    tokenizer = train_bpe(["The cat sat on the mat. 말모이는 낱말을 모으던 일이다. " * 3], vocab_size=300)
    sizes = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_kv_head": 1, "head_dim": 8, "n_ff": 24, "seq_len": 4000}
    torch.manual_seed(1)
    policy = LanguageModel(ModelConfig(vocab_size=tokenizer.vocab_size, **sizes))
    with torch.no_grad():  # the first number of every state tells all tokens from those that end an answer
        policy.model.embed_tokens.weight[:, 0] = 30
        policy.lm_head.weight[:, 0] = 30
        policy.lm_head.weight[[*tokenizer.stop_ids], 0] = -30
    workspace = Workspace.open(folder / "workspace")
    save_model(workspace.models / "tiny", policy, tokenizer, ChatTemplate.default(), {})
    with serving(chromium, workspace.path, folder / "log") as served:
        yield served


@contextlib.contextmanager
def serving(
    chromium: Any, workspace: Path, log: Path, settings: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Site]:
    """A server over a workspace, in a process of its own, with its owner.

    settings: its environment besides ours; cwd: the folder in which it runs
    """
    environment = {**os.environ, **(settings or {}), "PYTHONUNBUFFERED": "1"}
    arguments = malmoi("serve", "--workspace", str(workspace), "--port", "0", "--no-open")
    with (
        log.open("w") as said,
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=said, text=True, env=environment, cwd=cwd) as server,
    ):
        try:
            yield first_start(chromium, server, workspace)
        finally:
            server.terminate()
            server.wait(timeout=30)


def first_start(chromium: Any, server: "subprocess.Popen[str]", workspace: Path) -> Site:
    """Open the one-time link that the server prints, and make the owner's account."""
    assert server.stdout is not None
    link = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+/setup#\S+", line)))
    context = chromium.new_context(locale="en-US")
    page = context.new_page()
    page.goto(link)
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("navigation").first.wait_for()
    state = context.storage_state()
    context.close()
    return Site(link.split("/setup")[0], state, workspace)


@pytest.fixture
def open_page(chromium: Any, site: Site) -> Iterator[Callable[..., Any]]:
    """Opens a page as its owner sees it: `open_page("/chat", locale="ko-KR", phone=True, dark=True)`.

    Afterwards no page may have loaded anything from elsewhere, nor complained on its console.
    """
    with opening(chromium, site) as open_:
        yield open_


@pytest.fixture
def open_speaking(chromium: Any, speaking_site: Site) -> Iterator[Callable[..., Any]]:
    """As `open_page`, of the server with a network."""
    with opening(chromium, speaking_site) as open_:
        yield open_


@contextlib.contextmanager
def opening(chromium: Any, site: Site) -> Iterator[Callable[..., Any]]:
    """Opens pages of a site, see `open_page`."""
    contexts, complaints, outside = [], [], []

    def open_(
        path: str = "/", locale: str = "en-US", phone: bool = False, dark: bool = False, signed_in: bool = True
    ) -> Any:
        context = chromium.new_context(
            locale=locale,
            storage_state=site.state if signed_in else None,
            viewport={"width": 360, "height": 740} if phone else {"width": 1200, "height": 800},
            has_touch=phone,
            color_scheme="dark" if dark else "light",
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: outside.append(request.url) if not _own(request.url, site.base) else None)
        page.goto(site.base + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not complaints
    assert not outside


def _is_complaint(message: Any) -> bool:
    """A refusal of the server is noted on the console too; what the page makes of it is for the tests."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


def _own(url: str, base: str) -> bool:
    return url.startswith((base, "data:", "blob:"))
