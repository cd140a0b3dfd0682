"""Questions to begin with: about what the index really holds, in both languages, and only such as it answers."""

from collections.abc import Iterator
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


def _answered(lookup: Lookup, language: str) -> Iterator[str]:
    for question in islice(_questions(lookup, language), N_TRIED):
        if lookup.find([{"role": "user", "content": question}]).sources:
            yield question


def _questions(lookup: Lookup, language: str) -> Iterator[str]:
    titles = [str(title) for title in lookup.index.facts.get("titles", [])]
    of_name, of_heading = FORMS[language]
    names = [name for title in titles if (name := name_of(title)) is not None]
    names = [name for name in names if name.kind == "function" and "." in name.written]
    for name in sorted(names, key=lambda name: -uses(name.name))[:N_TRIED]:
        yield of_name.format(name.written)
    headings = [title.rpartition(" > ")[2].lstrip("# ") for title in titles if name_of(title) is None]
    # A Korean may ask about an English text; who reads English only cannot ask about a Korean one.
    wanted = [heading for heading in headings if language == "ko" or main_language(heading) == "en"]
    for heading in dict.fromkeys(sorted(wanted, key=lambda heading: main_language(heading) != language)):
        yield of_heading.format(heading)
