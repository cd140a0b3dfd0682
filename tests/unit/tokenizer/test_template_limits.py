"""A chat template of a stranger's model cannot keep the service busy, nor fill its memory."""

import pytest

from malmoi.errors import DataError
from malmoi.tokenizer import jinja
from malmoi.tokenizer.jinja import render

ASKED = [{"role": "user", "content": "가"}, {"role": "user", "content": "b"}]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "loops"),
        ("{% for m in messages %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
         "{% generation %}{% endgeneration %}{% endfor %}", "loops"),
        ("{{ 'a' * 10 ** 10 }}", "too large"), ("{{ 10 ** 10 * 'a' }}", "too large"),
        ("{{ [0] * 10 ** 12 }}", "too large"), ("{{ 9 ** 99 }}", "too large"), ("{{ 2 ** 'a' }}", "too large"),
        ("{{ ((9 ** 64) ** 64) ** 64 }}", "too large"), ("{{ (9 ** 64) ** 64 }}", "too large"),
        ("{% set n = namespace(x=9) %}{% for a in range(40) %}{% set n.x = n.x * n.x %}{% endfor %}", "too large"),
        ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "RecursionError"),
        ("{% for a in range(10 ** 9) %}{% endfor %}", "OverflowError"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("marked", [False, True])
def test_what_would_never_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, source: str, reason: str, marked: bool
) -> None:
    monkeypatch.setattr(jinja, "LONGEST_S", 0.05)
    with pytest.raises(DataError, match=reason):
        render(source, ASKED, {}, marked=marked)


def test_usual_sums_and_loops_stay() -> None:
    source = (
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content * 2 }}{% endfor %}"
        "{{ 2 * 3.5 }} {{ 2 ** 8 }} {{ -2 ** -1 }} {{ '-' * 3 }}"
    )
    assert render(source, ASKED, {}) == "bb7.0 256 -0.5 ---"
