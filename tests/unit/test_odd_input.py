"""Odd words and odd environments, in every command: no traceback, and never the exit code of a bug."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from malmoi import device
from malmoi.cli import app
from malmoi.files import write_jsonl, write_text
from malmoi.workspace.folder import Workspace
from tests.tiny_pictures import write_tiny_pictures

pytestmark = pytest.mark.usefixtures("float32")
ENDS = (0, 2)
TEXTS = (
    "", " ", "\0", "\udcff", "\x1b[31m\x07", "a\nb", "말모이 🙂", "x" * 5000, "-", "--", "..", "=", "[", "1e400",
    "/dev/null", "missing", "folder", "file.txt", "locked", "latin\udce9.txt",
)  # fmt: skip
NUMBERS = (
    "",
    "-1",
    "0",
    "1",
    "nan",
    "inf",
    "-inf",
    "1e-39",
    "1e39",
    str(10**23),
    f"-{10**23}",
    "0x10",
    "1.5",
    "two",
    "²",
)
# What each command needs besides the word that is tried, so that it gets as far as it can, and how it stays short.
SHORT = ["--set", 'stages=["corpus"]', "--set", 'corpus.text="text"']
BESIDE: dict[str, list[str]] = {
    "demo": ["--size", "small", *SHORT], "run": ["nano", *SHORT], "train": ["sft", "sft.toml", "--set", "n_steps=1"],
    "chat": ["policy", "--prompt", "hi", "--max-tokens", "2"], "ask": ["hi", "--model", "policy", "--max-tokens", "2"],
    "eval": ["policy", "--data", "folder", "--limit", "1"],
    "draw": ["cat", "tiny", "--steps", "1", "--out", "pictures"],
    "generate": ["policy", "--prompts", "prompts.jsonl", "--out", "answers.jsonl", "--max-tokens", "2"],
    "quantise": ["policy", "--text", "file.txt"], "lineage": ["1"], "stages": [], "doctor": [],
    "plan": ["nano", "--machines", "8xH100"], "runs list": [],
    "runs show": ["1"], "runs compare": ["1", "2"], "models pull": [], "models import": [], "models list": [],
    "models export": ["policy", "--out", "exported"], "models show": ["policy"], "models remove": [],
    "data show": ["chats.jsonl"], "data add": ["chats.jsonl"],
    "data list": [], "data questions": ["--n", "1"], "data remove": ["file.txt"],
    "corpus build": ["text", "--out", "corpus"], "corpus show": ["text"], "corpus trace": ["0", "text"],
    "corpus label": ["text"], "corpus remove": ["text", "--out", "corpus", "--id", "0"],
    "data freeze": [], "data snapshots": [], "data export": ["exported.jsonl"], "data forget": ["Ann"],
    "index": ["text"], "serve": ["--host", "192.0.2.1", "--no-open"], "users list": [],
    "users add": ["Ann"], "users remove": ["Ann", "--yes"],
    "users role": ["Ann", "user"], "users password": ["Ann"], "keys list": [], "keys add": ["Ann"],
    "keys revoke": ["k-0"], "settings": [],
    "versions list": [], "versions show": ["v1"], "versions add": ["policy"], "versions promote": ["v1"],
    "versions rollback": [], "versions refuse": ["v1"], "versions compare": ["v1"],
    "versions pin": ["Why?"], "versions pinned": [], "versions unpin": ["q-0"], "versions check": ["v1"],
    "versions export": ["v1"],
    "improve": ["--yes", "--no-wait"],
    "jobs list": [], "jobs show": ["1"], "jobs stop": ["1"], "jobs resume": ["1"], "jobs work": [],
}  # fmt: skip
NETWORK = {"models pull", "models import"}
COUNTED = {"--seed", "--temperature", "--top-p", "--top-k", "--max-tokens", "--limit", "--n", "-n"}


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for below, found in getattr(command, "commands", {}).items():
        yield from commands(found, f"{name} {below}".strip())
    if name and not hasattr(command, "commands"):
        yield name, command


COMMANDS = dict(commands(typer.main.get_command(app)))
OPTIONS = [
    (name, option.opts[0])
    for name, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option" and not option.is_flag and option.name != "help"
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The current folder, deep enough that `..` harms nobody: models, data, and paths of every odd kind."""
    root = tmp_path_factory.mktemp("odd")
    here = root / "a" / "b"
    here.mkdir(parents=True)
    shape, tokenizer, template = (request.getfixturevalue(name) for name in ("shape", "tokenizer", "template"))
    from malmoi.formats.folder import save_model
    from malmoi.model.transformer import LanguageModel

    with contextlib.chdir(here):
        save_model(here / "kept" / "policy", LanguageModel(shape), tokenizer, template, {})
        write_tiny_pictures(here / "kept" / "tiny")
        (here / "folder").mkdir()
        write_text(here / "file.txt", "The cat sat on the mat. " * 40)
        write_text(here / "text" / "a.txt", "The cat sat on the mat. A dog ran home. " * 40)
        write_text(here / "text" / "b.txt", "What is a list? It holds values in order. " * 40)
        Path("latin\udce9.txt").write_bytes(b"caf\xe9")
        (here / "locked").mkdir(mode=0o000)
        asked = [{"role": "user", "content": "What?"}]
        write_jsonl(here / "chats.jsonl", [{"messages": [*asked, {"role": "assistant", "content": "cat"}]}])
        write_jsonl(here / "prompts.jsonl", [{"messages": asked}])
        write_text(here / "sft.toml", 'model = "policy"\ndata = "chats.jsonl"\nn_steps = 1\nbatch_size = 1\n')
        yield here
    (here / "locked").chmod(0o700)


@pytest.fixture(autouse=True)
def clean(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace as it was; no hub."""
    for name in ("workspace", "demo", "policy", "tiny", "sft", "exported", "pictures", "answers.jsonl"):
        path = place / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.copytree(place / "kept" / "policy", place / "policy")
    shutil.copytree(place / "kept" / "tiny", place / "tiny")
    shutil.copytree(place / "policy", Workspace.open(place / "workspace").models / "policy")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MALMOI_NATIVE", "0")


def ends_well(words: list[str]) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code in ENDS, f"{words!a}\n{done.output}\n{done.exception!r}"
    if done.exit_code == 2:
        # What a folder has that is not read is said before what went wrong after that.
        said = [line for line in done.stderr.splitlines() if not line.startswith("(passed over: ")]
        assert len(said) == 1 and said[0].startswith("error: "), f"{words!a}\n{done.stderr}"


@pytest.mark.parametrize(
    "name",
    [
        "MALMOI_THREADS", "MALMOI_DEVICE", "MALMOI_DTYPE", "MALMOI_NATIVE", "MALMOI_DATA", "MALMOI_WORKSPACE",
        "MALMOI_DATABASE_URL", "OMP_NUM_THREADS", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "CC",
        "XDG_CACHE_HOME", "HF_ENDPOINT", "HF_TOKEN", "HOME", "COLUMNS", "LINES", "TERM", "NO_COLOR",
    ],
)  # fmt: skip
def test_odd_environments(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "-1", "two", "9" * 30, "\x1b[31m", "a\nb", "\udcff", "말모이", "/dev/null", "missing"):
        if name == "RANK" and value.isdecimal():  # another rank leaves the word to the first one
            continue
        monkeypatch.setenv(name, value)
        for words in (["chat", "policy", "--prompt", "hi", "--max-tokens", "1"], ["runs", "list"], ["doctor"]):
            device.current.cache_clear()
            ends_well(words)
    device.current.cache_clear()


def test_a_user_without_a_home(place: Path) -> None:
    """As containers are started with `--user 12345`: no HOME, and no entry in the list of users."""
    script = (
        "import os, pwd, sys\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "from malmoi.cli import main\n"
        "sys.argv = ['malmoi', *sys.argv[1:]]\n"
        "main()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    for words in (["doctor"], ["chat", "policy", "--prompt", "hi", "--max-tokens", "1"]):
        done = subprocess.run([sys.executable, "-c", script, *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("closed", "words", "code"),
    [
        (">&-", "--version", 0), (">&-", "runs list", 0), ("<&-", "chat policy", 0), ("2>&-", "runs list", 0),
        ("2>&-", "runs show 99", 2), (">&- 2>&- <&-", "models list", 0), (">/dev/full", "--version", 2),
        ("| true", "doctor", 141), ("| head -n 1", "models list", 141),
    ],
)  # fmt: skip
def test_closed_streams_end_quietly(place: Path, closed: str, words: str, code: int) -> None:
    command = f"{sys.executable} -m malmoi {words} {closed}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert done.stderr.count("\n") <= (code == 2)
    assert done.returncode in ({code, 0} if code == 141 else {code})  # a short output may fit in the pipe


def test_windows_is_refused_before_anything_is_imported_that_it_lacks() -> None:
    script = "import sys\nsys.modules['fcntl'] = None\nfrom malmoi.cli import main\nsys.platform = 'win32'\nmain()\n"
    done = subprocess.run([sys.executable, "-c", script, "demo"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and "WSL" in done.stderr and done.stderr.count("\n") == 1


def test_words_that_people_try() -> None:
    def said(*words: str) -> str:
        return CliRunner().invoke(app, words).output

    assert said("help") == said("--help")
    assert said("help", "run") == said("run", "--help")
    assert said("help", "runs", "list") == said("runs", "list", "--help")
    assert said("quantize", "--help").replace("quantize", "quantise") == said("quantise", "--help")
    assert "Did you mean 'chat'" in said("chatt")
    assert "--install-completion" in said("--help")
    ends_well(["help", "nonsense"])


def test_every_command_is_tried() -> None:
    assert COMMANDS.keys() == BESIDE.keys()


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=map(" ".join, OPTIONS))
def test_odd_values_of_options(name: str, option: str) -> None:
    beside = BESIDE[name]
    if option in beside:  # another value in place of the usual one
        at = beside.index(option)
        beside = [*beside[:at], *beside[at + 2 :]] if option != "--set" else beside
    argument = ["kept/policy"] if name in NETWORK else ["policy"] if name == "models remove" else []
    for value in NUMBERS if option in COUNTED else TEXTS:
        ends_well([*name.split(), *argument, *beside, f"{option}={value}"])


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("demo", "models pull")])
def test_odd_arguments(name: str) -> None:
    for value in TEXTS:
        ends_well([*name.split(), *(BESIDE[name][1:] if BESIDE[name][:1] != ["--set"] else []), "--", value])


@pytest.mark.parametrize(
    "key", ["seed", "corpus.seed", "corpus.heldout_fraction", "corpus.min_chars", "name", "corpus.text"]
)
def test_odd_settings(key: str) -> None:
    for value in (*NUMBERS, *TEXTS, '""', "[]", "{}", "true", "1979-05-27"):
        ends_well(["run", "nano", *SHORT, "--set", f"{key}={value}"])
