"""Questions about what the index really holds, in both languages, and only such as it answers."""

import random
from collections.abc import Collection, Iterator
from itertools import islice

from malmoi.retrieval.contents import main_language
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.names import name_of, uses

N_QUESTIONS, N_TRIED = 3, 12
FORMS = {
    "en": ("What does {} do?", "Tell me about {}."),
    "ko": ("{} 함수는 뭐 하는 거야?", "{}에 대해 알려 줘"),
}
"""Of a function as programs write it, and of a heading."""


def suggestions(lookup: Lookup) -> dict[str, list[str]]:
    """Language -> up to three questions; fewer, or none, where the index answers fewer."""
    return {language: list(islice(_answered(lookup, language), N_QUESTIONS)) for language in FORMS}


def drawn_questions(lookup: Lookup, language: str, n: int, known: Collection[str] = ()) -> list[str]:
    """Up to n questions that the index answers, about titles drawn by chance, none of them known.

    language: "en" | "ko"; of an index with very many titles, the first thousand are drawn from
    """
    asked = [question for question in _questions(lookup, language, most=None) if question not in known]
    drawn = (question for question in random.sample(asked, len(asked))[: n * N_TRIED] if _is_answered(lookup, question))
    return list(islice(drawn, n))


def _answered(lookup: Lookup, language: str) -> Iterator[str]:
    for question in islice(_questions(lookup, language), N_TRIED):
        if _is_answered(lookup, question):
            yield question


def _is_answered(lookup: Lookup, question: str) -> bool:
    return bool(lookup.find([{"role": "user", "content": question}]).sources)


def _questions(lookup: Lookup, language: str, most: int | None = N_TRIED) -> Iterator[str]:
    """most: of functions"""
    titles = [str(title) for title in lookup.index.facts.get("titles", [])]
    of_name, of_heading = FORMS[language]
    names = [name for title in titles if (name := name_of(title)) is not None]
    names = [name for name in names if name.kind == "function" and "." in name.written]
    for name in sorted(names, key=lambda name: -uses(name.name))[:most]:
        yield of_name.format(name.written)
    headings = [title.rpartition(" > ")[2].lstrip("# ") for title in titles if name_of(title) is None]
    # A Korean may ask about an English text; who reads English only cannot ask about a Korean one.
    wanted = [heading for heading in headings if language == "ko" or main_language(heading) == "en"]
    for heading in dict.fromkeys(sorted(wanted, key=lambda heading: main_language(heading) != language)):
        yield of_heading.format(heading)
