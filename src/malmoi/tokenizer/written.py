"""A conversation as its template writes it: the text, and who said each character of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer, any_of
from malmoi.tokenizer.jinja import BEGIN, END, NEXT, render
from malmoi.tokenizer.said import BY_ASSISTANT, BY_OTHERS, is_spelling_of, said

_MARKS = re.compile(f"[{BEGIN}{END}{NEXT}]")


@dataclass(frozen=True)
class Written:
    """The text that a template made of a conversation.

    marked: the same text, what people said spelled in planes of its own (see `said`); the rest is markup
    spans: where `{% generation %}` begins and ends; None where the template has none
    begins: where each message begins, and all before it reads as it would without what follows; None where the template
        may look ahead
    """

    text: str
    marked: str
    spans: list[tuple[int, int]] | None
    begins: list[int] | None = None

    def specials(self, tokenizer: Tokenizer) -> list[tuple[int, int, str]]:
        """Where the template's own special tokens begin and end, and which they are."""
        return [(*found.span(), found[0]) for found in tokenizer.any_special.finditer(self.marked)]

    def first_said(self, begin: int) -> int | None:
        """Where the assistant's words begin, from here on."""
        found = BY_ASSISTANT.search(self.marked, begin)
        return found and found.start()

    def last_said(self, begin: int) -> int:
        """Where the assistant's words end that begin here: before the next words of others."""
        found = BY_OTHERS.search(self.marked, begin)
        words = list(BY_ASSISTANT.finditer(self.marked, begin, found.start() if found else len(self.marked)))
        return words[-1].end() if words else begin

    def has_others(self, begin: int, end: int) -> bool:
        """Whether words of others are between."""
        return BY_OTHERS.search(self.marked, begin, end) is not None


def write(
    source: str, tokenizer: Tokenizer, messages: Sequence[Mapping[str, str]], structure: Sequence[str], prompt: bool
) -> Written:
    """Raises DataError when the template refuses the conversation, or when what it writes cannot be told from what
    people said.

    structure: tokens that only the template and the assistant may write
    """
    text = render(source, messages, tokenizer.names, add_generation_prompt=prompt)
    spelled = render(source, [said(m) for m in messages], tokenizer.names, add_generation_prompt=prompt, marked=True)
    marked, spans, begins = _unmarked(spelled)
    if is_spelling_of(marked, text):
        return Written(text, marked, spans, begins if len(begins) == len(messages) else None)
    # The template looked into what is said in a way that is not followed. The text is right; whose it is must be sure.
    kept = (*tokenizer.special, *structure, BEGIN, END, NEXT)
    said_text = "".join(message["content"] for message in messages).casefold()
    is_typed = any(token.casefold() in said_text for token in kept)
    found = any_of(kept)
    if is_typed or (found.findall(text) != found.findall(marked) and any(token[0] in said_text for token in kept)):
        raise DataError(
            "chat template: changes what is said, so that special tokens in it cannot be told from the template's own; "
            "leave them out of the text"
        )
    if spans is not None:
        remarked = render(source, messages, tokenizer.names, add_generation_prompt=prompt, marked=True)
        text, spans, _ = _unmarked(remarked)
    return Written(text, text, spans)


def _unmarked(rendered: str) -> tuple[str, list[tuple[int, int]] | None, list[int]]:
    """The text without the marks, where it was between BEGIN and END, and where each NEXT was."""
    # Each mark that is taken out moves what follows by one.
    places = [(found[0], found.start() - n) for n, found in enumerate(_MARKS.finditer(rendered))]
    begins, ends, nexts = ([place for mark, place in places if mark == one] for one in (BEGIN, END, NEXT))
    return _MARKS.sub("", rendered), list(zip(begins, ends, strict=True)) or None, nexts
