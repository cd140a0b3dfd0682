"""Who is evaluated."""

from typing import NamedTuple

from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate


class Subject(NamedTuple):
    """A model and its text."""

    model: LanguageModel
    tokenizer: Tokenizer
    template: ChatTemplate
