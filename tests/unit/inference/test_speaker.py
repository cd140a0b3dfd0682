"""An engine in a thread: wakes whoever waits, goes on after a fault, and gives up a prompt that nobody wants."""

import threading

import pytest
import torch

from malmoi.errors import BusyError
from malmoi.inference.engine import Engine
from malmoi.inference.sampling import Sampling
from malmoi.inference.speaker import Speaker
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


def test_a_prompt_that_nobody_wants_is_given_up_while_it_is_read(
    long_policy: LanguageModel, tokenizer: Tokenizer
) -> None:
    engine = engine_of(long_policy, tokenizer, n_rows=2, read_at_once=20)
    prompt = [i % 200 + 1 for i in range(300)]
    request, n_passes = engine.submit(prompt, GREEDY), 0

    def leave(*_: object) -> None:
        nonlocal n_passes
        n_passes += 1
        if n_passes == 2:
            engine.cancel(request)

    hook = engine.model.model.register_forward_hook(leave)
    engine.step()
    hook.remove()
    assert n_passes == 2 and not engine.running and request.ids == [] and request.finish_reason == "cancelled"
    # What was read of it is known, and the rest is read when somebody asks again.
    again = engine.submit(prompt, Sampling(temperature=0.0, max_tokens=4))
    engine.finish()
    assert again.n_cached == 40
    fresh = engine_of(long_policy, tokenizer, n_rows=1)
    wanted = fresh.submit(prompt, Sampling(temperature=0.0, max_tokens=4))
    fresh.finish()
    assert again.ids == wanted.ids


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
