"""Pictures of every page for the documents: English and Korean, light and dark, wide and on a phone.

    python web/pictures.py --workspace demo --out docs/guides/pictures/pages

serves a copy of a workspace that `malmoi demo` made, with a few things said in it; Debian's chromium draws the pages.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

NAME, PASSWORD = "관리자", "말모이 말모이 사전"
QUESTION = {"en": "What does json.dumps do?", "ko": "json.dumps 함수는 뭐 하는 거야?"}
LOOKS = {
    "en-light": {"locale": "en-US", "color_scheme": "light", "viewport": {"width": 1200, "height": 800}},
    "ko-dark": {"locale": "ko-KR", "color_scheme": "dark", "viewport": {"width": 1200, "height": 800}},
    "ko-light-phone": {"locale": "ko-KR", "color_scheme": "light", "viewport": {"width": 390, "height": 844}},
    "en-dark-phone": {"locale": "en-US", "color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
}
PAGES = {
    "start": "/start", "teach": "/teach", "write": "/teach/write", "label": "/teach/label", "mine": "/teach/mine",
    "versions": "/versions", "version": "/versions/v2", "data": "/data/documents", "rankings": "/data/rankings",
    "snapshots": "/data/snapshots", "people": "/people", "account": "/account",
}  # fmt: skip
PINNED = {"도서관은 언제 여나요?": ["아홉"], "What does os.path.join do?": ["join"]}
FIRST = ("sign-in", "empty-chat", "chat")
"""Pictures of what is said on the way to the others."""
HOURS = "# 여는 시간\n\n도서관은 아침 아홉 시에 엽니다. 책은 세 주 동안 빌릴 수 있습니다.\n"
RANKED = [
    {"messages": [{"role": "user", "content": "도서관은 언제 여나요?"}],
     "answers": ["아침 아홉 시에 엽니다.", "아홉 시.", "모르겠습니다."], "ranks": [1, 2, 3]},
    {"messages": [{"role": "user", "content": "What is a list?"}],
     "answers": ["A list holds values in order.", "It is a thing."], "ranks": [1, 2]},
    {"messages": [{"role": "user", "content": "책은 얼마 동안 빌릴 수 있나요?"}],
     "answers": ["세 주 동안 빌릴 수 있습니다.", "오래."], "ranks": [1, 2]},
    {"messages": [{"role": "user", "content": "What does len return?"}],
     "answers": ["The number of items of an object.", "A number.", "Text."], "ranks": [1, 2, 3]},
    {"messages": [{"role": "user", "content": "What does sorted do?"}],
     "answers": ["It returns a new sorted list.", "It sorts."], "ranks": [1, 2]},
    {"messages": [{"role": "user", "content": "What does os.getcwd return?"}],
     "answers": ["The current working directory.", "A folder, perhaps."], "ranks": [1, 2]},
]  # fmt: skip
WIDEST = 900
"""Pixels of a stored picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="names of pictures, such as improve,job; default: all")
    chosen = parser.parse_args()
    only = {name for name in chosen.only.split(",") if name}
    chosen.out.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with served(chosen.workspace) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        prepare(browser, base)
        for take, made in ((improving, {"improve"}), (working, {"job"}), (pictures, None)):
            if only and made is not None and not only & made:
                continue
            for look, name, picture in take(browser, base, only):
                store(picture, chosen.out / f"{name}-{look}.webp")
        browser.close()


@contextmanager
def served(workspace: Path) -> Iterator[str]:
    """The address of a server over a copy of the workspace, whose owner is NAME."""
    malmoi = [sys.executable, "-m", "malmoi"]
    with tempfile.TemporaryDirectory() as folder:
        copy = str(Path(folder) / workspace.resolve().name)
        shutil.copytree(workspace, copy, symlinks=True)
        add = [*malmoi, "users", "add", NAME, "--role", "owner", "--workspace", copy]
        subprocess.run(add, input=PASSWORD + "\n", text=True, check=True)
        for words in (["add", "sft"], ["promote", "v1", "--knowingly"], ["add", "ppo"]):
            subprocess.run([*malmoi, "versions", *words, "--workspace", copy], check=True)
        words = [*malmoi, "serve", "--workspace", copy, "--port", "0", "--no-open"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=None) as server:
            assert server.stdout is not None
            line = next(line for line in server.stdout if "Malmoi is at" in line)
            try:
                yield line.split("Malmoi is at ")[1].split(";")[0]
            finally:
                server.terminate()


def signed_in(browser: Any, base: str, **options: Any) -> Any:
    return browser.new_context(**options, storage_state=session(browser, base))


@cache
def session(browser: Any, base: str) -> Any:
    """The cookies of NAME, who signs in once: the server allows few tries a minute."""
    context = browser.new_context()
    entered = context.request.post(f"{base}/api/login", data={"name": NAME, "password": PASSWORD})
    assert entered.ok, entered.text()
    return context.storage_state()


def prepare(browser: Any, base: str) -> None:
    """Say a few things: a document, rankings, a snapshot, a question under Teach, people."""
    context = signed_in(browser, base)
    ask = context.request
    raw = {"Content-Type": "application/octet-stream"}
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in RANKED)
    for name, text in (("hours.md", HOURS), ("rankings.jsonl", rows)):
        sent = ask.post(f"{base}/api/data/uploads?name={name}", data=text.encode(), headers=raw)
        assert ask.post(f"{base}/api/data/uploads/{sent.json()['id']}/add", data={}, timeout=120_000).ok
    ask.post(f"{base}/api/data/snapshots", data={"from": "people"})
    for text, must in PINNED.items():
        assert ask.post(f"{base}/api/pinned", data={"text": text, "must": must}).ok
    for text in ("What does os.path.join do?", "What is a tuple?"):
        ask.post(f"{base}/api/teach/prompts", data={"text": text})
    for said in ("keep", "keep", "drop", "unsure", "keep"):  # of the corpus that the demo read
        page = ask.post(f"{base}/api/teach/labels/next", data={}).json()["page"]
        assert ask.put(f"{base}/api/teach/labels/{page['id']}", data={"label": said}).ok
    ask.post(f"{base}/api/invites", data={"role": "labeler", "name": "Labeler 1"})
    ask.post(f"{base}/api/keys", data={"name": "editor"})
    end = time.monotonic() + 120
    while not ask.get(f"{base}/api/teach").json()["waiting"] and time.monotonic() < end:
        time.sleep(2)
    context.close()


def improving(browser: Any, base: str, _: set[str]) -> Iterator[tuple[str, str, bytes]]:
    """The sheet that says what improving learns from and costs: look, name, and a PNG."""
    for look, options in LOOKS.items():
        context = signed_in(browser, base, **options)
        page = context.new_page()
        page.goto(f"{base}/versions")
        page.locator("h1 + .button").click()
        page.get_by_role("dialog").locator(".row .button.main:enabled").wait_for(timeout=120_000)
        page.get_by_role("dialog").locator("p[role=status]", has_text="GB").wait_for(timeout=120_000)
        yield look, "improve", page.screenshot()
        context.close()


def working(browser: Any, base: str, _: set[str]) -> Iterator[tuple[str, str, bytes]]:
    """A job that runs, in each look."""
    lead = signed_in(browser, base)
    job = lead.request.post(f"{base}/api/improve", data={"how": "train", "algorithm": "ppo"}, timeout=120_000).json()
    path = f"{base}/api/jobs/{job['id']}"
    end = time.monotonic() + 600
    while lead.request.get(path).json()["stage"] != "ppo" and time.monotonic() < end:
        time.sleep(2)
    for look, options in LOOKS.items():
        context = signed_in(browser, base, **options)
        page = context.new_page()
        page.goto(f"{base}/versions/job/{job['id']}")
        page.locator(".curve").first.wait_for(timeout=120_000)
        yield look, "job", page.screenshot()
        context.close()
    lead.request.post(f"{path}/throw-away", data={})
    lead.close()


def pictures(browser: Any, base: str, only: set[str]) -> Iterator[tuple[str, str, bytes]]:
    """Every other page in each look: look, name, and a PNG. only: names, or none for all"""
    for look, options in LOOKS.items():
        if only and only.isdisjoint(FIRST):
            found = shown(browser, base, options, {name: path for name, path in PAGES.items() if name in only})
        else:
            found = (one for one in pages(browser, base, options) if not only or one[0] in only)
        for name, picture in found:
            yield look, name, picture


def pages(browser: Any, base: str, options: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Each page in one look: its name, and a PNG."""
    outside = browser.new_context(**options)
    page = outside.new_page()
    page.goto(base)
    page.wait_for_timeout(800)
    yield "sign-in", page.screenshot()
    outside.close()
    context = signed_in(browser, base, **options)
    page = context.new_page()
    page.goto(f"{base}/chat")
    page.wait_for_timeout(1500)
    yield "empty-chat", page.screenshot()
    language = str(options["locale"])[:2]
    page.get_by_role("textbox").last.fill(QUESTION[language])
    page.keyboard.press("Enter")
    page.locator(".sources").wait_for(timeout=60_000)
    page.locator(".source").first.click()
    page.wait_for_timeout(500)
    yield "chat", page.screenshot()
    context.close()
    yield from shown(browser, base, options, PAGES)


def shown(browser: Any, base: str, options: dict[str, Any], paths: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """The pages at these addresses in one look: name, and a PNG."""
    context = signed_in(browser, base, **options)
    page = context.new_page()
    for name, path in paths.items():
        page.goto(base + path)
        page.wait_for_timeout(1500)
        if name == "start":  # the server tries some steps first
            page.locator(".begin").first.locator(".button.main:enabled").wait_for(timeout=90_000)
        for begin in page.get_by_role("button", name="Begin").or_(page.get_by_role("button", name="시작하기")).all():
            begin.click()
            page.wait_for_timeout(500)
        yield name, page.screenshot()
    context.close()


def store(picture: bytes, path: Path) -> None:
    """Write a PNG as a small WebP."""
    from PIL import Image

    image = Image.open(BytesIO(picture)).convert("RGB")
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    image.save(path, "WEBP", quality=80, method=6)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
