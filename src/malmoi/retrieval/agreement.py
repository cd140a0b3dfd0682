"""Whether an answer agrees with what the look-up found: two readers of the same passages, who check each other.

`check` asks whether the passages hold an answer's words at all. A small network may still copy the wrong sentence of
the right passage, or say a word again and again. Here its words must be those of a sentence that was found for the
question, with its title.
"""

import re
from collections import Counter
from itertools import pairwise

from malmoi.retrieval.check import content_words, is_known
from malmoi.retrieval.lookup import Findings
from malmoi.retrieval.match import Bag
from malmoi.retrieval.quote import KINDS_KO
from malmoi.text import nfc

MIN_SHARE = 0.7
"""Share of an answer's content words that the found sentences and their titles must have."""
ABOUT_A_NAME = frozenset({"module", "parameters", "kind"})
"""What is asked of a name and is in its heading: there nothing but the heading counts."""
_FRAME = "module takes take parameters arguments 모듈 매개변수 인자 받습니다 있습니다 없습니다"
"""What an answer about a name may say besides its heading."""


def agrees(answer: str, findings: Findings, question: str) -> bool:
    """Whether most of an answer's words are in the sentences that were found, and none of its phrases is said again
    and again. An answer without a word of its own, such as that it does not know, does not agree."""
    answer = nfc(answer)
    words = content_words(answer)
    if not words or not findings.sources or repeats(answer):
        return False
    if findings.wanted in ABOUT_A_NAME:
        heading = findings.sources[0].passage.heading
        bag = Bag(nfc(f"{heading}\n{KINDS_KO.get(heading.partition(' ')[0], '')}\n{_FRAME}"))
        return all(is_known(word, bag) for word in words)
    found = "\n".join(f"{source.passage.heading}\n{source.sentence}" for source in findings.sources)
    bag = Bag(nfc(f"{found}\n{question}"))
    return sum(is_known(word, bag) for word in words) >= MIN_SHARE * len(words)


def repeats(text: str) -> bool:
    """Whether a word comes twice in a row, or three words in a row come twice."""
    words = [word for word in re.split(r"\W+", text.lower()) if word]
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    return max(triples.values(), default=0) > 1 or any(a == b for a, b in pairwise(words))
