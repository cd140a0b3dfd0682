"""Questions that any English or Korean text answers: what comes next, how a sentence ends, which word is missing.

The demonstrations are made of them if the user brings a folder of text.
"""

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, cast, get_args

from malmoi.corpus.documents import Document, Reopenable, opener
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
MIN_ITEMS = 2
"""One to train on and one to hold out."""
TOO_LITTLE = "too few sentences or lines in a row to ask about; give at least a page of prose, such as ten paragraphs"
Unit = Literal["sentences", "lines"]
WRAPPED_CHARS = 40

_CLOSING = "\"'”’»)\\]」』》〉"
_ENDED = re.compile(rf"[.?!…。！？][{_CLOSING}]*$")
# A mark before a space, any East Asian mark, and a mark that Korean follows without a space (했다.그는).
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


def cloze_questions(documents: Reopenable, n: int, seed: int) -> list[Question]:
    """Questions about at most `n` items: each in one training phrasing and in the held-out phrasing.

    An item is a sentence and the one before it. No two items share a sentence, a fifth of them is unseen, and all items
    in the documents are equally likely to be chosen. The questions depend only on the documents, `n` and the seed. If
    sentences give fewer than two items, as in lists and notes without full stops, lines are used instead.
    documents: a list, or a function that opens the stream again
    Raises DataError if lines also give fewer than two items.
    """
    rng = random.Random(seed)
    open_documents = opener(documents)
    unit = unit_of_questions(documents, seed)
    if unit is None:
        raise DataError(f"the text has {TOO_LITTLE}")
    items = _sample(_all_items(open_documents(), seed, unit), n, rng)
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


def unit_of_questions(documents: Reopenable, seed: int) -> Unit | None:
    """What questions about these documents are made of: sentences, lines if there are too few sentences, or None."""
    open_documents = opener(documents)
    for pieces in get_args(Unit):
        if len(list(islice(_all_items(open_documents(), seed, pieces), MIN_ITEMS))) == MIN_ITEMS:
            return cast(Unit, pieces)
    return None


def _all_items(documents: Iterable[Document], seed: int, pieces: Unit) -> Iterator[_Item]:
    return (item for document in documents for item in _items(document, seed, pieces))


def _sample(items: Iterable[_Item], n: int, rng: random.Random) -> list[_Item]:
    """A random sample of n items of a stream, by reservoir sampling (Vitter 1985, algorithm R)."""
    chosen: list[_Item] = []
    for number, item in enumerate(items):
        if number < n:
            chosen.append(item)
        elif (place := rng.randrange(number + 1)) < n:
            chosen[place] = item
    return chosen


def _items(document: Document, seed: int, pieces: Unit) -> Iterator[_Item]:
    rng = random.Random(f"{seed}:{document.id}")
    split, is_fit = (sentences, is_prose) if pieces == "sentences" else (lines, is_line)
    found = split(document.text[:DOCUMENT_CHARS])
    position = n_items = 0
    while position + 1 < len(found) and n_items < ITEMS_PER_DOCUMENT:
        context, sentence = found[position : position + 2]
        question = _make_question(context, sentence, rng) if is_fit(context) and is_fit(sentence) else None
        if question:
            yield _Item(document.id, position, *question)
            n_items += 1
        position += 2 if question else 1


def _make_question(context: str, sentence: str, rng: random.Random) -> tuple[str, str, str] | None:
    """(kind, text, answer) of the first kind, in random order, that the sentence fits."""
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
    """The sentences of a text in order. Hard-wrapped lines are joined; a heading is a sentence without an end."""
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
    """Whether this is one whole sentence: beginning, end, a fair length, mostly letters, closed quotes."""
    return (
        len(sentence) in SENTENCE_CHARS
        and bool(_BEGUN.match(sentence) and _ENDED.search(sentence) and not _ODD.search(sentence))
        and not sentence[0].islower()
        and sum(c.isalpha() or c == " " for c in sentence) >= 0.8 * len(sentence)
        and sentence.count('"') % 2 == 0
        and all(sentence.count(a) == sentence.count(b) for a, b in ("()", "“”", "「」", "『』", "《》"))
    )


def lines(text: str) -> list[str]:
    """The lines of a text that are not empty, without the marks of headings and lists."""
    return [line for line in (_MARK.sub("", line).strip() for line in text.split("\n")) if line]


def is_line(line: str) -> bool:
    """Whether a line suits a question: a fair length, and at least half of it letters, not counting white space."""
    return len(line) in LINE_CHARS and 2 * sum(map(str.isalpha, line)) >= len("".join(line.split()))


def is_korean(text: str) -> bool:
    """Whether more than half of the letters are Korean syllables."""
    return 2 * len(re.findall(r"[가-힣]", text)) > sum(map(str.isalpha, text))
