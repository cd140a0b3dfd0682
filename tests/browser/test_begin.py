"""From nothing to a chat: a model that is fetched, and one that is built while somebody watches.

The hub is a stand-in in this process, and the recipe is tiny: what is tried is the way, not what is learned.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.files import write_text
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.demo_size import RECIPES
from malmoi.pipeline.recipe import read_recipe
from malmoi.pipeline.start import BUILD, QUESTIONS, SMALL_MODEL
from malmoi.tokenizer.bpe import train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import add_job, wake
from malmoi.workspace.known import KNOWN
from malmoi.workspace.ledger import Ledger
from tests.browser.conftest import Site, opening, serving
from tests.browser.test_access import fits, serious_faults
from tests.browser.test_chat import ask
from tests.browser.test_data import card, choose
from tests.e2e.test_first_texts import NOTES
from tests.ranked_workspace import SHAPE, SMALL, TEXT
from tests.stand_in_hub import StandInHub, serve

OpenPage = Callable[..., Any]
WEIGHTS = "model.safetensors"
TINY = Path(__file__).parents[1] / "e2e" / "tiny.toml"
JOB_MS = 240_000


@dataclass
class Fetching:
    """A site without a model, and the stand-in from which it would fetch one."""

    site: Site
    hub: StandInHub


@pytest.fixture(scope="module")
def fetching(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetching]:
    folder = tmp_path_factory.mktemp("fetching")
    tokenizer = train_bpe([TEXT], vocab_size=300)
    torch.manual_seed(1)
    model = LanguageModel(ModelConfig(vocab_size=tokenizer.vocab_size, seq_len=4000, **SHAPE))
    save_model(folder / "model", model, tokenizer, ChatTemplate.default(), {})
    files = {path.name: path.read_bytes() for path in (folder / "model").iterdir() if path.is_file()}
    hub = StandInHub(files, model=KNOWN[SMALL_MODEL].hub_id, status=503)
    server = serve(hub)
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9",
        "PIP_RETRIES": "0",
        "no_proxy": "*",
        "HF_TOKEN": "",
        "HF_HUB_OFFLINE": "0",
    }
    settings = {**SMALL, **nowhere, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    with serving(chromium, folder / "workspace", folder / "log", settings) as site:
        yield Fetching(site, hub)
    server.shutdown()
    server.server_close()


@pytest.fixture
def site(fetching: Fetching) -> Site:
    """What `open_page` opens."""
    return fetching.site


def test_a_model_is_fetched_stopped_in_the_middle_and_talks(open_page: OpenPage, fetching: Fetching) -> None:
    hub = fetching.hub
    page = open_page("/start")
    page.locator(".begin", has_text="small real model").get_by_role("button", name="Get it").click()
    page.get_by_text("The model could not be fetched.").wait_for(timeout=JOB_MS)  # the hub does not answer
    korean = open_page(page.url.removeprefix(fetching.site.base), locale="ko-KR", phone=True)
    korean.get_by_text("모델을 받지 못했습니다.").wait_for()
    assert korean.locator(".stations").inner_text() == "받기" and fits(korean)

    hub.status, hub.held = 200, {WEIGHTS: threading.Event()}
    page.get_by_role("button", name="Go on").click()
    end = time.monotonic() + JOB_MS / 1000
    while not any(path.endswith(WEIGHTS) for path, _, _ in hub.seen) and time.monotonic() < end:
        page.wait_for_timeout(200)
    assert any(path.endswith(WEIGHTS) for path, _, _ in hub.seen), page.locator("main").inner_text()
    page.locator("progress").wait_for(timeout=JOB_MS)
    page.get_by_role("button", name="Stop and keep").click()
    page.get_by_text("stopped, kept").wait_for()
    hub.held[WEIGHTS].set()
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("The assistant is ready.").wait_for(timeout=JOB_MS)
    asked = [range_ for path, _, range_ in hub.seen if path.endswith(WEIGHTS)]
    assert asked == [None, f"bytes={len(hub.files[WEIGHTS]) // 2}-"]

    page.locator(".notice").get_by_role("link", name="Chat").click()
    page.get_by_text(f"{SMALL_MODEL} in service").wait_for()
    ask(page, "What is a list?")
    assert page.locator(".answer").last.inner_text()
    page.goto(f"{fetching.site.base}/start")
    page.get_by_text("It is here already.").wait_for()
    assert serious_faults(korean) == []


def test_somebody_watches_one_being_built(open_page: OpenPage, fetching: Fetching) -> None:
    here = Workspace(fetching.site.workspace)
    for number in range(8):
        write_text(here.path / "text" / f"{number}.txt", f"Tea {number} is steeped at {70 + number} degrees. " * 20)
    given = ['stages=["corpus", "tokenizer", "pretrain"]', f'corpus.text="{here.path}/text"', "pretrain.n_steps=3"]
    recipe = read_recipe(TINY, [*given, "tokenizer.vocab_size=300"])
    with closing(Ledger.open(here)) as ledger:
        number = add_job(ledger, BUILD, {"recipe": recipe.table(), "questions": list(QUESTIONS)})
        wake(ledger)
    page = open_page(f"/versions/job/{number}")
    page.get_by_text("The assistant is ready.").wait_for(timeout=JOB_MS)
    assert page.locator(".stations li.done").all_inner_texts() == ["corpus", "tokenizer", "pretrain"]
    first = page.locator(".pinned").first
    assert QUESTIONS[0] in first.inner_text() and first.locator("li").count() == 3
    page = open_page(f"/versions/job/{number}", locale="ko-KR", phone=True, dark=True)
    page.get_by_text("조수가 준비되었습니다.").wait_for()
    assert page.locator(".stations li").all_inner_texts() == ["말뭉치", "토크나이저", "사전학습"]
    page.locator("figcaption", has_text="손실").wait_for()
    assert serious_faults(page) == [] and fits(page)


@pytest.fixture(scope="module")
def own_text(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose small recipe is tiny: it runs in a folder with a file of that name."""
    folder = tmp_path_factory.mktemp("own-text")
    write_text(folder / RECIPES["small"], TINY.read_text())
    with serving(chromium, folder / "workspace", folder / "log", SMALL, cwd=folder) as site:
        yield site


def test_own_text_becomes_an_assistant_that_answers_from_it(chromium: Any, own_text: Site, tmp_path: Path) -> None:
    for name, text in NOTES.items():
        write_text(tmp_path / name, text)
    with opening(chromium, own_text) as open_page:
        page = open_page("/start")
        mine = page.locator(".begin", has=page.get_by_role("heading", name="Use my own text"))
        mine.get_by_role("link", name="Choose files").click()
        choose(page, *(tmp_path / name for name in NOTES))
        for name in NOTES:
            card(page, name).get_by_role("button", name="Add").click()
            page.get_by_text(f"{name} is added.").wait_for()
        page.goto(f"{own_text.base}/start")
        mine.get_by_text(f"Files here to build from: {len(NOTES)}").wait_for()
        mine.get_by_role("button", name="Build").click()
        page.get_by_text("The assistant is ready.").wait_for(timeout=JOB_MS)
        done = page.locator(".stations li.done").all_inner_texts()
        assert done[0] == "corpus" and {"sft", "reward", "PPO"} <= {*done}, done
        page.locator(".notice").get_by_role("link", name="Chat").click()
        page.get_by_text("ppo in service").wait_for()
        ask(page, "What does Anna want?")
        assert "tomatoes" in page.locator(".answer .markdown").last.inner_text()
        assert "meeting.md" in page.locator(".answer .sources").last.inner_text()
        page.goto(f"{own_text.base}/start")
        page.get_by_text("Files here to build from").wait_for()
        assert serious_faults(page) == []
