"""What there is to learn from: by whom, until when, and how much of one person."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.feedback.judgements import NewJudgement, record_generations, record_judgements, record_person
from malmoi.feedback.learning import LEAST_CAP, cap_of, capped, is_held_out, lesson, n_rankings
from malmoi.files import read_json, write_text
from malmoi.stage import ONLY, Context, Input, InputsByRole
from malmoi.stages import judgements
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import now

N_PROMPTS = 60


class Ranked:
    """Prompts with two answers each, ranked by Ann, Ben and a program."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        run = ledger.start_run(stage="rank", recipe="nano", fingerprint="f", settings={}, seed=1, inputs={})
        write_text(ledger.root / "model", "weights")
        model = ledger.add_artefact(run, "model", "model", ledger.root / "model")
        for id, kind in (("ann", "human"), ("ben", "human"), ("sim", "simulated")):
            record_person(ledger, id, id.title(), kind, "")
        answers = [{"text": text, "ids": [1], "finished": True} for text in ("네", "아니요")]
        rows = [
            {"prompt_id": f"p{i}", "prompt": f"질문 {i}?", "answers": answers, "split": "gate" if i == 0 else "train"}
            for i in range(N_PROMPTS)
        ]
        how: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "seed": 1, "max_tokens": 8}
        self.ids = record_generations(ledger, rows, run_id=run, model_sha256=model, **how)

    def say(self, person: str, prompts: range, ranks: list[int]) -> None:
        record_judgements(
            self.ledger,
            [
                NewJudgement(person_id=person, prompt_id=f"p{i}", generation_ids=self.ids[i], ranks=ranks)
                for i in prompts
            ],
        )


@pytest.fixture
def ranked(ledger: Ledger) -> Ranked:
    return Ranked(ledger)


def test_nobody_has_more_than_all_others_together(ranked: Ranked) -> None:
    ranked.say("ann", range(1, 58), [1, 2])
    ranked.say("ben", range(1, 31), [2, 1])
    found = lesson(ranked.ledger, "people", now())
    assert found.cap == 30 and Counter(row["person"] for row in found.rows) == {"ann": 30, "ben": 30}
    assert found.people == [
        {"id": "ann", "name": "Ann", "n": 30, "n_left_out": 27, "simulated": False},
        {"id": "ben", "name": "Ben", "n": 30, "n_left_out": 0, "simulated": False},
    ]
    assert found.to_row()["n_rankings"] == 60 and not found.is_empty


def test_one_person_by_herself_has_no_cap(ranked: Ranked) -> None:
    ranked.say("ann", range(1, 58), [1, 2])
    found = lesson(ranked.ledger, "people", now())
    assert found.cap is None and len(found.rows) == 57


def test_a_program_is_named_and_asked_for(ranked: Ranked) -> None:
    ranked.say("sim", range(1, 11), [1, 2])
    assert lesson(ranked.ledger, "people", now()).rows == [] and n_rankings(ranked.ledger) == 0
    (only,) = lesson(ranked.ledger, "simulated", now()).people
    assert only["name"] == "Sim" and only["simulated"] and len(lesson(ranked.ledger, "all", now()).rows) == 10


def test_a_moment_gives_the_same_rows_whatever_is_said_later(ranked: Ranked) -> None:
    ranked.say("ann", range(1, 21), [1, 2])
    moment = now()
    before = lesson(ranked.ledger, "people", moment)
    ranked.say("ann", range(1, 31), [2, 1])
    ranked.say("ben", range(1, 31), [1, 2])
    assert lesson(ranked.ledger, "people", moment).digest == before.digest
    assert lesson(ranked.ledger, "people", now()).digest != before.digest
    assert lesson(ranked.ledger, "people", datetime(2020, 1, 1, tzinfo=UTC)).rows == []


def test_no_prompt_is_on_both_sides_and_the_gate_keeps_its_own(ranked: Ranked) -> None:
    for person in ("ann", "ben"):
        ranked.say(person, range(N_PROMPTS), [1, 2])
    found = lesson(ranked.ledger, "people", now())
    train, heldout = ({row["prompt_id"] for row in rows} for rows in (found.train, found.heldout))
    assert not train & heldout and len(train | heldout) == N_PROMPTS - 1 and "p0" not in train | heldout
    assert 4 <= len(heldout) <= 24


def test_a_question_is_on_one_side_whoever_asked_it_and_however_it_is_written(ranked: Ranked) -> None:
    ranked.say("ann", range(1, N_PROMPTS), [1, 2])
    found = lesson(ranked.ledger, "people", now())
    sides = [{row["messages"][0]["content"] for row in rows} for rows in (found.train, found.heldout)]
    assert all(is_held_out([{"role": "user", "content": f" {asked.upper()} "}]) for asked in sides[1])
    assert not any(is_held_out([{"role": "user", "content": asked}]) for asked in sides[0])


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 200), min_size=2))
def test_the_cap_binds_only_who_outweighs_the_rest(counts: dict[str, int]) -> None:
    cap = cap_of(counts)
    rows = [
        {"person": person, "prompt_id": f"{person}{i}", "generation_ids": []}
        for person, n in counts.items()
        for i in range(n)
    ]
    kept = Counter(row["person"] for row in capped(rows, cap))
    most = max(kept.values())
    assert most <= max(LEAST_CAP, sum(kept.values()) - most)


def test_a_run_names_people_by_their_ids(ranked: Ranked, policy_folder: Path) -> None:
    record_person(ranked.ledger, "p-1", "Wilhelmina", "human", "")
    for who in ("p-1", "sim"):
        ranked.say(who, range(1, 31), [1, 2])
    ledger = ranked.ledger
    run = ledger.start_run(stage="judgements", recipe="r", fingerprint="j", settings={}, seed=1, inputs={})
    folder, told = ledger.root / "runs" / run, list[str]()
    (folder / "out").mkdir(parents=True, exist_ok=True)
    reads = InputsByRole({"policy": (Input("policy", "base", {ONLY: policy_folder}),)})
    settings = judgements.Settings(whose="all")
    judgements.run(Context(run, folder, reads, {}, ledger, Workspace(ledger.root), told.append), settings)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 3 and not [path for path in files if b"Wilhelmina" in path.read_bytes()]
    assert "p-1 30" in told[0] and "Sim (simulated) 30" in told[0]
    found = read_json(folder / "out" / "judgements.json")["people"]
    assert {one["id"]: one["name"] for one in found} == {"p-1": "p-1", "sim": "Sim"}
