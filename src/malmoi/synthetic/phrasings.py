"""How people ask about a documented name, in English and Korean, and how they are answered.

`{name}` is the name as asked, `{short}` its last part, `{task}` what it does ("shuffle a list"). In Korean, a particle
after a name is written as its two forms, `{name}은/는`, and `fill` picks the right one by the name's last sound.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from malmoi.synthetic.korean import with_particle

N_HELDOUT = 2
"""The last phrasings of every kind and language are never trained on."""
Table = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Kind -> language -> ways to say it."""


@cache
def table(name: str) -> Table:
    """A table of `synthetic/phrases`: lines of a kind, a language and a way to say it, with tabs between."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for line in (Path(__file__).with_name("phrases") / name).read_text(encoding="utf-8").splitlines():
        kind, language, form = line.split("\t")
        forms = found.setdefault(kind, {})
        forms[language] = (*forms.get(language, ()), form)
    return found


PHRASINGS = table("phrasings.tsv")
FOLLOW_UPS = table("follow_ups.tsv")
"""Questions that lean on the one before: "summary" is about another name, the rest about the same."""
KINDS_KO = {"function": "함수", "class": "클래스", "method": "메서드", "module": "모듈", "attribute": "속성"}
_PARTICLE = re.compile(r"\{(\w+)\}(은/는|이/가|을/를)")


def answer(kind_asked: str, language: str, /, **words: str) -> str:
    """The answer to a kind of question, with its words."""
    [form] = table("answers.tsv")[kind_asked][language]
    return fill(form, **words)


def fill(form: str, **words: str) -> str:
    """The form with its words, and with the particles that fit them."""
    chosen = _PARTICLE.sub(lambda found: with_particle(words[found[1]], found[2][0]), form)
    return chosen if "{" not in chosen else _format(chosen, words)


def _format(form: str, words: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), form)


def korean_texts(names: Sequence[str]) -> Iterator[str]:
    """Korean questions and answers about names, one of each form for each name: for a tokenizer that must read them."""
    forms = [
        form
        for file in ("phrasings.tsv", "follow_ups.tsv", "small_talk.tsv", "answers.tsv", "replies.tsv", "filler.tsv")
        for languages in table(file).values()
        for form in languages.get("ko", ())
    ]
    for name in names:
        short = name.rpartition(".")[2]
        yield "\n".join(fill(form, name=name, short=short, module=name, parameters="", others=name) for form in forms)


def numbers_of(phrasings: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """Numbers of the phrasings to train on, and of those held out."""
    numbers = list(range(len(phrasings)))
    n_heldout = min(N_HELDOUT, len(phrasings) // 3)
    return numbers[: len(numbers) - n_heldout], numbers[len(numbers) - n_heldout :]
