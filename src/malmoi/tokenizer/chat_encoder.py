"""One conversation -> its ids, in which each answer continues the ids of its own prompt.

An answer begins where the generation prompt before it ends. No token spans that place, even if the text as a whole has
one (a line break in the prompt with one in the answer): a model that answers begins with a new token.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from malmoi.errors import DataError
from malmoi.text import common_prefix_length
from malmoi.tokenizer.bpe import EncodedText, Tokenizer, any_of
from malmoi.tokenizer.documents import place_of_last, template_input, with_last_documents
from malmoi.tokenizer.jinja import generation_prompt, render
from malmoi.tokenizer.rendered_chat import RenderedChat, render_chat
from malmoi.tokenizer.tagged_text import n_untagged


@dataclass(frozen=True)
class _Answer:
    """An answer: the number of its message, and its span in the text.

    continues_prompt: it begins where its generation prompt ends
    """

    number: int
    begin: int
    end: int
    continues_prompt: bool


class ChatEncoder:
    """Encodes one conversation. turns: the numbers of the assistant's messages.

    messages: with text and documents, of which those of the last user's message count
    """

    def __init__(self, source: str, tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], prompt: bool) -> None:
        self.source, self.tokenizer = source, tokenizer
        self.messages, self.documents = template_input(source, tokenizer.names, messages)
        self._given, self._documented = with_last_documents(messages), place_of_last(messages)
        # Tokens that are not special but structure this format, such as <think>: an assistant may write them.
        self.structure = [token for token in tokenizer.plain_tokens if token in source]
        self.written: RenderedChat = render_chat(
            source, tokenizer, self.messages, self.structure, prompt, self.documents
        )
        self.turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        self._specials = self.written.specials(tokenizer)

    def ids_and_mask(self, untrained: Collection[int] = ()) -> tuple[list[int], list[bool]]:
        """Ids and which of them are trained on. untrained: numbers of answers that are not."""
        coded, begins = self._encoded
        trained = [False] * len(coded.ids)
        for turn in self._answers:
            if turn.number in untrained:
                continue
            begin = begins[turn.number] if turn.continues_prompt else self._first_id_after_prompt(turn, coded)
            end = bisect_left(coded.starts, self._marked_place(turn.end))
            trained[begin:end] = [True] * max(0, end - begin)
        return coded.ids, trained

    @property
    def has_every_answer(self) -> bool:
        """Whether each answer was found in the text."""
        return len(self._answers) == len(self.turns)

    def rewritten_answers(self, known: Collection[int] = ()) -> list[int]:
        """Numbers of the answers that the template writes differently when they are the last message.

        known: answers that need no look
        """
        found = []
        for turn in self._answers:
            if turn.number not in known and turn.number != len(self.messages) - 1:
                own = self._render(turn.number + 1, prompt=False)
                if own is not None and not own.startswith(self.written.text[: turn.end]):
                    found.append(turn.number)
        return found

    def _render(self, n_messages: int, prompt: bool) -> str | None:
        """The first messages as the template renders them; None if it refuses them.

        The prompt of an earlier answer has no documents: they belong to the last user's message.
        """
        names = self.tokenizer.names
        if self.written.begins is not None and n_messages:
            suffix = generation_prompt(self.source, tuple(sorted(names.items()))) if prompt else ""
            if suffix is not None:
                return self.written.text[: self.written.begins[n_messages]] + suffix
        try:
            documents = self.documents if n_messages > self._documented else None
            return render(
                self.source, self.messages[:n_messages], names, add_generation_prompt=prompt, documents=documents
            )
        except DataError:
            return None

    @cached_property
    def _prompt_overlap(self) -> dict[int, tuple[int, bool]]:
        """For each answer: how many characters the text and the prompt before it share, and whether that is all of it.

        -1 if they differ before the generation prompt: the template has none, or writes earlier messages differently.
        """
        found = {}
        for number in self.turns:
            prompt = self._render(number, prompt=True)
            if prompt is None:
                found[number] = (-1, False)
            elif self.written.text.startswith(prompt):
                found[number] = (len(prompt), True)
            else:
                shared = self._not_inside_token(common_prefix_length(prompt, self.written.text))
                n_said = common_prefix_length(prompt, self._render(number, prompt=False) or prompt)
                found[number] = (shared if shared >= n_said else -1, False)
        return found

    def _not_inside_token(self, place: int) -> int:
        """The place, or the beginning of the special token that it is inside of."""
        kept = any_of((*self.tokenizer.special, *self.structure))
        inside = (found.start() for found in kept.finditer(self.written.text) if found.start() < place < found.end())
        return min(inside, default=place)

    @cached_property
    def _answers(self) -> list[_Answer]:
        """The answers with their spans in the text; an answer that the template leaves out is missing."""
        found: list[_Answer] = []
        spans = iter(self.written.spans or ())
        span = next(spans, None)
        last = 0
        for place, number in enumerate(self.turns):
            shared, continues_prompt = self._prompt_overlap[number]
            at_least = shared if continues_prompt else max(last, shared)
            if self.written.spans is None:
                said, end = self._find_answer(number, at_least, continues_prompt)
            else:
                while span is not None and span[1] < at_least:
                    span = next(spans, None)
                follows = self.turns[place + 1 : place + 2]
                limit = max(
                    (self._prompt_overlap[n][0] for n in follows if self._prompt_overlap[n][1]),
                    default=len(self.written.text),
                )
                if span is None or span[0] > limit:
                    continue
                (said, end), span = span, next(spans, None)
            begin = at_least
            if not continues_prompt and (shared < last or self.written.has_text_of_others(begin, said)):
                begin = said
            found.append(_Answer(number, begin, end, continues_prompt))
            last = end
        return found

    def _find_answer(self, number: int, at_least: int, continues_prompt: bool) -> tuple[int, int]:
        """Where an answer's words begin and where its turn ends, for a template without `{% generation %}`."""
        content, begin = self.messages[number]["content"], at_least
        n_lead = n_untagged(content)
        if not continues_prompt and n_lead < len(content):
            begin = self.written.first_of_assistant(at_least) or at_least
            lead = content[:n_lead]
            lead = lead if self.written.text.endswith(lead, at_least, begin) else lead.lstrip()
            begin -= len(lead) * self.written.text.endswith(lead, at_least, begin)
        for special_begin, end, token in self._specials:
            if special_begin >= begin and token == self.tokenizer.end_of_turn:
                return begin, end
        return begin, self.written.last_of_assistant(begin)

    @cached_property
    def _marked(self) -> tuple[str, EncodedText, list[int], list[int]]:
        """The text with real marks before special tokens and break marks in what must not be a token; its ids; the
        places in the text where a mark was inserted, and the characters inserted before each."""
        coder = self.tokenizer
        inserts = [(begin, coder.real_mark) for begin, _, _ in self._specials]
        text = self.written.text
        if self.structure:
            inserts += [
                (found.start() + 1, coder.break_mark)
                for found in any_of(self.structure).finditer(text)
                if self.written.has_text_of_others(*found.span())
            ]
        marked = _inserted(text, inserts)
        coded = coder.encode_marked(marked)
        if coded is None:
            real = {begin for begin, _, _ in self._specials}
            typed = (found.start() for found in coder.any_special.finditer(text))
            inserts += [(begin + 1, coder.break_mark) for begin in typed if begin not in real]
            marked = _inserted(text, inserts)
            coded = coder.encode_marked(marked)
        if coded is None:
            raise DataError("text: this tokenizer cannot tell it from a special token; remove that token")
        inserts.sort()
        sizes, total = [0], 0
        for _, mark in inserts:
            total += len(mark)
            sizes.append(total)
        return marked, coded, [place for place, _ in inserts], sizes

    def _marked_place(self, place: int) -> int:
        """The place in the marked text of a place in the text."""
        *_, places, sizes = self._marked
        return place + sizes[bisect_left(places, place)]

    @cached_property
    def _encoded(self) -> tuple[EncodedText, dict[int, int]]:
        """The ids, and the index of the first id of each answer that continues its prompt."""
        text, found, *_ = self._marked
        begins: dict[int, int] = {}
        starts = [self._marked_place(begin) for begin, _, _ in self._specials]
        # What is before `floor` is final: an answer begins there, and its first token was kept separate.
        floor, floor_token, before = 0, 0, EncodedText([], [], [])
        for number, (shared, continues_prompt) in self._prompt_overlap.items():
            if not continues_prompt:
                continue
            seam = self._marked_place(shared)
            n_before = bisect_left(starts, seam)
            begin = max(floor, starts[n_before - 1] if n_before else 0)
            first = floor_token if begin == floor else bisect_right(found.ends, begin)
            if begin == floor and floor:
                lead = self.tokenizer.encode_continuation(
                    before.ids, text[begin:seam], [*before.ids, *found.ids[first:]]
                )
            else:
                lead = self.tokenizer.encode_marked(text[begin:seam])
            if lead is None:
                continue
            begins[number] = first + len(lead.ids)
            if found.ids[first : begins[number]] == lead.ids:
                continue
            end = starts[n_before] if n_before < len(starts) else len(text)
            beyond = bisect_right(found.ends, end) if end < len(text) else len(found.ids)
            rest = self.tokenizer.encode_continuation(lead.ids, text[seam:end], found.ids[first:beyond])
            if rest is not None:
                found = _spliced(found, first, beyond, [(lead, begin), (rest, seam)])
                floor, floor_token, before = seam, begins[number], lead
            else:
                begins[number] = first + common_prefix_length(found.ids[first:beyond], lead.ids)
        return found, begins

    def _first_id_after_prompt(self, turn: _Answer, coded: EncodedText) -> int:
        """The index of the first id of an answer that does not continue its prompt: after the ids that both share."""
        begin = bisect_right(coded.ends, self._marked_place(turn.begin))
        if turn.begin != self._prompt_overlap[turn.number][0]:
            return begin
        prompt = ChatEncoder(self.source, self.tokenizer, self._given[: turn.number], True)
        return min(begin, common_prefix_length(prompt._encoded[0].ids, coded.ids))


def _inserted(text: str, inserts: Sequence[tuple[int, str]]) -> str:
    parts, last = [], 0
    for place, mark in sorted(inserts):
        parts += [text[last:place], mark]
        last = place
    return "".join([*parts, text[last:]])


def _spliced(coded: EncodedText, first: int, beyond: int, parts: Sequence[tuple[EncodedText, int]]) -> EncodedText:
    """The ids, with those from `first` to `beyond` replaced by parts. Each part comes with its place in the text."""
    ids = [id for part, _ in parts for id in part.ids]
    starts = [start + shift for part, shift in parts for start in part.starts]
    ends = [end + shift for part, shift in parts for end in part.ends]
    whole = zip(coded, (ids, starts, ends), strict=True)
    return EncodedText(*([*old[:first], *new, *old[beyond:]] for old, new in whole))
