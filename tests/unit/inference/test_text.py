"""Text comes in whole characters, and nothing of a stop text is ever shown."""

from hypothesis import given
from hypothesis import strategies as st

from malmoi.inference.text import TextAssembler
from malmoi.tokenizer.bpe import Tokenizer

texts = st.text(alphabet="ab말모이🙂\n", max_size=30)
stops = st.lists(st.text(alphabet="ab말\n", min_size=1, max_size=3), max_size=2).map(tuple)


def before_any(text: str, stop: tuple[str, ...]) -> str:
    return text[: min((place for place in map(text.find, stop) if place >= 0), default=len(text))]


@given(text=texts, stop=stops)
def test_text_grows_and_ends_before_the_first_stop(tokenizer: Tokenizer, text: str, stop: tuple[str, ...]) -> None:
    assembler, shown, ids = TextAssembler(tokenizer, stop), "", tokenizer.encode(text)
    for n_read, token in enumerate(ids, start=1):
        stopped = assembler.push(token)
        assert assembler.text.startswith(shown) and text.startswith(assembler.text)
        shown = assembler.text
        if stopped:
            # What is complete first ends the answer, though another that begins before it might have come.
            assert assembler.text == before_any(tokenizer.decode(ids[:n_read]), stop)
            return
    assembler.finish()
    assert assembler.text == before_any(text, stop) == text


def test_half_a_character_at_the_end_is_replaced(tokenizer: Tokenizer) -> None:
    assembler = TextAssembler(tokenizer)
    for token in tokenizer.encode("모")[:-1]:
        assembler.push(token)
    assert assembler.text == ""
    assembler.finish()
    assert assembler.text == "\ufffd"
