"""Ranking by people: nobody is shown an item twice, nothing said is lost or counted twice, and consent counts."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from malmoi.feedback import chats, signals, teach_items, teaching
from malmoi.feedback.accounts import add_member
from malmoi.feedback.chats import NewMessage, new_id
from malmoi.feedback.forgetting import people_with_data
from malmoi.feedback.judgements import SnapshotFilter, freeze
from malmoi.feedback.lead import people_agree
from malmoi.feedback.learning import n_rankings
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.settings import change_settings, get_settings
from malmoi.feedback.taught import taught_answers
from malmoi.feedback.teach_items import Sampled
from malmoi.files import read_jsonl
from malmoi.workspace.answers import NewAnswer
from malmoi.workspace.base import now
from malmoi.workspace.database import writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Assignment, Generation, Judgement, Prompt
from malmoi.workspace.service_schema import Lease, TeachItem, Vote

PASSWORD = "correct horse"


@pytest.fixture
def mina(ledger: Ledger) -> str:
    return add_member(ledger, "Mina", PASSWORD, "owner").id


@pytest.fixture
def ann(ledger: Ledger, mina: str) -> str:
    return add_member(ledger, "Ann", PASSWORD, "labeler").id


@pytest.fixture
def bob(ledger: Ledger, mina: str) -> str:
    return add_member(ledger, "Bob", PASSWORD, "labeler").id


def answered(ledger: Ledger, who: str, may_teach: bool = True) -> tuple[str, str]:
    """A chat with a question and its answer: ids of the chat and of the answer."""
    chat = str(chats.create_chat(ledger, who, may_teach=may_teach)[0]["id"])
    asked = chats.add_message(ledger, who, chat, NewMessage(new_id(), None, "user", "언제 열어?"))[0]["id"]
    recorded = NewAnswer([{"role": "user", "content": "언제 열어?"}], "At night.", "ppo")
    message = NewMessage(new_id(), asked, "assistant", "At night.", "stop", None, {}, recorded)
    return chat, str(chats.add_message(ledger, who, chat, message)[0]["id"])


def ready(ledger: Ledger, author: str, texts: tuple[str, ...] = ("one", "two", "three")) -> None:
    """A question with answers to rank."""
    teach_items.add_question(ledger, author, "When?")
    item = teach_items.next_to_sample(ledger)
    assert item is not None
    assert teach_items.add_answers(ledger, item["id"], [Sampled(text, [1], "stop", None, {}) for text in texts])


def counted(ledger: Ledger, *tables: type[Any]) -> list[int]:
    with ledger.engine.connect() as connection:
        return [connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def ended(ledger: Ledger, lease_id: str) -> None:
    with writing(ledger.engine) as connection:
        connection.execute(update(Lease).where(Lease.id == lease_id).values(expires_at=now() - timedelta(seconds=1)))


def test_a_dislike_with_consent_asks_others_once(ledger: Ledger, mina: str) -> None:
    _, answer = answered(ledger, mina)
    for reasons in (["wrong"], ["wrong"], ["too_long"]):
        found = signals.vote(ledger, mina, answer, "down", reasons)
    assert found["vote"] == {"vote": "down", "reasons": ["too_long"], "comment": "", "goes_to": "teach"}
    assert counted(ledger, TeachItem, Vote) == [1, 2]  # the same vote again is no vote
    item = teach_items.next_to_sample(ledger)
    assert item is not None and item["messages"] == [{"role": "user", "content": "언제 열어?"}]
    assert item["texts"] == ["At night."]


def test_without_consent_a_dislike_stays_with_its_person(ledger: Ledger, mina: str) -> None:
    _, answer = answered(ledger, mina, may_teach=False)
    assert signals.vote(ledger, mina, answer, "down")["vote"]["goes_to"] == "nowhere"
    assert counted(ledger, TeachItem, Prompt) == [0, 0]


def test_consent_that_comes_later_asks_others_about_earlier_dislikes(ledger: Ledger, mina: str) -> None:
    chat, answer = answered(ledger, mina, may_teach=False)
    signals.vote(ledger, mina, answer, "down")
    for _ in range(2):
        signals.change_chat(ledger, mina, chat, {"may_teach": True})
    assert counted(ledger, TeachItem) == [1]


def test_a_draft_may_be_as_long_in_korean(ledger: Ledger, mina: str, ann: str) -> None:
    teach_items.add_question(ledger, mina, "왜?")
    item = teaching.next_item(ledger, ann, "write")
    assert item is not None
    teaching.keep_draft(ledger, ann, item["id"], {"text": "가" * 19_000})
    for text in ("가" * 20_001, "\ud800"):
        with pytest.raises(RefusedError, match="draft"):
            teaching.keep_draft(ledger, ann, item["id"], {"text": text})


def test_consent_that_is_taken_back_takes_the_question_away(ledger: Ledger, mina: str, ann: str) -> None:
    chat, answer = answered(ledger, mina)
    signals.vote(ledger, mina, answer, "down")
    item = teach_items.next_to_sample(ledger)
    assert item is not None
    teach_items.add_answers(ledger, item["id"], [Sampled("At nine.", [], "stop", None, {})])
    held = teaching.next_item(ledger, ann)
    assert held is not None
    chats.change_chat(ledger, mina, chat, {"may_teach": False})
    assert teaching.next_item(ledger, ann) is None and teaching.overview(ledger, ann)["waiting"] == 0
    chats.change_chat(ledger, mina, chat, {"may_teach": True})
    assert teaching.next_item(ledger, ann) == held


def test_a_vote_can_be_changed_and_taken_back_and_the_latest_counts(ledger: Ledger, mina: str, ann: str) -> None:
    """Others lost the reasons of a vote, kept the old one's score, or let it be cast for somebody else."""
    chat, answer = answered(ledger, mina)
    signals.vote(ledger, mina, answer, "down", ["unsafe"], "no!")
    assert signals.vote(ledger, mina, answer, "up")["vote"] == {
        "vote": "up", "reasons": [], "comment": "", "goes_to": "nowhere",
    }  # fmt: skip
    assert signals.vote(ledger, mina, answer, None)["vote"] is None
    assert counted(ledger, Vote) == [3]
    with pytest.raises(RefusedError, check=lambda error: error.code == "not_found"):
        signals.vote(ledger, ann, answer, "up")
    asked = chats.messages_of(ledger, mina, chat)[0]["id"]
    for wrong in ({"vote": "meh"}, {"vote": "down", "reasons": ["ugly"]}, {"vote": "up", "comment": "x" * 2001}):
        with pytest.raises(RefusedError, check=lambda error: error.code == "invalid"):
            signals.vote(ledger, mina, answer, **wrong)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="only answers are judged"):
        signals.vote(ledger, mina, asked, "up")


def test_a_better_answer_teaches_as_long_as_it_may(ledger: Ledger, mina: str) -> None:
    chat, answer = answered(ledger, mina)
    signals.write_better(ledger, mina, answer, "Nine.")
    signals.write_better(ledger, mina, answer, " At nine. ")
    (taught,) = taught_answers(ledger)
    assert (taught.question, taught.answer, taught.person) == ("언제 열어?", "At nine.", "Mina")
    chats.change_chat(ledger, mina, chat, {"may_teach": False})
    assert taught_answers(ledger) == []
    chats.change_chat(ledger, mina, chat, {"may_teach": True})
    assert signals.withdraw_better(ledger, mina, answer)["better"] is None
    assert taught_answers(ledger) == []
    signals.write_better(ledger, mina, answer, "At nine.")
    chats.delete_chat(ledger, mina, chat)
    assert taught_answers(ledger) == []


def test_an_item_goes_to_as_many_people_as_it_needs_each_once(ledger: Ledger, mina: str, ann: str, bob: str) -> None:
    ready(ledger, mina)
    first, again, other = (teaching.next_item(ledger, who) for who in (ann, ann, bob))
    assert first is not None and first == again and other is not None and other["id"] != first["id"]
    assert sorted(one["text"] for one in first["answers"]) == ["one", "three", "two"]
    assert teaching.next_item(ledger, mina) is None  # two people have it
    teaching.save_ranks(ledger, ann, first["id"], [1, 2, 2])
    assert teaching.next_item(ledger, ann) is None
    assert teaching.overview(ledger, ann) == {"waiting": 0, "to_write": 1, "done_today": 1, "n_saved": 1}


def test_how_many_people_rank_a_question_is_a_setting(ledger: Ledger, mina: str, ann: str, bob: str) -> None:
    change_settings(ledger, {"people_per_question": 1})
    ready(ledger, mina)
    item = teaching.next_item(ledger, ann)
    assert item is not None and teaching.next_item(ledger, bob) is None
    teaching.save_ranks(ledger, ann, item["id"], [1, 2, 3])
    change_settings(ledger, {"people_per_question": 2})  # also of a question that had enough before
    assert teaching.next_item(ledger, bob) is not None and teaching.next_item(ledger, ann) is None
    for wrong in (0, 10, True, "2"):
        with pytest.raises(RefusedError, check=lambda error: error.param == "people_per_question"):
            change_settings(ledger, {"people_per_question": wrong})
    assert get_settings(ledger)["people_per_question"] == 2


def test_ones_own_question_comes_last(ledger: Ledger, mina: str, ann: str) -> None:
    ready(ledger, ann, ("a", "b"))
    ready(ledger, mina, ("c", "d"))
    item = teaching.next_item(ledger, ann)
    assert item is not None and {one["text"] for one in item["answers"]} == {"c", "d"}


def test_what_is_saved_is_a_judgement_in_the_order_shown(ledger: Ledger, mina: str, ann: str) -> None:
    ready(ledger, mina)
    item = teaching.next_item(ledger, ann)
    assert item is not None
    saved = teaching.save_ranks(ledger, ann, item["id"], [2, 1, 2], active_ms=900, moved=True, input="keyboard")
    assert saved["saved"]["ranks"] == [2, 1, 2] and saved["saved"]["version"] == 1
    assert teaching.save_ranks(ledger, ann, item["id"], [2, 1, 2])["saved"]["version"] == 1
    assert teaching.save_ranks(ledger, ann, item["id"], [1, 2, 3])["saved"]["version"] == 2
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(*Judgement.__table__.c).order_by(Judgement.version)).all()
        shown = connection.scalar(select(Assignment.generation_ids)) or []
        texts = teach_items.answers_of(connection, shown)
    assert [texts[id] for id in shown] == [one["text"] for one in item["answers"]]
    assert [(row.ranks, row.version) for row in rows] == [([2, 1, 2], 1), ([1, 2, 3], 2)]
    assert rows[0].origin["input"] == "keyboard" and rows[0].active_ms == 900


@pytest.mark.parametrize("ranks", [[], [1, 2], [1, 2, 4], [0, 1, 2], [1, 1, 2], [1, 2, 3, 4]])
def test_ranks_that_are_none_are_refused(ledger: Ledger, mina: str, ann: str, ranks: list[int]) -> None:
    ready(ledger, mina)
    item = teaching.next_item(ledger, ann)
    assert item is not None
    with pytest.raises(RefusedError, check=lambda error: error.param == "ranks"):
        teaching.save_ranks(ledger, ann, item["id"], ranks)
    assert counted(ledger, Judgement) == [0]


@pytest.mark.parametrize("why", ["all_bad", "cant_tell"])
def test_no_order_is_an_answer_too_and_makes_no_pair(ledger: Ledger, mina: str, ann: str, why: str) -> None:
    ready(ledger, mina)
    item = teaching.next_item(ledger, ann)
    assert item is not None
    assert teaching.save_ranks(ledger, ann, item["id"], [], why)["saved"]["unrankable"] == why
    with ledger.engine.connect() as connection:
        row = connection.execute(select(*Judgement.__table__.c)).one()
    assert row.unrankable and row.flags == ([["bad"]] * 3 if why == "all_bad" else None)
    assert people_agree(ledger) is None


def counted_rankings(ledger: Ledger, person_id: str) -> tuple[int, int]:
    """As the page of versions and the page of data count them."""
    (row,) = (one for one in people_with_data(ledger) if one["id"] == person_id)
    return n_rankings(ledger), row["n_rankings"]


def test_what_was_said_can_be_taken_back_and_said_again(
    ledger: Ledger, mina: str, ann: str, tmp_path: Path, policy_run: Callable[[], str]
) -> None:
    ready(ledger, mina)
    item = teaching.next_item(ledger, ann)
    assert item is not None
    teaching.keep_draft(ledger, ann, item["id"], {"places": [0, 1, 2]})
    assert teaching.save_ranks(ledger, ann, item["id"], [1, 2, 3])["draft"] is None
    assert [one["id"] for one in teaching.mine(ledger, ann)[0]] == [item["id"]]
    assert counted_rankings(ledger, ann) == (1, 1)
    teaching.withdraw(ledger, ann, item["id"])
    teaching.withdraw(ledger, ann, item["id"])
    assert counted_rankings(ledger, ann) == (0, 0)
    assert teaching.mine(ledger, ann) == ([], None)
    with pytest.raises(Exception, match="no judgement passes"):
        freeze(ledger, SnapshotFilter(), tmp_path / "none.jsonl", run_id=policy_run())
    reopened = teaching.next_item(ledger, ann)
    assert reopened is not None and (reopened["id"], reopened["draft"]) == (item["id"], {"places": [0, 1, 2]})
    teaching.save_ranks(ledger, ann, item["id"], [1, 2, 3])
    freeze(ledger, SnapshotFilter(), tmp_path / "one.jsonl", run_id=policy_run())
    (row,) = read_jsonl(tmp_path / "one.jsonl")
    assert row["ranks"] == [1, 2, 3] and row["answers"] == [one["text"] for one in item["answers"]]


@pytest.fixture
def policy_run(ledger: Ledger) -> Callable[[], str]:
    def make() -> str:
        return ledger.start_run(stage="rank", recipe="", fingerprint=new_id(), settings={}, seed=0, inputs={})

    return make


def test_a_draft_survives_and_a_lease_that_ended_is_told(ledger: Ledger, mina: str, ann: str, bob: str) -> None:
    ready(ledger, mina)
    item = teaching.next_item(ledger, ann)
    assert item is not None
    teaching.keep_draft(ledger, ann, item["id"], {"places": [0, None, 1]})
    ended(ledger, item["id"])
    again = teaching.next_item(ledger, ann)  # nobody else wanted it
    assert again is not None and (again["id"], again["draft"]) == (item["id"], {"places": [0, None, 1]})
    assert again["answers"] == item["answers"]
    ended(ledger, item["id"])
    for who in (bob, mina):
        other = teaching.next_item(ledger, who)
        assert other is not None
        teaching.save_ranks(ledger, who, other["id"], [1, 2, 3])
    lost = pytest.raises(RefusedError, check=lambda error: error.code == "lease_lost")
    with lost:
        teaching.keep_draft(ledger, ann, item["id"], {"places": [1, 2, 0]})
    with lost:
        teaching.save_ranks(ledger, ann, item["id"], [1, 2, 3])
    assert teaching.save_ranks(ledger, ann, item["id"], [1, 2, 3], extra=True)["saved"]["version"] == 1
    assert counted(ledger, Judgement) == [3]


def test_nobody_touches_what_is_in_other_hands(ledger: Ledger, mina: str, ann: str, bob: str) -> None:
    ready(ledger, mina)
    item = teaching.next_item(ledger, ann)
    assert item is not None
    for act in (
        lambda: teaching.save_ranks(ledger, bob, item["id"], [1, 2, 3]),
        lambda: teaching.keep_draft(ledger, bob, item["id"], {}),
        lambda: teaching.skip(ledger, bob, item["id"]),
        lambda: teaching.withdraw(ledger, bob, item["id"]),
    ):
        with pytest.raises(RefusedError, check=lambda error: error.code == "not_found"):
            act()


def test_a_skipped_item_goes_to_somebody_else(ledger: Ledger, mina: str, ann: str, bob: str) -> None:
    ready(ledger, mina)
    item = teaching.next_item(ledger, ann)
    assert item is not None
    teaching.skip(ledger, ann, item["id"])
    assert teaching.next_item(ledger, ann) is None and teaching.next_item(ledger, bob) is not None


def test_a_question_that_is_sent_twice_is_asked_once(ledger: Ledger, mina: str, ann: str) -> None:
    first = teach_items.add_question(ledger, mina, "When?")
    assert [teach_items.add_question(ledger, who, text) == first for who, text in (
        (mina, " When? "), (ann, "When?"), (mina, "When"))] == [True, False, False]  # fmt: skip
    assert counted(ledger, Prompt, TeachItem) == [3, 6]


def test_a_written_answer_names_its_writer(ledger: Ledger, mina: str, ann: str) -> None:
    teach_items.add_question(ledger, mina, "When?")
    item = teaching.next_item(ledger, ann, "write")
    assert item is not None and item["answers"] == []
    assert teaching.save_text(ledger, ann, item["id"], "At nine.")["saved"]["text"] == "At nine."
    with ledger.engine.connect() as connection:
        row = connection.execute(select(*Generation.__table__.c)).one()
    assert (row.person_id, row.model_sha256, row.text) == (ann, None, "At nine.")


def test_answers_that_are_all_the_same_are_written_instead(ledger: Ledger, mina: str, ann: str) -> None:
    teach_items.add_question(ledger, mina, "When?")
    item = teach_items.next_to_sample(ledger)
    assert item is not None
    same = [Sampled(text, [], "stop", None, {}) for text in ("x", " X", "")]
    assert not teach_items.add_answers(ledger, item["id"], same)
    assert teaching.next_item(ledger, ann) is None and teach_items.next_to_sample(ledger) is None


def test_how_far_people_agree_is_by_pairs(ledger: Ledger, mina: str, ann: str, bob: str) -> None:
    ready(ledger, mina)
    by = {ann: {"one": 1, "two": 2, "three": 3}, bob: {"one": 1, "two": 3, "three": 2}}
    for who, wanted in by.items():
        item = teaching.next_item(ledger, who)
        assert item is not None
        teaching.save_ranks(ledger, who, item["id"], [wanted[one["text"]] for one in item["answers"]])
    found = people_agree(ledger)
    assert found is not None and (found["pairs"], found["people"]) == (3, 2)
    assert found["share"] == pytest.approx(2 / 3)


def test_a_deleted_chat_takes_along_what_others_said_of_it(ledger: Ledger, mina: str, ann: str) -> None:
    chat, answer = answered(ledger, mina)
    signals.vote(ledger, mina, answer, "down")
    item = teach_items.next_to_sample(ledger)
    assert item is not None
    teach_items.add_answers(ledger, item["id"], [Sampled("At nine.", [], "stop", None, {})])
    held = teaching.next_item(ledger, ann)
    assert held is not None
    teaching.save_ranks(ledger, ann, held["id"], [1, 2])
    chats.delete_chat(ledger, mina, chat)
    assert counted(ledger, Judgement, Assignment, Generation, Prompt, TeachItem, Lease, Vote) == [0] * 7
