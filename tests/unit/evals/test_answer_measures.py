"""Exact match, diversity and log-ratios of answers, on examples worked out by hand."""

import unicodedata

import pytest
import torch

from malmoi.evals.answer_measures import distinct_share, is_exact, log_ratios
from malmoi.evals.answering import TextAnswer
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")


def answered(text: str, finished: bool = True) -> TextAnswer:
    return TextAnswer(text, [], finished)


def test_an_exact_answer_was_ended_and_says_the_reference_but_for_white_space() -> None:
    references = ["a list", "the  list"]
    assert is_exact(answered(" a\n list "), references) and is_exact(answered("the list"), references)
    assert not is_exact(answered("a list", finished=False), references)
    assert not is_exact(answered("A list"), references) and not is_exact(answered("a list."), references)
    typed_as_letters = unicodedata.normalize("NFD", "\t낱말   모으기\u200b\n")
    assert is_exact(answered(typed_as_letters), ["낱말 모으기"])


def test_distinct_share_counts_answers_that_differ_in_more_than_white_space() -> None:
    assert distinct_share([["a", "a ", "b", "a"], ["x"], ["p", "q"]]) == [0.5, 1.0, 1.0]
    assert distinct_share([]) == []


def test_log_ratios_are_those_of_the_answers_own_tokens(
    policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    torch.manual_seed(5)
    ref = LanguageModel(policy.config)
    prompts = ["cat", "낱말은?", "dog"]
    answers = [TextAnswer("", [40, 41, 42], True, 2), TextAnswer("", [43], False), TextAnswer("", [], True, 0)]
    expected = []
    for prompt, answer in zip(prompts, answers, strict=True):
        asked, _ = template.encode(tokenizer, [{"role": "user", "content": prompt}], add_generation_prompt=True)
        said = answer.ids + [answer.end_id] * answer.finished
        rows, places = torch.tensor([[*asked, *said]]), torch.arange(len(said)) + len(asked) - 1
        logps = [model(rows)[0, places].log_softmax(-1)[torch.arange(len(said)), said] for model in (policy, ref)]
        expected.append((logps[0] - logps[1]).sum().item())
    found = log_ratios(policy, ref, tokenizer, template, prompts, answers, batch_size=2)
    assert found == pytest.approx(expected, abs=1e-4)
    assert log_ratios(policy, policy, tokenizer, template, prompts, answers) == [0.0] * 3
