"""Faults that other tools had with ratings, and that this one shall not have."""

import pytest

from malmoi.feedback import chats
from malmoi.feedback.accounts import add_member
from malmoi.feedback.chat_files import export_chats
from malmoi.feedback.chats import NewMessage
from malmoi.feedback.learning import lesson
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.signals import signalled, vote, withdraw_better, write_better
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import now

PASSWORD = "correct horse"


class Talk:
    """A chat of Mina's that may teach: one question with two answers."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.mina = ledger, add_member(ledger, "미나", PASSWORD, "user").id
        chat, _ = chats.create_chat(ledger, self.mina, may_teach=True)
        self.chat, asked = str(chat["id"]), chats.new_id()
        self.first, self.second = chats.new_id(), chats.new_id()
        chats.add_message(ledger, self.mina, self.chat, NewMessage(asked, None, "user", "언제 열어요?"))
        for id, text in ((self.first, "아홉 시요."), (self.second, "글쎄요.")):
            chats.add_message(ledger, self.mina, self.chat, NewMessage(id, asked, "assistant", text, "stop"))

    def votes(self) -> dict[str, object]:
        rows = signalled(self.ledger, self.mina, self.chat, chats.messages_of(self.ledger, self.mina, self.chat))
        return {row["id"]: row["vote"] for row in rows if row["role"] == "assistant"}


@pytest.fixture
def talk(ledger: Ledger) -> Talk:
    return Talk(ledger)


def test_two_liked_answers_are_no_win_and_no_loss(talk: Talk) -> None:
    for answer in (talk.first, talk.second):
        vote(talk.ledger, talk.mina, answer, "up")
    found = lesson(talk.ledger, "people", now())
    assert found.rows == [] and {row["label"] for row in found.votes} <= {True}


def test_the_other_thumb_takes_the_old_reasons_along(talk: Talk) -> None:
    vote(talk.ledger, talk.mina, talk.first, "down", ["wrong", "too_long"], "틀렸어요")
    said = vote(talk.ledger, talk.mina, talk.first, "up")["vote"]
    assert (said["vote"], said["reasons"], said["comment"]) == ("up", [], "")


def test_reasons_stay_whatever_else_is_said_of_the_answer_or_of_another(talk: Talk) -> None:
    before = vote(talk.ledger, talk.mina, talk.first, "down", ["wrong"], "틀렸어요")["vote"]
    write_better(talk.ledger, talk.mina, talk.first, "열 시요.")
    withdraw_better(talk.ledger, talk.mina, talk.first)
    vote(talk.ledger, talk.mina, talk.second, "up")
    chats.change_chat(talk.ledger, talk.mina, talk.chat, {"title": "여는 시간", "head": talk.second})
    assert talk.votes()[talk.first] == before


def test_nobody_votes_in_anothers_name(talk: Talk) -> None:
    eve = add_member(talk.ledger, "Eve", PASSWORD, "owner").id
    with pytest.raises(RefusedError) as refused:
        vote(talk.ledger, eve, talk.first, "down")
    assert refused.value.code == "not_found"
    with pytest.raises(RefusedError) as refused:
        write_better(talk.ledger, eve, talk.first, "x")
    assert refused.value.code == "not_found"
    assert talk.votes() == {talk.first: None, talk.second: None}


def test_every_exported_row_names_its_chat(talk: Talk) -> None:
    (whole,) = export_chats(talk.ledger, talk.mina)["chats"]
    assert whole["id"] == talk.chat and len(whole["messages"]) == 3
    assert all(row["id"] for row in whole["messages"])


def test_many_votes_are_still_one_row_for_each_answer(talk: Talk) -> None:
    for _ in range(60):
        vote(talk.ledger, talk.mina, talk.first, "up")
        vote(talk.ledger, talk.mina, talk.first, "down", ["unclear"])
    assert len(lesson(talk.ledger, "people", now()).votes) <= 1
    assert talk.votes()[talk.first] is not None
