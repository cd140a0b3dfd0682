"""Questions that the documents do not answer: names that do not exist, and other topics."""

import random
from collections.abc import Iterator, Sequence

from malmoi.synthetic.phrasings import PHRASINGS, answer, fill, numbers_of
from malmoi.synthetic.pydocs import Item
from malmoi.synthetic.questions import Question
from malmoi.synthetic.small_talk import SAID, About, said

DECLINED = "unknown name"
_SYLLABLES = ("fro", "bla", "zor", "quin", "tex", "mal", "dri", "pok", "sna", "ver", "lum", "gri", "tan", "wob", "kel")


def declined_questions(items: Sequence[Item], n: int, heldout: bool, rng: random.Random) -> Iterator[Question]:
    """Questions about names that do not exist, made of parts of those that do."""
    known = {item.name.lower() for item in items} | {item.short.lower() for item in items}
    for _ in range(n):
        name = invented_name(items, known, rng)
        language = rng.choice(("en", "en", "ko"))
        forms = PHRASINGS["summary"][language]
        number = rng.choice(numbers_of(forms)[heldout])
        declined = answer("decline", language, name=name)
        yield Question(
            DECLINED, name, fill(forms[number], name=name), (declined,), number, heldout, False, "", language=language
        )


def invented_name(items: Sequence[Item], known: set[str], rng: random.Random) -> str:
    """A name in the style of real ones that is none of them."""
    while True:
        one, other = rng.choice(items), rng.choice(items)
        word = "".join(rng.sample(_SYLLABLES, 2))
        prefix = one.name.rpartition(".")[0]
        name = rng.choice(
            (
                f"{prefix}.{word}",
                f"{prefix}.{other.short}",
                f"{prefix}.{other.short}_{word}",
                f"{word}.{other.short}",
                word,
            )
        )
        name = name.strip(".")
        if name.lower() not in known:
            return name


def small_talk_questions(about: About, n: int, heldout: bool, rng: random.Random) -> Iterator[Question]:
    """Greetings, thanks, who are you, other topics; each answered with what is true."""
    for _ in range(n):
        kind, language = rng.choice(sorted(SAID)), rng.choice(("en", "en", "ko"))
        prompt, reply = said(kind, language, rng, heldout), about.reply(kind, language)
        yield Question(kind, kind, prompt, (reply,), 0, heldout, False, "", language=language)
