"""A wheel of the repository, installed where there is neither Node.js nor the repository, serves a page and a chat."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).parents[2]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "src", "recipes")
PASSWORD = "말모이 말모이 사전"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because building leaves files in the source."""
    pytest.importorskip("setuptools", reason="pip install 'malmoi[dev]'")
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in BUILT_FROM:
        if (REPOSITORY / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
            shutil.copytree(REPOSITORY / name, source / name, symlinks=True, ignore=unwanted)
        else:
            shutil.copy(REPOSITORY / name, source / name)
    words = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(built),
        str(source),
    ]
    subprocess.run([sys.executable, *words], check=True, timeout=300)
    (path,) = built.glob("malmoi-*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel. What Malmoi depends on is borrowed from ours, so that nothing is downloaded."""
    made = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True, timeout=300)
    words = ["-m", "pip", "--python", str(made / "bin" / "python"), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, *words], check=True, timeout=300)
    (packages,) = made.glob("lib/python*/site-packages")
    # A path in a .pth file brings in no other .pth file, and so not the repository that ours is installed from.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made


def run(environment: Path, *words: str) -> str:
    done = subprocess.run(words, env=bare(environment), cwd=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bare(environment: Path) -> dict[str, str]:
    return {"PATH": str(environment / "bin"), "HOME": str(environment), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def link(environment: Path) -> Iterator[str]:
    """The one-time link of a server over a folder of notes."""
    malmoi, notes = str(environment / "bin" / "malmoi"), environment / "notes"
    notes.mkdir()
    (notes / "tea.md").write_text("# Tea\n\nGreen tea is steeped at 70 to 80 degrees.\n")
    run(environment, malmoi, "index", str(notes), "--workspace", "w")
    words = [malmoi, "serve", "--workspace", "w", "--port", "0", "--no-open"]
    with subprocess.Popen(words, env=bare(environment), cwd=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+/setup#\S+", line)))
        finally:
            server.terminate()


def test_it_is_the_wheel_that_runs_and_there_is_no_node(environment: Path) -> None:
    python = str(environment / "bin" / "python")
    where = run(environment, python, "-c", "import malmoi; print(malmoi.__file__)")
    assert Path(where.strip()).is_relative_to(environment)
    assert shutil.which("node", path=bare(environment)["PATH"]) is None


def test_the_wheel_holds_what_the_repository_does(wheel: Path) -> None:
    """Every file of the package that is not compiled; so that a new kind of file is not forgotten."""
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("malmoi/")}
    listed = subprocess.run(
        ["git", "ls-files", "-z", "src/malmoi", "recipes"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    if listed.returncode:
        pytest.skip("not a git repository")
    tracked = {
        name.removeprefix("src/") for name in listed.stdout.split("\0") if name and "src/malmoi/recipes" not in name
    }
    wanted = {f"malmoi/{name}" if name.startswith("recipes/") else name for name in tracked}
    assert wanted - inside == set()


def test_the_installed_server_gives_its_pages_and_answers(link: str) -> None:
    base, _, token = link.partition("/setup#")
    with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
        page = client.get("/").text
        files = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
        assert files and all(client.get(file).status_code == 200 for file in files)
        made = client.post("/api/setup", json={"token": token, "name": "Mina", "password": PASSWORD})
        assert made.status_code == 201, made.text
        chat = client.post("/api/chats", json={}).json()["id"]
        body = {"id": "0" * 32, "answer_id": "1" * 32, "parent": None, "text": "How hot is green tea steeped?"}
        with client.stream("POST", f"/api/chats/{chat}/messages", json=body) as response:
            events = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]
        assert events[-1]["type"] == "done" and "80 degrees" in events[-1]["message"]["text"]
