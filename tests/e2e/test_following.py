"""Every command that is printed as the next one is run as it is printed, and does what it says."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from malmoi import device
from malmoi.algorithms import ppo
from malmoi.cli import app
from malmoi.cli.next_commands import after_import, after_quantising, after_recipe, after_training
from malmoi.config import Settings
from malmoi.files import read_json, write_jsonl, write_text
from malmoi.pipeline.recipe import Recipe

TINY = Path(__file__).with_name("tiny.toml").read_text(encoding="utf-8")
STORY = (
    "The {0} cat sat on the old mat. A dog saw {0} birds in the tree. 고양이 {0} 마리가 지붕에서 잤다. "
    "개는 집으로 돌아갔다.\n\n"
)
PLACE, TEXT, RECIPE = "내 자리 [1]", "내 글 (초안) [2]", "내 조리법 [3].toml"
NEXT = re.compile(r"(?:^next {4}|; next: |^ {8})(malmoi .*)$", re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder: a text and a recipe, with names that a shell and rich would read otherwise."""
    folder = tmp_path_factory.mktemp("following")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MALMOI_DTYPE": "float32", "MALMOI_DEVICE": "cpu", "MALMOI_THREADS": "1"}.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        for n in range(60):
            write_text(Path(TEXT, f"{n}.txt"), "".join(STORY.format(f"number {n * 9 + k}") for k in range(3)))
        write_text(Path(RECIPE), TINY.replace("packages = []", "").replace("n_unseen = 5", "").replace("600", "500"))
        device.current.cache_clear()
        yield folder
    device.current.cache_clear()


def typed(command: str, stdin: str = "") -> str:
    """What a command line writes, run in this process as a shell would; it ends well."""
    program, *words = shlex.split(command)
    assert program == "malmoi"
    done = CliRunner().invoke(app, words, input=stdin, catch_exceptions=False)
    assert done.exit_code == 0, f"{command}\n{done.output}"
    return done.output


def following(output: str) -> list[str]:
    return NEXT.findall(output)


def listed(workspace: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(
        typed(shlex.join(["malmoi", "runs", "list", "--json", "--workspace", workspace]))
    )
    return rows


def flat(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(value)}"


def follow_a_recipe(command: str, workspace: str) -> None:
    """Build, then type what is printed: the newest policy answers, and only what `--set` changes is made again."""
    chat, runs, again = following(typed(command))
    assert "talking with ppo" in typed(chat, "/model\n") and typed(chat) == ""
    before = listed(workspace)
    assert [row["id"] for row in before][-1] == "0012-natural"
    for row in before:
        assert row["id"] in typed(runs)
    text = read_json(Path(workspace, "runs/0001-corpus/config.json"))["settings"]["text"]
    assert Path(text) == Path(TEXT).resolve()
    twice = typed(again)
    assert twice.count("unchanged, not run again") == 9
    assert [row["id"] for row in listed(workspace)[len(before) :]] == ["0013-ppo", "0014-eval", "0015-natural"]
    old, new = (read_json(Path(workspace, f"runs/{run}-ppo/config.json"))["settings"] for run in ("0010", "0013"))
    assert new.pop("beta") != old.pop("beta") and new == old
    assert read_json(Path(workspace, "models/ppo/malmoi.json"))["run"] == "0013-ppo"
    assert following(twice)[2].count("ppo.beta") == 1


def test_demo() -> None:
    tables = {name: table for name, table in tomllib.loads(Path(RECIPE).read_text("utf-8")).items() if name != "name"}
    settings = [word for given in flat(tables) for word in ("--set", given)]
    words = ["--text", TEXT, "--errors", "skip", "--size", "small", "--seed", "3", "--workspace", PLACE]
    follow_a_recipe(shlex.join(["malmoi", "demo", *words, *settings]), PLACE)


def test_run_then_everything_that_takes_its_models(here: Path) -> None:
    place = f"{PLACE} run"
    sets = ["--set", f"corpus.text={json.dumps(str(here / TEXT), ensure_ascii=False)}", "--set", "ppo.beta=0.02"]
    follow_a_recipe(shlex.join(["malmoi", "run", RECIPE, "--workspace", place, *sets]), place)
    for train in (train_a_policy, train_a_reward_model, train_a_base):
        train(place)
    import_and_quantise(place)


def train_a_policy(place: str) -> None:
    rows = [{"messages": [{"role": "user", "content": "뭐?"}, {"role": "assistant", "content": "고양이"}]}] * 3
    write_jsonl(Path("대화 [4].jsonl"), rows)
    write_text(
        Path("sft.toml"), f'model = "{place}/models/base"\ndata = "대화 [4].jsonl"\nn_steps = 2\nbatch_size = 1\n'
    )
    for out, named in ("내 폴더 [5]/sft", "model"), ("-sft", "model"):
        (chat,) = following(typed(shlex.join(["malmoi", "train", "sft", "sft.toml", "--out", out])))
        assert f"{out}/model" in chat and f"talking with {named}" in typed(chat, "/model\n")


def train_a_reward_model(place: str) -> None:
    asked = [{"role": "user", "content": "뭐?"}]
    write_jsonl(Path("순위 [6].jsonl"), [{"messages": asked, "answers": ["고양이", "개"], "ranks": [1, 2]}] * 3)
    data = f'model = "{place}/models/sft"\ndata = "순위 [6].jsonl"\nn_steps = 2\nbatch_size = 1\n'
    write_text(Path("reward [7].toml"), data)
    (measure,) = following(typed(shlex.join(["malmoi", "train", "reward", "reward [7].toml"])))
    found = json.loads(typed(f"{measure} --json"))
    assert found["model"] == "reward [7]/model" and found["preferences"] == "순위 [6].jsonl"
    assert found["n_rankings"] == 3
    assert "accuracy" in typed(measure)


def train_a_base(place: str) -> None:
    shape = "n_layer = 1\nn_embd = 16\nn_head = 2\nn_kv_head = 1\nhead_dim = 8\nn_ff = 24\nseq_len = 64\n"
    data = f'shards = "{place}/runs/0002-tokenizer/out"\nn_steps = 1\nbatch_size = 1\n'
    write_text(Path("base.toml"), f"{data}[model]\n{shape}")
    (chat,) = following(typed("malmoi train pretrain base.toml"))
    assert "talking with model" in typed(chat, "/model\n")


def import_and_quantise(place: str) -> None:
    write_text(Path("held.txt"), "The dog sat on the log. 말모이는 낱말을 모으던 일이다. " * 9)
    export = ["malmoi", "models", "export", "sft", "--workspace", place, "--out", "hf"]
    typed(shlex.join(export))
    (chat,) = following(typed(shlex.join(["malmoi", "models", "import", "hf", "--name", "mine", "--workspace", place])))
    assert "talking with mine" in typed(chat, "/model\n")
    # By name, by folder, and none: each with its workspace.
    for model, named in ([], "mine"), (["sft"], "sft"), (["내 폴더 [5]/sft/model"], "model"):
        words = ["malmoi", "quantise", *model, "--weights", "float32", "--text", "held.txt", "--workspace", place]
        (chat,) = following(typed(shlex.join(words)))
        talking = typed(chat, "/model\n")
        assert f"talking with {'ppo' if not model else named}" in talking and "mine" in talking


def test_the_words_fit_what_was_made() -> None:
    def words(*stages: str, beta: float = 0.1, given: Sequence[str] = ()) -> list[str]:
        settings = {stage: ppo.Config(n_iterations=1, beta=beta) if stage == "ppo" else Settings() for stage in stages}
        again = ["malmoi", "run", "r.toml"]
        return after_recipe(Recipe("r", 1, stages, settings), stages, Path("w"), again, given)

    assert words("corpus") == ["malmoi runs list --workspace w"]
    assert words("base", "sft", "dpo")[0] == "malmoi chat dpo --workspace w"
    assert words("pretrain")[0] == "malmoi chat base --workspace w"
    (*_, tried) = words("ppo", beta=0.05, given=["seed=2", "ppo.beta=0.05"])
    assert tried == "malmoi run r.toml --workspace w --set seed=2 --set ppo.beta=0.02"
    assert after_training(Path("model"), None) == "malmoi chat ./model"
    assert after_training(Path("-out/model"), Path("-r.jsonl")) == "malmoi eval ./-out/model --preferences ./-r.jsonl"
    assert after_import("mine", Path("/내 자리")) == "malmoi chat mine --workspace '/내 자리'"


def test_a_workspace_is_named_unless_it_is_the_one_taken_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    assert after_quantising("sft", Path("workspace"), "int8") == "malmoi chat sft --weights int8"
    monkeypatch.setenv("MALMOI_WORKSPACE", "elsewhere")
    assert after_quantising("sft", Path("workspace"), "int8") == "malmoi chat sft --workspace workspace --weights int8"
