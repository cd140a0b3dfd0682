"""The benchmarks make one input for both sides, notice when the sides do other work, and say what is missing."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import malmoi_side
from benchmarks.__main__ import document, line, main
from benchmarks.compare import ROOT, Options, WorkError, check_same, compare, ratio_and_spread
from benchmarks.prepare import MAKERS, Source, spare_id, toy_model
from benchmarks.rows import MODULES, QUICK, ROWS
from malmoi.data.conversations import read_conversations
from malmoi.errors import UserError
from malmoi.formats.folder import load_model, load_text
from malmoi.formats.gguf.write import export_gguf
from malmoi.tokenizer.bpe import SPECIAL_TOKENS, Tokenizer

pytestmark = pytest.mark.usefixtures("float32")
WORKS = {row.work for row in ROWS.values()}


@pytest.fixture(scope="module")
def source() -> Source:
    return Source()


@pytest.fixture(scope="module")
def model(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "model"
    toy_model(source, folder, QUICK)
    return folder


@pytest.fixture
def make(source: Source, model: Path, tmp_path: Path) -> Any:
    """The input of a row, as a side reads it."""

    def work(kind: str, **more: Any) -> dict[str, Any]:
        made = MAKERS[kind](source, tmp_path, model, QUICK, {"n_streams": 3})
        common = {
            "model": str(model), "folder": str(tmp_path), "peer": "torch", "threads": 1, "check": False,
            "tiny_lr": 1e-9, "lr": 3e-4, "started": time.time(),
        }  # fmt: skip
        return json.loads(json.dumps({**common, **made, **more}))

    return work


def test_ratio_is_the_median_over_pairs_of_runs() -> None:
    """Pairs: 2x, 4x, 3x. Seconds turn it round."""
    assert ratio_and_spread("tok/s", [20, 40, 60], [10, 10, 20]) == {"ratio": 3, "spread": [2, 4]}
    assert ratio_and_spread("s", [10, 10, 20], [20, 40, 60]) == {"ratio": 3, "spread": [2, 4]}


def test_same_work_is_accepted() -> None:
    check_same({"new tokens": 128, "loss": 3.50, "ids": [[1, 2]]}, {"new tokens": 128, "loss": 3.51, "ids": [[1, 2]]})


@pytest.mark.parametrize(
    "theirs",
    [
        {"new tokens": 127, "loss": 3.5, "ids": [[1, 2]]},
        {"new tokens": 128, "loss": 3.6, "ids": [[1, 2]]},
        {"new tokens": 128, "loss": float("nan"), "ids": [[1, 2]]},
        {"new tokens": 128, "loss": 3.5, "ids": [[1, 3]]},
        {"new tokens": 128, "loss": 3.5, "ids": [[1]]},
        {"new tokens": 128, "loss": 3.5},
    ],
)
def test_other_work_is_noticed(theirs: dict[str, Any]) -> None:
    with pytest.raises(WorkError, match=r"not the same work|different things"):
        check_same({"new tokens": 128, "loss": 3.5, "ids": [[1, 2]]}, theirs)


@pytest.mark.parametrize("work", sorted(WORKS))
def test_malmoi_does_every_row(make: Any, work: str) -> None:
    result = getattr(malmoi_side, work)(make(work), "float32")
    assert result["value"] > 0
    if work.startswith("rl_step"):
        assert result["same"]["new tokens"] == QUICK.n_asked * QUICK.n_answers * QUICK.n_rl_new
    if work == "decode":
        assert result["same"]["new tokens"] == 3 * QUICK.n_new


@pytest.mark.parametrize("work", ["decode", "sft", "reward", "rl_step", "rl_step_grpo"])
def test_same_seed_same_input(make: Any, work: str) -> None:
    assert make(work, started=0) == make(work, started=0)


def test_malmoi_reads_the_tokens_that_the_peer_is_given(make: Any, model: Path) -> None:
    work = make("sft")
    assert len(work["chats"]) == QUICK.n_rows
    read = read_conversations(Path(work["data"]), *load_text(model), 512)
    shown = [(chat.ids.tolist(), chat.trained.tolist()) for chat in read]
    assert shown == [(chat["ids"], chat["trained"]) for chat in work["chats"]]
    assert work["n_tokens"] == sum(len(chat.ids) for chat in read)


def test_spare_token_stands_nowhere_in_the_input(tokenizer: Tokenizer) -> None:
    special = sorted(tokenizer.special_id(token) for token in SPECIAL_TOKENS)
    assert spare_id(tokenizer, [[special[-1], 100], [200]]) == special[-2]
    with pytest.raises(UserError, match="no special token to spare"):
        spare_id(tokenizer, [special])


def test_transformers_answers_with_the_same_tokens(make: Any) -> None:
    pytest.importorskip("transformers")
    from benchmarks import peer_transformers

    work = make("decode", check=True)
    check_same(malmoi_side.decode(work, "float32")["same"], peer_transformers.decode(work, "float32")["same"])


def test_plain_pytorch_learns_the_same(make: Any) -> None:
    pytest.importorskip("transformers")
    from benchmarks import peer_torch

    ours = malmoi_side.pretrain(make("pretrain", seconds=0), "default")["same"]
    check_same(ours, peer_torch.pretrain(make("pretrain", seconds=0), "float32")["same"])


def test_row_without_its_model_is_kept_with_the_reason() -> None:
    options = Options(1, 1, None, None, None, quick=False, tell=lambda text: None)
    row = compare("sft", "trl", options)
    assert row["malmoi"] is row["peer_value"] is row["ratio"] is None
    assert "malmoi models pull smollm2-135m" in row["reason"] and not row["failed"]
    assert "no figure: needs a model" in line(row)


@pytest.mark.parametrize(("kind", "said"), [("f16", "F16"), ("q8_0", "Q8_0")])
def test_llama_cpp_is_named_by_what_its_file_holds(tmp_path: Path, model: Path, kind: str, said: str) -> None:
    if "MALMOI_BENCH_LLAMA_PYTHON" not in os.environ:
        pytest.importorskip("llama_cpp")
    gguf = tmp_path / "model.gguf"
    export_gguf(gguf, load_model(model), *load_text(model), kind)
    row = compare("decode_1", "llama.cpp", Options(1, 1, "int8", model, gguf, quick=True, tell=lambda text: None))
    assert row["peer_configuration"] == said, row
    assert f"({said}, " in line(row)


def test_command_measures_malmoi_where_the_peer_is_missing(tmp_path: Path) -> None:
    """In processes of their own, as everybody runs it: the figure of Malmoi, the reason, and no invented number."""
    out = tmp_path / "bench.json"
    row = [sys.executable, "-m", "benchmarks", "decode_1", "--peer", "llama.cpp", "--weights", "auto"]
    done = subprocess.run(
        [*row, "--quick", "--repeats", "1", "--out", str(out)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "quick, not a measurement" in done.stdout and "MALMOI_BENCH_GGUF" in done.stdout
    found = json.loads(out.read_text())
    [found_row] = found["rows"]
    assert found_row["malmoi"] > 0 and found_row["peak_memory_bytes"] > 2**25
    assert found_row["peer_value"] is found_row["ratio"] is found_row["spread"] is None
    assert found["versions"]["torch"] and found["machine"]["threads"] >= 1 and found["date"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sft", "--peer", "transformers"], "sft: has no peer transformers; it has trl"),
        (["sft", "--model", "/nowhere"], "/nowhere: is not a model folder"),
        (["decode_1", "--gguf", "/nowhere.gguf"], "/nowhere.gguf: no such file"),
        (["decode_1", "--quick", "--repeats", "0"], "--repeats 0: must be at least 1"),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_document_has_the_agreed_columns() -> None:
    options = Options(1, 1, None, None, None, quick=False, tell=lambda text: None)
    found = document([compare("reward", None, options)], {"date": "", "machine": {}})
    columns = "row peer unit malmoi peer_value ratio spread peak_memory_bytes peer_peak_memory_bytes"
    assert set(columns.split()) <= found["rows"][0].keys() and {"rows", "versions", "machine", "date"} == found.keys()


def test_every_peer_has_its_module() -> None:
    for row in ROWS.values():
        assert row.peers.keys() <= MODULES.keys()
    assert all((ROOT / "benchmarks" / f"{module}.py").exists() for module in MODULES.values())
