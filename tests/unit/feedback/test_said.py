"""What people say in chats teaches: better answers twice, comparisons, votes; as long as it may."""

from typing import Any

import pytest

from malmoi.data.comparisons import EDITED
from malmoi.feedback import chats, comparing, signals, teach_items, teaching
from malmoi.feedback.accounts import add_member
from malmoi.feedback.chats import NewMessage, new_id
from malmoi.feedback.learning import is_held_out, lesson, n_rankings
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.said import COMPARED
from malmoi.workspace.answers import NewAnswer
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import now

QUESTIONS = [text for i in range(40) if not is_held_out([{"role": "user", "content": (text := f"언제 {i}?")}])]


@pytest.fixture
def mina(ledger: Ledger) -> str:
    return add_member(ledger, "Mina", "correct horse", "owner").id


def answered(ledger: Ledger, who: str, asked: str, may_teach: bool = True) -> tuple[str, str, str]:
    """A chat with a question and its answer: ids of the chat, the question and the answer."""
    chat = str(chats.create_chat(ledger, who, may_teach=may_teach, system="짧게.")[0]["id"])
    question = str(chats.add_message(ledger, who, chat, NewMessage(new_id(), None, "user", asked))[0]["id"])
    return chat, question, str(chats.add_message(ledger, who, chat, said(question, "밤에."))[0]["id"])


def said(parent: str, text: str) -> NewMessage:
    recorded = NewAnswer([{"role": "user", "content": "?"}], text, "ppo")
    return NewMessage(new_id(), parent, "assistant", text, "stop", None, {}, recorded)


def prompt(asked: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "짧게."}, {"role": "user", "content": asked}]


def test_a_better_answer_is_imitated_and_compared(ledger: Ledger, mina: str) -> None:
    chat, _, answer = answered(ledger, mina, QUESTIONS[0])
    signals.write_better(ledger, mina, answer, "아홉 시에.")
    signals.write_better(ledger, mina, answer, "아침 아홉 시에.")
    moment = now()
    found = lesson(ledger, "people", moment)
    (shown,), (pair,) = found.demonstrations, found.rows
    assert shown["messages"] == [*prompt(QUESTIONS[0]), {"role": "assistant", "content": "아침 아홉 시에."}]
    assert (pair["answers"], pair["ranks"], pair["source"]) == (["아침 아홉 시에.", "밤에."], [1, 2], EDITED)
    assert pair["messages"] == prompt(QUESTIONS[0]) and found.people[0]["name"] == "Mina"
    row = found.to_row()
    assert (row["n_rankings"], row["n_better"], row["n_demonstrations"]) == (1, 1, 1)
    assert n_rankings(ledger) == 1  # Versions says what Improve says
    assert not lesson(ledger, "simulated", moment).rows

    signals.withdraw_better(ledger, mina, answer)
    assert lesson(ledger, "people", moment).digest == found.digest
    assert not lesson(ledger, "people", now()).demonstrations
    chats.change_chat(ledger, mina, chat, {"may_teach": False})
    assert not lesson(ledger, "people", moment).rows


def test_a_better_answer_that_only_moves_spaces_is_no_pair(ledger: Ledger, mina: str) -> None:
    _, _, answer = answered(ledger, mina, QUESTIONS[0])
    signals.write_better(ledger, mina, answer, " 밤에.  ")
    found = lesson(ledger, "people", now())
    assert len(found.demonstrations) == 1 and not found.rows


def test_nothing_is_imitated_of_a_question_that_is_held_out(ledger: Ledger, mina: str) -> None:
    asked = next(text for i in range(99) if is_held_out([{"role": "user", "content": (text := f"which {i}?")}]))
    _, _, answer = answered(ledger, mina, asked)
    signals.write_better(ledger, mina, answer, "the second")
    signals.vote(ledger, mina, answer, "up")
    found = lesson(ledger, "people", now())
    assert not found.demonstrations and not found.votes and not found.train and len(found.heldout) == 1


@pytest.mark.parametrize(("verdict", "ranks"), [("a", [1, 2]), ("b", [2, 1]), ("same", [1, 1]), ("both_bad", None)])
def test_a_comparison_in_a_chat_is_a_ranking(ledger: Ledger, mina: str, verdict: str, ranks: Any) -> None:
    chat, question, _ = answered(ledger, mina, QUESTIONS[1])
    id = new_id()
    comparing.add_comparison(ledger, mina, chat, id, question, [said(question, text) for text in ("one", "two")])
    assert not lesson(ledger, "people", now()).rows
    shown = comparing.get_comparison(ledger, mina, id)
    comparing.judge(ledger, mina, id, verdict)
    rows = lesson(ledger, "people", now()).rows
    if ranks is None:
        assert not rows
        return
    assert (rows[0]["ranks"], rows[0]["source"], rows[0]["messages"]) == (ranks, COMPARED, prompt(QUESTIONS[1]))
    assert rows[0]["answers"] == [shown[pane]["text"] for pane in "ab"]


def test_a_comparison_whose_answers_find_no_room_stays_as_it_was(
    ledger: Ledger, mina: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, question, _ = answered(ledger, mina, QUESTIONS[1])
    id = new_id()
    comparing.add_comparison(ledger, mina, chat, id, question, [said(question, text) for text in ("one", "two")])
    monkeypatch.setattr(chats, "MOST_MESSAGES", 3)
    with pytest.raises(RefusedError, match="begin a new one"):
        comparing.judge(ledger, mina, id, "a")
    assert len(chats.messages_of(ledger, mina, chat)) == 2
    assert comparing.get_comparison(ledger, mina, id)["verdict"] is None


def test_the_latest_vote_counts_and_a_dislike_waits_until_it_is_ranked(ledger: Ledger, mina: str) -> None:
    _, _, answer = answered(ledger, mina, QUESTIONS[2])
    _, _, private = answered(ledger, mina, QUESTIONS[3], may_teach=False)
    signals.vote(ledger, mina, private, "down")
    signals.vote(ledger, mina, answer, "up")
    signals.vote(ledger, mina, answer, "down", ["wrong"])
    found = lesson(ledger, "people", now())
    (vote,) = found.votes
    assert (vote["label"], vote["messages"][-1]) == (False, {"role": "assistant", "content": "밤에."})
    assert found.to_row()["votes"] == {"up": 0, "down": 1}
    assert (found.n_waiting_votes, found.n_withheld_chats) == (1, 1)
    signals.vote(ledger, mina, answer, None)
    assert not lesson(ledger, "people", now()).votes
    item = teach_items.next_to_sample(ledger)
    assert item is not None
    teach_items.add_answers(ledger, item["id"], [teach_items.Sampled("at nine", [1], "stop", None, {})])
    ann = add_member(ledger, "Ann", "correct horse", "labeler").id
    asked = teaching.next_item(ledger, ann, "rank")
    assert asked is not None
    teaching.save_ranks(ledger, ann, asked["id"], [1, 2])
    assert lesson(ledger, "people", now()).n_waiting_votes == 0


def test_an_answer_that_somebody_wrote_under_teach_is_imitated(ledger: Ledger, mina: str) -> None:
    teach_items.add_question(ledger, mina, QUESTIONS[4])
    ann = add_member(ledger, "Ann", "correct horse", "labeler").id
    asked = teaching.next_item(ledger, ann, "write")
    assert asked is not None
    teaching.save_text(ledger, ann, asked["id"], "아홉 시에.")
    found = lesson(ledger, "people", now())
    assert found.demonstrations[0]["messages"][-1]["content"] == "아홉 시에." and not found.rows
    teaching.withdraw(ledger, ann, asked["id"])
    assert not lesson(ledger, "people", now()).demonstrations
