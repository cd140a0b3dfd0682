"""Questions that any text answers, English or Korean: what comes next, how a sentence ends, which word is missing.

They give the demonstrations when the user brings a folder instead of facts.
"""

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, cast, get_args

from malmoi.corpus.documents import Document, Reopened, opener
from malmoi.errors import DataError
from malmoi.synthetic.questions import Question

GAP = "____"
# Kind -> phrasings in English, then in Korean; the last of each is held out.
PHRASINGS = {
    "continue": (
        ("Continue this text:", "What comes next?", "Write the next sentence:", "Which sentence follows this?",
         "Go on from here:", "How does this text go on?"),
        ("이 글을 이어서 써 줘:", "다음에 올 문장은 무엇인가요?", "다음 문장을 써 주세요:",
         "이 글 뒤에는 어떤 문장이 올까?", "여기서부터 계속 써 봐:", "이 글은 어떻게 이어지나요?"),
    ),
    "complete": (
        ("Finish the last sentence:", "Complete this:", "How does the last sentence end?", "Bring this to its end:",
         "Write the end of this sentence:", "What are the last words of this?"),
        ("마지막 문장을 완성해 줘:", "이 문장을 끝맺어 주세요:", "마지막 문장은 어떻게 끝나나요?", "문장을 마저 써 봐:",
         "문장의 나머지를 써 줘:", "이 문장의 뒷부분은 무엇일까?"),
    ),
    "missing word": (
        ("Which word is missing?", "Fill in the gap:", "What word goes in the gap?", "Find the missing word:",
         "One word was left out. Which one?", "Say the word that belongs in the gap:"),
        ("빈칸에 들어갈 말은 무엇인가요?", "빈칸을 채워 줘:", "빠진 낱말을 찾아 주세요:", "이 글에서 빠진 말은 뭐야?",
         "낱말 하나가 빠졌어. 뭘까?", "빈 곳에 어울리는 말을 말해 주세요:"),
    ),
}  # fmt: skip
UNSEEN_SHARE = 0.2
ITEMS_PER_DOCUMENT = 16
DOCUMENT_CHARS = 50_000
ANSWER_CHARS = 120
SENTENCE_CHARS = range(12, 161)
LINE_CHARS = range(4, 161)
FEWEST_ITEMS = 2
"""One to train on, one to hold out."""
TOO_LITTLE = "too few sentences or lines in a row to ask about; give at least a page of prose, such as ten paragraphs"
Pieces = Literal["sentences", "lines"]
WRAPPED_CHARS = 40

_CLOSING = "\"'”’»)\\]」』》〉"
_ENDED = re.compile(rf"[.?!…。！？][{_CLOSING}]*$")
# A mark before a space, any East Asian mark, and a mark after which Korean goes on without a space (했다.그는).
_BORDER = re.compile(
    rf"((?<![.?!…])[.?!…]++[{_CLOSING}]*+(?=\s|$)|[。！？]+[{_CLOSING}]*|(?<=[가-힣]{{2}})[.?!]+(?=[가-힣]))\s*"
)
_ABBREVIATION = re.compile(r"(\b(Mr|Mrs|Ms|Dr|St|Prof|Jr|Sr|vs|etc|e\.g|i\.e|cf|No|Vol|Fig|pp)|\b[A-Z]|^\d+)\.$")
_BEGUN = re.compile(r"[\"'“‘「『《(]?[^\W_]")
_ODD = re.compile(r"[|{}<>=_*#~\\^`\[\]\n]|https?:|www\.|\.\.\.\.")
_MARK = re.compile(r"^\s*([-*+•>#]+|\d+[.)]|\[[ xX]?\])+\s+")
_WORD = re.compile(r"(?<=[ \"“(])([가-힣]{2,}|[A-Za-z][a-z]{3,})(?![\w'’-])")


@dataclass(frozen=True)
class _Item:
    document: str
    position: int
    kind: str
    text: str
    answer: str


def cloze_questions(documents: Reopened, n: int, seed: int) -> list[Question]:
    """Questions about at most `n` items: each in one phrasing to train on and in the one that is held out.

    An item is a sentence and the one before it; no two items share a sentence, and a fifth of them is unseen. Each
    item in the documents has the same chance. Same documents, `n` and seed, same questions. Where sentences give
    fewer than two items, as in lists and notes without full stops, lines take their place.
    documents: a list, or a function that opens the stream again
    Raises DataError where lines give fewer than two items as well.
    """
    rng = random.Random(seed)
    open_documents = opener(documents)
    asked_by = what_is_asked(documents, seed)
    if asked_by is None:
        raise DataError(f"the text has {TOO_LITTLE}")
    items = _choose(_all_items(open_documents(), seed, asked_by), n, rng)
    rng.shuffle(items)
    questions = []
    for number, item in enumerate(items):
        phrasings = PHRASINGS[item.kind][is_korean(item.text)]
        last = len(phrasings) - 1
        for phrasing in (rng.randrange(last), last):
            prompt, name = f"{phrasings[phrasing]} {item.text}", f"{item.document}:{item.position}"
            is_unseen = number < round(UNSEEN_SHARE * len(items))
            questions.append(
                Question(item.kind, name, prompt, (item.answer,), phrasing, phrasing == last, is_unseen, item.document)
            )
    return questions


def what_is_asked(documents: Reopened, seed: int) -> Pieces | None:
    """What of the documents is asked about: sentences, lines where sentences give too few items, or None."""
    open_documents = opener(documents)
    for pieces in get_args(Pieces):
        if len(list(islice(_all_items(open_documents(), seed, pieces), FEWEST_ITEMS))) == FEWEST_ITEMS:
            return cast(Pieces, pieces)
    return None


def _all_items(documents: Iterable[Document], seed: int, pieces: Pieces) -> Iterator[_Item]:
    return (item for document in documents for item in _items(document, seed, pieces))


def _choose(items: Iterable[_Item], n: int, rng: random.Random) -> list[_Item]:
    """Reservoir sampling (Vitter 1985, algorithm R): n of a stream."""
    chosen: list[_Item] = []
    for number, item in enumerate(items):
        if number < n:
            chosen.append(item)
        elif (place := rng.randrange(number + 1)) < n:
            chosen[place] = item
    return chosen


def _items(document: Document, seed: int, pieces: Pieces) -> Iterator[_Item]:
    rng = random.Random(f"{seed}:{document.id}")
    split, is_fit = (sentences, is_prose) if pieces == "sentences" else (lines, is_line)
    found = split(document.text[:DOCUMENT_CHARS])
    position = n_items = 0
    while position + 1 < len(found) and n_items < ITEMS_PER_DOCUMENT:
        context, sentence = found[position : position + 2]
        asked = _ask(context, sentence, rng) if is_fit(context) and is_fit(sentence) else None
        if asked:
            yield _Item(document.id, position, *asked)
            n_items += 1
        position += 2 if asked else 1


def _ask(context: str, sentence: str, rng: random.Random) -> tuple[str, str, str] | None:
    """(kind, text, answer) of the first kind, in random order, that the sentence is fit for."""
    words = sentence.split()
    for kind in rng.sample(sorted(PHRASINGS), len(PHRASINGS)):
        if kind == "continue" and len(sentence) <= ANSWER_CHARS:
            return kind, context, sentence
        if kind == "complete" and len(words) >= 5:
            cut = rng.randint(len(words) // 2, len(words) - 2)
            if len(answer := " ".join(words[cut:])) <= ANSWER_CHARS:
                return kind, " ".join([context, *words[:cut]]), answer
        if kind == "missing word":
            gaps = [match for match in _WORD.finditer(sentence) if sentence.count(match.group()) == 1]
            if gaps:
                gap = rng.choice(gaps)
                return kind, f"{context} {sentence[: gap.start()]}{GAP}{sentence[gap.end() :]}", gap.group()
    return None


def sentences(text: str) -> list[str]:
    """The sentences of a text in order. Lines broken by hand are joined; a heading stands alone, without an end."""
    found = []
    for paragraph in _paragraphs(text):
        start = 0
        for border in _BORDER.finditer(paragraph):
            candidate = paragraph[start : border.end()].strip()
            if not _ABBREVIATION.search(candidate) or border.end() == len(paragraph):
                found.append(candidate)
                start = border.end()
        found.append(paragraph[start:].strip())
    return [sentence for sentence in found if sentence]


def _paragraphs(text: str) -> Iterator[str]:
    held, last = "", ""
    for line in map(str.strip, text.split("\n")):
        if line and len(last) >= WRAPPED_CHARS and not _ENDED.search(last):
            held += " " + line
        else:
            yield held
            held = line
        last = line
    yield held


def is_prose(sentence: str) -> bool:
    """Whether it reads as one whole sentence: begun, ended, of a fair length, mostly letters, quotes closed."""
    return (
        len(sentence) in SENTENCE_CHARS
        and bool(_BEGUN.match(sentence) and _ENDED.search(sentence) and not _ODD.search(sentence))
        and not sentence[0].islower()
        and sum(c.isalpha() or c == " " for c in sentence) >= 0.8 * len(sentence)
        and sentence.count('"') % 2 == 0
        and all(sentence.count(a) == sentence.count(b) for a, b in ("()", "“”", "「」", "『』", "《》"))
    )


def lines(text: str) -> list[str]:
    """The lines of a text that say something, without the marks of headings and lists."""
    return [line for line in (_MARK.sub("", line).strip() for line in text.split("\n")) if line]


def is_line(line: str) -> bool:
    """Whether a line can be asked about: of a fair length, at least half letters, white space aside."""
    return len(line) in LINE_CHARS and 2 * sum(map(str.isalpha, line)) >= len("".join(line.split()))


def is_korean(text: str) -> bool:
    """Whether more than half of the letters are Korean syllables."""
    return 2 * len(re.findall(r"[가-힣]", text)) > sum(map(str.isalpha, text))
