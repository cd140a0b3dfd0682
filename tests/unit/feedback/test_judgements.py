import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, event, func, select, update
from sqlalchemy.exc import IntegrityError

from malmoi.errors import DataError
from malmoi.feedback.judgements import (
    NewJudgement,
    SnapshotFilter,
    answer_pairs,
    check_ranks,
    competition_ranks,
    freeze,
    record_generations,
    record_judgements,
    record_person,
)
from malmoi.feedback.origin import people_behind
from malmoi.files import read_jsonl, sha256_of, write_text
from malmoi.workspace.database import open_database, writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Generation, Judgement

places = st.lists(st.integers(-3, 3), max_size=8)
ROWS: list[dict[str, Any]] = [
    {
        "prompt_id": f"p{number}",
        "prompt": [{"role": "user", "content": f"질문 {number}?"}],
        "split": "heldout" if number == 2 else "train",
        "kind": "definition",
        "item": "len",
        "reference": "the number of items",
        "answers": [
            {"text": f"답 {number} {letter}\0", "ids": [number, place], "finished": letter != "c"}
            for place, letter in enumerate("abc")
        ],
    }
    for number in range(3)
]


class Study:
    """Three prompts with three answers each, two people, and a simulated labeler."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.run_id = ledger.start_run(stage="rank", recipe="nano", fingerprint="f", settings={}, seed=1, inputs={})
        write_text(ledger.root / "model", "weights")
        self.model = ledger.add_artefact(self.run_id, "model", "model", ledger.root / "model")
        for id, kind in (("ann", "human"), ("bob", "human"), ("sim", "simulated")):
            record_person(ledger, id, id.title(), kind, "")
        self.ids = self.record(ROWS)

    def record(self, rows: list[dict[str, Any]]) -> list[list[str]]:
        return record_generations(
            self.ledger, rows, run_id=self.run_id, model_sha256=self.model,
            temperature=1.0, top_p=0.9, seed=3, max_tokens=48,
        )  # fmt: skip

    def said(self, person: str, prompt: int, ranks: list[int], **more: Any) -> NewJudgement:
        return NewJudgement(
            person_id=person, prompt_id=f"p{prompt}", generation_ids=self.ids[prompt], ranks=ranks, **more
        )

    def frozen(self, name: str = "snapshot.jsonl", **wanted: Any) -> list[dict[str, Any]]:
        path = self.ledger.root / name
        freeze(self.ledger, SnapshotFilter(**wanted), path, run_id=self.run_id)
        return read_jsonl(path)

    def count(self, table: type[Any]) -> int:
        with self.ledger.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def study(ledger: Ledger) -> Study:
    return Study(ledger)


@given(places)
def test_competition_ranks_keep_order_and_ties_and_are_their_own_ranks(values: list[int]) -> None:
    ranks = competition_ranks(values)
    check_ranks(ranks, len(values))
    assert competition_ranks(ranks) == ranks
    assert sorted(range(len(values)), key=lambda i: (values[i], i)) == sorted(
        range(len(values)), key=lambda i: (ranks[i], i)
    )


@given(places)
def test_every_pair_is_ordered_or_tied_once(values: list[int]) -> None:
    ranks = competition_ranks(values)
    found = answer_pairs(ranks)
    assert all(ranks[better] < ranks[worse] for better, worse in found.ordered)
    assert all(ranks[a] == ranks[b] for a, b in found.ties)
    both = {frozenset(pair) for pair in found.ordered + found.ties}
    assert len(both) == len(found.ordered) + len(found.ties) == len(ranks) * (len(ranks) - 1) // 2


def test_ranks_and_pairs_worked_by_hand() -> None:
    assert competition_ranks([0.5, 2, 2, 9]) == [1, 2, 2, 4]
    assert competition_ranks([1, 1, 2, 3]) == [1, 1, 3, 4]
    assert answer_pairs([2, 1, 2]) == ([(1, 0), (1, 2)], [(0, 2)])


@pytest.mark.parametrize(
    ("ranks", "n_answers", "message"),
    [
        ([1, 2], 3, "one for each of the 3 answers"),
        ([1, 1, 2], 3, r"expected \[1, 1, 3\]"),
        ([0, 1], 2, r"expected \[1, 2\]"),
        ([2, 2], 2, r"expected \[1, 1\]"),
        ([1, 2.0], 2, "whole numbers"),
        ([True, 2], 2, "whole numbers"),
    ],
)
def test_bad_ranks_are_refused_with_what_was_expected(ranks: list[int], n_answers: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_ranks(ranks, n_answers)


def test_generations_keep_every_character_and_setting(study: Study) -> None:
    with study.ledger.engine.connect() as connection:
        found = connection.execute(select(Generation.__table__).where(Generation.id == study.ids[1][2])).one()
    assert (found.text, found.token_ids, found.finish_reason) == ("답 1 c\0", [1, 2], "length")
    assert (found.temperature, found.top_p, found.seed, found.max_tokens) == (1.0, 0.9, 3, 48)
    assert (found.prompt_id, found.run_id, found.model_sha256) == ("p1", study.run_id, study.model)


def test_recording_generations_again_changes_nothing(study: Study) -> None:
    assert study.record(ROWS) == study.ids
    assert study.count(Generation) == 9


def test_equal_answers_to_one_prompt_are_two_generations(study: Study) -> None:
    answer = {"text": "same", "ids": [1], "finished": True}
    ids = study.record([{"prompt_id": "twins", "prompt": "Say it.", "answers": [answer, answer]}])
    assert len(set(ids[0])) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt_id": "x", "prompt": "?"}, "row 1: 'answers'"),
        ({"prompt_id": "x", "prompt": [{"role": "user"}], "answers": []}, "row 1: 'content'"),
        ({"prompt_id": "x", "prompt": "?", "answers": [{"text": "a", "ids": [1]}]}, "row 1: 'finished'"),
        ({"prompt_id": "p0", "prompt": "other", "answers": []}, "prompt p0: messages: is already recorded"),
    ],
)
def test_bad_generations_are_refused_as_a_whole(study: Study, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        study.record([row])
    assert study.count(Generation) == 9


def test_a_model_that_was_never_recorded_is_refused(study: Study) -> None:
    study.model = "0" * 64
    with pytest.raises(DataError, match="model 000000000000 is not recorded"):
        study.record(ROWS)


def test_a_person_is_one_person(study: Study) -> None:
    record_person(study.ledger, "ann", "Ann", "human", "")
    with pytest.raises(DataError, match="person ann: kind: is already recorded as 'human'"):
        record_person(study.ledger, "ann", "Ann", "simulated", "")
    with pytest.raises(DataError, match="expected human or simulated"):
        record_person(study.ledger, "eve", "Eve", "robot", "")


def test_the_same_judgement_adds_nothing_and_a_changed_one_is_the_next_version(study: Study) -> None:
    first = study.said("ann", 0, [1, 2, 2], flags=[[], ("rude",), []], likert=(7, 1, 3), confidence=1, active_ms=900)
    assert record_judgements(study.ledger, [first, first]) == 1
    assert record_judgements(study.ledger, [first]) == 0
    assert record_judgements(study.ledger, [study.said("ann", 0, [2, 1, 3])]) == 1
    with study.ledger.engine.connect() as connection:
        rows = connection.execute(select(Judgement.__table__).order_by(Judgement.version)).all()
    assert [(row.version, row.ranks, row.flags) for row in rows] == [
        (1, [1, 2, 2], [[], ["rude"], []]),
        (2, [2, 1, 3], None),
    ]
    assert study.frozen()[0]["ranks"] == [2, 1, 3]


def test_a_judgement_cannot_be_updated_but_a_person_may_withdraw(study: Study) -> None:
    record_judgements(study.ledger, [study.said("ann", 0, [1, 2, 3])])
    with pytest.raises(IntegrityError, match="never updated"), writing(study.ledger.engine) as connection:
        connection.execute(update(Judgement).values(unrankable=True))
    with writing(study.ledger.engine) as connection:
        connection.execute(delete(Judgement))
    assert study.count(Judgement) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranks": [1, 2]}, "judgement of ann on prompt p0: ranks .* 3 answers"),
        ({"unrankable": True}, "expected one for each of the 0 answers"),
        ({"likert": [1, 2, 8]}, "ratings from 1 to 7"),
        ({"notes": ["one"]}, "notes: expected one for each of the 3 answers"),
        ({"confidence": 1.5}, "expected 0 to 1"),
        ({"generation_ids": ["a", "a"]}, "at least two answers, each once"),
        ({"generation_ids": ["a", "b", "c"]}, "generation a is not a recorded answer"),
        ({"prompt_id": "p1"}, "is not a recorded answer to it"),
        ({"person_id": "nobody"}, "no such person"),
    ],
)
def test_one_bad_judgement_refuses_the_batch(study: Study, changes: dict[str, Any], message: str) -> None:
    good = {"person_id": "ann", "prompt_id": "p0", "generation_ids": study.ids[0], "ranks": [1, 2, 3]}
    with pytest.raises(DataError, match=message):
        record_judgements(study.ledger, [study.said("bob", 1, [1, 2, 3]), NewJudgement(**(good | changes))])
    assert study.count(Judgement) == 0


def test_a_snapshot_holds_what_was_shown_and_said(study: Study) -> None:
    shown = study.ids[0][::-1]
    said = NewJudgement(person_id="sim", prompt_id="p0", generation_ids=shown, ranks=[1, 1, 3])
    record_judgements(study.ledger, [said, study.said("ann", 1, [], unrankable=True)])
    (row,) = study.frozen()
    assert row == {
        "prompt_id": "p0",
        "messages": ROWS[0]["prompt"],
        "answers": ["답 0 c\0", "답 0 b\0", "답 0 a\0"],
        "generation_ids": shown,
        "ranks": [1, 1, 3],
        "person": "sim",
        "simulated": True,
        "split": "train",
    }
    assert list(row) == ["prompt_id", "messages", "answers", "generation_ids", "ranks", "person", "simulated", "split"]


def test_the_filter_chooses(study: Study) -> None:
    everyone = [study.said(person, prompt, [1, 2, 3]) for person in ("ann", "bob", "sim") for prompt in range(3)]
    record_judgements(study.ledger, everyone)

    def chosen(**wanted: Any) -> set[str]:
        return {row["person"] + row["prompt_id"] for row in study.frozen(**wanted)}

    assert len(chosen()) == 9
    assert chosen(people=["ann"]) == {"annp0", "annp1", "annp2"}
    assert chosen(simulated=True, splits=["heldout"]) == {"simp2"}
    assert chosen(simulated=False, splits=["heldout"]) == {"annp2", "bobp2"}
    with pytest.raises(DataError, match=r"no judgement passes the filter .*nobody"):
        chosen(people=["nobody"])


def test_judgements_about_other_answers_can_be_left_out(study: Study) -> None:
    answers = [{"text": "later", "ids": [1], "finished": True}, {"text": "too", "ids": [2], "finished": True}]
    later = study.record([ROWS[0] | {"answers": answers}])[0]
    new = NewJudgement(person_id="ann", prompt_id="p0", generation_ids=later, ranks=[1, 2])
    mixed = NewJudgement(person_id="ann", prompt_id="p0", generation_ids=[later[0], study.ids[0][0]], ranks=[1, 2])
    record_judgements(study.ledger, [study.said("ann", 0, [1, 2, 3]), new, mixed])
    path = study.ledger.root / "snapshot.jsonl"
    freeze(study.ledger, SnapshotFilter(), path, run_id=study.run_id, generation_ids=later)
    assert [row["generation_ids"] for row in read_jsonl(path)] == [later]


def test_the_bytes_depend_on_the_judgements_alone(study: Study, tmp_path: Path) -> None:
    everyone = [study.said(person, prompt, [1, 2, 2]) for person in ("sim", "ann") for prompt in range(3)]
    record_judgements(study.ledger, everyone)
    study.frozen("one.jsonl")
    other = Study(Ledger(open_database(f"sqlite:///{tmp_path / 'other.db'}"), study.ledger.root))
    with other.ledger:
        record_judgements(other.ledger, [study.said("ann", 0, [3, 2, 1])])
        for one in reversed(everyone):
            record_judgements(other.ledger, [one])
        other.frozen("two.jsonl")
    assert sha256_of(study.ledger.root / "one.jsonl") == sha256_of(study.ledger.root / "two.jsonl")


def test_a_snapshot_is_registered_and_its_people_are_in_the_lineage(study: Study) -> None:
    record_judgements(study.ledger, [study.said("ann", n, [1, 2, 3]) for n in range(3)])
    record_judgements(study.ledger, [study.said("sim", n, [1, 1, 3]) for n in range(2)])
    out = study.ledger.root / "out"
    train = freeze(study.ledger, SnapshotFilter(splits=("train",)), out / "train.jsonl", run_id=study.run_id)
    freeze(study.ledger, SnapshotFilter(splits=("heldout",)), out / "heldout.jsonl", run_id=study.run_id)
    assert train.counts == {"judgements": 4, "prompts": 2, "pairs": 10, "people": {"ann": 2, "sim": 2}}
    assert (train.path, train.filter["splits"]) == ("out/train.jsonl", ["train"])
    assert train.sha256 == sha256_of(out / "train.jsonl")

    folder = study.ledger.add_artefact(study.run_id, "out", "rank", out)
    judged = study.ledger.lineage(train.sha256).judged
    assert judged is not None
    assert (judged.n_judgements, [(p.name, p.kind, n) for p, n in judged.people]) == (
        4,
        [("Ann", "human", 2), ("Sim", "simulated", 2)],
    )
    for whole in (study.ledger.lineage(folder).judged, study.ledger.lineage(study.run_id).judged):
        assert whole is not None
        assert (whole.n_judgements, [(p.id, n) for p, n in whole.people]) == (5, [("ann", 3), ("sim", 2)])
    # A program is not counted among people.
    behind = {"n_judgements": 3, "n_people": 1, "n_simulated": 2}
    assert people_behind(study.ledger.lineage(folder)) == behind and people_behind(None) is None
    reward = study.ledger.start_run(
        stage="reward", recipe="nano", fingerprint="r", settings={}, seed=1, inputs={"rank": folder}
    )
    write_text(study.ledger.root / "reward", "weights of the reward model")
    made = study.ledger.add_artefact(reward, "model", "model", study.ledger.root / "reward")
    (with_sim,) = study.ledger.snapshots_with("sim")
    assert [one.sha256 for one in study.ledger.descendants(with_sim)] == [made]
    again = study.ledger.start_run(stage="rank", recipe="nano", fingerprint="g", settings={}, seed=1, inputs={})
    record_judgements(study.ledger, [study.said("bob", 0, [1, 2, 3])])
    freeze(study.ledger, SnapshotFilter(splits=("train",)), study.ledger.root / "later" / "train.jsonl", run_id=again)
    later = study.ledger.lineage(study.ledger.add_artefact(again, "out", "rank", study.ledger.root / "later"))
    # What an earlier version learned from is in it, and is not counted twice.
    both = {"n_judgements": 4, "n_people": 2, "n_simulated": 2}
    assert people_behind(study.ledger.lineage(folder), later) == both


def test_thousands_of_rows_take_few_statements(study: Study) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt_id": f"many{n}", "prompt": f"{n}?", "split": "train",
         "answers": [{"text": f"{n} {k}", "ids": [n] * 40, "finished": True} for k in range(4)]}
        for n in range(2000)
    ]  # fmt: skip
    statements: list[str] = []
    event.listen(study.ledger.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    ids = study.record(rows)
    said = [
        NewJudgement(person_id="sim", prompt_id=row["prompt_id"], generation_ids=each, ranks=[1, 2, 3, 4])
        for row, each in zip(rows, ids, strict=True)
    ]
    assert record_judgements(study.ledger, said) == 2000
    assert len(study.frozen()) == 2000
    assert len(statements) < 1000  # far fewer than one for each of the 12,000 rows
    assert study.count(Generation) == 8009


def test_a_snapshot_is_readable_utf8(study: Study) -> None:
    record_judgements(study.ledger, [study.said("ann", 0, [1, 2, 3])])
    study.frozen()
    line = (study.ledger.root / "snapshot.jsonl").read_text(encoding="utf-8")
    assert "질문 0?" in line
    assert json.loads(line)["split"] == "train"


def test_a_snapshot_has_the_documents_that_the_answers_were_given_with(study: Study) -> None:
    documents = [{"title": "len", "text": "the number of items"}]
    asked = [{"role": "user", "content": "질문?", "documents": documents}]
    [ids] = study.record([{**ROWS[0], "prompt_id": "with documents", "prompt": asked}])
    judged = NewJudgement(person_id="ann", prompt_id="with documents", generation_ids=ids, ranks=[1, 2, 3])
    record_judgements(study.ledger, [judged])
    [row] = study.frozen()
    assert row["messages"] == asked
    with pytest.raises(DataError, match="already recorded"):
        study.record([{**ROWS[0], "prompt_id": "with documents"}])
