"""One conversation on its way to ids: where each answer begins, so that it goes on from the ids of its prompt.

A turn begins where the generation prompt before it ends. No token reaches over that place, even where the text as a
whole would have one (a line break of the prompt and one of the answer): whoever answers begins with a token.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from malmoi.errors import DataError
from malmoi.text import n_common
from malmoi.tokenizer.bpe import Coded, Tokenizer, any_of
from malmoi.tokenizer.jinja import generation_prompt, render
from malmoi.tokenizer.said import n_unspelled
from malmoi.tokenizer.written import Written, write


@dataclass(frozen=True)
class _Turn:
    """An answer, in places of the text. is_seam: `begin` is where the generation prompt before it ends."""

    number: int
    begin: int
    end: int
    is_seam: bool


class Conversation:
    """turns: the numbers of the assistant's messages."""

    def __init__(self, source: str, tokenizer: Tokenizer, messages: Sequence[Mapping[str, str]], prompt: bool) -> None:
        self.source, self.tokenizer, self.messages = source, tokenizer, messages
        # Tokens that are not special but structure this format, such as <think>: an assistant may write them.
        self.structure = [token for token in tokenizer.plain_tokens if token in source]
        self.written: Written = write(source, tokenizer, messages, self.structure, prompt)
        self.turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        self._specials = self.written.specials(tokenizer)

    def row(self, unlearned: Collection[int] = ()) -> tuple[list[int], list[bool]]:
        """Ids and which of them are trained on. unlearned: numbers of answers that are not."""
        coded, begins = self._coded
        trained = [False] * len(coded.ids)
        for turn in self._found_turns:
            if turn.number in unlearned:
                continue
            begin = begins[turn.number] if turn.is_seam else self._begin_apart(turn, coded)
            end = bisect_left(coded.starts, self._place(turn.end))
            trained[begin:end] = [True] * max(0, end - begin)
        return coded.ids, trained

    @property
    def is_told_apart(self) -> bool:
        """Whether each answer is found in the text."""
        return len(self._found_turns) == len(self.turns)

    def otherwise_written(self) -> list[int]:
        """Answers that the template wrote otherwise when they were the last message."""
        found = []
        for turn in self._found_turns:
            if turn.number != len(self.messages) - 1:
                own = self._render(turn.number + 1, prompt=False)
                if own is not None and not own.startswith(self.written.text[: turn.end]):
                    found.append(turn.number)
        return found

    def _render(self, n_messages: int, prompt: bool) -> str | None:
        """The first messages as the template writes them, or None where it refuses them."""
        names = self.tokenizer.names
        if self.written.begins is not None and n_messages:
            asks = generation_prompt(self.source, tuple(sorted(names.items()))) if prompt else ""
            if asks is not None:
                return self.written.text[: self.written.begins[n_messages]] + asks
        try:
            return render(self.source, self.messages[:n_messages], names, add_generation_prompt=prompt)
        except DataError:
            return None

    @cached_property
    def _shared(self) -> dict[int, tuple[int, bool]]:
        """By turn: how far the text goes with the generation prompt before it, and whether to the prompt's end.

        -1 where they part before the generation prompt: the template has none, or writes what was said otherwise.
        """
        found = {}
        for number in self.turns:
            prompt = self._render(number, prompt=True)
            if prompt is None:
                found[number] = (-1, False)
            elif self.written.text.startswith(prompt):
                found[number] = (len(prompt), True)
            else:
                shared = self._before_tokens(n_common(prompt, self.written.text))
                n_said = n_common(prompt, self._render(number, prompt=False) or prompt)
                found[number] = (shared if shared >= n_said else -1, False)
        return found

    def _before_tokens(self, place: int) -> int:
        """The place, or where the token of the format begins that it would cut."""
        kept = any_of((*self.tokenizer.special, *self.structure))
        inside = (found.start() for found in kept.finditer(self.written.text) if found.start() < place < found.end())
        return min(inside, default=place)

    @cached_property
    def _found_turns(self) -> list[_Turn]:
        """Where the text of each answer begins and ends; one that the template leaves out is missing."""
        found: list[_Turn] = []
        spans = iter(self.written.spans or ())
        span = next(spans, None)
        last = 0
        for place, number in enumerate(self.turns):
            shared, is_seam = self._shared[number]
            at_least = shared if is_seam else max(last, shared)
            if self.written.spans is None:
                said, end = self._said(number, at_least, is_seam)
            else:
                while span is not None and span[1] < at_least:
                    span = next(spans, None)
                follows = self.turns[place + 1 : place + 2]
                limit = max((self._shared[n][0] for n in follows if self._shared[n][1]), default=len(self.written.text))
                if span is None or span[0] > limit:
                    continue
                (said, end), span = span, next(spans, None)
            begin = at_least
            if not is_seam and (shared < last or self.written.has_others(begin, said)):
                begin = said
            found.append(_Turn(number, begin, end, is_seam))
            last = end
        return found

    def _said(self, number: int, at_least: int, is_seam: bool) -> tuple[int, int]:
        """Where an answer's words begin, and where its turn ends, in a template that does not mark them."""
        content, begin = self.messages[number]["content"], at_least
        n_lead = n_unspelled(content)
        if not is_seam and n_lead < len(content):
            begin = self.written.first_said(at_least) or at_least
            lead = content[:n_lead]
            lead = lead if self.written.text.endswith(lead, at_least, begin) else lead.lstrip()
            begin -= len(lead) * self.written.text.endswith(lead, at_least, begin)
        for special_begin, end, token in self._specials:
            if special_begin >= begin and token == self.tokenizer.end_of_turn:
                return begin, end
        return begin, self.written.last_said(begin)

    @cached_property
    def _spelled(self) -> tuple[str, Coded, list[int], list[int]]:
        """The text with special tokens spelled as real ones and gaps in what must not be a token; its ids; the places
        in the text where something was put in, and how much up to each."""
        coder = self.tokenizer
        inserts = [(begin, coder.spelling) for begin, _, _ in self._specials]
        text = self.written.text
        if self.structure:
            inserts += [
                (found.start() + 1, coder.gap)
                for found in any_of(self.structure).finditer(text)
                if self.written.has_others(*found.span())
            ]
        spelled = _put_in(text, inserts)
        coded = coder.code(spelled)
        if coded is None:
            real = {begin for begin, _, _ in self._specials}
            typed = (found.start() for found in coder.any_special.finditer(text))
            inserts += [(begin + 1, coder.gap) for begin in typed if begin not in real]
            spelled = _put_in(text, inserts)
            coded = coder.code(spelled)
        if coded is None:
            raise DataError("text: this tokenizer cannot tell it from a special token; leave that out")
        inserts.sort()
        sizes, total = [0], 0
        for _, put in inserts:
            total += len(put)
            sizes.append(total)
        return spelled, coded, [place for place, _ in inserts], sizes

    def _place(self, place: int) -> int:
        """Where in the spelled text a place of the text is."""
        *_, places, sizes = self._spelled
        return place + sizes[bisect_left(places, place)]

    @cached_property
    def _coded(self) -> tuple[Coded, dict[int, int]]:
        """The ids, and with which of them each answer begins."""
        text, found, *_ = self._spelled
        begins: dict[int, int] = {}
        starts = [self._place(begin) for begin, _, _ in self._specials]
        # What is before the floor is settled: an answer began there whose first token was kept separate.
        floor, floor_token, before = 0, 0, Coded([], [], [])
        for number, (shared, is_seam) in self._shared.items():
            if not is_seam:
                continue
            seam = self._place(shared)
            n_before = bisect_left(starts, seam)
            begin = max(floor, starts[n_before - 1] if n_before else 0)
            first = floor_token if begin == floor else bisect_right(found.ends, begin)
            if begin == floor and floor:
                lead = self.tokenizer.go_on(before.ids, text[begin:seam], [*before.ids, *found.ids[first:]])
            else:
                lead = self.tokenizer.code(text[begin:seam])
            if lead is None:
                continue
            begins[number] = first + len(lead.ids)
            if found.ids[first : begins[number]] == lead.ids:
                continue
            end = starts[n_before] if n_before < len(starts) else len(text)
            beyond = bisect_right(found.ends, end) if end < len(text) else len(found.ids)
            rest = self.tokenizer.go_on(lead.ids, text[seam:end], found.ids[first:beyond])
            if rest is not None:
                found = _spliced(found, first, beyond, [(lead, begin), (rest, seam)])
                floor, floor_token, before = seam, begins[number], lead
            else:
                begins[number] = first + n_common(found.ids[first:beyond], lead.ids)
        return found, begins

    def _begin_apart(self, turn: _Turn, coded: Coded) -> int:
        """The first id of an answer that does not go on where the prompt ends: after what both begin with."""
        begin = bisect_right(coded.ends, self._place(turn.begin))
        if turn.begin != self._shared[turn.number][0]:
            return begin
        prompt = Conversation(self.source, self.tokenizer, self.messages[: turn.number], True)
        return min(begin, n_common(prompt._coded[0].ids, coded.ids))


def _put_in(text: str, inserts: Sequence[tuple[int, str]]) -> str:
    parts, last = [], 0
    for place, put in sorted(inserts):
        parts += [text[last:place], put]
        last = place
    return "".join([*parts, text[last:]])


def _spliced(coded: Coded, first: int, beyond: int, parts: Sequence[tuple[Coded, int]]) -> Coded:
    """The ids with those from `first` to `beyond` replaced by parts, each of which begins at its place of the text."""
    ids = [id for part, _ in parts for id in part.ids]
    starts = [start + shift for part, shift in parts for start in part.starts]
    ends = [end + shift for part, shift in parts for end in part.ends]
    whole = zip(coded, (ids, starts, ends), strict=True)
    return Coded(*([*old[:first], *new, *old[beyond:]] for old, new in whole))
