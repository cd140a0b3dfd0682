"""A vLLM server in place of our engine: the same ids and log-probabilities, whatever happens to it on the way.

The server here is a stand-in with our own engine inside; `benchmarks/vllm_side.py` checks the real one.
"""

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from malmoi.errors import ConfigError
from malmoi.evals.answering import Subject, answer_greedily
from malmoi.inference.engine import Engine
from malmoi.inference.generate import Generate, engine_of, generate, generating, generator_gap
from malmoi.inference.requests import Answer, Request
from malmoi.inference.sampling import Sampling
from malmoi.inference.session import ChatSession
from malmoi.inference.vllm.server import LostError, Server, ServerError
from malmoi.inference.vllm.weights import Remote
from malmoi.inference.voice import Voice
from malmoi.model.config import ModelConfig
from malmoi.model.lora import LoraConfig, add_lora
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from tests.vllm_stand_in import VllmStandIn

pytestmark = pytest.mark.usefixtures("float32")
PROMPTS = [[7 + n, 9, 30 + n] for n in range(12)]
SAMPLING = Sampling(temperature=0.9, top_p=0.9, max_tokens=10)


@pytest.fixture
def stand_in(policy_folder: Path) -> Iterator[VllmStandIn]:
    with VllmStandIn(policy_folder) as server:
        yield server


@contextlib.contextmanager
def answered_by(server: VllmStandIn, tmp_path: Path, patience_s: float = 5.0) -> Iterator[None]:
    with generating(Generate(backend="vllm", url=server.url, patience_s=patience_s), tmp_path / "run"):
        yield


@pytest.fixture
def answers(stand_in: VllmStandIn, tmp_path: Path) -> Iterator[VllmStandIn]:
    """Everything in this test is answered by the stand-in."""
    with answered_by(stand_in, tmp_path):
        yield stand_in


@pytest.fixture
def trained(policy: LanguageModel) -> LanguageModel:
    """The policy after some training: its weights are others."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return policy


def ask(model: LanguageModel, sampling: Sampling = SAMPLING) -> list[Answer]:
    return generate(model, PROMPTS, sampling, end_ids=[5, 6], seeds=range(len(PROMPTS)))


def ours(model: LanguageModel, sampling: Sampling = SAMPLING) -> list[Request]:
    engine = Engine(model, end_ids=[5, 6], n_rows=4)
    requests = [engine.submit(prompt, sampling, seed) for seed, prompt in enumerate(PROMPTS)]
    engine.finish()
    return requests


def test_ids_and_logprobs_are_ours_before_and_after_a_change_of_weights(
    answers: VllmStandIn, policy: LanguageModel, tmp_path: Path
) -> None:
    how = SAMPLING.model_copy(update={"logprobs": 2, "logit_bias": {8: 2.0}, "repetition_penalty": 1.2})
    for n_loads in (1, 2):
        expected = ours(policy, how)
        engine = engine_of(policy, end_ids=[5, 6], n_rows=3)
        found = [engine.submit(prompt, how, seed) for seed, prompt in enumerate(PROMPTS)]
        engine.finish()
        assert [one.answer for one in found] == [one.answer for one in expected]
        for one, other in zip(found, expected, strict=True):
            assert [row.logprob for row in one.logprobs] == pytest.approx(
                [row.logprob for row in other.logprobs], abs=1e-5
            )
            assert [[*row.top] for row in one.logprobs] == [[*row.top] for row in other.logprobs]
        assert answers.n_loads == n_loads and generator_gap() == pytest.approx(0, abs=1e-6)
        with torch.no_grad():
            policy.lm_head.weight.mul_(1.5)
    assert len({tuple(one.ids) for one in found}) > 1 and {one.finish_reason for one in found} == {"stop", "length"}


def test_the_likeliest_answers_of_an_evaluation_are_ours(
    answers: VllmStandIn, policy: LanguageModel, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    subject = Subject(policy, tokenizer, ChatTemplate.default())
    found = answer_greedily(subject, PROMPTS, 8, ["a"])
    assert answers.n_asked == len(PROMPTS)
    with generating(Generate(), tmp_path):
        assert answer_greedily(subject, PROMPTS, 8, ["a"]) == found


def test_unchanged_weights_are_given_once_and_the_folder_is_emptied(
    stand_in: VllmStandIn, policy: LanguageModel, tmp_path: Path
) -> None:
    with answered_by(stand_in, tmp_path):
        assert ask(policy) == ask(policy)
        assert stand_in.n_loads == 1 and len([*(tmp_path / "run" / "served").glob("weights-*/*")]) == 1
    assert not [*(tmp_path / "run").glob("served/*")]


def test_adapters_are_merged_for_the_server(answers: VllmStandIn, policy: LanguageModel) -> None:
    add_lora(policy, LoraConfig(rank=2))
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.5)
    assert ask(policy) == [one.answer for one in ours(policy)]


def test_a_server_that_dies_half_way_and_comes_back_with_old_weights_gives_the_same_answers(
    answers: VllmStandIn, trained: LanguageModel
) -> None:
    expected = [one.answer for one in ours(trained)]
    for dies_after in (0, 5, 11):
        answers.dies_after = dies_after
        assert ask(trained) == expected
    assert answers.n_deaths == 3 and answers.n_loads == 4


def test_a_server_that_was_started_again_between_two_calls_gets_its_weights_again(
    answers: VllmStandIn, trained: LanguageModel
) -> None:
    expected = ask(trained)
    answers.start()
    assert ask(trained) == expected and answers.n_loads == 2


def test_busy_and_broken_moments_pass(answers: VllmStandIn, policy: LanguageModel) -> None:
    expected = ask(policy)
    answers.n_busy, answers.n_broken = 3, 2
    assert ask(policy) == expected
    assert answers.n_asked == 2 * len(PROMPTS) + 5


@pytest.mark.parametrize(
    ("trouble", "said"),
    [({"n_broken": 999}, "500 not now"), ({"n_busy": 999}, "429 not now"), ({"forgets": "token_ids"}, "no token ids")],
)
def test_trouble_that_does_not_pass_is_told(
    stand_in: VllmStandIn, policy: LanguageModel, tmp_path: Path, trouble: dict[str, object], said: str
) -> None:
    vars(stand_in).update(trouble)
    with answered_by(stand_in, tmp_path, patience_s=0.3), pytest.raises(ServerError, match=said) as caught:
        ask(policy)
    assert "\n" not in str(caught.value) and stand_in.url in str(caught.value)


def test_a_refusal_ends_one_request_and_the_others_go_on(answers: VllmStandIn, policy: LanguageModel) -> None:
    engine = engine_of(policy, end_ids=[5], n_rows=4)
    vocab_size = policy.config.vocab_size
    setattr(engine, "vocab_size", vocab_size + 9)  # noqa: B010
    bad, good = engine.submit([vocab_size + 1], SAMPLING), engine.submit([8, 9], SAMPLING)
    with pytest.raises(ServerError, match="400 Token id is out of vocabulary"):
        engine.finish()
    engine.finish()
    assert (bad.finish_reason, good.answer) == ("error", ours_alone(policy, [8, 9]))


def ours_alone(model: LanguageModel, prompt: list[int]) -> Answer:
    engine = Engine(model, end_ids=[5])
    request = engine.submit(prompt, SAMPLING)
    engine.finish()
    return request.answer


def test_a_server_with_other_weights_than_it_was_given_is_refused(
    stand_in: VllmStandIn, trained: LanguageModel, tmp_path: Path
) -> None:
    with answered_by(stand_in, tmp_path):
        ask(trained)
        stand_in.deaf = True
        with torch.no_grad():
            trained.lm_head.weight.mul_(1.05)
        with pytest.raises(ServerError, match="nats from ours with the same weights"):
            ask(trained)


def test_a_server_of_another_architecture_is_refused(stand_in: VllmStandIn, tmp_path: Path, shape: ModelConfig) -> None:
    other = LanguageModel(shape.model_copy(update={"n_layer": 1, "n_embd": 24, "head_dim": 12}))
    with answered_by(stand_in, tmp_path), pytest.raises(ServerError, match="with its own architecture"):
        ask(other)


def test_a_server_that_takes_no_weights_is_told_how_to_start(
    policy_folder: Path, policy: LanguageModel, tmp_path: Path
) -> None:
    with (
        VllmStandIn(policy_folder, dev=False) as server,
        answered_by(server, tmp_path),
        pytest.raises(ServerError, match=r"VLLM_SERVER_DEV_MODE=1.*--served-model-name malmoi-"),
    ):
        ask(policy)


def test_a_server_that_is_away_is_named(policy: LanguageModel, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        how = Generate(backend="vllm", url=url, patience_s=0.2)
        with generating(how, tmp_path), pytest.raises(LostError, match=f"vLLM at {url}: .*is it running there"):
            ask(policy)


def test_another_kind_of_server_is_no_vllm() -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ServerError, match="answers no JSON; is it vLLM"):
            Server(f"http://127.0.0.1:{server.server_address[1]}").served()
        server.shutdown()


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://a", "http://", "http://a:b@c", "http://[", "http://a:99999"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="no address of a server"):
        Server(url)


def test_a_voice_streams_from_the_server_and_goes_on_where_it_was_lost(
    stand_in: VllmStandIn, policy_folder: Path
) -> None:
    """Its words come as they do from our engine, stop texts included; after a loss nothing is said twice."""
    remote = Remote(Server(stand_in.url, patience_s=5))
    there, here = Voice.load("a", policy_folder, remote=remote), Voice.load("a", policy_folder)
    assert there.network is None and there.seq_len == here.seq_len and stand_in.n_loads == 0
    ids = here.ids([{"role": "user", "content": "cat"}])
    for stop in ((), ("a",)):
        how = Sampling(temperature=1, max_tokens=14, stop=stop, logprobs=0)
        expected, pieces = here.engine(), there.engine()
        asked = expected.submit(ids, how, 3)
        expected.finish()
        stand_in.dies_after, stand_in.dies_at = 0, 2
        found, lengths = pieces.submit(ids, how, 3), []
        while not pieces.is_idle:
            pieces.step()
            lengths.append(len(found.ids))
        assert (found.ids, found.text, found.finish_reason) == (asked.ids, asked.text, asked.finish_reason)
        assert len(found.logprobs) == len(asked.logprobs) and lengths == sorted(lengths)
    assert stand_in.n_deaths == 2


def test_an_answer_that_comes_otherwise_after_a_loss_is_not_patched_together(
    stand_in: VllmStandIn, policy_folder: Path, trained: LanguageModel
) -> None:
    voice = Voice.load("a", policy_folder, remote=Remote(Server(stand_in.url, patience_s=5)))
    engine = voice.engine()
    stand_in.dies_after, stand_in.dies_at = 0, 3
    stand_in.back_with, stand_in.deaf = trained, True
    request = engine.submit([7, 8], Sampling(temperature=1, max_tokens=20), 1)
    with pytest.raises(ServerError, match="was lost, and now answers otherwise"):
        engine.finish()
    assert request.finish_reason == "error" and len(request.ids) == 3


def test_a_cancelled_request_ends_at_once_and_frees_its_place(stand_in: VllmStandIn, policy_folder: Path) -> None:
    engine = Voice.load("a", policy_folder, remote=Remote(Server(stand_in.url))).engine(1)
    first, second = engine.submit([7, 8], SAMPLING), engine.submit([9, 8], SAMPLING)
    assert engine.place(second) == 2
    engine.cancel(first)
    engine.finish()
    assert (first.finish_reason, second.finish_reason) == ("cancelled", ours_of(policy_folder, [9, 8]).finish_reason)
    assert engine.is_idle


def ours_of(folder: Path, prompt: list[int]) -> Request:
    engine = Voice.load("a", folder).engine(1)
    request = engine.submit(prompt, SAMPLING)
    engine.finish()
    return request


def test_a_conversation_is_the_same_as_with_our_engine(answers: VllmStandIn, policy_folder: Path) -> None:
    def said() -> list[str]:
        session = ChatSession("a", policy_folder, Sampling(max_tokens=8), seed=1)
        return ["".join(session.answer(text)) for text in ("cat", "dog")]

    there, asked = said(), answers.n_asked
    with generating(Generate(), policy_folder):
        assert there == said() and (asked, answers.n_asked) == (2, 2)
