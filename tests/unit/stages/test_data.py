"""The stage `data`: what trains, what judges and what is held out never share a prompt, whatever they come from.

`StandInHub` is a stand-in for the Hugging Face hub: a server in this process that answers as the hub does for data.
"""

import gzip
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from malmoi.algorithms import reward
from malmoi.cli import app
from malmoi.cli.printing import printable
from malmoi.cost import Sizes
from malmoi.data.comparisons import ranking_ids
from malmoi.data.formats import tree_of
from malmoi.errors import ConfigError, DataError, UserError
from malmoi.files import read_json, read_jsonl, write_jsonl, write_text
from malmoi.formats.folder import load_text
from malmoi.model.config import ModelConfig
from malmoi.stage import MODEL, Context, Input, InputsByRole
from malmoi.stages import data
from malmoi.stages._scoring import scoring_cost
from malmoi.stages.data import data_identity, open_source
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes
from malmoi.workspace.hub import Dataset, Hub, UnreachableError

SIDES = ("train", "heldout", "rankings.train", "rankings.judge", "rankings.heldout", "prompts.train", "prompts.heldout")
COMMIT = "c0ffee" * 6


def test_a_probe_of_peoples_rankings_is_planned_with_time() -> None:
    of_people = data.Settings(rankings=["a.jsonl", "b.jsonl"], n_rankings=1000, judge_fraction=0.25)
    sizes = data.expects(of_people, Sizes(None, ModelConfig()))
    ((n_answers, _),) = scoring_cost(reward.Config(n_steps=1, method="probe", layers=(0.5,)), sizes).reads
    assert n_answers == 1500 * sizes.n_ranked * 0.5


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def context(tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A run whose base is the tiny policy; the current folder holds four files that share some of their prompts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").mkdir()
    policy_folder.rename(tmp_path / "base" / "model")
    said = [{"role": "assistant", "content": "a cat"}]
    write_jsonl(Path("chats.jsonl"), [{"messages": ask(f"Q{i}?") + said} for i in range(60)])
    write_jsonl(Path("pairs.jsonl"), [{"prompt": f"q{i}?", "chosen": "cat", "rejected": "dog"} for i in range(40, 140)])
    trees = [
        {"messages": ask(f"Q{i}?") + said + ask(f"N{i}?"), "ranked": ["a", "b"], "tree": f"t{i // 2}"}
        for i in range(60)
    ]
    write_jsonl(Path("ranked.jsonl"), trees)
    panda = [
        {"instruction": f"P{i}", "input": "", "response1": "cat", "response2": "dog"}
        | {f"annotator{who}": vote for who, vote in enumerate(votes, start=1)}
        for i, votes in enumerate([(1, 1, 2), (1, 1, 1), (0, 0, 1), (2, 2, 0)] * 5)
    ]
    write_jsonl(Path("panda.jsonl"), panda)
    workspace = Workspace.open(tmp_path / "workspace")
    reads = InputsByRole({"model": (Input("base", "base", {"": tmp_path / "base" / MODEL}),)})
    return Context("0001-data", tmp_path / "run", reads, {}, cast(Any, None), workspace)


SETTINGS = data.Settings(
    conversations=("chats.jsonl",), rankings=("pairs.jsonl", "ranked.jsonl", "panda.jsonl"), longest=60,
    heldout_fraction=0.2,
)  # fmt: skip


def made(context: Context) -> dict[str, list[dict[str, Any]]]:
    return {name: read_jsonl(context.out / f"{name}.jsonl") for name in SIDES}


def test_no_prompt_or_tree_stands_on_two_sides(context: Context) -> None:
    data.run(context, SETTINGS)
    rows = made(context)
    names = {
        name: {key for row in found for key in (row["tree"], tree_of(row["messages"]))} for name, found in rows.items()
    }
    trained = names["train"] | names["rankings.train"] | names["rankings.judge"] | names["prompts.train"]
    assert not trained & (names["heldout"] | names["rankings.heldout"] | names["prompts.heldout"])
    assert not names["rankings.train"] & names["rankings.judge"]
    assert all(rows.values())
    ranked = [row for name in SIDES if name.startswith("rankings") for row in rows[name]]
    assert len(ranked) == 180 and len(rows["train"]) + len(rows["heldout"]) == 60
    asked = [json.dumps(row["messages"]) for name in SIDES if name.startswith("prompts") for row in rows[name]]
    assert len(asked) == len(set(asked)) == len({json.dumps(row["messages"]) for row in ranked})
    facts = read_json(context.out / "data.json")
    assert facts["rows"] == {name: len(found) for name, found in rows.items()}
    votes = facts["agreement"]["panda"]
    assert votes["n_pairs"] == 60 and votes["with_ties"] == pytest.approx((1 + 3 + 1 + 1) / 12)
    assert votes["without_ties"] == pytest.approx((1 + 3 + 1) / (3 + 3 + 1))


def test_the_seed_decides_and_a_source_more_moves_nothing(context: Context) -> None:
    data.run(context, SETTINGS)
    first = made(context)
    data.run(context, SETTINGS)
    assert made(context) == first
    data.run(context, SETTINGS.model_copy(update={"rankings": ("pairs.jsonl", "ranked.jsonl")}))
    kept = [row for row in first["rankings.heldout"] if row["source"] != "panda"]
    assert made(context)["rankings.heldout"] == kept
    data.run(context, SETTINGS.model_copy(update={"seed": 2}))
    assert made(context)["heldout"] != first["heldout"]


def test_long_rows_are_left_out_and_counted_and_caps_are_drawn(context: Context) -> None:
    said = {"role": "assistant", "content": "very long " * 50}
    write_jsonl(
        Path("long.jsonl"), [{"messages": [*ask(f"L{i}?"), said]} for i in range(9)] + read_jsonl(Path("chats.jsonl"))
    )
    data.run(
        context, SETTINGS.model_copy(update={"conversations": ("long.jsonl",), "n_conversations": 30, "n_rankings": 50})
    )
    rows = made(context)
    assert len(rows["train"]) + len(rows["heldout"]) == 30
    found = read_json(context.out / "data.json")["sources"]
    counted = found["conversations"]["long.jsonl"]["left_out"]
    assert 0 < counted["too long"] <= 9 and counted["too long"] + counted["more than wanted"] == 69 - 30
    assert [found["rankings"][name]["n_rows"] for name in SETTINGS.rankings] == [50, 50, 20]


def test_prompts_languages_and_origins_can_be_said(context: Context) -> None:
    write_jsonl(Path("asked.jsonl"), [{"prompt": f"A{i}?", "lang": "ko" if i % 2 else "en"} for i in range(80)])
    data.run(
        context,
        SETTINGS.model_copy(update={"prompts": ("asked.jsonl",), "languages": ("ko",), "origins": {"chats": "human"}}),
    )
    rows = made(context)
    asked = rows["prompts.train"] + rows["prompts.heldout"]
    assert len(asked) == 40 and {row["lang"] for row in asked} == {"ko"}
    assert {row["origin"] for row in rows["train"]} == {"human"}
    assert {row["origin"] for row in rows["rankings.train"]} == {"unknown", "human", "generated"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"conversations": (), "rankings": ()}, "no sources"),
        ({"rankings": ("nowhere.jsonl",)}, "nowhere.jsonl: no such file"),
        ({"longest": 3}, r"no row is left .*; data\.longest is 3"),
        ({"longest_conversation": 3}, r"no row is left .*; data\.longest_conversation is 3"),
        ({"rankings": ("one.jsonl",)}, "nothing is left for rankings"),
        ({"rankings": ("bad.jsonl",), "errors": "strict"}, r"bad\.jsonl:1: chosen and rejected are the same"),
    ],
)
def test_what_cannot_be_used_says_so(context: Context, change: dict[str, Any], says: str) -> None:
    write_jsonl(Path("one.jsonl"), [{"prompt": "Q1?", "chosen": "a", "rejected": "b"}])
    write_jsonl(Path("bad.jsonl"), [{"prompt": "Q1?", "chosen": "a", "rejected": "a"}])
    with pytest.raises((DataError, ConfigError), match=says):
        data.run(context, SETTINGS.model_copy(update=change))
    assert not (context.out / "data.json").exists()


def test_an_origin_of_no_source_is_refused(context: Context) -> None:
    with pytest.raises(ConfigError, match=r"data\.origins: chat: no source has this name; they are .*chats"):
        data.run(context, SETTINGS.model_copy(update={"origins": {"chat": "human"}}))


def test_another_file_under_the_same_name_is_another_input(context: Context) -> None:
    first = data_identity(SETTINGS)
    assert set(first) == {"chats.jsonl", *SETTINGS.rankings}
    write_jsonl(Path("chats.jsonl"), [{"messages": ask("New?")}])
    assert data_identity(SETTINGS)["chats.jsonl"] != first["chats.jsonl"]
    assert data_identity(data.Settings(rankings=("Anthropic/hh-rlhf",))) == {}
    with pytest.raises(DataError, match=r"typo\.jsonl: no such file"):
        data_identity(data.Settings(rankings=("typo.jsonl",)))


def test_a_source_that_is_as_it_was_is_not_read_again(tmp_path: Path) -> None:
    source, workspace = tmp_path / "chats.jsonl", Workspace.open(tmp_path / "w")
    settings, memory = data.Settings(conversations=(str(source),)), workspace.runs / ".hashes.json"
    write_text(source, "one")
    os.utime(source, ns=(1_000_000_000, 1_000_000_000))
    first = data.external_hashes(settings, workspace, Hashes(memory))
    assert first == data_identity(settings)
    # Same place, size and time: read again it would give another hash.
    with source.open("r+") as file:
        file.write("ONE")
    os.utime(source, ns=(1_000_000_000, 1_000_000_000))
    assert data.external_hashes(settings, workspace, Hashes(memory)) == first != data_identity(settings)


# Data sets of the hub.


class StandInHub(ThreadingHTTPServer):
    """files: what it has; claimed: what it says their SHA-256 is; asked: the paths that it was asked for"""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.files, self.commit = files, COMMIT
        self.claimed = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        self.asked: list[str] = []

    def answer(self, path: str) -> bytes | None:
        self.asked.append(path)
        if path.startswith("/api/datasets/team/set/revision/main"):
            listed = [
                {"rfilename": name, "size": len(content), "lfs": {"sha256": self.claimed[name]}}
                for name, content in self.files.items()
            ]
            return json.dumps({"sha": self.commit, "siblings": listed}).encode()
        return self.files.get(path.removeprefix(f"/datasets/team/set/resolve/{COMMIT}/"))


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = cast(StandInHub, self.server).answer(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: Any) -> None:
        pass


LINES = [{"prompt": f"Q{i}?", "chosen": "cat", "rejected": "dog"} for i in range(30)]
PACKED = gzip.compress("\n".join(map(json.dumps, LINES)).encode())
FILES = {
    "help/train.jsonl.gz": PACKED,
    "help/test.jsonl.gz": PACKED[:-1],
    "README.md": b"words",
    "red/all.jsonl": b"{}",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., StandInHub]]:
    """Starts a stand-in and points HF_ENDPOINT there; no proxy stands between."""
    servers = []
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def start(files: dict[str, bytes] = FILES) -> StandInHub:
        server = StandInHub(files)
        servers.append(server)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_set_of_the_hub_is_fetched_once_and_used(context: Context, hub: Callable[..., StandInHub]) -> None:
    server = hub()
    settings = SETTINGS.model_copy(update={"rankings": ("team/set",)})
    data.run(context, settings)
    assert sum(len(made(context)[name]) for name in SIDES if name.startswith("rankings")) == 30
    assert {row["source"] for row in made(context)["rankings.train"]} == {"team/set"}
    assert read_json(context.out / "data.json")["sources"]["rankings"]["team/set"]["commit"] == COMMIT
    data.run(context, settings)
    fetched = [path for path in server.asked if "/resolve/" in path]
    assert fetched == [f"/datasets/team/set/resolve/{COMMIT}/help/train.jsonl.gz"]


def test_files_can_be_named_and_what_is_not_there_too(tmp_path: Path, hub: Callable[..., StandInHub]) -> None:
    hub()
    source = open_source("team/set/help/*", tmp_path)
    assert [path.name for path in source.files] == ["test.jsonl.gz", "train.jsonl.gz"]
    with pytest.raises(UserError, match=r"has no \*\.parquet but help/test\.jsonl\.gz"):
        open_source("team/set/*.parquet", tmp_path)
    with pytest.raises(UserError, match=r"team/other: is no file here, and as a name on the hub: .*404"):
        open_source("team/other", tmp_path)


def test_where_no_hub_answers_files_are_named_as_the_way_on(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnreachableError, match=r"""team/set: .*files do as well: --set 'data\.rankings=\["FILE"\]'"""):
        data.run(context, SETTINGS.model_copy(update={"rankings": ("team/set",)}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda server: server.claimed.update({"help/train.jsonl.gz": "0" * 64}), "its SHA-256 is"),
        (lambda server: setattr(server, "commit", "../../up"), "names no commit"),
        (lambda server: server.files.pop("help/train.jsonl.gz"), "has no train"),
    ],
)
def test_what_is_forged_or_missing_leaves_nothing(
    tmp_path: Path, hub: Callable[..., StandInHub], change: Callable[[StandInHub], Any], says: str
) -> None:
    server = hub(dict(FILES))
    change(server)
    with pytest.raises(UserError, match=says):
        open_source("team/set", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_names_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path, hub: Callable[..., StandInHub]) -> None:
    hub({"../train.jsonl": b"{}", "/train.jsonl": b"{}", "a/../../train.jsonl": b"{}", "a\\train.jsonl": b"{}"})
    with pytest.raises(UserError, match="but nothing that ends in"):
        open_source("team/set", tmp_path / "in")
    assert not list(tmp_path.rglob("*.jsonl"))


def test_an_unreachable_hub_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnreachableError, match="data/typo: is no file here, and as a name on the hub"):
        open_source("data/typo", tmp_path, Hub())


def test_names_of_the_hub() -> None:
    assert Dataset.parse("Anthropic/hh-rlhf") == Dataset("Anthropic/hh-rlhf", ("h*/train.jsonl.gz",))
    assert Dataset.parse("team/set/a/b*.parquet@v2") == Dataset("team/set", ("a/b*.parquet",), "v2")
    assert Dataset.parse("data.jsonl") is Dataset.parse("../a/b.jsonl") is Dataset.parse("a/b.jsonl") is None


# malmoi data show


def test_a_file_is_shown_with_counts_and_what_is_trained_on(context: Context) -> None:
    def shown(*words: str) -> str:
        done = CliRunner().invoke(app, ["data", "show", *words, "--workspace", str(context.workspace.path)])
        assert done.exit_code == 0, done.output
        return done.stdout

    model = str(context.reads("model").path)
    told = shown("chats.jsonl", "-n", "2", "--model", model)
    assert told.splitlines()[0].split() == ["conversations", "60"] and told.count("⟦a cat<|end|>⟧") == 2
    assert "<|user|>Q0?" in told and "chats.jsonl:2  chats" in told
    told = shown("panda.jsonl", "-n", "1", "--model", model)
    assert "⟦cat<|end|>⟧" in told and told.index("rank 1") < told.index("⟦dog<|end|>⟧") and "generated: 20" in told
    told = shown("panda.jsonl", "-n", "1", "--as", "prompts", "--model", model)
    assert "prompts" in told and "⟦" not in told
    write_jsonl(Path("bad.jsonl"), [*LINES[:1], {"prompt": "\x1b[31mQ?", "chosen": "a", "rejected": "a"}, LINES[1]])
    found = json.loads(shown("bad.jsonl", "--json"))
    assert found["rankings"] == len(found["rows"]) == 2 and found["left out"] == {"chosen and rejected are the same": 1}
    assert found["such as"][0].startswith("bad.jsonl:2: ") and "\x1b" not in shown("bad.jsonl", "--as", "prompts")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["broken.jsonl"], "broken.jsonl:1: not valid JSON"),
        (["chats.jsonl", "--as", "poems"], "--as poems: not known"),
        (["chats.jsonl", "--as", "rankings"], "holds no ranking; chats.jsonl:1: expected"),
    ],
)
def test_what_cannot_be_shown_ends_in_one_line(context: Context, words: list[str], says: str) -> None:
    Path("broken.jsonl").write_text('{"prompt": ')
    done = CliRunner().invoke(app, ["data", "show", *words])
    assert done.exit_code == 2 and says in done.stderr and done.stderr.count("\n") == 1


def test_rows_are_shown_as_training_reads_them(context: Context) -> None:
    folder = context.reads("model").path
    tokenizer, before = load_text(folder)
    # It writes a line break behind every turn, a prompt that answers do not begin with, and only the last answer whole.
    template = ChatTemplate(
        "{% for m in messages %}<|{{ m.role }}|>"
        "{{ m.content if loop.last or m.role == 'user' else m.content.split('!')[-1] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>…{% endif %}"
    )
    assert template != before
    template.save(folder)
    answers, asked = ["the cat", "the  dog"], [{"role": "user", "content": "What?"}]
    write_jsonl(Path("three.jsonl"), [{"messages": asked, "answers": answers, "ranks": [2, 1]}])
    said = [{"role": "assistant", "content": "Let me see!A cat."}, *asked, {"role": "assistant", "content": "A dog."}]
    write_jsonl(Path("talk.jsonl"), [{"messages": asked + said}, {"messages": [*asked, *said[:2]]}])

    def shown(*words: str) -> str:
        done = CliRunner().invoke(app, ["data", "show", *words, "--model", str(folder)])
        assert done.exit_code == 0, done.output
        return done.stdout.replace("⏎", "\n")

    told = shown("three.jsonl")
    for answer in answers:
        ids = ranking_ids(tokenizer, template, asked, [answer])[0]
        text = tokenizer.backend.decode(ids, skip_special_tokens=False)
        assert printable(text.removesuffix(f"{answer}<|end|>")) + f"⟦{answer}<|end|>⟧\n" in told
    assert told.index("the  dog") < told.index("the cat")
    told = shown("talk.jsonl")
    assert told.count("⟦Let me see!A cat.<|end|>⟧") == 2 and told.count("⟦A dog.<|end|>⟧") == 1
    assert "<|assistant|>A cat.<|end|>" in told and "…" not in told
    assert "⟦" not in shown("talk.jsonl", "--as", "prompts")
