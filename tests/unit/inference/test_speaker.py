"""An engine in a thread: wakes whoever waits, goes on after a fault, and gives up a prompt that nobody wants."""

import random
import threading

import pytest
import torch

from malmoi.errors import BusyError
from malmoi.inference.engine import Engine
from malmoi.inference.native import limit_threads
from malmoi.inference.requests import Request
from malmoi.inference.sampling import Sampling
from malmoi.inference.speaker import Speaker, Speech
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer

pytestmark = pytest.mark.usefixtures("float32")
GREEDY = Sampling(temperature=0.0, max_tokens=1000)


@pytest.fixture
def long_policy(shape: ModelConfig) -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(shape.model_copy(update={"seq_len": 400}))


def engine_of(policy: LanguageModel, tokenizer: Tokenizer, **options: int) -> Engine:
    return Engine(policy, end_ids=(), tokenizer=tokenizer, **options)  # type: ignore[arg-type]


def test_answers_are_those_of_the_bare_engine(long_policy: LanguageModel, tokenizer: Tokenizer) -> None:
    prompts = [[1 + i, 2, 3] for i in range(5)]
    bare = engine_of(long_policy, tokenizer, n_rows=2)
    wanted = [bare.submit(prompt, Sampling(max_tokens=8), seed) for seed, prompt in enumerate(prompts)]
    bare.finish()
    speaker = Speaker(engine_of(long_policy, tokenizer, n_rows=2))
    moved = threading.Event()
    speeches = [speaker.submit(prompt, Sampling(max_tokens=8), seed, moved.set) for seed, prompt in enumerate(prompts)]
    while not all(speech.is_over for speech in speeches):
        assert moved.wait(60)
        moved.clear()
    speaker.close()
    assert [speech.request.ids for speech in speeches] == [request.ids for request in wanted]


def test_a_reader_is_told_of_the_first_words_and_of_the_end_and_not_of_every_token(
    long_policy: LanguageModel, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("malmoi.inference.speaker.WAKE_EVERY_S", 1e6)
    speaker = Speaker(engine_of(long_policy, tokenizer))
    seen: list[int] = []
    over = threading.Event()

    def look() -> None:
        seen.append(len(asked[0].request.ids) if asked else 1)
        if asked and asked[0].is_over:
            over.set()

    asked: list[Speech] = []
    asked.append(speaker.submit([1, 2, 3], Sampling(temperature=0, max_tokens=40), 0, look))
    assert over.wait(60)
    speaker.close()
    assert len(seen) <= 4 and seen[0] <= 2 and len(asked[0].request.ids) == 40 == seen[-1]


def test_a_thread_that_is_limited_limits_no_other() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    found: dict[str, int] = {}

    def limited() -> None:
        limit_threads(1)
        found["limited"] = torch.get_num_threads()

    def new() -> None:
        found["new"] = torch.get_num_threads()

    for function in (limited, new):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()
    found["main"] = torch.get_num_threads()
    torch.set_num_threads(before)
    assert found == {"limited": 1, "new": 2, "main": 2}


def test_a_full_queue_is_told_and_a_place_in_it_is_known(long_policy: LanguageModel, tokenizer: Tokenizer) -> None:
    engine = engine_of(long_policy, tokenizer, n_rows=1, n_waiting=2)
    first, second = (engine.submit([1, 2], GREEDY) for _ in range(2))
    assert [engine.place(first), engine.place(second)] == [1, 2]
    with pytest.raises(BusyError):
        engine.submit([1, 2], GREEDY)
    engine.step()
    assert [engine.place(first), engine.place(second)] == [0, 1]


def test_a_fault_ends_what_ran_and_nothing_else(long_policy: LanguageModel, tokenizer: Tokenizer) -> None:
    speaker = Speaker(engine_of(long_policy, tokenizer, n_rows=1, in_c=0))
    weight = speaker.engine.model.lm_head.weight
    kept = weight.detach().clone()
    weight.data.fill_(float("nan"))
    over = threading.Event()
    broken = speaker.submit([1, 2, 3], GREEDY, 0, over.set)
    while not broken.is_over or broken.error is None:
        assert over.wait(60)
        over.clear()
    assert "not finite" in str(broken.error)
    weight.data.copy_(kept)
    whole = speaker.submit([1, 2, 3], Sampling(max_tokens=2), 0, over.set)
    while not whole.is_over:
        assert over.wait(60)
        over.clear()
    assert whole.request.finish_reason == "length" and whole.error is None
    speaker.close()


def test_closing_ends_every_answer(long_policy: LanguageModel, tokenizer: Tokenizer) -> None:
    speaker = Speaker(engine_of(long_policy, tokenizer, n_rows=1))
    woken = [threading.Event() for _ in range(3)]
    speeches = [speaker.submit([1, 2], GREEDY, 0, event.set) for event in woken]
    speaker.close()
    assert {speech.request.finish_reason for speech in speeches} <= {"cancelled", "length"}
    assert all(event.is_set() for event in woken)
    with pytest.raises(BusyError):
        speaker.submit([1, 2], GREEDY, 0, lambda: None)


def test_a_long_prompt_in_parts_gives_the_same_answer(long_policy: LanguageModel, tokenizer: Tokenizer) -> None:
    prompts = [[(7 * i + n) % 200 + 1 for i in range(n)] for n in (90, 33, 5)]
    answers = []
    for part in (1000, 16):
        engine = engine_of(long_policy, tokenizer, n_rows=4, read_at_once=part)
        requests = [engine.submit(prompt, Sampling(temperature=0.0, max_tokens=6)) for prompt in prompts]
        engine.finish()
        answers.append([request.ids for request in requests])
    assert answers[0] == answers[1]


def alone(policy: LanguageModel, tokenizer: Tokenizer, prompt: list[int], sampling: Sampling, seed: int) -> list[int]:
    engine = engine_of(policy, tokenizer, n_rows=1)
    request = engine.submit(prompt, sampling, seed)
    engine.finish()
    return request.ids


def test_others_go_on_while_a_long_prompt_is_read(long_policy: LanguageModel, tokenizer: Tokenizer) -> None:
    """Counted in steps: 100 tokens are read in five, and in each of them whoever runs gets a token."""
    engine = engine_of(long_policy, tokenizer, n_rows=3, read_at_once=20)
    running = engine.submit([3, 4, 5], GREEDY)
    engine.step()
    long, later = (engine.submit([(k * i) % 200 + 1 for i in range(100)], GREEDY) for k in (3, 7))
    for n_steps in range(1, 4):
        assert engine.step() == [running] and len(running.ids) == 1 + n_steps
    short = engine.submit([9, 8], GREEDY)
    assert engine.place(long) == 0 and engine.place(later) == 1
    assert engine.step() == [short]  # passes by
    assert engine.step() == [long] and long.n_cached == 0
    assert {*engine.step()} == {running, short, long} and engine.place(later) == 1  # there are three rows
    for request in (short, later, long, running):
        n_tokens = len(request.ids)
        while len(request.ids) < 12:
            engine.step()
        engine.cancel(request)
        wanted = alone(long_policy, tokenizer, request.prompt, Sampling(temperature=0.0, max_tokens=12), 0)
        assert request.ids[:12] == wanted and len(request.ids) >= n_tokens


def test_many_short_prompts_at_once_do_not_hold_up_others_either(
    long_policy: LanguageModel, tokenizer: Tokenizer
) -> None:
    engine = engine_of(long_policy, tokenizer, n_rows=8, read_at_once=20)
    requests = [engine.submit([i + 1] * 8, GREEDY) for i in range(5)]
    joined = [engine.step() for _ in range(3)]
    assert joined == [requests[:2], requests[2:4], requests[4:]]


def test_a_prompt_that_nobody_wants_is_given_up_while_it_is_read(
    long_policy: LanguageModel, tokenizer: Tokenizer
) -> None:
    engine = engine_of(long_policy, tokenizer, n_rows=1, read_at_once=20)
    prompt = [i % 200 + 1 for i in range(300)]
    n_passes = 0

    def count(*_: object) -> None:
        nonlocal n_passes
        n_passes += 1

    engine.model.model.register_forward_hook(count)
    request, waiting = engine.submit(prompt, GREEDY), engine.submit([5, 6], GREEDY)
    assert [engine.step(), engine.step()] == [[], []] and n_passes == 2 and not engine.is_idle
    engine.cancel(request)
    assert engine.step() == [waiting] and n_passes == 3  # the only row is free at the next step
    engine.cancel(waiting)
    engine.step()
    assert n_passes == 3 and engine.is_idle and request.ids == [] and request.finish_reason == "cancelled"


def test_what_was_read_of_a_prompt_is_known(long_policy: LanguageModel, tokenizer: Tokenizer) -> None:
    engine = engine_of(long_policy, tokenizer, n_rows=2, read_at_once=20)
    prompt, few = [i % 200 + 1 for i in range(300)], Sampling(temperature=0.0, max_tokens=4)
    request = engine.submit(prompt, few)
    engine.step()
    engine.step()
    engine.cancel(request)
    again = engine.submit(prompt, few)
    engine.finish()
    assert again.n_cached == 40 and again.ids == alone(long_policy, tokenizer, prompt, few, 0)


def test_answers_are_those_of_a_request_alone_however_prompts_are_read(
    long_policy: LanguageModel, tokenizer: Tokenizer
) -> None:
    """Prompts that share beginnings join, are read in parts, leave and are given up at random."""
    rng, few = random.Random(5), Sampling(temperature=1.0, max_tokens=5)
    shared = [rng.randrange(1, 200) for _ in range(120)]
    prompts = [
        shared[: rng.randrange(121)] + [rng.randrange(1, 200) for _ in range(rng.choice((1, 30)))] * 2
        for _ in range(15)
    ]
    engine = engine_of(long_policy, tokenizer, n_rows=3, read_at_once=17)
    requests: list[Request] = []
    given_up: set[int] = set()
    while len(requests) < 2 * len(prompts) or not engine.is_idle:
        if len(requests) < 2 * len(prompts) and rng.random() < 0.4:
            n = len(requests)  # every prompt twice, as two answers to one question
            requests.append(engine.submit(prompts[n // 2], few, n))
        if requests and rng.random() < 0.05:
            given_up.add(number := rng.randrange(len(requests)))
            engine.cancel(requests[number])
        engine.step()
    for number, request in enumerate(requests):
        wanted = alone(long_policy, tokenizer, request.prompt, few, number)
        assert request.ids == wanted[: len(request.ids)]
        assert number in given_up or request.ids == wanted


def test_a_fault_while_a_prompt_is_read_in_parts_ends_it_alone(
    long_policy: LanguageModel, tokenizer: Tokenizer
) -> None:
    engine = engine_of(long_policy, tokenizer, n_rows=2, read_at_once=20)
    prompts, few = ([i % 200 + 1 for i in range(n)] for n in (90, 80)), Sampling(temperature=0.0, max_tokens=4)
    broken, waiting = (engine.submit(prompt, few) for prompt in prompts)
    engine.step()
    kept = engine.model.model
    engine.model.model = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        engine.step()
    engine.model.model = kept
    engine.finish()
    assert (broken.finish_reason, broken.ids) == ("error", [])
    assert waiting.ids == alone(long_policy, tokenizer, waiting.prompt, few, 0)


def test_a_prompt_is_read_on_if_one_of_its_answers_is_wanted(long_policy: LanguageModel, tokenizer: Tokenizer) -> None:
    engine = engine_of(long_policy, tokenizer, n_rows=2, read_at_once=20)
    prompt = [i % 200 + 1 for i in range(100)]
    first, twin = (engine.submit(prompt, Sampling(temperature=0.0, max_tokens=4)) for _ in range(2))
    hook = engine.model.model.register_forward_hook(lambda *_: engine.cancel(first))
    engine.step()
    hook.remove()
    engine.finish()
    fresh = engine_of(long_policy, tokenizer, n_rows=1)
    wanted = fresh.submit(prompt, Sampling(temperature=0.0, max_tokens=4))
    fresh.finish()
    assert twin.ids == wanted.ids
