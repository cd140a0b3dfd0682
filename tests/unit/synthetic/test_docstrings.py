"""Docstrings as plain text."""

import pytest

from malmoi.synthetic.docstrings import first_sentence, plain_text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Serialize obj to a JSON\nformatted str.\n\nMore.", "Serialize obj to a JSON formatted str."),
        ("Return the sum. And more of it.", "Return the sum."),
        ("Return the text.  repl may be a function.", "Return the text."),
        ("Any problem (e.g. a full disk) ends it. More.", "Any problem (e.g. a full disk) ends it."),
        ("len(obj, /)\n\nReturn the number of items.", "Return the number of items."),
        ("open(file) -> object\n\nOpen a whole file", "Open a whole file."),
        ("zip(*all, strict=False) --> Yield tuples until one ends.\n\n   >>> zip()", "Yield tuples until one ends."),
        ("D.clear() -> None.  Remove all items from D.", "Remove all items from D."),
        ("partial(func, *args) - new function with arguments.", "new function with arguments."),
        ("dict() -> new empty dictionary\ndict(mapping) -> new one", "new empty dictionary."),
        ("ast\n~~~\n\nThe ast module helps.", "The ast module helps."),
        ("hashlib module - A common interface to hashes.\n\nnew()", "A common interface to hashes."),
        (
            "Get a number in the range [a, b) or [a, b] at random.",
            "Get a number in the range [a, b) or [a, b] at random.",
        ),
        ("@contextmanager decorator.", "@contextmanager decorator."),
        ("Short.", ""),
        ("Raised when x is in a {set}.", ""),
        ("An unclosed (bracket, e.g. Something else.", ""),
        ("word " * 60, ""),
    ],
)
def test_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Like :func:`os.walk` or :py:meth:`~a.b`, ``None`` and `x`.", "Like os.walk or a.b, None and x."),
        ("See `PEP 8 <https://peps.python.org>`_.", "See PEP 8 <https://peps.python.org>."),
        ("A ` alone, and ``two`` in\n``lines``.", "A ` alone, and two in\nlines."),
    ],
)
def test_marks_of_markup_are_dropped(text: str, plain: str) -> None:
    assert plain_text(text) == plain
