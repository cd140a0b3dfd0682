"""Scores are read at each answer's last token, in any batch, and have a zero and a unit."""

import pytest
import torch

from malmoi.data.comparisons import Ranking, ranking_ids
from malmoi.evals.reward_scores import head_scores, mean_scores, reward_bias
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")


def test_every_answer_is_scored_at_its_last_token(reward_model: ScalarModel) -> None:
    asked = [Ranking([[7, 8], [9], [10, 11, 12]], [1, 2, 3]), Ranking([[13] * 9, [14]], [1, 2])]
    found = mean_scores(reward_model, asked * 3, pad_id=1, batch_size=4)
    alone = [[reward_model(torch.tensor([ids]))[0, -1].item() for ids in ranking.ids] for ranking in asked]
    for row, expected in zip(found, alone * 3, strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


def test_batches_change_no_score(shape: ModelConfig) -> None:
    torch.manual_seed(0)
    model = ScalarModel(shape, n_heads=3)
    rows = [Ranking([[5, 6, 7, 8, *[9] * n], [5, 6, 9]], [1, 2]) for n in (1, 9, 3)]
    together = head_scores(model, rows, 0)
    for whole, alone in zip(together, head_scores(model, rows, 0, batch_size=1), strict=True):
        assert whole.shape == (2, 3)
        torch.testing.assert_close(torch.tensor(whole), torch.tensor(alone), rtol=1e-5, atol=1e-6)


def test_a_reward_models_zero_is_read_where_it_learned_to_score(
    reward_model: ScalarModel, tokenizer: Tokenizer
) -> None:
    """ChatML writes a line break after the end of a turn, which no ranking that was learned from contains."""
    template = ChatTemplate(ChatTemplate.default().source.replace("{%- endfor -%}", "{{- '\\n' -}}{%- endfor -%}"))
    asked, said = [{"role": "user", "content": "cat"}], {"role": "assistant", "content": "the mat"}
    assert len(template.encode(tokenizer, [*asked, said])[0]) > len(
        ranking_ids(tokenizer, template, asked, ["the mat"])[0]
    )
    learned = Ranking([ranking_ids(tokenizer, template, asked, ["the mat"])[0]], [1])
    [expected] = head_scores(reward_model, [learned], tokenizer.pad_id)
    assert reward_bias(reward_model, (tokenizer, template), [[*asked, said]]) == pytest.approx([float(expected[0, 0])])
