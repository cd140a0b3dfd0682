"""Tokens -> text, piece by piece: only whole characters, and no part of a stop text."""

from malmoi.tokenizer.bpe import StreamDecoder, Tokenizer


class TextAssembler:
    """The text of one answer as it grows.

    text: what can be shown already; a possible beginning of a stop text is held back
    """

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...] = ()) -> None:
        self.decoder, self.stop = StreamDecoder(tokenizer), stop
        self.text = ""
        self._held = ""

    def push(self, token: int) -> bool:
        """Add one token. True if a stop text is complete, which ends the answer."""
        return self._add(self.decoder.push(token))

    def finish(self) -> None:
        """Show what was held back."""
        if not self._add(self.decoder.flush()):
            self.text += self._held
            self._held = ""

    def _add(self, piece: str) -> bool:
        held = self._held + piece
        found = [place for place in map(held.find, self.stop) if place >= 0]
        if found:
            self.text += held[: min(found)]
            self._held = ""
            return True
        keep = max((n for stop in self.stop for n in range(1, len(stop)) if held.endswith(stop[:n])), default=0)
        self.text += held[: len(held) - keep]
        self._held = held[len(held) - keep :]
        return False
