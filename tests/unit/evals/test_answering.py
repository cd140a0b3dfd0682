"""A model answers prompts in their order, and the same seed gives the same answers."""

from typing import Any

import pytest

from malmoi.evals.answering import answer_questions, prompt_ids
from malmoi.inference.generate import generate
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")


def test_prompts_are_answered_in_order_and_reproducibly(
    policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    prompts = ["cat", "낱말은?", "cat", "a longer question"]
    sampling = Sampling(max_tokens=6)
    first, again, other = (answer_questions(policy, tokenizer, template, prompts, sampling, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first[0].ids != first[2].ids  # the same prompt twice is asked twice
    assert all(answer.text == tokenizer.decode(answer.ids).strip() for answer in first)
    greedy = Sampling(temperature=0, max_tokens=6)
    one_by_one = [answer_questions(policy, tokenizer, template, [prompt], greedy)[0] for prompt in prompts]
    assert one_by_one == answer_questions(policy, tokenizer, template, prompts, greedy)


def test_conversations_and_documents_are_answered_as_one_prompt(
    policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    greedy = Sampling(temperature=0, max_tokens=6)
    alone: list[dict[str, Any]] = [{"role": "user", "content": "cat"}]
    before = [{"role": "user", "content": "dog"}, {"role": "assistant", "content": "Yes."}]
    with_documents = [{**alone[0], "documents": [{"title": "cat", "text": "A cat sat."}]}]
    prompts: list[str | list[dict[str, Any]]] = ["cat", alone, [*before, *alone], with_documents]
    ids = [prompt_ids(tokenizer, template, prompt) for prompt in prompts]
    assert ids[0] == ids[1] and ids[2][-len(ids[0]) :] == ids[0] and ids[3][-len(ids[0]) :] == ids[0]
    assert len({*map(tuple, ids)}) == 3
    expected = [answer.ids for answer in generate(policy, ids, greedy, end_ids=tokenizer.stop_ids, seeds=[0] * 4)]
    assert [answer.ids for answer in answer_questions(policy, tokenizer, template, prompts, greedy)] == expected
