"""OpenAI's form of the API: /v1/models and /v1/chat/completions, for its official clients and others like them.

The model `malmoi` answers as the page does: looked up, checked, with its sources. The voice's own name is only the
network. What is not understood is refused, not ignored.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from malmoi.feedback.chats import LONGEST_TEXT, new_id
from malmoi.feedback.refusals import RefusedError, invalid
from malmoi.feedback.service import Service, Turn
from malmoi.feedback.taught import taught_answers
from malmoi.inference.grounded import Answered
from malmoi.serve.errors import openai_envelope, refusal_of
from malmoi.serve.making import Making
from malmoi.serve.state import State
from malmoi.serve.stream import ALIVE, EventStream, comes_soon, event_of, json_of, while_there
from malmoi.serve.who import Here, WithKey
from malmoi.workspace.picture_models import picture_model_names

router = APIRouter(prefix="/v1")
OURS = "malmoi"
"""The model that answers as the page does."""
MOST_ANSWERS, MOST_MESSAGES = 8, 2000


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str = Field(max_length=LONGEST_TEXT)


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Field(max_length=LONGEST_TEXT)] | list[Part]
    name: str | None = None
    refusal: None = None

    def row(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False
    include_obfuscation: bool = False


class TextOnly(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]


class Asked(BaseModel):
    """A request. What other services take and this one cannot do, such as tools, is an unknown parameter here."""

    model_config = ConfigDict(extra="forbid")
    model: str = Field(max_length=200)
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=2**31)
    min_p: float | None = Field(None, ge=0, le=1)
    n: int = Field(1, ge=1, le=MOST_ANSWERS)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: Annotated[str, Field(min_length=1, max_length=200)] | list[str] | None = None
    max_tokens: int | None = Field(None, ge=1, le=2**20)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**20)
    logit_bias: dict[int, Annotated[float, Field(ge=-100, le=100)]] | None = Field(None, max_length=1000)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    response_format: TextOnly | None = None
    user: str | None = None
    store: Literal[False] | None = None
    metadata: dict[str, str] | None = None

    def chosen(self) -> dict[str, Any]:
        """How to sample, under our names."""
        names = ("temperature", "top_p", "top_k", "min_p", "logit_bias", "seed")
        chosen = {name: value for name in names if (value := getattr(self, name)) is not None}
        chosen["max_tokens"] = self.max_completion_tokens or self.max_tokens
        if self.stop is not None:
            stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
            if len(stop) > 4 or not all(0 < len(one) <= 200 for one in stop):
                raise invalid("stop", "expected at most 4 texts of 1 to 200 characters")
            chosen["stop"] = stop
        if self.top_logprobs is not None and not self.logprobs:
            raise invalid("top_logprobs", "is for logprobs: true")
        if self.logprobs:
            chosen["logprobs"] = self.top_logprobs or 0
        return {name: value for name, value in chosen.items() if value is not None}

    def conversation(self) -> list[dict[str, str]]:
        rows = [message.row() for message in self.messages]
        if rows[-1]["role"] != "user":
            raise invalid("messages", "the last message is the user's")
        if any(row["role"] == "system" for row in rows[1:]):
            raise invalid("messages", "only the first message may be the system's")
        return rows


@router.get("/models")
async def models(_: WithKey, state: Here) -> dict[str, Any]:
    return {"object": "list", "data": [_model(name, kind) for name, kind in (await _all(state)).items()]}


@router.get("/models/{name}")
async def model(name: str, _: WithKey, state: Here) -> dict[str, Any]:
    known = await _all(state)
    if name not in known:
        raise _unknown(name, list(known))
    return _model(name, known[name])


@router.post("/chat/completions")
async def complete(body: Asked, member: WithKey, state: Here, request: Request) -> Any:
    said, chosen = body.conversation(), body.chosen()
    state.at_once_with_keys.take(member.id, body.n)
    try:
        turns = await state.with_service(partial(_turns, state, body, said, chosen))
        completion = Completion(state, body, turns)
    except BaseException:
        state.at_once_with_keys.free(member.id, body.n)
        raise
    task = asyncio.create_task(completion.make())
    task.add_done_callback(lambda _: state.at_once_with_keys.free(member.id, body.n))
    state.begin(task)
    if body.stream:
        return EventStream(completion.chunks(), left=completion.stop)
    done = await while_there(request.receive, completion.is_made.wait(), left=completion.stop)
    if done is None:
        return Response(status_code=499)
    if completion.failed is not None:
        raise completion.failed
    return completion.whole()


def _turns(
    state: State, asked: Asked, said: list[dict[str, str]], chosen: dict[str, Any], service: Service
) -> list[Turn]:
    """The answers to make, looked up and written as prompts. Raises RefusedError."""
    _check_name(service, asked.model)
    looks_up = asked.model == OURS
    first = Turn(service, said, chosen, looks_up, taught=taught_answers(state.ledger) if looks_up else ())
    first.prepare()
    return [first, *(first.again(n) for n in range(1, asked.n))]


class Completion:
    """The answers to one request. choices: what is said of each, once it has ended"""

    def __init__(self, state: State, asked: Asked, turns: list[Turn]) -> None:
        self.state, self.asked = state, asked
        self.changed, self.is_made = asyncio.Event(), asyncio.Event()
        self.makings = [Making(turn, changed=self.changed) for turn in turns]
        self.answers: list[tuple[Answered, str] | None] = [None] * len(turns)
        self.failed: RefusedError | None = None
        service = turns[0].service
        self.about = {
            "id": f"chatcmpl-{new_id()}", "created": int(time.time()), "model": asked.model,
            "system_fingerprint": (service.sha256 or service.index_sha256 or "")[:12],
        }  # fmt: skip
        self._before = json_of({**self.about, "object": "chat.completion.chunk"})[:-1] + ', "choices": ['

    def stop(self) -> None:
        for making in self.makings:
            making.stop()

    async def make(self) -> None:
        """Make and record every answer. If one fails, all end."""
        self.state.of_programs |= {*self.makings}
        try:
            first, *others = range(len(self.makings))
            if not others:
                await self._make(first)
            else:
                async with asyncio.TaskGroup() as group:
                    for place in (first, *others):
                        group.create_task(self._make(place))
        except ExceptionGroup as errors:
            self.failed = refusal_of(errors.exceptions[0])
        except Exception as error:
            self.failed = refusal_of(error)
        finally:
            self.stop()
            self.state.of_programs -= {*self.makings}
            self.is_made.set()
            self.changed.set()

    async def _make(self, place: int) -> None:
        making = self.makings[place]
        await making.speak()
        if (failure := making.failure()) is not None:
            raise failure
        turn = making.turn
        answered = turn.settle() if turn.settles_at_once else await self.state.prepare(turn.settle)
        self.answers[place] = answered, await self.state.record(turn.record(answered))
        self.changed.set()

    def whole(self) -> dict[str, Any]:
        """The response, if it is not streamed."""
        choices = []
        for place, answer in enumerate(self.answers):
            assert answer is not None
            message = {"role": "assistant", "content": answer[0].text, "refusal": None}
            choices.append({**self._end(place), "message": message, "logprobs": self._logprobs(place, 0)})
        return {**self.about, "object": "chat.completion", "choices": choices, "usage": self._usage()}

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The response as a stream."""
        yield b"".join(self._chunk(place, {"role": "assistant", "content": ""}) for place in range(len(self.makings)))
        n_given, n_logprobs = [0] * len(self.makings), [0] * len(self.makings)
        ended: set[int] = set()
        while len(ended) < len(self.makings) and self.failed is None:
            self.changed.clear()
            chunks: list[bytes] = []
            for place, making in enumerate(self.makings):
                answer = self.answers[place]
                text = making.text if answer is None else answer[0].text
                # The end of a text may lose its spaces when it is settled: what was given stays.
                if len(text) > n_given[place]:
                    piece, n_given[place] = text[n_given[place] :], len(text)
                    logprobs = self._logprobs(place, n_logprobs[place])
                    n_logprobs[place] += len(logprobs["content"]) if logprobs else 0
                    chunks.append(self._chunk(place, {"content": piece}, logprobs))
                if answer is not None and place not in ended:
                    ended.add(place)
                    chunks.append(self._chunk(place, {}, None, self._end(place)))
            if len(ended) == len(self.makings):
                chunks += self._last()
            if chunks:  # together: each time costs the other answers time
                yield b"".join(chunks)
            if len(ended) < len(self.makings) and self.failed is None and not await comes_soon(self.changed):
                yield ALIVE
        if self.failed is not None:
            yield event_of(openai_envelope(self.failed))

    def _last(self) -> list[bytes]:
        """What comes after every answer has ended."""
        if self.asked.stream_options is None or not self.asked.stream_options.include_usage:
            return [event_of("[DONE]")]
        usage = {**self.about, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()}
        return [event_of(usage), event_of("[DONE]")]

    def _chunk(
        self, place: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None,
        end: dict[str, Any] | None = None,
    ) -> bytes:  # fmt: skip
        choice = {"index": place, "delta": delta, "logprobs": logprobs, "finish_reason": None} | (end or {})
        return event_of(f"{self._before}{json_of(choice)}]}}")  # most of it is written once

    def _end(self, place: int) -> dict[str, Any]:
        answer = self.answers[place]
        assert answer is not None
        finish = self.makings[place].turn.finish
        ours = {**answer[0].to_row(), "answer": answer[1], "voice": answer[0].voice}
        return {"index": place, "finish_reason": "length" if finish == "length" else "stop", "malmoi": ours}

    def _logprobs(self, place: int, start: int) -> dict[str, Any] | None:
        """Of the tokens from `start` on; None if none were asked for, or if the words are not only the voice's."""
        turn = self.makings[place].turn
        if not self.asked.logprobs or turn.speech is None or turn.is_checked or turn.service.voice is None:
            return None
        tokenizer, request = turn.service.voice.tokenizer, turn.speech.request
        rows = []
        for token, found in zip(request.ids[start:], request.logprobs[start:], strict=False):
            top = [{**_token(tokenizer, id), "logprob": value} for id, value in found.top.items()]
            rows.append({**_token(tokenizer, token), "logprob": found.logprob, "top_logprobs": top})
        return {"content": rows, "refusal": None}

    def _usage(self) -> dict[str, Any]:
        turns = [making.turn for making in self.makings]
        n_prompt = len(turns[0].prepared.ids or ()) if turns[0].prepared is not None else 0
        n_cached = min((turn.speech.request.n_cached for turn in turns if turn.speech is not None), default=0)
        n_new = sum(turn.n_tokens for turn in turns)
        return {
            "prompt_tokens": n_prompt, "completion_tokens": n_new, "total_tokens": n_prompt + n_new,
            "prompt_tokens_details": {"cached_tokens": n_cached},
        }  # fmt: skip


def _token(tokenizer: Any, id: int) -> dict[str, Any]:
    text = tokenizer.decode([id])
    # A part of a character has no text of its own.
    return {"token": text, "bytes": None if "\ufffd" in text else [*text.encode()]}


async def _all(state: State) -> dict[str, str]:
    """What may be asked: name -> kind. The picture model is the newest, which draws for /v1/images."""
    drawing = (await asyncio.to_thread(picture_model_names, state.workspace))[-1:]
    try:
        found = dict.fromkeys(_names(await state.in_service()), "text")
    except RefusedError:
        if not drawing:
            raise
        found = {}
    return found | dict.fromkeys(drawing, "picture")


def _names(service: Service) -> list[str]:
    """Ours, and what the network is called: its version, and its model's own name. A first *Improve* calls the same
    network v1, and programs that named the model go on."""
    names = [OURS] if service.voice is None else [OURS, service.name]
    if service.version is not None and service.version.model is not None:
        names.append(service.version.model)
    return [*dict.fromkeys(names)]


def _check_name(service: Service, name: str) -> None:
    if name not in _names(service):
        raise _unknown(name, _names(service))


def _unknown(name: str, known: list[str]) -> RefusedError:
    return RefusedError("model_not_found", f"{name}: no such model here; there is {', '.join(known)}", "model")


def _model(name: str, kind: str) -> dict[str, Any]:
    """kind: ours, "text" or "picture"; OpenAI's clients keep what they do not know"""
    return {"id": name, "object": "model", "created": 0, "owned_by": OURS, "kind": kind}
