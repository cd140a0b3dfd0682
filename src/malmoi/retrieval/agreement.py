"""Whether an answer agrees with what the look-up found: two readers of the same passages, who check each other.

`check` asks whether the passages hold an answer's words at all. A small network may still copy the wrong sentence of
the right passage, or say a word again and again. Here its words must be those of a sentence that was found for the
question, with its title.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from malmoi.retrieval.check import content_words, is_known
from malmoi.retrieval.findings import Findings, Source
from malmoi.retrieval.match import Bag
from malmoi.retrieval.names import name_of
from malmoi.retrieval.quote import KINDS_KO
from malmoi.text import nfc

MIN_SHARE = 0.85
"""Share of an answer's content words that a found sentence and its title must have."""
LATEST_NAME = 12
"""Characters after which a name may begin in an answer about it ("You can use json.loads: …")."""
MIN_SHARE_OF_SENTENCE = 0.7
"""Share of the content words of a sentence about a name that an answer must have."""
ABOUT_A_NAME = frozenset({"module", "parameters", "kind"})
"""What is asked of a name and is in its heading: there nothing but the heading counts."""
_FRAME = (
    "use module takes take parameters arguments 모듈 매개변수 인자 받습니다 있습니다 없습니다 이렇게 설명되어 쓰세요"
)
"""What an answer may say in addition to what was found."""


def agreeing_source(answer: str, findings: Findings, question: str) -> Source | None:
    """The source that an answer agrees with: most of its words are in the source's title and the sentence that was
    found in it, and where the title is a name, the answer has it.

    None if there is no such source, or if the answer says one of its phrases again and again. An answer without a word
    of its own, such as that it does not know, agrees with none.
    """
    answer = nfc(answer)
    words = content_words(answer)
    if not words or not findings.sources or repeats(answer):
        return None
    if findings.wanted in ABOUT_A_NAME:
        first = findings.sources[0]
        return first if _is_heading(words, answer, first.passage.heading) else None
    return next((source for source in findings.sources if _says(words, answer, source, question)), None)


def _is_heading(words: Sequence[str], answer: str, heading: str) -> bool:
    """Whether an answer about a name says nothing but what its heading has, and all of its parameters if any."""
    bag = Bag(nfc(f"{heading}\n{KINDS_KO.get(heading.partition(' ')[0], '')}\n{_FRAME}"))
    said, name = Bag(answer), name_of(heading)
    parameters = name.parameters or () if name and any(p in said.terms for p in name.parameters or ()) else ()
    return all(is_known(word, bag) for word in words) and all(is_known(one, said) for one in parameters)


def _says(words: Sequence[str], answer: str, source: Source, question: str) -> bool:
    """Whether an answer says what a source's sentence says; of a name, under this name and nearly all of it."""
    heading, name = source.passage.heading, name_of(source.passage.heading)
    if name is not None and not (
        0 <= answer.lower().find(name.written.lower()) <= LATEST_NAME
        and _share(content_words(nfc(source.sentence)), Bag(answer)) >= MIN_SHARE_OF_SENTENCE
    ):
        return False
    is_told = _share(words, Bag(nfc(f"{heading}\n{question}\n{_FRAME}"))) < 1
    asked = "" if name else question  # what is said of a name is the documentation's
    return is_told and _share(words, Bag(nfc(f"{heading}\n{source.sentence}\n{asked}\n{_FRAME}"))) >= MIN_SHARE


def _share(words: Sequence[str], bag: Bag) -> float:
    return sum(is_known(word, bag) for word in words) / len(words) if words else 1.0


def repeats(text: str) -> bool:
    """Whether a word comes twice in a row, three words come twice, or a name has one part three times in a row."""
    words = [word for word in (part.strip(".,:;!?()") for part in text.lower().split()) if word]
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    parts = re.split(r"\W", text.lower())
    return (
        max(triples.values(), default=0) > 1
        or any(a == b for a, b in pairwise(words))
        or any(a and a == b == c for a, b, c in zip(parts, parts[1:], parts[2:], strict=False))
    )
