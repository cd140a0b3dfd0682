"""What a model or a file says cannot steer the terminal that shows it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from malmoi.cli.printing import printable


@given(st.text() | st.text(alphabet="\x1b\x07\x9b[2Jm\r\n\t\u202e한"))
def test_nothing_that_steers_a_terminal_gets_through(text: str) -> None:
    shown = printable(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert [c for c in shown if c.isprintable()] == [c for c in text if c.isprintable()]


def test_lines_letters_and_emoji_stay() -> None:
    assert printable("\x1b[31m말모이\x1b[0m\n\t👩\u200d💻\r\x07") == "[31m말모이[0m\n\t👩\u200d💻"
