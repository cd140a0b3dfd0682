"""What is measured once reward models are trained."""

import pytest

from malmoi.data.comparisons import Ranking, conversation_ids
from malmoi.evals.preferences import head_scores
from malmoi.model.transformer import ScalarModel
from malmoi.pipeline.evaluate import reward_bias
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
