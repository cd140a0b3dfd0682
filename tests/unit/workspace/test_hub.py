"""Models from a hub, and from a package where no hub answers. The hub is a stand-in for that of Hugging Face."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.errors import ConfigError, UserError, WorkspaceError
from malmoi.files import read_json
from malmoi.pipeline.names import recipe_model_names
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hub import ENDPOINT, SETTINGS, Hub, UnreachableError
from malmoi.workspace.known import KNOWN, Known
from malmoi.workspace.models import model_folder, model_names
from malmoi.workspace.transfer import Arrival, pull, unwatched
from tests.stand_in_hub import COMMIT, StandInHub, serve
from tests.unit.workspace.arrivals import bring_in, fetch, nothing_is_left, of

pytestmark = pytest.mark.usefixtures("float32")


TOKEN = "hf_of_a_test"


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


def test_what_was_kept_of_a_download_is_continued_by_the_next(
    start: Callable[[StandInHub], str], hub: StandInHub, workspace: Workspace, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(KNOWN, "tiny", Known("team/smol"))
    address, keep, data = start(hub), tmp_path / "keep", hub.files["model.safetensors"]
    told: list[tuple[str, int, int | None]] = []

    def once() -> Arrival:
        return pull(
            workspace.path, "tiny", hub=of(address, attempts=1), reserved=recipe_model_names(), keep=keep,
            progress=lambda *now: told.append(now),
        )  # fmt: skip

    hub.cut = {"model.safetensors": [1000, 3000]}
    for n_bytes in (1000, 3000):
        with pytest.raises(UserError, match=f"cut off after {n_bytes:,} bytes"):
            once()
        assert (keep / "model.safetensors").read_bytes() == data[:n_bytes]
    assert once().is_new and ("model.safetensors", 3000, len(data)) in told
    asked = [range_ for path, _, range_ in hub.seen if path.endswith("model.safetensors")]
    assert asked == [None, "bytes=1000-", "bytes=3000-"]
    assert (model_folder(workspace, "tiny") / "model.safetensors").read_bytes() == data


def test_what_was_kept_and_is_something_else_comes_whole_the_time_after(
    start: Callable[[StandInHub], str], hub: StandInHub, dest: Path
) -> None:
    (dest / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(UserError, match="its SHA-256 is"):
        of(start(hub)).fetch("team/smol", dest, unwatched)
    of(start(hub)).fetch("team/smol", dest, unwatched)
    assert (dest / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


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


def test_a_short_name_is_pulled_from_the_hub_once(
    start: Callable[[StandInHub], str], hub: StandInHub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "tiny", Known("team/smol"))
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
