"""Answers do not depend on how they are computed: cached or anew, alone or among others, at once or as a stream."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.data.batch import pad
from malmoi.errors import DataError
from malmoi.generate import engine
from malmoi.generate.engine import generate, stream
from malmoi.generate.sampling import Sampling
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
    found = generate(model, prompts, GREEDY, end_id=END, seeds=[0] * len(prompts))
    expected = [answer_anew(model, prompt, 12) for prompt in prompts]
    assert [(answer.ids, answer.finished) for answer in found] == expected


@settings(max_examples=20, deadline=None)
@given(prompts=prompts_of, seed=st.integers(0, 2**62))
def test_the_same_prompt_and_seed_give_the_same_answer_in_any_company(
    model: LanguageModel, prompts: list[list[int]], seed: int
) -> None:
    sampling = Sampling(temperature=1.3, top_p=0.9, max_tokens=9)
    seeds = [seed + i for i in range(len(prompts))]
    together = generate(model, prompts, sampling, end_id=END, seeds=seeds)
    alone = [generate(model, [p], sampling, end_id=END, seeds=[s])[0] for p, s in zip(prompts, seeds, strict=True)]
    backwards = generate(model, prompts[::-1], sampling, end_id=END, seeds=seeds[::-1])[::-1]
    streamed = [list(stream(model, p, sampling, end_id=END, seed=s)) for p, s in zip(prompts, seeds, strict=True)]
    assert together == alone == backwards
    assert [answer.ids for answer in together] == streamed


def test_answers_of_many_batches_stand_where_their_prompts_stood(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [[6 + i] * (1 + i * 7 % 11) for i in range(10)]
    expected = generate(model, prompts, GREEDY, end_id=END, seeds=[0] * 10)
    monkeypatch.setattr(engine, "MOST_ROWS", 3)
    assert generate(model, prompts, GREEDY, end_id=END, seeds=[0] * 10) == expected
    assert generate(model, [], GREEDY, end_id=END, seeds=[]) == []


def test_answers_are_cut_by_max_tokens_and_by_the_context(model: LanguageModel) -> None:
    never = 10_000
    prompts = [[7], [8] * (SEQ_LEN - 2), [9] * (SEQ_LEN - 1)]
    answers = generate(model, prompts, Sampling(max_tokens=5), end_id=never, seeds=[1, 2, 3])
    assert [(len(answer.ids), answer.finished) for answer in answers] == [(5, False), (2, False), (1, False)]


def test_a_row_that_is_full_while_most_go_on_disturbs_nobody(model: LanguageModel) -> None:
    prompts = [[9] * (SEQ_LEN - 2), *[[6 + i] for i in range(7)]]
    answers = generate(model, prompts, GREEDY, end_id=10_000, seeds=[0] * 8)
    assert len(answers[0].ids) == 2
    alone = [generate(model, [prompt], GREEDY, end_id=10_000, seeds=[0])[0] for prompt in prompts]
    assert answers == alone


def test_another_seed_gives_another_answer(model: LanguageModel) -> None:
    answers = generate(model, [[7, 8]] * 8, Sampling(temperature=2, max_tokens=12), end_id=END, seeds=list(range(8)))
    assert len({tuple(answer.ids) for answer in answers}) > 4


@pytest.mark.parametrize(("prompt", "says"), [([], "is empty"), ([6] * SEQ_LEN, "24 tokens leave no room")])
def test_prompts_that_cannot_be_answered_are_refused(model: LanguageModel, prompt: list[int], says: str) -> None:
    with pytest.raises(DataError, match=f"prompt 1: {says}"):
        generate(model, [[6, 7], prompt], GREEDY, end_id=END, seeds=[0, 0])
    with pytest.raises(DataError, match=f"prompt 0: {says}"):
        list(stream(model, prompt, GREEDY, end_id=END, seed=0))


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
