"""What is measured once reward models are trained."""

from pathlib import Path

import pytest

from malmoi.data.comparisons import Ranking, conversation_ids
from malmoi.evals.preferences import head_scores
from malmoi.evals.ring import _sample, reward_bias
from malmoi.files import write_jsonl
from malmoi.model.transformer import ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")


def test_a_reward_models_zero_is_read_where_it_learned_to_score(
    reward_model: ScalarModel, tokenizer: Tokenizer
) -> None:
    """ChatML writes a line break after the end of a turn, which no ranking that was learned from contains."""
    template = ChatTemplate(ChatTemplate.default().source.replace("{%- endfor -%}", "{{- '\\n' -}}{%- endfor -%}"))
    asked, said = [{"role": "user", "content": "cat"}], {"role": "assistant", "content": "the mat"}
    assert len(template.encode(tokenizer, [*asked, said])[0]) > len(
        conversation_ids(tokenizer, template, asked, "the mat")
    )
    learned = Ranking([conversation_ids(tokenizer, template, asked, "the mat")], [1])
    [expected] = head_scores(reward_model, [learned], tokenizer.pad_id)
    assert reward_bias(reward_model, (tokenizer, template), [[*asked, said]]) == pytest.approx([float(expected[0, 0])])


def test_what_xz_reads_of_a_large_corpus_is_a_bounded_sample(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    texts = [f"{number:04d}" * 25 for number in range(1000)]
    write_jsonl(path, ({"text": text} for text in texts))
    assert _sample(path, 100_000, 100_000) == "\n\n".join(texts).encode()
    sample = _sample(path, 100_000, 10_000).decode().split("\n\n")
    assert 5_000 < sum(map(len, sample)) <= 10_000
    assert any(text in sample for text in texts[500:])
