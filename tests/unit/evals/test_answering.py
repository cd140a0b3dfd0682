"""A model answers prompts in their order, and the same seed gives the same answers."""

import pytest

from malmoi.evals.answering import answer_questions
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
