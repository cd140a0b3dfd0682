"""OpenAI's form of the API, through its official client."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from malmoi.feedback.accounts import add_member
from malmoi.feedback.sessions import make_key
from malmoi.serve.start import Options
from malmoi.workspace.answers import find_answer
from malmoi.workspace.versions import begin_versions
from tests.unit.serve.conftest import LONG, PASSWORD, Running, new_id, running, until

ASKED: list[Any] = [{"role": "user", "content": "the cat sat"}]


def client_of(server: Running) -> openai.OpenAI:
    member = add_member(server.ledger, f"Program {new_id()[:8]}", PASSWORD, "user")
    key = make_key(server.ledger, member, "test")["key"]
    return openai.OpenAI(base_url=f"{server.base}/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture
def client(speaking: Running) -> Iterator[openai.OpenAI]:
    with client_of(speaking) as made:
        yield made


def test_the_models_are_the_assistant_and_its_network(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["malmoi", "tiny"]
    assert client.models.retrieve("tiny").owned_by == "malmoi"
    for act in (
        lambda: client.models.retrieve("gpt-4"),
        lambda: client.chat.completions.create(model="gpt-4", messages=ASKED),
    ):
        with pytest.raises(openai.NotFoundError, match="no such model here; there is malmoi, tiny") as caught:
            act()
        assert caught.value.code == "model_not_found"


def test_the_same_seed_gives_the_same_answers_streamed_or_not(client: openai.OpenAI) -> None:
    how: Any = {"model": "tiny", "messages": ASKED, "n": 3, "seed": 5, "max_tokens": 12, "temperature": 1}
    whole = client.chat.completions.create(**how)
    texts = [choice.message.content for choice in whole.choices]
    assert len({*texts}) > 1 and [choice.index for choice in whole.choices] == [0, 1, 2]
    assert {choice.finish_reason for choice in whole.choices} <= {"stop", "length"}
    streamed, ends, usage, ids = ["", "", ""], {}, None, set()
    for chunk in client.chat.completions.create(**how, stream=True, stream_options={"include_usage": True}):
        ids.add(chunk.id)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                assert choice.index not in ends
                ends[choice.index] = choice.finish_reason
    assert [text.rstrip() for text in streamed] == texts and len(ids) == 1
    assert ends == {choice.index: choice.finish_reason for choice in whole.choices}
    assert usage is not None and whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens > 0
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_log_probabilities_are_of_the_tokens_given(client: openai.OpenAI) -> None:
    how: Any = {"model": "tiny", "messages": ASKED, "max_tokens": 6, "temperature": 0, "logprobs": True}
    (choice,) = client.chat.completions.create(**how, top_logprobs=2).choices
    assert choice.logprobs is not None and choice.logprobs.content is not None
    for token in choice.logprobs.content:
        assert len(token.top_logprobs) == 2 and token.logprob == max(top.logprob for top in token.top_logprobs) <= 0
    seen = []
    for chunk in client.chat.completions.create(**how, stream=True):
        for part in chunk.choices:
            seen += (part.logprobs.content or []) if part.logprobs else []
    assert [one.token for one in seen] == [one.token for one in choice.logprobs.content]


def test_an_answer_ends_before_a_stop_text(client: openai.OpenAI) -> None:
    how: Any = {"model": "tiny", "messages": ASKED, "max_tokens": 30, "temperature": 0}
    whole = client.chat.completions.create(**how).choices[0].message.content or ""
    stop = whole[5:7]
    (choice,) = client.chat.completions.create(**how, stop=[stop]).choices
    assert choice.message.content == whole[: whole.index(stop)].rstrip() and choice.finish_reason == "stop"


def test_the_assistant_names_its_sources_and_the_answer_is_recorded(quoting: Running) -> None:
    with client_of(quoting) as client:
        asked: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "What does a ticket cost?"}]}]
        done = client.chat.completions.create(model="malmoi", messages=asked)
    ours = done.choices[0].model_extra["malmoi"]  # type: ignore[index]
    assert "four euros" in (done.choices[0].message.content or "") and ours["sources"][0]["file"] == "hours.md"
    recorded = find_answer(quoting.ledger, ours["answer"])
    assert recorded.text == done.choices[0].message.content and recorded.messages[-1]["content"].startswith("What")


@pytest.mark.parametrize(
    ("given", "param"),
    [({"temperature": 3}, "temperature"), ({"temperature": float("nan")}, "temperature"), ({"n": 16384}, "n"),
     ({"n": 0}, "n"), ({"max_tokens": -1}, "max_tokens"), ({"top_logprobs": -1}, "top_logprobs"),
     ({"top_logprobs": 2}, "top_logprobs"), ({"messages": []}, "messages"), ({"stop": [""]}, "stop"),
     ({"messages": [{"role": "pirate", "content": "x"}]}, "messages.0.role"),
     ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"), ({"logit_bias": {"999999": 1}}, None),
     ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.1.1"}}]}]},
      "messages.0.content.0.type"), ({"stop": [5]}, "stop.0"), ({"stop": 5}, "stop"),
     ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"), ({"seed": 2**64}, "seed"),
     ({"response_format": {"type": "json_object"}}, "response_format.type"), ({"logit_bias": {"5": 1e9}}, None)],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_in_openais_envelope(
    client: openai.OpenAI, given: dict[str, Any], param: str | None
) -> None:
    import json

    import httpx

    body = json.dumps({"model": "tiny", "messages": ASKED, "max_tokens": 2} | given)
    headers = {"Authorization": f"Bearer {client.api_key}", "Content-Type": "application/json"}
    found = httpx.post(f"{client.base_url}chat/completions", content=body, headers=headers, trust_env=False)
    error = found.json()["error"]
    assert found.status_code == 400 and error["type"] == "invalid_request_error" and error["message"]
    assert {"message", "type", "param", "code"} <= error.keys()
    assert param is None or error["param"] == param


@pytest.mark.parametrize("path", ["embeddings", "responses", "x/y"])
def test_what_there_is_no_route_for_is_not_found(client: openai.OpenAI, path: str) -> None:
    with pytest.raises(openai.NotFoundError, match="no such address"):
        client.post(f"/{path}", cast_to=object, body={"model": "tiny"})
    with pytest.raises(openai.APIStatusError) as caught:
        client.delete("/models", cast_to=object)
    assert caught.value.status_code == 405


def test_a_program_that_names_the_network_goes_on_when_it_becomes_a_version(spoken: Path) -> None:
    with running(Options(spoken, port=0)) as server, client_of(server) as client:
        before = client.chat.completions.create(model="tiny", messages=ASKED, seed=3, max_tokens=4)
        begin_versions(server.ledger)
        for name in ("tiny", "v1"):
            after = client.chat.completions.create(model=name, messages=ASKED, seed=3, max_tokens=4)
            assert after.choices[0].message.content == before.choices[0].message.content
        assert [model.id for model in client.models.list()] == ["malmoi", "v1", "tiny"]


def test_a_chat_template_of_the_request_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="unknown parameter"):
        client.chat.completions.create(model="tiny", messages=ASKED, extra_body={"chat_template": "{{ 7 * 7 }}"})


def test_a_key_is_needed_and_a_long_prompt_is_told(client: openai.OpenAI, speaking: Running) -> None:
    with openai.OpenAI(base_url=f"{speaking.base}/v1", api_key="mm-wrong", max_retries=0) as wrong:
        with pytest.raises(openai.AuthenticationError) as caught:
            wrong.chat.completions.create(model="tiny", messages=ASKED)
        assert caught.value.code == "invalid_api_key"
    long: Any = [{"role": "user", "content": "the cat sat on the mat " * 2000}]
    with pytest.raises(openai.BadRequestError) as caught_long:
        client.chat.completions.create(model="tiny", messages=long)
    assert caught_long.value.code == "context_length_exceeded"


def test_too_many_at_once_are_told_to_wait(client: openai.OpenAI, speaking: Running) -> None:
    how: Any = {"model": "tiny", "messages": ASKED, "n": 8, "max_tokens": LONG, "temperature": 0, "stream": True}
    streams = [client.chat.completions.create(**how) for _ in range(2)]
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="tiny", messages=ASKED)
    assert caught.value.code == "rate_limit_exceeded" and caught.value.response.headers["retry-after"]
    for stream in streams:
        stream.close()
    until(lambda: not speaking.state.of_programs)
    assert client.chat.completions.create(model="tiny", messages=ASKED, max_tokens=1).choices


def test_a_program_that_does_not_wait_frees_its_place(client: openai.OpenAI, speaking: Running) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(
            model="tiny", messages=ASKED, max_tokens=LONG, temperature=0, n=8
        )
    until(lambda: not speaking.state.of_programs and not speaking.state.service.speaker.engine.running)
