"""A conversation as its template renders it: the text, and who said each character of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer, any_of
from malmoi.tokenizer.documents import Documents
from malmoi.tokenizer.jinja import BEGIN, END, NEXT, render
from malmoi.tokenizer.tagged_text import BY_ASSISTANT, BY_OTHERS, is_tagged_copy, tag_document, tag_message

_MARKS = re.compile(f"[{BEGIN}{END}{NEXT}]")


@dataclass(frozen=True)
class RenderedChat:
    """The text that a template made of a conversation.

    tagged: the same text, with what people said tagged (see `tagged_text`); the rest is markup
    spans: where each `{% generation %}` block begins and ends; None if the template has none
    begins: where each message begins. The text before it does not depend on later messages; None if it may
    """

    text: str
    tagged: str
    spans: list[tuple[int, int]] | None
    begins: list[int] | None = None

    def specials(self, tokenizer: Tokenizer) -> list[tuple[int, int, str]]:
        """The template's own special tokens: (begin, end, token)."""
        return [(*found.span(), found[0]) for found in tokenizer.any_special.finditer(self.tagged)]

    def first_of_assistant(self, begin: int) -> int | None:
        """Where the first words of the assistant after `begin` begin."""
        found = BY_ASSISTANT.search(self.tagged, begin)
        return found and found.start()

    def last_of_assistant(self, begin: int) -> int:
        """Where the assistant's last words after `begin` end, before the next words of others."""
        found = BY_OTHERS.search(self.tagged, begin)
        words = list(BY_ASSISTANT.finditer(self.tagged, begin, found.start() if found else len(self.tagged)))
        return words[-1].end() if words else begin

    def has_text_of_others(self, begin: int, end: int) -> bool:
        """Whether others said anything between these places."""
        return BY_OTHERS.search(self.tagged, begin, end) is not None


def render_chat(
    source: str, tokenizer: Tokenizer, messages: Sequence[Mapping[str, str]], structure: Sequence[str], prompt: bool,
    documents: Documents | None = None,
) -> RenderedChat:  # fmt: skip
    """Render a conversation. structure: tokens that only the template and the assistant may write.

    Raises DataError if the template refuses the conversation, or if its markup cannot be told from what people said.
    """
    text = render(source, messages, tokenizer.names, add_generation_prompt=prompt, documents=documents)
    tagged_messages = [tag_message(message) for message in messages]
    tagged_documents = documents and [tag_document(document) for document in documents]
    rendered = render(
        source, tagged_messages, tokenizer.names, add_generation_prompt=prompt, marked=True, documents=tagged_documents
    )
    tagged, spans, begins = _unmarked(rendered)
    if is_tagged_copy(tagged, text):
        return RenderedChat(text, tagged, spans, begins if len(begins) == len(messages) else None)
    # The template did something that tagged text does not follow. `text` is right, but nobody knows who said what:
    # refuse it if people may have typed one of its tokens.
    kept = (*tokenizer.special, *structure, BEGIN, END, NEXT)
    typed = [message["content"] for message in messages]
    typed += [text for document in documents or () for text in document.values()]
    typed_text = "".join(typed).casefold()
    is_typed = any(token.casefold() in typed_text for token in kept)
    found = any_of(kept)
    if is_typed or (found.findall(text) != found.findall(tagged) and any(token[0] in typed_text for token in kept)):
        raise DataError(
            "chat template: changes what is said, so special tokens in it cannot be told from the template's own; "
            "remove them from the text"
        )
    if spans is not None:
        remarked = render(
            source, messages, tokenizer.names, add_generation_prompt=prompt, marked=True, documents=documents
        )
        text, spans, _ = _unmarked(remarked)
    return RenderedChat(text, text, spans)


def _unmarked(rendered: str) -> tuple[str, list[tuple[int, int]] | None, list[int]]:
    """The text without the marks, the spans between BEGIN and END, and where each NEXT was."""
    # Removing a mark moves what follows by one place.
    places = [(found[0], found.start() - n) for n, found in enumerate(_MARKS.finditer(rendered))]
    begins, ends, nexts = ([place for mark, place in places if mark == one] for one in (BEGIN, END, NEXT))
    return _MARKS.sub("", rendered), list(zip(begins, ends, strict=True)) or None, nexts
