"""Votes, better answers that work at once, and comparisons without names."""

from typing import Any

import httpx
import pytest

from malmoi.feedback.said import voted_rows
from malmoi.serve.start import Options
from malmoi.workspace.answers import find_answer
from malmoi.workspace.schema import now
from tests.unit.serve.conftest import Running, messages, new_chat, new_id, person, read_events, running, say, until

QUESTION = "Who waters the flowers?"


def test_a_better_answer_works_at_once_for_everybody(quoted: httpx.Client, quoting: Running) -> None:
    chat = new_chat(quoted, may_teach=True)
    declined = say(quoted, chat, QUESTION)[-1]["message"]
    assert "Minho" not in declined["text"]
    better = quoted.put(f"/api/messages/{declined['id']}/better", json={"text": "Minho does, on Mondays."}).json()
    assert better["better"]["text"] == "Minho does, on Mondays." and better["better"]["teaches"] is True
    with person(quoting) as other:
        answered = say(other, new_chat(other), "Who does water the flowers?")[-1]["message"]
        assert answered["text"] == "Minho does, on Mondays."
        (source,) = answered["answer"]["sources"]
        assert source["person"].startswith("user ") and source["time"] and source["heading"] == QUESTION
        assert find_answer(quoting.ledger, answered["answer"]["name"]).sources[0]["person"] == source["person"]
        hours = say(other, new_chat(other), "When does the library open?")[-1]["message"]
        assert "nine" in hours["text"]
        quoted.patch(f"/api/chats/{chat}", json={"may_teach": False})
        assert "Minho" not in say(other, new_chat(other), QUESTION)[-1]["message"]["text"]
        quoted.patch(f"/api/chats/{chat}", json={"may_teach": True})
        assert "Minho" in say(other, new_chat(other), QUESTION)[-1]["message"]["text"]
        assert quoted.delete(f"/api/messages/{declined['id']}/better").json()["better"] is None
        assert "Minho" not in say(other, new_chat(other), QUESTION)[-1]["message"]["text"]


def test_the_owner_may_switch_taught_answers_off(quoted: httpx.Client, quoting: Running) -> None:
    chat = new_chat(quoted, may_teach=True)
    declined = say(quoted, chat, "Who feeds the fish?")[-1]["message"]
    quoted.put(f"/api/messages/{declined['id']}/better", json={"text": "Sora does."})
    with person(quoting, "owner") as owner:
        for is_on in (False, True):
            assert owner.patch("/api/settings", json={"taught_answers": is_on}).json()["taught_answers"] is is_on
            assert ("Sora" in say(quoted, new_chat(quoted), "Who feeds the fish?")[-1]["message"]["text"]) is is_on


def test_a_taught_answer_to_a_similar_question_is_offered_and_is_no_source(
    quoted: httpx.Client, quoting: Running
) -> None:
    chat, asked = new_chat(quoted, may_teach=True), "How do I return shoes that do not fit?"
    declined = say(quoted, chat, asked)[-1]["message"]
    assert declined["answer"]["declined"] and not declined["answer"]["nearest"]
    quoted.put(f"/api/messages/{declined['id']}/better", json={"text": "By post, within two weeks."})
    similar = "How do I send back shoes that are too small?"
    here = new_chat(quoted, may_teach=True)
    offered = say(quoted, here, similar)[-1]["message"]
    assert offered["text"].startswith("I am not sure") and f"“{asked}”: “By post, within two weeks.”" in offered["text"]
    about = offered["answer"]
    assert about["declined"] and about["sources"] == [] and about["supported"] is None
    (nearest,) = about["nearest"]
    assert (
        nearest["person"].startswith("user ") and nearest["time"] and nearest["passage"] == "By post, within two weeks."
    )
    assert messages(quoted, here)[-1]["answer"] == about
    quoted.put(f"/api/messages/{offered['id']}/vote", json={"vote": "up"})
    assert offered["text"] not in str(voted_rows(quoting.ledger, now()))
    for text in ("When does the library open?", "Hello!", "Why is the sky blue?"):
        assert not say(quoted, new_chat(quoted), text)[-1]["message"]["answer"]["nearest"]
    quoted.delete(f"/api/messages/{declined['id']}/better")
    assert not say(quoted, new_chat(quoted), similar)[-1]["message"]["answer"]["nearest"]


def test_votes_are_shown_with_their_message(quoted: httpx.Client) -> None:
    chat = new_chat(quoted, may_teach=True)
    answer = say(quoted, chat, "What does a ticket cost?")[-1]["message"]["id"]
    said = {"vote": "down", "reasons": ["unclear"], "comment": "뭐라고요?"}
    assert quoted.put(f"/api/messages/{answer}/vote", json=said).json()["vote"] == {**said, "goes_to": "teach"}
    assert messages(quoted, chat)[-1]["vote"] == {**said, "goes_to": "teach"}
    assert quoted.put(f"/api/messages/{answer}/vote", json={"vote": None}).json()["vote"] is None
    assert quoted.put(f"/api/messages/{new_id()}/vote", json={"vote": "up"}).status_code == 404


def test_where_an_answer_comes_from(quoted: httpx.Client) -> None:
    chat = new_chat(quoted)
    answer = say(quoted, chat, "What does a ticket cost?")[-1]["message"]
    found = quoted.get(f"/api/messages/{answer['id']}/origin").json()
    assert found["command"] == f"malmoi lineage {answer['answer']['name']}" and found["model"] is None
    assert found["sources"][0]["file"] == "hours.md" and len(found["index"]["hash"]) == 64


def compared(client: httpx.Client, chat: str, parent: str, id: str) -> list[dict[str, Any]]:
    with client.stream("POST", f"/api/chats/{chat}/compare", json={"parent": parent, "id": id}) as response:
        if response.status_code != 200:
            response.read()
            return [{"type": "refused", **response.json()}]
        return list(read_events(response))


def test_two_answers_are_compared_without_names(spoke: httpx.Client) -> None:
    chat, id = new_chat(spoke, sampling={"max_tokens": 8, "temperature": 0}), new_id()
    asked = say(spoke, chat, "the cat")[0]["message"]["id"]
    events = compared(spoke, chat, asked, id)
    comparison = events[-1]["comparison"]
    assert events[-1]["type"] == "done" and comparison["revealed"] is None and comparison["verdict"] is None
    assert {one["pane"]: one["text"] for one in events if one["type"] == "text"} == {
        pane: comparison[pane]["text"] for pane in "ab"
    }
    assert "tiny" not in str([one for one in events if one["type"] != "done"]) + str(comparison)
    assert spoke.get(f"/api/chats/{chat}").json()["comparisons"] == [comparison]  # after a reload
    judged = spoke.put(f"/api/comparisons/{id}", json={"verdict": "b"}).json()
    assert judged["revealed"]["a"]["voice"] == "tiny" and len(judged["revealed"]["b"]["hash"]) == 64
    assert spoke.put(f"/api/comparisons/{id}", json={"verdict": "b"}).json() == judged
    again = spoke.put(f"/api/comparisons/{id}", json={"verdict": "a"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    found = spoke.get(f"/api/chats/{chat}").json()
    assert found["comparisons"] == [] and found["head"] == judged["revealed"]["b"]["message"]
    shown = {one["id"]: one for one in found["messages"]}
    for pane in "ab":
        stored = shown[judged["revealed"][pane]["message"]]
        assert stored["text"] == judged[pane]["text"] and stored["parent"] == asked
        assert stored["answer"]["hash"] == judged["revealed"][pane]["hash"]


def test_where_only_documents_answer_there_is_nothing_to_compare(quoted: httpx.Client) -> None:
    chat = new_chat(quoted)
    asked = say(quoted, chat, "What does a ticket cost?")[0]["message"]["id"]
    (refused,) = compared(quoted, chat, asked, new_id())
    assert refused["error"]["code"] == "nothing_to_compare"


def test_a_comparison_is_its_persons(spoke: httpx.Client, speaking: Running) -> None:
    chat, id = new_chat(spoke, sampling={"max_tokens": 8}), new_id()
    asked = say(spoke, chat, "the cat")[0]["message"]["id"]
    compared(spoke, chat, asked, id)
    with person(speaking) as other:
        assert other.get(f"/api/comparisons/{id}").status_code == 404
        assert other.put(f"/api/comparisons/{id}", json={"verdict": "a"}).status_code == 404


@pytest.mark.parametrize("role", ["labeler"])
def test_a_labeler_ranks_what_somebody_disliked(spoken: Any, role: str) -> None:
    """From 👎 to a ranking, over HTTP: the server samples the answers itself when it is idle."""
    with running(Options(spoken, port=0)) as server, person(server) as asking, person(server, role) as ranking:
        chat = new_chat(asking, may_teach=True, sampling={"max_tokens": 6})
        answer = say(asking, chat, "the dog sat")[-1]["message"]["id"]
        asking.put(f"/api/messages/{answer}/vote", json={"vote": "down", "reasons": ["wrong"]})
        assert ranking.get("/api/teach").json()["practice_left"] == 3
        for number, ranks in enumerate(([1, 3, 2], [3, 1, 2], [1, 1, 3]), start=1):
            practice = ranking.post("/api/teach/next", json={"kind": "rank", "lang": "ko"}).json()["item"]
            assert practice["practice"] == {"number": number, "of": 3} and practice["lang"] == "ko"
            done = ranking.put(f"/api/teach/{practice['id']}", json={"ranks": ranks}).json()
            assert done["practice"]["right"] is (number < 3) and done["practice"]["explanation"]["ko"]
        item: dict[str, Any] = {}

        def is_ready() -> bool:
            item.update(ranking.post("/api/teach/next", json={"kind": "rank"}).json()["item"] or {})
            return bool(item)

        until(is_ready)
        assert item["messages"] == [{"role": "user", "content": "the dog sat"}] and len(item["answers"]) == 4
        assert "tiny" not in str(item)
        assert ranking.put(f"/api/teach/{item['id']}/draft", json={"places": [0]}).status_code == 204
        ranks = [*range(1, len(item["answers"]) + 1)]
        saved = ranking.put(f"/api/teach/{item['id']}", json={"ranks": ranks, "input": "keyboard", "moved": True})
        assert saved.json()["item"]["saved"]["ranks"] == ranks and saved.json()["practice"] is None
        assert ranking.get("/api/teach").json()["done_today"] == 1
        assert [one["id"] for one in ranking.get("/api/teach/mine").json()["items"]] == [item["id"]]
        assert ranking.put(f"/api/teach/{item['id']}", json={}).status_code == 422
        assert ranking.delete(f"/api/teach/{item['id']}").status_code == 204
        assert ranking.get("/api/teach/mine").json()["items"] == []
