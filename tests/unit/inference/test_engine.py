"""Answers do not depend on how they are computed: cached or anew, alone or among others, at once or as a stream."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi import device
from malmoi.data.batch import pad
from malmoi.errors import BusyError, CheckpointError, DataError
from malmoi.inference import engine, rows
from malmoi.inference.engine import Engine
from malmoi.inference.generate import generate
from malmoi.inference.requests import Request
from malmoi.inference.sampling import Sampling
from malmoi.model.config import ModelConfig
from malmoi.model.kv_cache import KVCache
from malmoi.model.transformer import LanguageModel

pytestmark = pytest.mark.usefixtures("float32")
SEQ_LEN, END = 24, 5
GREEDY = Sampling(temperature=0, max_tokens=12)


@pytest.fixture(scope="module", params=[False, True], ids=["llama", "qwen3"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    """Weights large enough for every token to matter, in the grouped shape."""
    torch.manual_seed(7)
    made = LanguageModel(
        ModelConfig(
            vocab_size=40, n_layer=2, n_embd=16, n_head=4, n_kv_head=2, head_dim=8, n_ff=24, seq_len=SEQ_LEN,
            qk_norm=request.param,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.4)
    return made


prompts_of = st.lists(st.lists(st.integers(6, 39), min_size=1, max_size=SEQ_LEN - 1), min_size=1, max_size=6)


def answer_anew(model: LanguageModel, prompt: list[int], max_tokens: int) -> tuple[list[int], bool]:
    """Greedy decoding that reads everything again for every token."""
    ids: list[int] = []
    while len(ids) < max_tokens and len(prompt) + len(ids) < SEQ_LEN:
        with torch.no_grad():
            token = int(model(torch.tensor([[*prompt, *ids]]))[0, -1].argmax())
        if token == END:
            return ids, True
        ids.append(token)
    return ids, False


@settings(max_examples=20, deadline=None)
@given(prompts=prompts_of)
def test_decoding_with_a_cache_is_reading_everything_again(model: LanguageModel, prompts: list[list[int]]) -> None:
    found = generate(model, prompts, GREEDY, end_ids=[END], seeds=[0] * len(prompts))
    expected = [answer_anew(model, prompt, 12) for prompt in prompts]
    assert [(answer.ids, answer.finished) for answer in found] == expected


@settings(max_examples=20, deadline=None)
@given(prompts=prompts_of, seed=st.integers(0, 2**62))
def test_the_same_prompt_and_seed_give_the_same_answer_in_any_company(
    model: LanguageModel, prompts: list[list[int]], seed: int
) -> None:
    sampling = Sampling(temperature=1.3, top_p=0.9, max_tokens=9)
    seeds = [seed + i for i in range(len(prompts))]
    together = generate(model, prompts, sampling, end_ids=[END], seeds=seeds)
    alone = [generate(model, [p], sampling, end_ids=[END], seeds=[s])[0] for p, s in zip(prompts, seeds, strict=True)]
    backwards = generate(model, prompts[::-1], sampling, end_ids=[END], seeds=seeds[::-1])[::-1]
    assert together == alone == backwards


def test_answers_of_many_batches_stand_where_their_prompts_stood(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [[6 + i] * (1 + i * 7 % 11) for i in range(10)]
    expected = generate(model, prompts, GREEDY, end_ids=[END], seeds=[0] * 10)
    monkeypatch.setattr("malmoi.inference.generate.MOST_ROWS", 3)
    assert generate(model, prompts, GREEDY, end_ids=[END], seeds=[0] * 10) == expected
    assert generate(model, [], GREEDY, end_ids=[END], seeds=[]) == []


def test_answers_are_cut_by_max_tokens_and_by_the_context(model: LanguageModel) -> None:
    prompts = [[7], [8] * (SEQ_LEN - 2), [9] * (SEQ_LEN - 1)]
    answers = generate(model, prompts, Sampling(max_tokens=5), end_ids=[], seeds=[1, 2, 3])
    assert [(len(answer.ids), answer.finished) for answer in answers] == [(5, False), (2, False), (1, False)]


def test_a_row_that_is_full_while_most_go_on_disturbs_nobody(model: LanguageModel) -> None:
    prompts = [[9] * (SEQ_LEN - 2), *[[6 + i] for i in range(7)]]
    answers = generate(model, prompts, GREEDY, end_ids=[], seeds=[0] * 8)
    assert len(answers[0].ids) == 2
    alone = [generate(model, [prompt], GREEDY, end_ids=[], seeds=[0])[0] for prompt in prompts]
    assert answers == alone


def test_another_seed_gives_another_answer(model: LanguageModel) -> None:
    answers = generate(model, [[7, 8]] * 8, Sampling(temperature=2, max_tokens=12), end_ids=[END], seeds=list(range(8)))
    assert len({tuple(answer.ids) for answer in answers}) > 4


@pytest.mark.parametrize(("prompt", "says"), [([], "is empty"), ([6] * SEQ_LEN, "24 tokens leave no room")])
def test_prompts_that_cannot_be_answered_are_refused(model: LanguageModel, prompt: list[int], says: str) -> None:
    with pytest.raises(DataError, match=f"prompt 1: {says}"):
        generate(model, [[6, 7], prompt], GREEDY, end_ids=[END], seeds=[0, 0])
    with pytest.raises(DataError, match=f"prompt 0: {says}"):
        Engine(model, end_ids=[END]).submit(prompt, GREEDY)


def test_a_cache_continues_rows_of_unlike_lengths_and_moves_rows(model: LanguageModel) -> None:
    """Prefill three rows, read two more tokens of each at once, move rows about, read one more in two of them."""
    config, rows = model.config, [[7, 8, 9, 10], [11], [12, 13]]
    ids, lengths = pad(rows, 0)
    cache = KVCache(config.n_layer, 3, config.n_kv_head, SEQ_LEN, config.head_dim, torch.float32, torch.device("cpu"))
    more, last = torch.tensor([[20, 21], [22, 23], [24, 25]]), torch.tensor([[30], [31]])
    with torch.no_grad():
        model(ids, cache)
        cache.advance(lengths)
        two = model(more, cache)
        cache.advance(2)
        cache.swap(0, 2)
        cache.swap(1, 2)
        left = cache.rows(0, 2)
        one = model(last, left)
        for row, prompt in enumerate(rows):
            whole = model(torch.tensor([[*prompt, *more[row].tolist()]]))[0, -2:]
            torch.testing.assert_close(two[row], whole, atol=1e-4, rtol=1e-4)
        for place, row in enumerate((2, 0)):
            whole = model(torch.tensor([[*rows[row], *more[row].tolist(), int(last[place])]]))[0, -1]
            torch.testing.assert_close(one[place, 0], whole, atol=1e-4, rtol=1e-4)


def run(made: Engine, *requests: Request) -> None:
    while any(request.finish_reason is None for request in requests):
        made.step()


def test_requests_join_and_leave_and_answer_as_if_alone(model: LanguageModel) -> None:
    sampling = Sampling(temperature=1.5, max_tokens=9)
    made = Engine(model, end_ids=[END], n_rows=3)
    requests = []
    for number in range(9):
        requests.append(made.submit([6 + number] * (1 + number % 4), sampling, seed=number))
        made.step()
    run(made, *requests)
    assert made.is_idle
    for number, request in enumerate(requests):
        [alone] = generate(model, [request.prompt], sampling, end_ids=[END], seeds=[number])
        assert request.answer == alone


def test_what_was_read_is_not_read_again(model: LanguageModel) -> None:
    beginning = list(range(6, 24))
    made = Engine(model, end_ids=[], n_rows=3)
    first = made.submit(beginning, Sampling(temperature=0, max_tokens=2))
    run(made, first)
    # The next turn goes on from the answer; a neighbour shares the beginning; a stranger shares nothing.
    turns = [[*beginning, *first.ids[:1], 30], [*beginning, 31, 32], [33, 34]]
    requests = [made.submit(turn, Sampling(temperature=0, max_tokens=2)) for turn in turns]
    run(made, *requests)
    assert [request.n_cached for request in requests] == [19, 18, 0]
    for request in requests:
        assert request.answer.ids == answer_anew(model, request.prompt, 2)[0]


def test_several_answers_to_one_prompt_read_it_once(model: LanguageModel) -> None:
    made = Engine(model, end_ids=[], n_rows=4)
    requests = [made.submit([7, 8, 9], Sampling(temperature=2, max_tokens=6), seed) for seed in range(4)]
    run(made, *requests)
    assert [request.n_cached for request in requests] == [0, 3, 3, 3]
    for seed, request in enumerate(requests):
        [alone] = generate(model, [[7, 8, 9]], request.sampling, end_ids=[END], seeds=[seed])
        assert request.ids[: len(alone.ids)] == alone.ids


def test_the_row_that_was_used_longest_ago_is_overwritten(model: LanguageModel) -> None:
    texts = [[start] * 17 for start in (7, 8, 9)]
    made = Engine(model, end_ids=[], n_rows=3)
    for text in (*texts, [10] * 17):
        run(made, made.submit(text, Sampling(max_tokens=1)))
    again = [made.submit([*text, 11], Sampling(max_tokens=1)) for text in texts]
    run(made, *again)
    assert again[0].n_cached == 0 and again[2].n_cached == 17


def test_a_cancelled_request_frees_its_row_at_the_next_step(model: LanguageModel) -> None:
    made = Engine(model, end_ids=[], n_rows=1)
    first, second, third = (made.submit([6 + i], Sampling(temperature=0, max_tokens=8)) for i in range(3))
    made.step()
    made.cancel(first)
    made.cancel(third)  # still waiting
    n_before = len(first.ids)
    made.step()
    assert first.finish_reason == "cancelled" and len(first.ids) == n_before and len(second.ids) == 1
    run(made, second)
    [alone] = generate(model, [[7]], second.sampling, end_ids=[], seeds=[0])
    assert second.ids == alone.ids and third.ids == [] and made.is_idle


def test_too_many_waiting_requests_are_turned_away(model: LanguageModel) -> None:
    made = Engine(model, end_ids=[END], n_rows=1, n_waiting=2)
    made.submit([6], GREEDY)
    made.submit([6], GREEDY)
    with pytest.raises(BusyError, match="2 requests are waiting"):
        made.submit([6], GREEDY)
    made.step()
    made.submit([6], GREEDY)


def test_logprobs_are_the_models_own_whatever_the_sampling(model: LanguageModel) -> None:
    sampling = Sampling(temperature=0.5, top_k=3, repetition_penalty=1.3, logit_bias={9: 2.0}, max_tokens=4, logprobs=2)
    made = Engine(model, end_ids=[], n_rows=1)
    request = made.submit([7, 8], sampling, seed=3)
    run(made, request)
    with torch.no_grad():
        expected = model(torch.tensor([[7, 8, *request.ids]]))[0].log_softmax(-1)
    for place, (token, found) in enumerate(zip(request.ids, request.logprobs, strict=True), start=1):
        assert found.logprob == pytest.approx(float(expected[place, token]), abs=1e-4)
        assert list(found.top) == expected[place].topk(2).indices.tolist()


@pytest.mark.parametrize(
    ("prompt", "sampling", "says"),
    [
        ([6, 40], Sampling(), "outside the model's 40"),
        ([-1], Sampling(), "outside the model's 40"),
        ([6], Sampling(logit_bias={40: 1.0}), "logit_bias: token 40"),
        ([6], Sampling(stop=("x",)), "without a tokenizer"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    model: LanguageModel, prompt: list[int], sampling: Sampling, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        Engine(model, end_ids=[END], n_rows=1).submit(prompt, sampling)


class Raised(Exception):
    pass


def answers_of(made: Engine, prompts: list[list[int]]) -> list[list[int]]:
    requests = [made.submit(prompt, GREEDY) for prompt in prompts]
    run(made, *requests)
    return [request.ids for request in requests]


BEGINNING = list(range(6, 26))
LONG = [[7, 8, 9], [10, 11], [12, 13, 14, 15]]


@pytest.mark.parametrize("error", [Raised, KeyboardInterrupt, torch.OutOfMemoryError])
@pytest.mark.parametrize("place", ["first layer", "last layer", "head"])
@pytest.mark.parametrize("call", [1, 2, 3, 5])
def test_after_an_exception_in_any_part_answers_are_those_of_a_new_engine(
    model: LanguageModel, place: str, call: int, error: type[BaseException]
) -> None:
    old, new = [[*BEGINNING[:18], 30], [31, 32]], [[*BEGINNING[:18], 33], [31, 34], [*BEGINNING[:17], 35, 36]]
    made = Engine(model, end_ids=[END], n_rows=2)
    answers_of(made, [BEGINNING[:18]])
    part = {"first layer": made.model.model.layers[0], "last layer": made.model.model.layers[1]}
    n_calls = 0

    def fail(*_: object) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == call:
            raise error("here")

    handle = part.get(place, made.model.lm_head).register_forward_hook(fail)
    requests = [made.submit(prompt, GREEDY) for prompt in [*old, [37, 38]]]
    with pytest.raises(error):
        run(made, *requests)
    handle.remove()
    assert not made.running and all(request.finish_reason or request in made.waiting for request in requests)
    run(made, *requests)
    assert "error" in [request.finish_reason for request in requests]
    assert answers_of(made, new) == answers_of(Engine(model, end_ids=[END], n_rows=2), new)


class Unreadable:
    """In place of a tokenizer that cannot say a token."""

    def push(self, _: int) -> bool:
        raise Raised


def test_after_an_exception_in_sampling_or_in_the_text_the_engine_goes_on(model: LanguageModel) -> None:
    made = Engine(model, end_ids=[END], n_rows=2)
    expected = answers_of(Engine(model, end_ids=[END], n_rows=2), LONG)
    request = made.submit([*BEGINNING[:17], 30], GREEDY)
    handle = made.model.lm_head.register_forward_hook(lambda *args: args[2] * torch.nan)
    with pytest.raises(CheckpointError, match="not finite"):
        made.step()
    handle.remove()
    assert request.finish_reason == "error" and made.is_idle and answers_of(made, LONG) == expected
    request = made.submit([*BEGINNING[:17], 30], GREEDY)
    request.assembler = Unreadable()  # type: ignore[assignment]
    with pytest.raises(Raised):
        made.step()
    assert request.finish_reason == "error" and made.is_idle and answers_of(made, LONG) == expected


@settings(max_examples=20, deadline=None)
@given(
    rests=st.lists(st.tuples(st.integers(0, 19), st.lists(st.integers(6, 39), max_size=6)), min_size=1, max_size=8),
    n_rows=st.integers(1, 5),
)
def test_prompts_that_share_beginnings_of_any_length_are_read_together(
    model: LanguageModel, rests: list[tuple[int, list[int]]], n_rows: int
) -> None:
    prompts = [([*BEGINNING[:n], *rest] or [6])[: SEQ_LEN - 1] for n, rest in rests]
    made = Engine(model, end_ids=[END], n_rows=n_rows)
    answers_of(made, [BEGINNING])
    assert answers_of(made, prompts) == [answer_anew(model, prompt, 12)[0] for prompt in prompts]


def test_newcomers_after_one_shared_prompt_are_read_in_one_pass(model: LanguageModel) -> None:
    made = Engine(model, end_ids=[], n_rows=8)
    answers_of(made, [[*BEGINNING, 30]])
    shapes: list[tuple[int, ...]] = []
    made.model.model.register_forward_hook(lambda _, args, __: shapes.append(tuple(args[0].shape)))
    requests = [made.submit([*BEGINNING[: 17 + i % 3], 31 + i], GREEDY) for i in range(7)]
    made.step()
    assert [request.n_cached for request in requests] == [17, 18, 19, 17, 18, 19, 17] and shapes == [(7, 1)]


def test_rows_that_memory_does_not_suffice_for_wait(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """For two and a half rows of the whole context; what runs out of it while it answers waits again."""
    monkeypatch.setattr(rows, "FIRST_POSITIONS", 2)
    monkeypatch.setattr(engine, "FIRST_POSITIONS", 2)
    made = Engine(model, end_ids=[], n_rows=8)
    enough = 2.5 * made.rows.cache.row_bytes(SEQ_LEN)
    monkeypatch.setattr(rows, "SHARE_OF_FREE", enough / device.memory_bytes()[0])
    prompts = [[6 + i] * (1 + i) for i in range(7)]
    requests = [made.submit(prompt, GREEDY) for prompt in prompts]
    most = 0
    while not made.is_idle:
        made.step()
        most = max(most, len(made.running))
        n_rows, n_positions = made.rows.cache.capacity
        assert n_rows * made.rows.cache.row_bytes(n_positions) < 1.5 * enough
    assert 2 <= most < 8
    assert [request.ids for request in requests] == [
        generate(model, [prompt], GREEDY, end_ids=[], seeds=[0])[0].ids for prompt in prompts
    ]


def shapes_read(made: Engine) -> list[tuple[int, ...]]:
    """Fills with the shape of the ids of every pass."""
    shapes: list[tuple[int, ...]] = []
    made.model.model.register_forward_hook(lambda _, args, __: shapes.append(tuple(args[0].shape)))
    return shapes


def test_newcomers_that_share_what_nobody_has_read_read_it_once(model: LanguageModel) -> None:
    """One reads the beginning, the others copy it; for so little that a pass costs more, all read it."""
    prompts = [[*BEGINNING[:18], 30 + i, 7] for i in range(6)]
    made = Engine(model, end_ids=[END], n_rows=8)
    shapes = shapes_read(made)
    requests = [made.submit(prompt, GREEDY) for prompt in prompts]
    made.step()
    assert shapes == [(1, 20), (5, 2)] and [request.n_cached for request in requests] == [0, 18, 18, 18, 18, 18]
    run(made, *requests)
    assert [request.ids for request in requests] == [answer_anew(model, prompt, 12)[0] for prompt in prompts]
    few = Engine(model, end_ids=[END], n_rows=8)
    shapes = shapes_read(few)
    few.submit(prompts[0], GREEDY), few.submit(prompts[1], GREEDY)
    few.step()
    assert shapes == [(2, 20)]


def test_only_attention_looks_at_padding(model: LanguageModel) -> None:
    made = Engine(model, end_ids=[], n_rows=4)
    n_tokens: list[int] = []
    made.model.model.layers[0].mlp.register_forward_hook(lambda _, args, __: n_tokens.append(args[0].numel() // 16))
    for length in (1, 5, 20):
        made.submit([6 + length] * length, GREEDY)
    made.step()
    assert n_tokens == [26]


def test_a_beginning_that_is_needed_stays_when_rows_are_overwritten(model: LanguageModel) -> None:
    """All rows are taken; the one that was used longest ago has what a later newcomer shares."""
    made = Engine(model, end_ids=[], n_rows=3)
    for text in (BEGINNING, [7] * 18, [8] * 18):
        run(made, made.submit(text, Sampling(temperature=0, max_tokens=1)))
    prompts = [[9], [*BEGINNING[:18], 30, 31], [10, 11]]
    requests = [made.submit(prompt, GREEDY) for prompt in prompts]
    run(made, *requests)
    assert [request.n_cached for request in requests] == [0, 18, 0]
    assert [request.ids for request in requests] == [answer_anew(model, prompt, 12)[0] for prompt in prompts]


def test_a_request_that_is_cancelled_while_it_is_read_ends_and_frees_its_row(model: LanguageModel) -> None:
    made = Engine(model, end_ids=[], n_rows=2)
    cancelled, other, third = (made.submit([6 + i, 9], GREEDY) for i in range(3))
    handle = made.model.model.layers[0].register_forward_hook(lambda *_: made.cancel(cancelled))
    made.step()
    handle.remove()
    assert cancelled.finish_reason == "cancelled" and cancelled.ids == [] and made.running == [other]
    run(made, other, third)
    assert made.is_idle
    alone = [generate(model, [r.prompt], GREEDY, end_ids=[], seeds=[0])[0].ids for r in (other, third)]
    assert [r.ids for r in (other, third)] == alone
