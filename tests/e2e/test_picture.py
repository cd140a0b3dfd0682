"""Pictures from nothing: the tiny recipe runs to a report with sheets, and its model draws."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

TINY = Path(__file__).with_name("picture.toml")


def malmoi(*words: object, code: int = 0) -> str:
    command = [sys.executable, "-m", "malmoi", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the tiny recipe ran."""
    workspace = tmp_path_factory.mktemp("whole")
    malmoi("run", TINY, "--workspace", workspace)
    return workspace


def test_the_report_shows_drawings_and_what_the_oracle_says_of_real_ones(whole: Path) -> None:
    report, page = json.loads((whole / "report.json").read_text()), (whole / "report.html").read_text()
    found = report["drawings"]
    assert 0 <= found["drawn"]["all_right"]["mean"] <= 1
    assert found["oracle"]["colour"]["mean"] > 0.9
    assert found["extractor"].startswith("FD-clip-") and found["distance"] > found["floor"] >= 0
    assert report["clip"]["recall_10_ko"]["n"] == report["clip"]["n"]
    assert page.count("data:image/png;base64,") > 60
    assert "the training picture nearest to it" in page


def test_the_model_draws(whole: Path, tmp_path: Path) -> None:
    malmoi("draw", "파란 네모 왼쪽에 있는 빨간 원", "--workspace", whole, "--out", tmp_path, "--seed", 1)
    [path] = tmp_path.glob("*.png")
    with Image.open(path) as picture:
        assert picture.size == (16, 16)


def test_the_model_of_few_steps_draws_without_guidance_and_is_not_the_default(whole: Path, tmp_path: Path) -> None:
    report = json.loads((whole / "report.json").read_text())["consistency"]
    assert [row["steps"] for row in report["few"]] == [1, 2] and report["many"][0]["distance"] >= 0
    command = ("draw", "a red circle", "consistency", "--workspace", whole, "--out", tmp_path, "--steps", 4, "--json")
    drawn = json.loads(malmoi(*command))
    assert (drawn["steps"], drawn["guidance"], drawn["sampler"]) == (4, 1.0, "lcm")
    default = json.loads(malmoi("draw", "a red circle", "--workspace", whole, "--out", tmp_path / "b", "--json"))
    assert default["sampler"] == "flow_ancestral"


def test_it_is_not_run_again_and_equal_work_gives_equal_models(whole: Path, tmp_path: Path) -> None:
    assert malmoi("run", TINY, "--workspace", whole).count("unchanged, not run again") == 5
    malmoi("run", TINY, "--workspace", tmp_path / "again")
    files = [
        next(place.glob("runs/*-denoiser/out/model/denoiser/*.safetensors")) for place in (whole, tmp_path / "again")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
