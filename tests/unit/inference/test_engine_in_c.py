"""Short prompts that C reads with the tokens of running requests: the answers are those of a network that reads all."""

import shutil

import pytest
import torch

from malmoi.inference import engine
from malmoi.inference.engine import Engine
from malmoi.inference.sampling import Sampling
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from tests.unit.inference.test_engine import END, GREEDY, SEQ_LEN, answer_anew

pytestmark = pytest.mark.usefixtures("float32")
PROMPTS = [[6 + (7 * i + k) % 30 for k in range(1 + 5 * i % 14)] for i in range(12)]


@pytest.fixture(scope="module", params=[False, True], ids=["llama", "qwen3"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    """A feed-forward part of 40, which C fills up."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler here")
    torch.manual_seed(7)
    shape = {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_kv_head": 2, "head_dim": 32, "n_ff": 40}
    made = LanguageModel(ModelConfig(vocab_size=40, seq_len=SEQ_LEN, qk_norm=request.param, **shape))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.3)
    return made


def never(*_: object) -> None:
    raise AssertionError("PyTorch was asked")


def test_prompts_are_read_as_they_go(model: LanguageModel) -> None:
    """More prompts than rows, so that they join while others are in the middle of their answers."""
    made = Engine(model, end_ids=[END], n_rows=3)
    made.model.model.layers[0].register_forward_hook(never)
    requests = [made.submit(prompt, GREEDY) for prompt in PROMPTS]
    made.finish()
    found = [(request.ids, request.finish_reason == "stop") for request in requests]
    assert found == [answer_anew(model, prompt, 12) for prompt in PROMPTS]


def test_what_is_read_as_it_goes_is_the_same_in_any_company(model: LanguageModel) -> None:
    sampling = Sampling(temperature=1.2, max_tokens=9)
    together = Engine(model, end_ids=[END], n_rows=5)
    requests = [together.submit(prompt, sampling, seed) for seed, prompt in enumerate(PROMPTS)]
    together.finish()
    for seed, prompt in enumerate(PROMPTS):
        alone = Engine(model, end_ids=[END], n_rows=1)
        request = alone.submit(prompt, sampling, seed)
        alone.finish()
        assert request.ids == requests[seed].ids


def test_more_than_little_is_read_by_pytorch(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_ALONG", 4)
    made, asked = Engine(model, end_ids=[END], n_rows=4), []
    made.model.model.layers[0].register_forward_hook(lambda *_: asked.append(made.n_steps))
    requests = [made.submit(prompt, GREEDY) for prompt in ([7, 8], [9] * 9, [7, 9])]
    made.finish()
    assert asked
    assert [request.ids for request in requests] == [answer_anew(model, r.prompt, 12)[0] for r in requests]


def test_only_what_is_new_of_a_prompt_is_read(model: LanguageModel) -> None:
    made = Engine(model, end_ids=[], n_rows=2)
    text = [6 + i for i in range(18)]
    made.submit(text, Sampling(temperature=0, max_tokens=2))
    made.finish()
    longer = made.submit([*text, 9, 8, 7], Sampling(temperature=0, max_tokens=2))
    same = made.submit([*text, 9], Sampling(temperature=0, max_tokens=2))
    made.finish()
    assert (longer.n_cached, same.n_cached) == (18, 18)
    assert longer.ids == answer_anew(model, longer.prompt, 2)[0]
    assert same.ids == answer_anew(model, same.prompt, 2)[0]


def test_one_that_is_cancelled_before_it_is_read_leaves_no_trace(model: LanguageModel) -> None:
    made = Engine(model, end_ids=[], n_rows=2)
    first = made.submit([7, 8, 9], GREEDY)
    made.step()
    gone = made.submit([10, 11], GREEDY)
    made.cancel(gone)
    other = made.submit([12, 13, 14], GREEDY)
    made.finish()
    assert (gone.ids, gone.finish_reason) == ([], "cancelled")
    assert [first.ids, other.ids] == [answer_anew(model, one.prompt, 12)[0] for one in (first, other)]


def test_after_an_exception_the_others_are_answered(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Engine(model, end_ids=[], n_rows=2)
    broken, waiting = made.submit([7, 8, 9], GREEDY), made.submit([9, 8, 7], GREEDY)
    third = made.submit([11, 12], GREEDY)
    with monkeypatch.context() as patched:
        patched.setattr(made, "decoder", lambda *_: never())
        with pytest.raises(AssertionError, match="PyTorch"):
            made.step()
    made.finish()
    assert (broken.finish_reason, waiting.finish_reason) == ("error", "error")
    assert third.ids == answer_anew(model, third.prompt, 12)[0]
