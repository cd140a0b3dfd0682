import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from malmoi.errors import WorkspaceError
from malmoi.files import sha256_of, write_text
from malmoi.workspace.database import open_database
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger, fingerprint
from malmoi.workspace.schema import now


def start(ledger: Ledger, stage: str, work: str = "work", **inputs: str) -> str:
    return ledger.start_run(
        stage=stage, recipe="nano", fingerprint=work, settings={"steps": 3, "말": "글"}, seed=7, inputs=inputs
    )


def make(ledger: Ledger, run_id: str, name: str, words: str) -> str:
    path = ledger.root / "runs" / run_id / name
    write_text(path, words)
    return ledger.add_artefact(run_id, name, "text", path)


def chain(ledger: Ledger) -> dict[str, str]:
    """corpus -> tokenizer -> pretrain, where pretrain takes in both."""
    made: dict[str, str] = {}
    corpus = start(ledger, "corpus")
    made["corpus"] = make(ledger, corpus, "corpus.txt", "gathered words")
    tokenizer = start(ledger, "tokenizer", corpus=made["corpus"])
    made["tokenizer"] = make(ledger, tokenizer, "tokenizer.txt", "pieces")
    pretrain = start(ledger, "pretrain", corpus=made["corpus"], tokenizer=made["tokenizer"])
    made["pretrain"] = make(ledger, pretrain, "model.txt", "weights")
    return made


def test_a_run_from_start_to_end(ledger: Ledger) -> None:
    before = now()
    run_id = start(ledger, "corpus")
    assert run_id == "0001-corpus"
    run = ledger.run(run_id)
    assert (run.status, run.seed, run.recipe, run.settings) == ("running", 7, "nano", {"steps": 3, "말": "글"})
    assert before <= run.started_at <= now()
    assert run.finished_at is None
    ledger.finish_run(run_id, 12.5)
    run = ledger.run(run_id)
    assert (run.status, run.seconds) == ("done", 12.5)
    assert run.finished_at is not None
    assert start(ledger, "ppo") == "0002-ppo"
    assert [run.id for run in ledger.runs()] == ["0001-corpus", "0002-ppo"]


def test_the_sittings_of_a_run_add_up(ledger: Ledger) -> None:
    run_id = start(ledger, "sft")
    ledger.mark_run(run_id, "failed", error="disk full", seconds=5)
    run = ledger.run(run_id)
    assert run.error == "disk full" and run.finished_at is not None
    ledger.finish_run(run_id, 7)
    run = ledger.run(run_id)
    assert (run.status, run.error, run.seconds) == ("done", None, 12)


def test_find_run_prefers_what_is_done_then_what_is_latest(ledger: Ledger) -> None:
    assert ledger.find_run("sft", "a") is None
    ids = [start(ledger, "sft", "a") for _ in range(3)]
    start(ledger, "ppo", "a")
    start(ledger, "sft", "b")

    def found() -> str:
        run = ledger.find_run("sft", "a")
        assert run is not None
        return run.id

    assert found() == ids[2]
    ledger.finish_run(ids[0], 1)
    assert found() == ids[0]
    ledger.finish_run(ids[1], 1)
    assert found() == ids[1]


def test_unknown_runs_statuses_inputs_and_paths_are_refused(ledger: Ledger) -> None:
    with pytest.raises(WorkspaceError, match="0009-sft: no such run"):
        ledger.finish_run("0009-sft", 1)
    run_id = start(ledger, "corpus")
    with pytest.raises(ValueError, match="status 'asleep'"):
        ledger.mark_run(run_id, "asleep")
    with pytest.raises(WorkspaceError, match="sft: input data: no artefact abcabc"):
        start(ledger, "sft", data="abcabc")
    assert [run.id for run in ledger.runs()] == [run_id]
    with pytest.raises(WorkspaceError, match="nothing: no such file"):
        ledger.add_artefact(run_id, "x", "text", ledger.root / "nothing")
    with pytest.raises(WorkspaceError, match="nothing: no such file"):
        ledger.import_artefact(ledger.root / "nothing", "x", "text", "elsewhere")


def test_an_artefact_is_named_by_its_contents_and_recorded_once(ledger: Ledger) -> None:
    run_id = start(ledger, "corpus")
    folder = ledger.root / "runs" / run_id / "model"
    write_text(folder / "a.txt", "12345")
    write_text(folder / "b" / "c.txt", "678")
    sha256 = ledger.add_artefact(run_id, "model", "model", folder)
    assert sha256 == sha256_of(folder) == ledger.add_artefact(run_id, "model", "model", folder)
    made = ledger.artefacts_of(run_id)
    assert list(made) == ["model"]
    assert (made["model"].path, made["model"].n_bytes, made["model"].kind) == (folder, 8, "model")


def test_two_runs_that_make_the_same_bytes_both_have_made_them(ledger: Ledger) -> None:
    runs = [start(ledger, "corpus"), start(ledger, "corpus")]
    for run_id in runs:
        make(ledger, run_id, "heldout.txt", "")
    for run_id in runs:
        made = ledger.artefacts_of(run_id)["heldout.txt"]
        assert made.path == ledger.root / "runs" / run_id / "heldout.txt"
    assert ledger.lineage(made.sha256).run.id == runs[0]


def test_the_latest_of_a_name_counts_and_the_earlier_is_remembered(ledger: Ledger) -> None:
    run_id = start(ledger, "corpus")
    first = make(ledger, run_id, "x.txt", "first")
    second = make(ledger, run_id, "x.txt", "second")
    assert ledger.artefacts_of(run_id)["x.txt"].sha256 == second
    assert ledger.lineage(first).run.id == run_id


def test_lineage_goes_all_the_way_down(ledger: Ledger) -> None:
    made = chain(ledger)
    tree = ledger.lineage(made["pretrain"])
    assert tree.run.id == "0003-pretrain"
    assert tree.run.settings["steps"] == 3
    assert tree.artefact is not None
    assert tree.artefact.sha256 == made["pretrain"]
    assert {role: node.run.stage for role, node in tree.inputs.items()} == {
        "corpus": "corpus",
        "tokenizer": "tokenizer",
    }
    assert tree.inputs["tokenizer"].inputs["corpus"] is tree.inputs["corpus"]
    assert [node.run.stage for node in tree.walk()] == ["pretrain", "corpus", "tokenizer"]


def test_lineage_is_found_by_run_path_and_prefix(ledger: Ledger) -> None:
    made = chain(ledger)
    by_run = ledger.lineage("0003-pretrain")
    assert by_run.artefact is None
    assert [node.run.stage for node in by_run.walk()] == ["pretrain", "corpus", "tokenizer"]
    path = ledger.artefacts_of("0003-pretrain")["model.txt"].path
    expected = ledger.lineage(made["pretrain"])
    for what in (path, str(path), "runs/0003-pretrain/model.txt", made["pretrain"][:8].upper()):
        found = ledger.lineage(what)
        assert (found.run.id, found.artefact) == (expected.run.id, expected.artefact)


def test_lineage_of_the_unknown_says_what_is_wrong(ledger: Ledger) -> None:
    made = chain(ledger)
    with pytest.raises(WorkspaceError, match="no such run, artefact or path"):
        ledger.lineage(made["corpus"][:3])
    with pytest.raises(WorkspaceError, match="no such run, artefact or path"):
        ledger.lineage("zzzz")
    with pytest.raises(WorkspaceError, match="of what"):
        ledger.lineage("")
    path = ledger.artefacts_of("0003-pretrain")["model.txt"].path
    write_text(path, "tampered")
    with pytest.raises(WorkspaceError, match="no run made these contents"):
        ledger.lineage(path)


def test_an_ambiguous_prefix_is_refused(ledger: Ledger) -> None:
    run_id = start(ledger, "corpus")
    one, other = (make(ledger, run_id, f"{number}.txt", f"words {number}") for number in (194, 356))
    assert one[:4] == other[:4]
    with pytest.raises(WorkspaceError, match="2 artefacts begin with these digits"):
        ledger.lineage(one[:4])
    assert ledger.lineage(one[:12]).run.id == run_id


def write_and_return(path: Path, words: str) -> Path:
    path.write_text(words)
    return path


def test_lineage_survives_many_rounds_of_the_ring(ledger: Ledger) -> None:
    sha256 = make(ledger, start(ledger, "corpus"), "x.txt", "round 0")
    other = sha256
    for number in range(1, 40):  # as a tree, 2^40 nodes
        run_id = start(ledger, "ppo", policy=sha256, ref=other)
        other, sha256 = sha256, make(ledger, run_id, "x.txt", f"round {number}")
    assert len(list(ledger.lineage(sha256).walk())) == 40


def test_a_run_that_hands_on_what_it_took_in_makes_no_circle(ledger: Ledger) -> None:
    sha256 = make(ledger, start(ledger, "corpus"), "x.txt", "words")
    cleaned = start(ledger, "clean", raw=sha256)
    assert make(ledger, cleaned, "y.txt", "words") == sha256
    assert [node.run.stage for node in ledger.lineage(sha256).walk()] == ["corpus"]
    assert ledger.lineage(cleaned).inputs["raw"].run.stage == "corpus"
    assert ledger.descendants(sha256) == []


def test_descendants_lead_back_up(ledger: Ledger) -> None:
    made = chain(ledger)
    assert [one.run_id for one in ledger.descendants(made["corpus"])] == ["0002-tokenizer", "0003-pretrain"]
    assert [one.run_id for one in ledger.descendants(made["tokenizer"])] == ["0003-pretrain"]
    assert ledger.descendants(made["pretrain"]) == []


def test_who_took_in_a_folder_took_in_what_lies_in_it(ledger: Ledger) -> None:
    run_id = start(ledger, "sft")
    out = ledger.root / "runs" / run_id / "out"
    write_text(out / "model" / "weights", "weights")
    write_text(out / "log.txt", "log")
    model = ledger.add_artefact(run_id, "model", "model", out / "model")
    folder = ledger.add_artefact(run_id, "out", "sft", out)
    ppo = make(ledger, start(ledger, "ppo", sft=folder), "x.txt", "ppo")
    chat = make(ledger, start(ledger, "chat", model=model), "y.txt", "chat")
    for sha256 in (model, folder):
        assert [one.sha256 for one in ledger.descendants(sha256)] == [ppo, chat]


def test_what_was_made_elsewhere_is_imported_once(ledger: Ledger, tmp_path: Path) -> None:
    outside = write_and_return(tmp_path / "outside.txt", "brought along")
    sha256 = ledger.import_artefact(outside, "model", "model", "a friend")
    assert ledger.import_artefact(outside, "model", "model", "a friend") == sha256
    assert [run.stage for run in ledger.runs()] == ["import"]
    tree = ledger.lineage(make(ledger, start(ledger, "sft", model=sha256), "x.txt", "tuned"))
    assert tree.inputs["model"].run.settings["source"] == "a friend"
    assert tree.inputs["model"].run.status == "done"
    assert tree.inputs["model"].artefact is not None
    assert tree.inputs["model"].artefact.path == outside


def test_imports_of_the_same_at_once_are_one_run(ledger: Ledger, database_url: str, tmp_path: Path) -> None:
    outside = write_and_return(tmp_path / "outside.txt", "brought along")

    def bring(_: int) -> str:
        with Ledger.open(Workspace(ledger.root), database_url) as own:
            return own.import_artefact(outside, "model", "model", "a friend")

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(bring, range(8)))) == 1
    assert [(run.stage, run.status, run.seconds) for run in ledger.runs()] == [("import", "done", 0.0)]
    assert list(ledger.artefacts_of("0001-import")) == ["model"]


def test_a_workspace_can_be_moved(tmp_path: Path) -> None:
    with Ledger.open(Workspace.open(tmp_path / "here")) as ledger:
        sha256 = make(ledger, start(ledger, "corpus"), "x.txt", "words")
    (tmp_path / "here").rename(tmp_path / "there")
    with Ledger.open(Workspace.open(tmp_path / "there")) as ledger:
        made = ledger.lineage(sha256).artefact
        assert made is not None
        assert made.path.read_text() == "words"


def test_the_url_of_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("MALMOI_DATABASE_URL", database_url)
    with Ledger.open(Workspace.open(tmp_path / "w")) as ledger:
        start(ledger, "corpus")
    assert not (tmp_path / "w" / "malmoi.db").exists()
    with Ledger.open(Workspace.open(tmp_path / "v")) as ledger:
        assert [run.id for run in ledger.runs()] == ["0001-corpus"]


def test_runs_that_start_together_get_numbers_of_their_own(database_url: str, tmp_path: Path) -> None:
    """Also the database is created by whoever comes first."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        try:
            barrier.wait()
            with Ledger(open_database(database_url), tmp_path) as ledger:
                for _ in range(5):
                    start(ledger, "sample")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with Ledger(open_database(database_url), tmp_path) as ledger:
        assert [run.number for run in ledger.runs()] == list(range(1, 21))


def test_a_fingerprint_depends_on_the_stage_the_settings_and_the_inputs_alone() -> None:
    base = fingerprint("sft", {"lr": 0.1, "steps": 3}, {"data": "aa"})
    assert base == fingerprint("sft", {"steps": 3, "lr": 0.1}, {"data": "aa"})
    others = [
        fingerprint("ppo", {"lr": 0.1, "steps": 3}, {"data": "aa"}),
        fingerprint("sft", {"lr": 0.2, "steps": 3}, {"data": "aa"}),
        fingerprint("sft", {"lr": 0.1, "steps": 3}, {"data": "ab"}),
        fingerprint("sft", {"lr": 0.1, "steps": 3}, {"text": "aa"}),
    ]
    assert len({base, *others}) == 5
    with pytest.raises(ValueError, match="JSON"):
        fingerprint("sft", {"lr": float("nan")}, {})
