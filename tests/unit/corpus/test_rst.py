from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.corpus.folder import read_folder
from malmoi.corpus.readers.rst import plain_lines

PAGE = """\
.. _label:

=====
말모이
=====

A *word* and ``code``, :func:`~os.path.join`, `a site <http://x>`_, `other`_, |name|.

.. a comment
   that goes on

First section
-------------

.. note:: Be careful.
   It goes on.

.. image:: x.png
   :alt: x

.. code-block:: python
   :linenos:

   x = ``1``

Literal::

   :func:`kept`

Second
~~~~~~

=====  =====
a      b
=====  =====

.. versionadded:: 3.1

Third section
-------------

* point
"""


def test_headings_are_marked_and_markup_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.rst").write_text(PAGE, encoding="utf-8")
    (document,) = read_folder(tmp_path)
    assert document.line == 1
    numbered = {n: line for n, line in enumerate(document.text.split("\n"), start=1) if line.strip()}
    assert numbered == {
        4: "# 말모이",
        7: "A *word* and `code`, os.path.join, a site, other, name.",
        12: "## First section",
        15: "Be careful.",
        16: "   It goes on.",
        24: "   x = ``1``",
        26: "Literal:",
        28: "   :func:`kept`",
        30: "### Second",
        34: "a      b",
        37: "3.1",
        39: "## Third section",
        42: "* point",
    }


@pytest.mark.parametrize("text", ["", "\n", "x", "===", "===\n===\n===\n===", "..", "::", "a\n==", "a\n====\nb\n===="])
def test_odd_beginnings_and_ends(text: str) -> None:
    assert "".join(plain_lines(iter(text.splitlines(keepends=True)))).count("\n") == text.count("\n")


@given(
    st.lists(st.sampled_from(["", "a", "가나", "====", "----", ".. x::", "   in", ".. note:: b", "..", "end::", "|a|"]))
)
def test_every_line_keeps_its_number(lines: list[str]) -> None:
    plain = list(plain_lines(f"{line}\n" for line in lines))
    assert len(plain) == len(lines) and all(line.endswith("\n") for line in plain)
    for before, after in zip(lines, plain, strict=True):
        assert not after.strip() or before.strip(".: |").replace("note", "").strip(": ") in after
