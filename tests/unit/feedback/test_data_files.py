"""Files in and out: what would be learned, rankings and answers without loss, nobody in another's name; forgetting."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from malmoi.errors import DataError
from malmoi.feedback import chats
from malmoi.feedback.accounts import FORGOTTEN, add_member
from malmoi.feedback.chats import NewMessage, get_message
from malmoi.feedback.exchange import write_exported
from malmoi.feedback.file_adding import ACCOUNT, MALFORMED, OTHER, OTHERWISE, add_file
from malmoi.feedback.file_preview import Text, preview
from malmoi.feedback.forgetting import (
    READS,
    SAID,
    forget_person,
    learned_from_chat,
    learned_from_person,
    people_with_data,
)
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.said import better_rows, edited_pairs, voted_rows
from malmoi.feedback.shown_data import export_rows, shown_answers, shown_rankings
from malmoi.feedback.signals import vote, write_better
from malmoi.feedback.snapshots import freeze_now, list_snapshots, ranking_rows, snapshot_rows
from malmoi.feedback.teach_items import add_question
from malmoi.feedback.teaching import next_item, save_text
from malmoi.feedback.written_answers import written_answers
from malmoi.files import read_jsonl, write_json, write_jsonl
from malmoi.stages import find_stage, stage_names
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.base import now
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

RANKED: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "언제 열어요?"}], "answers": ["아홉 시.", "글쎄.", "몰라."],
     "ranks": [1, 2, 2]},
    {"messages": [{"role": "user", "content": "Who?"}], "answers": ["Mina.", "Maybe."], "ranks": [1, 1]},
    {"prompt": "What?", "chosen": "A tea.", "rejected": "Hm."},
]  # fmt: skip
TALK = [
    {"role": "user", "content": "When do you open?"}, {"role": "assistant", "content": "At nine."},
    {"role": "user", "content": "And close?"}, {"role": "assistant", "content": "At six."},
]  # fmt: skip
PASSWORD = "correct horse"


def file_of(tmp_path: Path, rows: list[Any], name: str = "given.jsonl") -> Path:
    write_jsonl(tmp_path / name, rows)
    return tmp_path / name


def other_ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(Workspace.open(tmp_path / "elsewhere"))


def learned_pieces(row: dict[str, Any]) -> list[str]:
    return [piece["text"] for text in row["texts"] for piece in text["pieces"] if piece["learned"]]


def test_a_preview_marks_what_is_learned(tmp_path: Path) -> None:
    marked = [dict(TALK[0]), {**TALK[1], "weight": 0}, dict(TALK[2]), dict(TALK[3])]
    found = preview(file_of(tmp_path, [{"messages": TALK}, {"messages": marked}]))
    assert (found.kind, found.n_rows, found.problem) == ("conversations", 2, None)
    assert [learned_pieces(row) for row in found.rows] == [["At nine.", "At six."], ["At six."]]
    n_all = sum(len(turn["content"]) for turn in TALK)
    assert found.learned == pytest.approx((len("At nine.At six.") + len("At six.")) / (2 * n_all))
    assert [row["where"] for row in found.rows] == ["given.jsonl:1", "given.jsonl:2"]


def test_a_preview_reads_as_the_model_does(tmp_path: Path, tokenizer: Tokenizer, template: ChatTemplate) -> None:
    path = file_of(tmp_path, [{"messages": TALK}])
    found = preview(path, Text(tokenizer, template, 2000))
    said = learned_pieces(found.rows[0])
    assert len(said) == 2 and said[0].startswith("At nine.") and said[1].startswith("At six.")
    assert found.n_too_long == 0 and preview(path, Text(tokenizer, template, 8)).n_too_long == 1


def test_what_would_teach_nothing_stops_here(tmp_path: Path, ledger: Ledger) -> None:
    path = file_of(tmp_path, [{"messages": [TALK[0], {**TALK[1], "weight": 0}]}])
    found = preview(path)
    assert found.learned == 0 and found.problem is not None and found.problem["code"] == "nothing_learned"
    with pytest.raises(DataError, match=r"given.jsonl: nothing of it would be learned"):
        add_file(ledger, path, "p-1")
    assert written_answers(ledger) == []


@pytest.mark.parametrize(
    ("rows", "kind"),
    [(RANKED, "rankings"), ([{"prompt": "Why?"}], "prompts"), ([{"text": "Tea is hot."}], "documents")],
)
def test_the_columns_tell_what_a_file_is(tmp_path: Path, rows: list[Any], kind: str) -> None:
    assert preview(file_of(tmp_path, rows)).kind == kind


def test_an_error_names_the_file_and_not_its_place(tmp_path: Path) -> None:
    for name, text in (("a.jsonl", '{"x": 1}\n'), ("b.exe", "x"), ("c.jsonl", ""), ("d.json", "{")):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError) as caught:
            preview(tmp_path / name)
        assert name in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_rankings_go_out_and_come_in_without_loss(tmp_path: Path, ledger: Ledger, suffix: str) -> None:
    added = add_file(ledger, file_of(tmp_path, RANKED), "")
    assert (added.n, added.n_known) == (3, 0)
    assert (add_file(ledger, tmp_path / "given.jsonl", "").n_known, len(ranking_rows(ledger))) == (3, 3)
    whole = export_rows(ledger, "ranked")
    write_exported(tmp_path / f"out.{suffix}", whole)
    with other_ledger(tmp_path) as there:
        assert add_file(there, tmp_path / f"out.{suffix}", "").n == 3
        assert export_rows(there, "ranked") == whole


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_pairs_have_the_group_that_puts_a_ranking_together_again(tmp_path: Path, ledger: Ledger, suffix: str) -> None:
    add_file(ledger, file_of(tmp_path, RANKED), "")
    pairs = export_rows(ledger, "pairs")
    assert [len({pair["group_id"] for pair in pairs}), len(pairs)] == [2, 3]  # all tie in one: it has no pair
    assert {(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in pairs} == {
        ("아홉 시.", "글쎄."), ("아홉 시.", "몰라."), ("A tea.", "Hm."),
    }  # fmt: skip
    write_exported(tmp_path / f"pairs.{suffix}", pairs)
    whole = [row for row in export_rows(ledger, "ranked") if len(set(row["ranks"])) > 1]
    with other_ledger(tmp_path) as there:
        assert add_file(there, tmp_path / f"pairs.{suffix}", "").n == 2
        assert export_rows(there, "ranked") == whole


def test_pairs_that_are_not_complete_are_refused(tmp_path: Path, ledger: Ledger) -> None:
    add_file(ledger, file_of(tmp_path, RANKED[:1]), "")
    pairs = export_rows(ledger, "pairs")
    with other_ledger(tmp_path) as there, pytest.raises(DataError, match="pairs of it are missing"):
        add_file(there, file_of(tmp_path, pairs[:1], "half.jsonl"), "")


@pytest.mark.parametrize(
    "change",
    [{"ranks": [1, 3, 3]}, {"ranks": [1, 2]}, {"ranks": ["1", "2", "2"]}, {"answers": ["Tea."]}, {"messages": []},
     {"messages": "Who?"}, {"messages": ["Who?"]}, {"messages": [{"role": "user"}]}, {"generation_ids": [1, 2, 3]},
     {"person": None}, {"simulated": "no"}],
)  # fmt: skip
def test_an_exported_ranking_that_was_changed_is_left_out(
    tmp_path: Path, ledger: Ledger, change: dict[str, Any]
) -> None:
    add_file(ledger, file_of(tmp_path, RANKED[:2]), "")
    first, second = export_rows(ledger, "ranked")
    changed, kept = (first, second) if len(first["answers"]) == 3 else (second, first)
    with other_ledger(tmp_path) as there:
        added = add_file(there, file_of(tmp_path, [kept, changed | change], "changed.jsonl"), "")
        assert (added.n, dict(added.left_out)) == (1, {MALFORMED: 1})
        assert export_rows(there, "ranked") == [kept]


def test_another_ranking_of_the_same_answers_is_told_and_not_taken_for_the_known_one(
    tmp_path: Path, ledger: Ledger
) -> None:
    add_file(ledger, file_of(tmp_path, RANKED[:1]), "")
    turned = RANKED[0] | {"ranks": [3, 1, 1]}
    added = add_file(ledger, file_of(tmp_path, [turned, RANKED[0]]), "")
    assert (added.n, added.n_known, dict(added.left_out)) == (0, 1, {OTHERWISE: 1})
    added = add_file(ledger, file_of(tmp_path, [turned, RANKED[0], turned], "other.jsonl"), "")
    assert (added.n, added.n_known, dict(added.left_out)) == (1, 1, {OTHERWISE: 1})


def test_rankings_and_pairs_of_one_file_are_both_read(tmp_path: Path, ledger: Ledger) -> None:
    add_file(ledger, file_of(tmp_path, RANKED), "")
    of_two = [row for row in export_rows(ledger, "ranked") if len(row["answers"]) == 2]
    of_three = [row for row in export_rows(ledger, "pairs") if row["n_answers"] == 3]
    mixed = file_of(
        tmp_path, [*of_two, *of_three, {"prompt": "What?", "chosen": "A.", "rejected": "B."}], "mixed.jsonl"
    )
    with other_ledger(tmp_path) as there:
        added = add_file(there, mixed, "")
        assert (added.n, dict(added.left_out)) == (3, {MALFORMED: 1})
        assert export_rows(there, "ranked") == export_rows(ledger, "ranked")


@pytest.mark.parametrize(
    "change", [{"messages": "Hm."}, {"messages": TALK[:1]}, {"messages": TALK[1:2]}, {"person": 1}, {"kind": None}]
)
def test_an_exported_answer_that_was_changed_is_left_out(
    tmp_path: Path, ledger: Ledger, change: dict[str, Any]
) -> None:
    add_file(ledger, file_of(tmp_path, [{"messages": TALK}]), "")
    kept, changed = export_rows(ledger, "messages")
    with other_ledger(tmp_path) as there:
        added = add_file(there, file_of(tmp_path, [kept, changed | change], "changed.jsonl"), "")
        assert (added.n, dict(added.left_out)) == (1, {MALFORMED: 1})


def test_a_file_says_nothing_in_the_name_of_somebody_here(tmp_path: Path, ledger: Ledger) -> None:
    mina = add_member(ledger, "미나", PASSWORD, "user")
    add_file(ledger, file_of(tmp_path, RANKED[:1]), "")
    (row,) = ranking_rows(ledger)
    forged = file_of(tmp_path, [{**row, "person": mina.id, "ranks": [3, 1, 1]}], "forged.jsonl")
    assert dict(add_file(ledger, forged, "").left_out) == {ACCOUNT: 1}
    other = {**row, "person": "somebody", "answers": ["Other.", "Words.", "Here."]}
    assert dict(add_file(ledger, file_of(tmp_path, [other], "other.jsonl"), "").left_out) == {OTHER: 1}
    assert ranking_rows(ledger) == [row]


def test_a_program_that_ranked_is_named_as_one(tmp_path: Path, ledger: Ledger) -> None:
    add_file(ledger, file_of(tmp_path, RANKED), "", by_program=True)
    assert ranking_rows(ledger) == [] and len(ranking_rows(ledger, "simulated")) == 3
    assert shown_rankings(ledger)["people"] == [{"name": "given.jsonl", "n": 3, "simulated": True}]


def test_answers_go_out_and_come_in_without_loss(tmp_path: Path, ledger: Ledger) -> None:
    mina = add_member(ledger, "미나", PASSWORD, "user")
    message = _chat_with_answer(ledger, mina.id, may_teach=True)
    write_better(ledger, mina.id, message, "아홉 시에 열어요.")
    add_question(ledger, mina.id, "왜요?")
    item = next_item(ledger, mina.id, "write")
    assert item is not None
    save_text(ledger, mina.id, item["id"], "그래서요.")
    assert add_file(ledger, file_of(tmp_path, [{"messages": TALK}]), "").n == 2
    rows = export_rows(ledger, "messages")
    assert {(row["kind"], row["instead_of"], row["messages"][-1]["content"]) for row in rows} == {
        ("better", "몰라요.", "아홉 시에 열어요."), ("written", None, "그래서요."), ("written", None, "At nine."),
        ("written", None, "At six."),
    }  # fmt: skip
    # Answers before the last one are only read, wherever the file is learned from.
    last = next(row for row in rows if row["messages"][-1]["content"] == "At six.")
    assert [one.get("weight") for one in last["messages"]] == [None, 0, None, None]
    write_exported(tmp_path / "out.parquet", rows)
    with other_ledger(tmp_path) as there:
        assert add_file(there, tmp_path / "out.parquet", "").n == 4
        assert export_rows(there, "messages") == rows
        assert add_file(there, tmp_path / "out.parquet", "").n_known == 4
        assert {one["person"] for one in shown_answers(there)["answers"]} == {"미나", "given.jsonl"}


def test_questions_and_chats_find_their_place(tmp_path: Path, ledger: Ledger) -> None:
    mina = add_member(ledger, "미나", PASSWORD, "user")
    asked = file_of(tmp_path, [{"prompt": "Why?"}, {"prompt": "How?"}, {"prompt": "Why?"}])
    assert (add_file(ledger, asked, mina.id).n, add_file(ledger, asked, mina.id).n_known) == (2, 3)
    message = {"id": "a", "parentId": None, "role": "user", "content": "Hello"}
    webui = [{"title": "T", "chat": {"history": {"messages": {"a": message}, "currentId": "a"}}}]
    (tmp_path / "webui.json").write_text(json.dumps(webui))
    assert preview(tmp_path / "webui.json").kind == "chats"
    assert add_file(ledger, tmp_path / "webui.json", mina.id).n == 1
    found, _ = chats.list_chats(ledger, mina.id)
    assert [chat["may_teach"] for chat in found] == [False]


def test_the_same_selection_gives_the_same_bytes(tmp_path: Path, ledger: Ledger) -> None:
    add_file(ledger, file_of(tmp_path, RANKED), "")
    add_file(ledger, file_of(tmp_path, [{"messages": TALK}], "talk.jsonl"), "")
    first, again = freeze_now(ledger), freeze_now(ledger)
    assert [row["sha256"] for row in first] == [row["sha256"] for row in again] and len(list_snapshots(ledger)) == 2
    with other_ledger(tmp_path) as there:
        for name in ("talk.jsonl", "given.jsonl"):
            add_file(there, tmp_path / name, "")
        assert {row["sha256"] for row in freeze_now(there)} == {row["sha256"] for row in first}
    what, rows = snapshot_rows(ledger, next(row["name"] for row in first if row["what"] == "rankings"))
    assert (what, rows) == ("rankings", ranking_rows(ledger))
    path = next((ledger.root / "snapshots").glob("rankings-*"))
    path.write_text("{}\n")
    with pytest.raises(DataError, match="gone or was changed"):
        snapshot_rows(ledger, next(row["name"] for row in first if row["what"] == "rankings"))


def test_nothing_is_frozen_of_nothing(ledger: Ledger) -> None:
    with pytest.raises(DataError, match="nothing to freeze"):
        freeze_now(ledger)


def test_who_is_forgotten_is_in_no_later_snapshot_and_what_learned_is_named(tmp_path: Path, ledger: Ledger) -> None:
    add_member(ledger, "Owner", PASSWORD, "owner")
    mina = add_member(ledger, "미나", PASSWORD, "user")
    write_better(ledger, mina.id, _chat_with_answer(ledger, mina.id, may_teach=True), "아홉 시에 열어요.")
    add_question(ledger, mina.id, "왜요?")
    add_file(ledger, file_of(tmp_path, RANKED), "")
    frozen = {row["what"]: row for row in freeze_now(ledger)}
    path = next((ledger.root / "snapshots").glob("answers-*"))
    run = ledger.start_run(
        stage="sft", recipe="r", fingerprint="f", settings={}, seed=1, inputs={"rows": frozen["answers"]["sha256"]}
    )
    (tmp_path / "model").write_text("weights")
    made = ledger.add_artefact(run, "model", "model", tmp_path / "model")
    learned = forget_person(ledger, mina.id)
    assert learned["snapshots"] == [frozen["answers"]["name"]]
    assert [one["hash"] for one in learned["artefacts"]] == [made]
    assert written_answers(ledger) == [] and len(ranking_rows(ledger)) == 3
    assert read_jsonl(path) != []  # what was frozen stays what it was
    assert "미나" not in {one["name"] for one in people_with_data(ledger)}
    assert next(row for row in list_snapshots(ledger) if row["what"] == "answers")["people"][0]["name"] == FORGOTTEN
    assert next_item(ledger, "p-other", "write") is None
    with pytest.raises(RefusedError):
        forget_person(ledger, "nobody")


def test_files_that_keep_who_is_forgotten_are_named(tmp_path: Path, ledger: Ledger) -> None:
    add_member(ledger, "Owner", PASSWORD, "owner")
    before = ledger.root / "malmoi.db.bak-0001"
    with contextlib.closing(sqlite3.connect(before)) as backup:
        backup.executescript("CREATE TABLE person (id TEXT); INSERT INTO person VALUES ('somebody')")
    mina = add_member(ledger, "미나", PASSWORD, "user")
    (ledger.root / "malmoi.db.bak-0003").write_bytes(b"broken")
    with contextlib.closing(sqlite3.connect(ledger.root / "malmoi.db.bak-0002")) as backup:
        backup.execute("CREATE TABLE person (id TEXT)")
        backup.execute("INSERT INTO person VALUES (?)", (mina.id,))
        backup.commit()
    for stem, shown in (("named", "미나"), ("new", mina.id)):  # as it was written once, and as it is now
        run = ledger.start_run(stage="judgements", recipe="r", fingerprint=stem, settings={}, seed=1, inputs={})
        (tmp_path / stem).mkdir()
        write_json(tmp_path / stem / "judgements.json", {"people": [{"id": mina.id, "name": shown, "n": 1}]})
        ledger.add_artefact(run, "out", "judgements", tmp_path / stem)
    found = forget_person(ledger, mina.id)["files"]
    assert found == ["malmoi.db.bak-0002", "malmoi.db.bak-0003", str(tmp_path / "named" / "judgements.json")]


def test_the_last_owner_stays(ledger: Ledger) -> None:
    owner = add_member(ledger, "Owner", PASSWORD, "owner")
    with pytest.raises(RefusedError, match="last owner"):
        forget_person(ledger, owner.id)


def test_a_chat_names_nothing_where_nothing_learned_from_it(ledger: Ledger) -> None:
    assert learned_from_chat(ledger, "no-chat") == {"snapshots": [], "artefacts": [], "versions": []}


def test_what_learned_from_a_chat_by_answers_and_votes_is_named(tmp_path: Path, ledger: Ledger) -> None:
    mina = add_member(ledger, "미나", PASSWORD, "owner")
    wrote, voted, silent = (_chat_with_answer(ledger, mina.id, may_teach=True) for _ in range(3))
    write_better(ledger, mina.id, wrote, "아홉 시에 열어요.")
    vote(ledger, mina.id, voted, "up", [], "")
    frozen = next(row for row in freeze_now(ledger) if row["what"] == "answers")
    said = ledger.start_run(stage="judgements", recipe="r", fingerprint="f", settings={}, seed=1, inputs={})
    out = tmp_path / "out"
    for name, rows in (("votes", voted_rows(ledger, now())), ("train", edited_pairs(better_rows(ledger, now())))):
        write_jsonl(out / f"{name}.jsonl", rows)
    sha256 = ledger.add_artefact(said, "out", "folder", out)
    made = {}
    for stage in ("kto", "reward", "ppo"):
        inputs = {"judgements": sha256} | ({"reward": made["reward"]} if stage == "ppo" else {})
        run = ledger.start_run(stage=stage, recipe="r", fingerprint=stage, settings={}, seed=1, inputs=inputs)
        (tmp_path / stage).write_text("weights of " + stage)
        made[stage] = ledger.add_artefact(run, "model", "model", tmp_path / stage)
    learned = {
        message: learned_from_chat(ledger, get_message(ledger, mina.id, message)["chat"])
        for message in (wrote, voted, silent)
    }
    # Each stage reads some of the files: a vote alone teaches no reward model, and a better answer no KTO.
    by_votes, by_answers = [made["kto"]], [made["reward"], made["ppo"]]
    found = [[one["hash"] for one in learned[message]["artefacts"]] for message in learned]
    assert found == [by_answers, by_votes, []]
    assert [learned[message]["snapshots"] for message in learned] == [[frozen["name"]], [], []]
    assert {one["hash"] for one in learned_from_person(ledger, mina.id)["artefacts"]} == {*made.values()}
    assert next(row for row in people_with_data(ledger) if row["name"] == "미나")["n_answers"] == 1


def test_which_stage_reads_which_file_is_what_the_stages_say() -> None:
    files = {
        kind: {Path(name).stem for name in parts.values() if name.endswith(".jsonl")}
        for kind, parts in find_stage(SAID).makes.items()
    }
    for stage in map(find_stage, stage_names()):
        kinds = {kind for role in stage.reads.values() for kind in (*role.kinds, *role.named)}
        read = {stem for kind in kinds & files.keys() for stem in files[kind]}
        assert stage.name not in READS or READS[stage.name] == read
        assert not (read and stage.trains) or stage.name in READS


def _chat_with_answer(ledger: Ledger, person_id: str, may_teach: bool) -> str:
    chat, _ = chats.create_chat(ledger, person_id, may_teach=may_teach)
    asked, answer = chats.new_id(), chats.new_id()
    chats.add_message(ledger, person_id, chat["id"], NewMessage(asked, None, "user", "언제 열어요?"))
    chats.add_message(ledger, person_id, chat["id"], NewMessage(answer, asked, "assistant", "몰라요.", "stop"))
    return answer
