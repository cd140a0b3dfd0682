"""The gate's decisions: comparisons in, a verdict out, and what may be put in service then."""

from pathlib import Path

import pytest
import torch
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from malmoi.feedback.accounts import FORGOTTEN, add_member
from malmoi.feedback.chat_files import export_chats, import_chats
from malmoi.feedback.chats import (
    NewMessage,
    add_message,
    change_chat,
    create_chat,
    delete_chat,
    list_chats,
    messages_of,
    new_id,
)
from malmoi.feedback.contenders import Match, asked_here
from malmoi.feedback.forgetting import forget_person
from malmoi.feedback.gate_comparisons import (
    Spoken,
    compared_prompts,
    record_answer,
    record_comparison,
    verdict_of,
    waiting_comparisons,
)
from malmoi.feedback.pinned import Regression, pin, pinned_questions, record_pinned, regression, unpin
from malmoi.feedback.promotion import promote, refuse, rollback
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.signals import vote
from malmoi.feedback.teach_items import split_of
from malmoi.feedback.terminal import person_at_terminal
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.answers import NewAnswer
from malmoi.workspace.database import writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.ring_schema import GateComparison, VersionRow
from malmoi.workspace.versions import NewVersion, Version, add_version, begin_versions, find_version


@pytest.fixture
def pair(
    ledger: Ledger, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate
) -> tuple[Ledger, Version, Version]:
    """A candidate, v2, and the version in service, v1."""
    torch.manual_seed(3)
    folder: Path = ledger.root / "models" / "sft"
    save_model(folder, LanguageModel(shape), tokenizer, template, {})
    serving = begin_versions(ledger)
    return ledger, add_version(ledger, NewVersion(how="train", model="sft", policy=folder)), serving


def asked(
    ledger: Ledger, candidate: Version, serving: Version, question: str, text: str = "a new answer", name: str = "Ann"
) -> str:
    """A comparison for somebody; its id."""
    ann = person_at_terminal(ledger, name)
    said = Spoken(candidate, text, False, 1), Spoken(serving, "an old answer", False, 2)
    return str(record_comparison(ledger, [{"role": "user", "content": question}], *said, ann)["id"])


def says(
    ledger: Ledger, candidate: Version, serving: Version, question: str, wins: bool | None, name: str = "Ann"
) -> None:
    """Somebody compares the answers to a question: the candidate wins, loses, or ties."""
    comparison = asked(ledger, candidate, serving, question, name=name)
    ann = person_at_terminal(ledger, name)
    (shown,) = waiting_comparisons(ledger, candidate, serving, ann)
    assert shown["id"] == comparison
    place = 0 if shown["shown"][0]["version"] == candidate.number else 1
    record_answer(ledger, comparison, "tie" if wins is None else "ab"[place if wins else 1 - place], ann)


def test_pinned_questions_must_not_be_lost(pair: tuple[Ledger, Version, Version]) -> None:
    ledger, candidate, serving = pair
    pinned = [pin(ledger, f"When is {i}?", ["at nine", "책"]) for i in range(2)]
    shown = pin(ledger, "How are you?")
    found = regression(ledger, candidate, serving)
    assert (found.n, found.unasked, found.fell) == (0, 3, False)
    for version, right in ((serving, "책은 AT  NINE."), (candidate, "At nine.")):
        record_pinned(
            ledger, version, [(pinned[0]["id"], right), (pinned[1]["id"], "책, at nine"), (shown["id"], "ok")]
        )
    found = regression(ledger, candidate, serving)
    assert (found.n, found.candidate, found.in_service, found.unasked) == (2, 1, 2, 0)
    assert found.fell and found.lost[0]["candidate"] == "At nine." and not found.won
    for knowingly in (False, True):
        with pytest.raises(RefusedError, match="answers 1 of 2 pinned questions correctly, and v1 2") as refused:
            promote(ledger, "v2", knowingly=knowingly)
        assert refused.value.code == "regressed"
    record_pinned(ledger, candidate, [(pinned[0]["id"], "책, at nine")])
    assert not regression(ledger, candidate, serving).fell
    record_pinned(ledger, candidate, [(pinned[0]["id"], "no")])
    unpin(ledger, pinned[0]["id"])
    assert promote(ledger, "v2", knowingly=True).state == "in_service"
    assert [one["text"] for one in pinned_questions(ledger)] == ["When is 1?", "How are you?"]


def test_one_loss_of_many_is_within_the_margin() -> None:
    assert not Regression(20, 19, 20, [], [], 0).fell and Regression(19, 18, 19, [], [], 0).fell


@pytest.mark.parametrize("text", ["  ", "x" * 1001, "when IS it"])
def test_a_question_that_cannot_be_pinned_is_refused(ledger: Ledger, text: str) -> None:
    pin(ledger, "When is it")
    with pytest.raises(RefusedError):
        pin(ledger, text)
    with pytest.raises(RefusedError):
        unpin(ledger, "q-0")


def test_those_from_whom_it_did_not_learn_must_find_it_better_too(pair: tuple[Ledger, Version, Version]) -> None:
    ledger, _, serving = pair
    ann = person_at_terminal(ledger, "Ann")
    learned = {"people": [{"id": ann, "name": "Ann", "n": 9, "n_left_out": 0, "simulated": False}]}
    new = NewVersion(how="train", model="sft", policy=ledger.root / "models" / "sft", learned=learned)
    candidate = add_version(ledger, new)
    for i in range(40):
        says(ledger, candidate, serving, f"what is {i}?", True)
    assert verdict_of(ledger, candidate, serving).others is None
    assert verdict_of(ledger, candidate, serving).outcome == "better"
    for i, name in enumerate(("Ben", "Cho")):
        says(ledger, candidate, serving, f"and {i}?", False, name)
    found = verdict_of(ledger, candidate, serving)
    assert found.verdict.outcome == "better" and found.outcome == "not known yet"
    assert found.others is not None and (found.others["people"], found.others["win_rate"]) == (2, 0.0)
    with pytest.raises(RefusedError) as refused:
        promote(ledger, candidate.name)
    assert refused.value.code == "not_known_yet"
    for i in range(3):
        says(ledger, candidate, serving, f"and then {i}?", True, "Cho")
    assert promote(ledger, candidate.name).history[-1]["knowingly"] is False


def test_nothing_known_needs_knowingly_and_the_ledger_says_so(pair: tuple[Ledger, Version, Version]) -> None:
    ledger, _, _ = pair
    with pytest.raises(RefusedError, match="not known yet whether it is better than v1") as refused:
        promote(ledger, "v2")
    assert refused.value.code == "not_known_yet"
    ann = person_at_terminal(ledger, "Ann")
    promoted = promote(ledger, "v2", knowingly=True, person_id=ann)
    assert promoted.state == "in_service" and find_version(ledger, "v1").state == "earlier"
    act = promoted.history[-1]
    assert (act["act"], act["instead_of"], act["by"], act["knowingly"]) == ("promote", "v1", "Ann", True)
    assert act["verdict"]["outcome"] == "not known yet" and promote(ledger, "v2") == promoted


def test_better_is_promoted_and_worse_is_refused_even_knowingly(pair: tuple[Ledger, Version, Version]) -> None:
    ledger, candidate, serving = pair
    other = add_version(ledger, NewVersion(how="train", model="sft", policy=candidate.policy))
    for number in range(20):
        says(ledger, candidate, serving, f"question {number}?", wins=True)
        says(ledger, other, serving, f"question {number}?", wins=False)
    found = verdict_of(ledger, candidate, serving)
    assert found.outcome == "better" and found.verdict.n == 20 and found.verdict.low > 0.5
    assert found.people == [{"name": "Ann", "n": 20, "taught": False}]
    assert len(found.wins) == 5 and found.losses == [] and found.wins[0]["candidate"] == "a new answer"
    with pytest.raises(RefusedError, match="people find its answers worse than those of v1") as refused:
        promote(ledger, "v3", knowingly=True)
    assert refused.value.code == "worse" and refuse(ledger, "v3").state == "refused"
    promoted = promote(ledger, "v2")
    assert promoted.state == "in_service" and not promoted.history[-1]["knowingly"]
    assert rollback(ledger).name == "v1" and find_version(ledger, "v2").state == "earlier"


def test_questions_that_both_answer_alike_are_shown_to_nobody(pair: tuple[Ledger, Version, Version]) -> None:
    ledger, candidate, serving = pair
    asked(ledger, candidate, serving, "the same?", text="an old answer ")
    ann = person_at_terminal(ledger, "Ann")
    assert waiting_comparisons(ledger, candidate, serving, ann) == []
    assert verdict_of(ledger, candidate, serving).alike == 1 and len(compared_prompts(ledger, candidate, serving)) == 1


def test_a_question_counts_once_however_it_is_written(pair: tuple[Ledger, Version, Version]) -> None:
    ledger, candidate, serving = pair
    says(ledger, candidate, serving, "What is a list?", wins=True)
    says(ledger, candidate, serving, "what is a  LIST?", wins=True)
    says(ledger, candidate, serving, "리스트가 뭐야?", wins=None)
    found = verdict_of(ledger, candidate, serving)
    assert (found.verdict.n, found.verdict.n_waiting, found.verdict.win_rate, found.ties) == (2, 1, 0.75, 1)


def test_an_answer_is_given_once_by_the_one_who_was_asked(pair: tuple[Ledger, Version, Version]) -> None:
    ledger, candidate, serving = pair
    comparison, ann = asked(ledger, candidate, serving, "one?"), person_at_terminal(ledger, "Ann")
    with pytest.raises(RefusedError, match="no such comparison"):
        record_answer(ledger, comparison, "a", person_at_terminal(ledger, "Ben"))
    with pytest.raises(RefusedError, match="expected a, b, tie, both_bad"):
        record_answer(ledger, comparison, "c", ann)
    assert [record_answer(ledger, comparison, "a", ann) for _ in range(2)] == [(2, 1)] * 2
    with pytest.raises(RefusedError, match="was answered before: a"):
        record_answer(ledger, comparison, "b", ann)
    assert verdict_of(ledger, candidate, serving).verdict.n == 1


def test_what_was_shown_is_never_changed(pair: tuple[Ledger, Version, Version]) -> None:
    ledger, candidate, serving = pair
    asked(ledger, candidate, serving, "one?")
    with pytest.raises(IntegrityError, match="compare again"), writing(ledger.engine) as connection:
        connection.execute(update(GateComparison).values(candidate=1))


def test_going_back_needs_something_earlier(pair: tuple[Ledger, Version, Version]) -> None:
    ledger, _, _ = pair
    for to, says_what in ((None, "nothing to go back to"), ("v2", "v2: was never in service")):
        with pytest.raises(RefusedError, match=says_what):
            rollback(ledger, to)
    with pytest.raises(RefusedError, match="v1: is in service; go back first"):
        refuse(ledger, "v1")
    assert rollback(ledger, "v1").state == "in_service"


def test_a_version_names_nobody_who_was_forgotten(pair: tuple[Ledger, Version, Version]) -> None:
    ledger, candidate, _ = pair
    add_member(ledger, "Owner", "a long password", "owner")
    mina, jun = (add_member(ledger, name, "a long password", "user") for name in ("미나", "Jun"))
    taught = [{"id": one.id, "name": one.name, "n": 3, "n_left_out": 0, "simulated": False} for one in (mina, jun)]
    new = NewVersion(how="train", model="sft", policy=candidate.policy, learned={"n_rankings": 6, "people": taught})
    number = add_version(ledger, new).number
    assert forget_person(ledger, mina.id)["versions"] == [f"v{number}"]
    learned = find_version(ledger, f"v{number}").learned
    assert learned is not None and learned["n_rankings"] == 6
    assert [(one["name"], one["n"]) for one in learned["people"]] == [(FORGOTTEN, 3), ("Jun", 3)]
    with ledger.engine.connect() as connection:  # as it is stored
        stored = connection.scalar(select(VersionRow.learned).where(VersionRow.number == number))
    assert [*stored["people"][0]] == ["id", "n", "n_left_out", "simulated"]
    with pytest.raises(RefusedError):
        add_member(ledger, "Forgotten", "a long password", "user")


def test_what_was_asked_in_a_deleted_chat_is_in_no_comparison(pair: tuple[Ledger, Version, Version]) -> None:
    """Unless somebody else asked the same, whose question it is, too."""
    ledger, candidate, serving = pair
    mina, jun = (add_member(ledger, name, "a long password", "owner").id for name in ("미나", "Jun"))
    own, shared = "Where did I leave my keys?", "What is a list?"
    chats_of_mina = [answered_chat(ledger, mina, question) for question in (own, shared)]
    answered_chat(ledger, jun, shared)
    for question in (own, shared):
        says(ledger, candidate, serving, question, True)
    act = refuse(ledger, "v2").history[-1]
    assert act["verdict"]["win_rate"] == 1 and own not in str(act) and "people" not in act["verdict"]
    for chat in chats_of_mina:
        delete_chat(ledger, mina, chat)
    verdict = verdict_of(ledger, candidate, serving)
    assert [row["question"] for row in verdict.wins] == [shared] and verdict.verdict.n == 1


def test_a_question_whose_chat_may_teach_no_more_is_asked_of_nobody(pair: tuple[Ledger, Version, Version]) -> None:
    """Nor one that came in with a file: it was asked elsewhere."""
    ledger, candidate, serving = pair
    mina = add_member(ledger, "미나", "a long password", "owner").id
    # One tenth of the questions under Teach is held out from training, for the gate.
    secret = next(text for i in range(99) if split_of(text := f"Secret {i}?") == "heldout")
    chat = answered_chat(ledger, mina, secret)
    vote(ledger, mina, messages_of(ledger, mina, chat)[-1]["id"], "down")
    import_chats(ledger, mina, export_chats(ledger, mina, answered_chat(ledger, mina, "Elsewhere?"))["chats"])
    for one in list_chats(ledger, mina)[0]:
        change_chat(ledger, mina, one["id"], {"may_teach": True})
    assert [said[-1]["content"] for said in asked_here(ledger)] == ["Elsewhere?", secret, secret]
    asked(ledger, candidate, serving, secret)
    match, ann = Match(ledger, candidate, serving), person_at_terminal(ledger, "Ann")
    assert (waiting := match.next_pair(ann)) is not None and waiting["messages"][-1]["content"] == secret
    change_chat(ledger, mina, chat, {"may_teach": False})
    assert [said[-1]["content"] for said in asked_here(ledger)] == ["Elsewhere?"]
    assert (row := match.next_pair(ann)) is None or row["messages"][-1]["content"] == "Elsewhere?"


def answered_chat(ledger: Ledger, person: str, question: str) -> str:
    """A chat of a person with one question and its answer."""
    chat = str(create_chat(ledger, person, may_teach=True)[0]["id"])
    asked, _ = add_message(ledger, person, chat, NewMessage(new_id(), None, "user", question))
    recorded = NewAnswer([{"role": "user", "content": question}], "An answer.", "sft", "a" * 64)
    answer = NewMessage(new_id(), asked["id"], "assistant", "An answer.", "stop", None, {}, recorded)
    add_message(ledger, person, chat, answer)
    return chat
