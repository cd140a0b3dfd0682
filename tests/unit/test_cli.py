import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from malmoi import __version__, device
from malmoi.cli import app
from malmoi.cli.reporting import DEBUG, reported
from malmoi.errors import DivergedError
from malmoi.feedback.judgements import (
    NewJudgement,
    SnapshotFilter,
    freeze,
    record_generations,
    record_judgements,
    record_person,
)
from malmoi.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from malmoi.formats.folder import load_model, score_std
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.standalone import find_algorithm
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.units import size
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger, digest_of

pytestmark = pytest.mark.usefixtures("float32")
STORIES = "The {0} cat sat on the {0} mat. A dog saw {0} birds in the old tree and ran home to its friends.\n\n"


def malmoi(*words: object, code: int = 0) -> str:
    """Run the command line in this process; what it wrote, when it ended with this code."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output + repr(done.exception)
    return done.output


def fails(*words: object) -> str:
    """The one line that a user's mistake ends in."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert (done.exit_code, done.stdout) == (2, ""), done.output + repr(done.exception)
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def files(
    tmp_path: Path, policy_folder: Path, reward_folder: Path, shards: Path, shape: ModelConfig, tokenizer: Tokenizer,
    template: ChatTemplate, monkeypatch: pytest.MonkeyPatch,
) -> Path:  # fmt: skip
    """The current folder: a config for every algorithm, with the models and data that they name."""
    monkeypatch.chdir(tmp_path)
    tokenizer.save(shards)
    template.save(shards)
    asked = [{"role": "user", "content": "What?"}]
    write_jsonl(
        Path("chats.jsonl"), [{"messages": [*asked, {"role": "assistant", "content": w}]} for w in ("cat", "mat")]
    )
    write_jsonl(Path("rankings.jsonl"), [{"messages": asked, "answers": ["cat", "mat"], "ranks": [1, 2]}])
    write_jsonl(Path("prompts.jsonl"), [{"messages": asked}])
    votes = (("cat", True), ("mat", False))
    write_jsonl(
        Path("votes.jsonl"),
        [{"messages": [*asked, {"role": "assistant", "content": word}], "label": label} for word, label in votes],
    )
    model = "".join(f"{k} = {v}\n" for k, v in shape.model_dump().items() if k.startswith("n_") or k == "seq_len")
    configs = {
        "pretrain": f'shards = "shards"\nn_steps = 3\nbatch_size = 2\n[model]\nhead_dim = 8\n{model}',
        "sft": 'model = "policy"\ndata = "chats.jsonl"\nn_steps = 3\nbatch_size = 2\n',
        "reward": 'model = "policy"\ndata = "rankings.jsonl"\nn_steps = 3\nbatch_size = 2\n',
        "dpo": 'policy = "policy"\ndata = "rankings.jsonl"\nn_steps = 3\nbatch_size = 2\n',
        "kto": 'policy = "policy"\ndata = "votes.jsonl"\nn_steps = 3\nbatch_size = 2\n',
        "grpo": 'policy = "policy"\nreward_model = "reward"\ndata = "prompts.jsonl"\nn_iterations = 3\nbatch_size = 4\n'
        "group_size = 2\nmax_tokens = 4\n",
        "ppo": 'policy = "policy"\nreward_model = "reward"\ndata = "prompts.jsonl"\nn_iterations = 2\nbatch_size = 4\n'
        "max_tokens = 4\n",
    }
    for name, text in configs.items():
        write_text(Path(f"{name}.toml"), text)
    return tmp_path


def test_version() -> None:
    assert malmoi("--version") == f"malmoi {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rn"], "Did you mean 'run'"),
        (["run"], "Missing argument"),
        (["run", "nano", "--sett", "a=1"], "No such option"),
        (
            ["run", "nan"],
            'nan: no such recipe; did you mean "nano"? give a .toml file, or one that comes with Malmoi: answers, nano',
        ),
        (["run", "broken.toml"], "broken.toml: not valid TOML"),
        (["run", "nano", "--set", "ppo.bta=1"], '--set: ppo.bta: unknown setting; did you mean "beta"?'),
        (["run", "nano", "--set", "sft.data=mine.jsonl"], "--set: sft.data: a recipe takes what a stage reads from"),
        (["run", "nano", "--set", "ppo.recipe=ziegler"], "--set: ppo.recipe: is called preset now; write that in its"),
        (["run", "nano", "--set", "ppo.ptx_shards=here"], "--set: ppo.ptx_shards: a recipe takes what a stage reads"),
        (["run", "smollm", "--set", "judge.model=sft"], "--set: judge.model: a recipe takes what a stage reads"),
        (["run", "nano", "--set", "dpo.beta=0.1"], "has no stage dpo"),
        (["run", "nano", "--set", "stages=[]"], "--set: stages: expected a list of at least one stage"),
        (["run", "smollm", "--set", "ppo.ptx_coef=1"], "ppo.ptx_coef: mixes in pretraining text, which no stage"),
        (["run", "nano", "--set", "ppo.batch_size=7"], "nano.toml with --set ppo.batch_size: ppo: "),
        (["run", "nano", "--set", "ppo.beta"], "expected KEY=VALUE"),
        (["run", "nano", "--set", "ppo.beta=-1"], "ppo.beta: Input should be greater than or equal to 0"),
        (["run", "nano", "--only", "pppo"], "stage 'pppo': not in this recipe"),
        (["run", "nano", "--only", "ppo"], "stage corpus has not been run"),
        (["run", "nano", "--only", "ppo", "--from", "sft"], "give one of them"),
        (["run", "nano", "--set", "pretrain.model.n_embd=1000000"], "nano: pretrain: needs about"),
        (["demo", "--text", "nowhere"], "no such file or folder"),
        (["demo", "--errors", "ignore"], "corpus.errors"),
        (["demo", "--workspace", "broken.toml"], "is a file; a workspace is a folder"),
        (["ask", "hi", "--workspace", "broken.toml"], "broken.toml is a file; a workspace is a folder"),
        (["runs", "list", "--workspace", "broken.toml"], "broken.toml is a file; a workspace is a folder"),
        (["chat", "policy", "--prompt", " "], "--prompt: is empty"),
        (["chat"], "no model here yet"),
        (["chat", "reward", "--prompt", "hi"], "is a reward model"),
        (["chat", "truncated", "--prompt", "hi"], "truncated or not safetensors"),
        (["chat", "policy", "--prompt", "hi", "--temperature", "-1"], "chat: temperature: "),
        (["chat", "policy", "--prompt", "x" * 400], "reads at most"),
        (["runs", "list", "--workspace", "nowhere"], "no workspace here"),
        (["runs", "list", "--workspace", "newer"], "is newer than this Malmoi"),
        (["runs", "compare", "1", "--workspace", "newer"], "two or more"),
        (["lineage", "x", "--workspace", "nowhere"], "no workspace here"),
        (["train", "sff", "sft.toml"], 'sff: unknown algorithm; did you mean "sft"?'),
        (["train", "sft", "nowhere.toml"], "nowhere.toml: no such file"),
        (["train", "sft", "sft.toml", "--set", "n_step=1"], 'did you mean "n_steps"?'),
        (["train", "ppo", "ppo.toml", "--set", "recipe=ziegler"], "--set: recipe: is called preset now; write that"),
        (["train", "sft", "sft.toml", "--set", "dat=chats.jsonl"], 'dat: unknown setting; did you mean "data"?'),
        (["train", "sft", "sft.toml", "--set", "model=none"], "sft.toml: model: none: no such file or folder"),
        (["train", "sft", "bare.toml"], "bare.toml: model: missing"),
        (["train", "sft", "sft.toml", "--out", "policy"], "holds a training with another"),
        (["train", "sft", "sft.toml", "--out", "shards"], "is not empty"),
        (["train", "sft", "sft.toml", "--out", "sft.toml"], "is a file"),
        (["train", "ppo", "ppo.toml", "--set", "policy=truncated"], "truncated or not safetensors"),
        (["train", "ppo", "ppo.toml", "--set", "policy=reward"], "reward: is a reward model; it scores answers"),
        (["train", "ppo", "ppo.toml", "--set", "reward_model=policy"], "policy: is a language model; it writes"),
        (["train", "sft", "sft.toml", "--set", "data=policy"], "policy: "),
    ],
)
def test_a_mistake_ends_in_one_line_and_code_2(files: Path, words: list[str], message: str) -> None:
    write_text(Path("broken.toml"), "[[")
    write_text(Path("bare.toml"), 'data = "chats.jsonl"\nn_steps = 1\n')
    write_text(Path("newer/malmoi.toml"), 'format = 99\nversion = "9"\n')
    (files / "truncated").mkdir()
    for file in (files / "policy").iterdir():
        (files / "truncated" / file.name).write_bytes(file.read_bytes()[: 900 if "safetensors" in file.name else None])
    assert message in fails(*words)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DivergedError("step 3: the gradient\nis not finite"), 2, "error: step 3: the gradient is not finite\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: the disk is full; free some space and run the"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 2, "error: the disk is full; free some"),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), 2, "error: the disk is full"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "error: out of memory; `malmoi doctor RECIPE`"),
        (PermissionError(errno.EACCES, "Permission denied", "a.txt"), 2, "error: a.txt: Permission denied\n"),
        (KeyboardInterrupt(), 130, "stopped; run the same command again to go on\n"),
        (
            ZeroDivisionError("by zero"),
            1,
            "error: ZeroDivisionError: by zero; this is a bug in malmoi, please report it",
        ),
    ],
)
def test_every_end_has_its_code(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as left, reported():
        raise error
    assert left.value.exit_code == code
    err = capsys.readouterr().err
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_our_own_mistakes_show_where_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DEBUG, "1")
    with pytest.raises(typer.Exit), reported():
        raise ZeroDivisionError
    assert "Traceback" in capsys.readouterr().err


def test_one_rank_speaks_for_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(typer.Exit), reported():
        raise DivergedError("step 3")
    assert capsys.readouterr().err == ""


def test_an_algorithm_is_a_module() -> None:
    assert find_algorithm("ppo").__name__ == "malmoi.algorithms.ppo"


@pytest.mark.parametrize("algorithm", ["pretrain", "sft", "reward", "ppo", "dpo", "kto", "grpo"])
def test_train_makes_a_model_folder_and_not_twice(files: Path, algorithm: str) -> None:
    assert "malmoi chat" in malmoi("train", algorithm, f"{algorithm}.toml", "--out", "made") or algorithm == "reward"
    load_model(Path("made/model"), ScalarModel if algorithm == "reward" else LanguageModel)
    rows = read_jsonl(Path("made/metrics.jsonl"))
    assert [row["step"] for row in rows] == list(range(1, 9 if algorithm == "ppo" else 4))
    assert not Path("made/checkpoint.safetensors").exists()
    about = json.loads(Path("made/model/malmoi.json").read_bytes())
    assert (about["algorithm"], bool(about["parents"])) == (algorithm, True)
    assert algorithm != "reward" or about["score_std"] == score_std(Path("made/model")) != 1
    assert "not trained again" in malmoi("train", algorithm, f"{algorithm}.toml", "--out", "made")
    other = fails("train", algorithm, f"{algorithm}.toml", "--out", "made", "--set", "loop.optim.lr=0.5")
    assert "another settings.loop.optim.lr" in other
    assert read_jsonl(Path("made/metrics.jsonl")) == rows


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("sft", "cdd0ff60a8964bb6f021a6457c4ae76cdc7c5a5cfb7e0ac99cf04fc7c48bc789"),
        ("ppo", "99c56a5c1ea3bac810a1c26c8ed84e76208c789cf5db9f9f5711c10da9787a34"),
    ],
)
def test_a_training_begun_by_an_earlier_version_is_the_same_training(
    files: Path, algorithm: str, settings: str
) -> None:
    """The settings of `config.json`, as that version wrote them, decide whether a folder's training goes on."""
    malmoi("train", algorithm, f"{algorithm}.toml")
    config = read_json(path := Path(algorithm) / "config.json")
    config["settings"] = {"recipe" if name == "preset" else name: v for name, v in config["settings"].items()}
    assert digest_of(config["settings"]) == settings
    write_json(path, config)
    assert "not trained again" in malmoi("train", algorithm, f"{algorithm}.toml")


def test_adapters_are_merged_into_what_is_saved(files: Path) -> None:
    for algorithm in ("sft", "reward", "ppo"):
        malmoi("train", algorithm, f"{algorithm}.toml", "--out", f"low-{algorithm}", "--set", "lora.rank=2")
        kind = ScalarModel if algorithm == "reward" else LanguageModel
        trained, start = (load_model(Path(name), kind) for name in (f"low-{algorithm}/model", "policy"))
        one, other = (model.model.layers[0].mlp.up_proj.weight for model in (trained, start))
        assert not torch.equal(one, other)


def test_other_contents_of_an_input_are_another_training(files: Path) -> None:
    malmoi("train", "sft", "sft.toml")
    with Path("chats.jsonl").open("a") as file:
        file.write("\n")
    assert "another inputs.data" in fails("train", "sft", "sft.toml")


def test_a_stopped_training_goes_on_to_the_same_weights(files: Path) -> None:
    words = ["train", "sft", "sft.toml", "--set", "n_steps=300", "--out"]
    child = subprocess.Popen([sys.executable, "-m", "malmoi", *words, "stopped"], stderr=subprocess.PIPE, text=True)
    metrics, until = Path("stopped/metrics.jsonl"), time.monotonic() + 600
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < 3:
        assert time.monotonic() < until and child.poll() is None
        time.sleep(0.01)
    assert "stopped: is in use by process" in fails(*words, "stopped")
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=600)
    assert (child.returncode, err) == (130, "stopped; run the same command again to go on\n")
    assert not Path("stopped/model").exists()
    assert "(resumed)" in malmoi(*words, "stopped")
    malmoi(*words, "straight")
    assert [row["step"] for row in read_jsonl(metrics)] == list(range(1, 301))
    once, again = (Path(name, "model/model.safetensors").read_bytes() for name in ("straight", "stopped"))
    assert once == again


@pytest.mark.slow
def test_two_ranks_train_what_one_does(files: Path) -> None:
    words = ["train", "sft", "sft.toml", "--set", "micro_batch_size=1", "--out"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "malmoi"]
    done = subprocess.run([*torchrun, *words, "two"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("made two/model") == 1
    malmoi(*words, "one")
    one, two = (load_model(Path(name, "model")).state_dict() for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6)
    assert len(read_jsonl(Path("two/metrics.jsonl"))) == 3


def test_settings_and_options_that_would_do_nothing_are_refused(files: Path) -> None:
    dead = ("lora.alpha=9", "loop.optim.momentum=0.5")
    for given in dead:
        said = fails("train", "sft", "sft.toml", "--set", given, "--out", "never")
        assert said.startswith(f"error: --set: {given.partition('=')[0]}: does nothing here: ")
    assert not Path("never").exists()
    write_text(Path("dead.toml"), Path("sft.toml").read_text() + "[lora]\nseed = 3\n")
    assert fails("train", "sft", "dead.toml").startswith("error: dead.toml: lora.seed: does nothing here")
    assert "leave --tasks" in fails("eval", "reward", "--preferences", "rankings.jsonl", "--tasks", "piqa")
    assert "--errors" in fails("eval", "policy", "--errors", "skip")
    assert "--n 2" in fails("generate", "policy", "--prompts", "prompts.jsonl", "--out", "a", "--best-by", "reward")
    assert "leave one out" in fails("data", "show", "rankings.jsonl", "--json", "--model", "policy")
    assert "corpus.errors: does nothing" in fails("demo", "--size", "small", "--errors", "skip")
    assert "give one" in fails("demo", "--text", "text", "--set", "corpus.text=other")


def test_run_makes_a_workspace_and_says_what_comes_next(tmp_path: Path) -> None:
    text = tmp_path / "text"
    for number in range(40):
        write_text(text / f"{number}.txt", STORIES.format(f"number {number}") * 3)
    given = (f"corpus.text={text}", 'stages=["corpus", "tokenizer", "pretrain"]', "tokenizer.vocab_size=300",
             "pretrain.n_steps=2", "pretrain.model.seq_len=64", "pretrain.model.n_layer=1",
             "pretrain.copying=false")  # fmt: skip
    words = ["run", "nano", "--workspace", tmp_path / "w", *(word for value in given for word in ("--set", value))]
    out = malmoi(*words)
    assert f"malmoi chat base --workspace {tmp_path / 'w'}" in out
    assert f"report  {tmp_path / 'w/report.html'}" in out
    assert (tmp_path / "w/models/base/model.safetensors").exists()
    assert malmoi(*words).count("unchanged, not run again") == 3
    again = malmoi(*words, "--from", "tokenizer")
    assert again.count("unchanged, not run again") == 1
    listed = json.loads(malmoi("runs", "list", "--json", "--workspace", tmp_path / "w"))
    assert [run["stage"] for run in listed] == ["corpus", "tokenizer", "pretrain", "tokenizer", "pretrain"]
    assert "0001-corpus" in malmoi("lineage", "models/base", "--workspace", tmp_path / "w")
    assert malmoi("chat", "--workspace", tmp_path / "w", "--prompt", "hi", "--max-tokens", 3).endswith("\n")


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """A workspace with two trainings on one text, and one ranking each by a person and a simulated labeler."""
    workspace = Workspace.open(tmp_path)
    with Ledger.open(workspace) as ledger:

        def start(stage: str, inputs: dict[str, str], **settings: Any) -> tuple[str, str]:
            name = f"{stage}{settings.get('lr', '')}"
            run = ledger.start_run(stage=stage, recipe="r", fingerprint=name, settings=settings, seed=7, inputs=inputs)
            write_text(workspace.runs / run / "out" / "file", name)
            sha256 = ledger.add_artefact(run, "out", stage, workspace.runs / run / "out")
            ledger.finish_run(run, 1.0)
            return run, sha256

        _, text = start("corpus", {})
        sft, model = start("sft", {"corpus": text}, lr=0.1, decay="linear")
        other, _ = start("sft", {"corpus": text}, lr=0.2, decay="linear")
        write_jsonl(workspace.runs / sft / "metrics.jsonl", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}])
        write_jsonl(workspace.runs / other / "metrics.jsonl", [{"step": 1, "loss": 3.0}])
        answers = [{"text": "[bold]a", "ids": [1], "finished": True}, {"text": "b", "ids": [2], "finished": True}]
        asked = {
            "prompt_id": "p",
            "prompt": [{"role": "user", "content": "q?"}],
            "split": "train",
            "kind": "k",
            "item": "i",
        }
        ids = record_generations(
            ledger, [{**asked, "reference": "a", "answers": answers}], run_id=sft, model_sha256=model,
            temperature=1.0, top_p=1.0, seed=1, max_tokens=8,
        )  # fmt: skip

        def said(person: str) -> NewJudgement:
            return NewJudgement(person_id=person, prompt_id="p", generation_ids=ids[0], ranks=[1, 2])

        record_person(ledger, "ann", "Ann", "human", "")
        record_person(ledger, "sim-1", "a rule", "simulated", "the rule")
        record_judgements(ledger, [said("ann"), said("sim-1")])
        rank = ledger.start_run(stage="rank", recipe="r", fingerprint="k", settings={}, seed=7, inputs={"sft": model})
        freeze(ledger, SnapshotFilter(), workspace.runs / rank / "out" / "train.jsonl", run_id=rank)
        snapshot = ledger.artefacts_of(rank)["train.jsonl"].sha256
        start("reward", {"rank": snapshot, "sft": model})
    return tmp_path


def test_runs_list_and_show(judged: Path) -> None:
    assert [run["id"] for run in json.loads(malmoi("runs", "list", "--json", "--workspace", judged))] == [
        "0001-corpus", "0002-sft", "0003-sft", "0004-rank", "0005-reward"
    ]  # fmt: skip
    assert "0004-rank" in malmoi("runs", "list", "--workspace", judged)
    shown = json.loads(malmoi("runs", "show", "2", "--json", "--workspace", judged))
    assert shown["settings"] == {"lr": 0.1, "decay": "linear"}
    assert shown["inputs"]["corpus"]["run"] == "0001-corpus"
    assert shown["metrics"] == {"step": 2, "loss": 1.5}
    assert "settings.lr" in malmoi("runs", "show", "0002-sft", "--workspace", judged)
    assert "no such run" in fails("runs", "show", "0009-ppo", "--workspace", judged)


def test_compare_shows_what_differs(judged: Path) -> None:
    rows = json.loads(malmoi("runs", "compare", "2", "3", "--json", "--workspace", judged))
    assert rows["settings.lr"] == {"0002-sft": 0.1, "0003-sft": 0.2}
    assert "settings.decay" not in rows
    assert rows["loss"] == {"0002-sft": 1.5, "0003-sft": 3.0}
    assert "0.2" in malmoi("runs", "compare", "2", "3", "--workspace", judged)


def test_lineage_names_runs_seeds_people_and_who_is_simulated(judged: Path) -> None:
    tree = malmoi("lineage", "0005-reward", "--workspace", judged)
    for words in (
        "0001-corpus out",
        "seed 7",
        "1 judgements by person Ann ann",
        "1 judgements by simulated labeler sim-1",
    ):
        assert words in tree
    assert "(above)" in tree
    rows = json.loads(malmoi("lineage", "5", "--json", "--workspace", judged))
    assert rows[0]["run"]["id"] == "0005-reward"
    (people,) = (row["people"] for row in rows if row["people"])
    assert {person["id"]: person["simulated"] for person in people} == {"ann": False, "sim-1": True}


@pytest.mark.parametrize(
    ("what", "made"),
    [
        ("1", ["0002-sft", "0003-sft", "0004-rank", "0005-reward"]),
        ("ann", ["0005-reward"]),
        ("runs/0002-sft/out", ["0004-rank", "0005-reward"]),
    ],
)
def test_lineage_goes_down_from_runs_people_and_paths(judged: Path, what: str, made: list[str]) -> None:
    rows = json.loads(malmoi("lineage", what, "--down", "--json", "--workspace", judged))
    assert [row["run"] for row in rows] == made
    assert "reward" in malmoi("lineage", what, "--down", "--workspace", judged)


def test_sizes_are_read_at_a_glance() -> None:
    assert [size(n) for n in (0, 999, 1500, 2_345_678, 7e9)] == ["0 B", "999 B", "1.5 kB", "2.35 MB", "7 GB"]


def test_doctor_speaks_to_people_and_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "machine" in malmoi("doctor")
    found = json.loads(malmoi("doctor", "--json"))
    assert found["machine"]["n_cores"] == device.n_cores()
    refused = CliRunner().invoke(app, ["doctor", "nano", "--json", "--set", "pretrain.model.n_embd=1000000"])
    assert refused.exit_code == 2
    assert refused.stderr == f"error: {json.loads(refused.stdout)['refused'][0]}\n"
    assert list(tmp_path.iterdir()) == []


def test_train_says_why_ppo_stopped_before_its_last_step(files: Path) -> None:
    words = ["--set", "kl_budget=1e-9", "--set", "n_iterations=3", "--set", "loop.optim.lr=0.1"]
    said = malmoi("train", "ppo", "ppo.toml", "--out", "short", *words)
    last = read_jsonl(Path("short/metrics.jsonl"))[-1]["step"]
    assert "alarm: step" in said and f"stopped after {last} of 12 steps" in said
    assert "kl_budget" in json.loads(Path("short/model/malmoi.json").read_bytes())["alarms"]
