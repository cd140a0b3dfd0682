"""Questions what the names do that real code uses most, asked as people ask, in words never trained on."""

import pydoc
import re
from typing import Any

from malmoi.evals.natural import Answer, plain, share
from malmoi.synthetic.docstrings import first_sentence, plain_text
from malmoi.synthetic.used_names import used_names

N_NAMES = 200
ENOUGH = 0.7
"""Share of the words of the documentation's first sentence that a right answer has."""
# None of them occurs in malmoi.synthetic.phrasings, from which demonstrations are made.
PHRASINGS = (
    ("en", "hm, what was {name} good for again"),
    ("en", "I saw {name} in a script, what is it doing there?"),
    ("en", "can someone explain {name} to me"),
    ("ko", "{name} 이거 뭐 하는 건지 궁금해요"),
    ("en", "remind me what {name} does, please"),
    ("en", "in plain words: {name}"),
    ("ko", "코드 보다가 {name} 나왔는데 이게 뭐죠"),
    ("en", "Why do people use {name}?"),
)


def names_with_sentences(n: int) -> list[tuple[str, str]]:
    """The n most used names whose documentation has a first sentence that can be quoted, each with that sentence."""
    found: list[tuple[str, str]] = []
    for name in used_names():
        if len(found) == n:
            break
        value = pydoc.locate(name)
        text = getattr(value, "__doc__", None)
        if isinstance(text, str) and text != type(value).__doc__ and (sentence := first_sentence(plain_text(text))):
            found.append((name, sentence))
    return found


def says(answer: str, sentence: str, question: str) -> bool:
    """Whether an answer has most of the words of a sentence, without those of the question."""
    asked = set(_words(question))
    wanted = set(_words(sentence)) - asked or set(_words(sentence))
    return len(wanted & set(_words(answer))) >= ENOUGH * len(wanted)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", plain(text))


def measure_names(answer: Answer, n: int = N_NAMES) -> dict[str, Any]:
    """Share right of the n most used names, each asked once in the next phrasing; by language; and the wrong ones."""
    known = names_with_sentences(n)
    asked = [(*PHRASINGS[i % len(PHRASINGS)], *pair) for i, pair in enumerate(known)]
    questions = [phrasing.format(name=name) for _, phrasing, name, _ in asked]
    given = answer([[{"role": "user", "content": question}] for question in questions])
    right = [
        says(one.text, sentence, question)
        for one, question, (*_, sentence) in zip(given, questions, asked, strict=True)
    ]
    by_lang = {
        lang: share([ok for ok, row in zip(right, asked, strict=True) if row[0] == lang]).to_row()
        for lang in ("en", "ko")
    }
    wrong = [row[2] for ok, row in zip(right, asked, strict=True) if not ok]
    return {"right": share(right).to_row(), "by_lang": by_lang, "wrong": wrong}
