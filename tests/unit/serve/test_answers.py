"""Answers as they come: streamed, stopped, asked for twice, and left by a reader who has gone."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import torch

from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.serve.start import Options
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import sha256_in
from tests.unit.serve.conftest import (
    LONG,
    Running,
    messages,
    new_chat,
    new_id,
    person,
    read_events,
    running,
    say,
    until,
)

ENDLESS = {"temperature": 0, "max_tokens": LONG}


def test_an_answer_that_is_looked_up_names_its_sources(quoted: httpx.Client) -> None:
    chat = new_chat(quoted)
    events = say(quoted, chat, "When does the library open?")
    assert [one["type"] for one in events if one["type"] != "phase"] == ["message", "text", "done"]
    done = events[-1]["message"]
    assert "nine" in done["text"] and done["finish"] == "stop" and events[-2]["text"] == done["text"]
    (source, *_) = done["answer"]["sources"]
    assert (source["file"], source["line"]) == ("hours.md", 3)
    assert source["passage"] == "The library opens at nine in the morning."
    assert (done["answer"]["voice"], done["answer"]["hash"], done["answer"]["quoted"]) == ("none", None, True)
    assert messages(quoted, chat)[-1]["answer"] == done["answer"]


def test_pieces_make_the_answer(spoke: httpx.Client) -> None:
    chat = new_chat(spoke, sampling={"max_tokens": 20, "seed": 3, "temperature": 1})
    events = say(spoke, chat, "말모이는 무엇이야?")
    assert events[0]["message"]["text"] == "말모이는 무엇이야?"
    streamed = "".join(one["text"] for one in events if one["type"] == "text")
    done = events[-1]["message"]
    assert streamed.rstrip() == done["text"] and done["finish"] in ("stop", "length")
    assert done["answer"]["voice"] == "tiny" and len(done["answer"]["hash"]) == 64
    assert done["answer"]["seed"] == 3 and 1 <= done["answer"]["n_tokens"] <= 20
    again = say(spoke, new_chat(spoke, sampling={"max_tokens": 20, "seed": 3, "temperature": 1}), "말모이는 무엇이야?")
    assert again[-1]["message"]["text"] == done["text"]


def test_another_answer_is_a_branch(quoted: httpx.Client) -> None:
    chat = new_chat(quoted)
    asked = say(quoted, chat, "What does a ticket cost?")[0]["message"]["id"]
    body = {"parent": asked, "answer_id": new_id()}
    with quoted.stream("POST", f"/api/chats/{chat}/answers", json=body) as response:
        events = list(read_events(response))
    assert events[-1]["message"]["parent"] == asked and not [one for one in events if one["type"] == "message"]
    found = quoted.get(f"/api/chats/{chat}").json()
    assert [one["parent"] for one in found["messages"]] == [None, asked, asked]
    assert found["head"] == body["answer_id"]


def test_a_message_that_is_sent_twice_is_answered_once(quoted: httpx.Client) -> None:
    chat, ids = new_chat(quoted), {"id": new_id(), "answer_id": new_id()}
    first, again = (say(quoted, chat, "What does a ticket cost?", **ids) for _ in range(2))
    assert again == [first[0], first[-1]]
    assert len(messages(quoted, chat)) == 2
    (refused,) = say(quoted, chat, "Other words?", id=ids["id"], answer_id=new_id())
    assert (refused["status"], refused["error"]["code"]) == (409, "conflict")


def test_a_stopped_answer_keeps_what_was_said(spoke: httpx.Client, speaking: Running) -> None:
    chat, ids = new_chat(spoke, sampling=ENDLESS), {"id": new_id(), "answer_id": new_id()}
    with spoke.stream("POST", f"/api/chats/{chat}/messages", json={**ids, "parent": None, "text": "cat"}) as response:
        events = read_events(response)
        seen = [next(event for event in events if event["type"] == "text")]
        for _ in range(2):  # it may be pressed twice
            assert spoke.post(f"/api/chats/{chat}/stop", json={"answer_id": ids["answer_id"]}).status_code == 204
        seen += events
    done = seen[-1]["message"]
    assert done["finish"] == "stopped" and 0 < done["answer"]["n_tokens"] < LONG // 2
    assert messages(spoke, chat)[-1]["text"] == done["text"] != ""
    until(lambda: not speaking.state.service.speaker.engine.running)


@pytest.mark.parametrize("how", ["closed", "broken"])
def test_a_reader_who_leaves_takes_the_answer_along(spoke: httpx.Client, speaking: Running, how: str) -> None:
    """The slot is free long before the answer would have ended."""
    chat, answer_id = new_chat(spoke, sampling=ENDLESS), new_id()
    body = json.dumps({"id": new_id(), "answer_id": answer_id, "parent": None, "text": "cat"}).encode()
    cookie = "; ".join(f"{name}={value}" for name, value in spoke.cookies.items())
    address = urlsplit(speaking.base)
    head = (
        f"POST /api/chats/{chat}/messages HTTP/1.1\r\nHost: {address.netloc}\r\nCookie: {cookie}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(head.encode() + body)
        while b'"type": "text"' not in connection.recv(4096):
            pass
        if how == "broken":
            connection.shutdown(socket.SHUT_RDWR)
    until(lambda: not speaking.state.makings)
    until(lambda: not speaking.state.service.speaker.engine.running)
    stored = next(one for one in messages(spoke, chat) if one["id"] == answer_id)
    assert stored["finish"] == "stopped" and stored["answer"]["n_tokens"] < LONG // 2


def test_one_person_has_few_answers_at_once_and_others_are_served(spoke: httpx.Client, speaking: Running) -> None:
    chat = new_chat(spoke, sampling=ENDLESS)
    bodies = [{"id": new_id(), "answer_id": new_id(), "parent": None, "text": "cat"} for _ in range(2)]

    def read(body: dict[str, object]) -> list[dict[str, object]]:
        with spoke.stream("POST", f"/api/chats/{chat}/messages", json=body) as response:
            return list(read_events(response))

    with ThreadPoolExecutor(2) as pool, person(speaking) as other:
        reading = [pool.submit(read, body) for body in bodies]
        until(lambda: len(speaking.state.makings) == 2)
        (refused,) = say(spoke, chat, "one more")
        assert (refused["status"], refused["error"]["code"]) == (429, "too_many_requests")
        short = new_chat(other, sampling={"max_tokens": 2})
        assert say(other, short, "dog")[-1]["type"] == "done"
        for body in bodies:
            spoke.post(f"/api/chats/{chat}/stop", json={"answer_id": body["answer_id"]})
        assert [one.result()[-1]["message"]["finish"] for one in reading] == ["stopped"] * 2  # type: ignore[index]
    assert say(spoke, new_chat(spoke, sampling={"max_tokens": 2}), "again")[-1]["type"] == "done"


def test_nobody_stops_somebody_elses_answer(spoke: httpx.Client, speaking: Running) -> None:
    chat, ids = new_chat(spoke, sampling=ENDLESS), {"id": new_id(), "answer_id": new_id()}
    with person(speaking) as other:
        own = new_chat(other)
        with spoke.stream("POST", f"/api/chats/{chat}/messages", json={**ids, "parent": None, "text": "x"}) as response:
            events = read_events(response)
            next(event for event in events if event["type"] == "text")
            for where, status in ((chat, 404), (own, 204)):
                stopped = other.post(f"/api/chats/{where}/stop", json={"answer_id": ids["answer_id"]})
                assert stopped.status_code == status
            assert ids["answer_id"] in speaking.state.makings
            spoke.post(f"/api/chats/{chat}/stop", json={"answer_id": ids["answer_id"]})
            list(events)


def test_a_message_too_long_for_the_context_is_refused_before_it_is_stored(spoke: httpx.Client) -> None:
    chat = new_chat(spoke)
    (refused,) = say(spoke, chat, "the cat sat on the mat " * 2000)
    assert (refused["status"], refused["error"]["code"]) == (422, "too_long")
    assert refused["error"]["details"]["n_tokens"] > refused["error"]["details"]["most"] > 0
    assert messages(spoke, chat) == []


def test_an_answer_that_breaks_off_is_told_and_kept(spoke: httpx.Client, speaking: Running) -> None:
    """The network's weights become NaN while it speaks, as broken memory would do; then it is mended."""
    chat, ids = new_chat(spoke, sampling=ENDLESS), {"id": new_id(), "answer_id": new_id()}
    engine = speaking.state.service.speaker.engine
    weight = engine.model.lm_head.weight
    kept = weight.detach().clone()
    with spoke.stream("POST", f"/api/chats/{chat}/messages", json={**ids, "parent": None, "text": "cat"}) as response:
        events = read_events(response)
        next(event for event in events if event["type"] == "text")
        weight.data.fill_(float("nan"))
        if engine.decoder is not None:
            engine.decoder = None
        last = list(events)[-1]
    weight.data.copy_(kept)
    assert last["type"] == "error" and last["error"]["code"] == "model_failed" and "/" not in last["error"]["message"]
    stored = messages(spoke, chat)[-1]
    assert stored["finish"] == "error" and stored["error"]["code"] == "model_failed" and stored["text"]
    assert say(spoke, new_chat(spoke, sampling={"max_tokens": 2}), "dog")[-1]["type"] == "done"


def test_where_nothing_can_answer_a_page_says_so(tmp_path: object) -> None:
    from pathlib import Path

    from malmoi.serve.start import Options
    from tests.unit.serve.conftest import running

    with running(Options(Path(str(tmp_path)) / "empty", port=0)) as server, person(server) as client:
        chat = new_chat(client)
        (refused,) = say(client, chat, "hello")
        assert (refused["status"], refused["error"]["code"]) == (503, "no_model")
        assert messages(client, chat) == []
        assert client.get("/api/status").json()["problem"]["code"] == "no_model"


def test_chats_come_back_from_a_file(quoted: httpx.Client) -> None:
    chat = new_chat(quoted, title="kept")
    say(quoted, chat, "What does a ticket cost?")
    file = quoted.get(f"/api/chats/{chat}/export")
    assert file.headers["content-disposition"] == 'attachment; filename="malmoi-chat.json"'
    assert quoted.post("/api/chats/import", json=file.json()).json() == {"n_chats": 1, "n_messages": 2, "n_left_out": 0}
    theirs = {"q": {"id": "q", "parentId": None, "role": "user", "content": "hi"}}
    webui = [{"title": "from elsewhere", "chat": {"history": {"messages": theirs, "currentId": "q"}}}]
    assert quoted.post("/api/chats/import", json=webui).json()["n_messages"] == 1
    titles = [one["title"] for one in quoted.get("/api/chats").json()["chats"]]
    assert titles.count("kept") == 2 and "from elsewhere" in titles
    for wrong in ([{"x": 1}], {"format": "other", "version": 1, "chats": []}, "x", [1]):
        assert quoted.post("/api/chats/import", json=wrong).status_code == 422


def test_the_status_says_what_is_in_service(quoted: httpx.Client, spoke: httpx.Client) -> None:
    say(quoted, new_chat(quoted), "hello")
    said = quoted.get("/api/status").json()
    assert said["problem"] is None and said["queue"] == {"running": 0, "waiting": 0}
    assert (said["service"]["name"], said["service"]["looks_up"]["files"]) == ("none", 1)
    assert said["service"]["looks_up"]["titles"] == ["notes"] and said["questions"]["en"]
    say(spoke, new_chat(spoke, sampling={"max_tokens": 1}), "hello")
    service = spoke.get("/api/status").json()["service"]
    assert (service["name"], service["seq_len"], service["looks_up"]) == ("tiny", LONG, None)
    assert set(service["sampling"]) == {"temperature", "top_p", "top_k", "max_tokens"} and len(service["hash"]) == 64


def test_an_answer_without_words_is_traced_to_the_weights_that_gave_it(
    tmp_path: Path, float32: None, tokenizer: Tokenizer, shape: ModelConfig
) -> None:
    torch.manual_seed(1)
    policy = LanguageModel(shape.model_copy(update={"seq_len": LONG}))
    with torch.no_grad():  # the first number of every state tells the tokens that end an answer from all others
        policy.model.embed_tokens.weight[:, 0] = 30
        policy.lm_head.weight[:, 0] = -30
        policy.lm_head.weight[[*tokenizer.stop_ids], 0] = 30
    workspace = Workspace.open(tmp_path / "workspace")
    save_model(workspace.models / "silent", policy, tokenizer, ChatTemplate.default(), {})
    with running(Options(workspace.path, port=0)) as server, person(server) as client:
        answer = say(client, new_chat(client), "What does a ticket cost?")[-1]["message"]
        assert (answer["text"], answer["finish"]) == ("", "stop")
        found = client.get(f"/api/messages/{answer['id']}/origin").json()
        assert found["hash"] == sha256_in(workspace, workspace.models / "silent") and found["voice"] == "silent"
