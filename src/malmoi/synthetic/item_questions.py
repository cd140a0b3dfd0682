"""Questions about documented names, as people ask them: by themselves, after other questions, and in follow-ups."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from malmoi.synthetic.forms import FORMS, typed
from malmoi.synthetic.phrasings import FOLLOW_UPS, KINDS_KO, PHRASINGS, answer, fill, numbers_of
from malmoi.synthetic.pydocs import MAX_PARAMETERS, Item
from malmoi.synthetic.questions import SECOND_TURN, Question, Turn

FORM_SHARE = 0.35
"""Share of the training questions that are typed carelessly."""
N_BY_FORM = 250
"""Items that are asked about in every form, to measure it."""
MAX_NEIGHBOURS = 3
_VERBS = frozenset((Path(__file__).with_name("phrases") / "verbs.txt").read_text(encoding="utf-8").split())
_RETURNS = {"return": "get", "returns": "get"}


def item_questions(
    items: Sequence[Item], unseen: Sequence[Item], texts: Mapping[str, str], seed: int
) -> Iterator[Question]:
    """Questions to train on about `items`, and in held-out phrasings about all. texts: document id -> its text"""
    asker = _Asker(items, texts, random.Random(seed))
    for item in items:
        yield from asker.to_train_on(item)
    measured = random.Random(seed).sample(list(items), min(N_BY_FORM, len(items)))
    for item in items:
        yield from asker.to_measure(item)
    for item in measured:
        yield from asker.in_every_form(item)
    for item in unseen:
        yield from (replace(question, unseen=True) for question in asker.to_measure(item))


def task_of(item: Item) -> str:
    """What one does with it, after "How do I": "shuffle list x in place"; "" if its first sentence names no task."""
    clause = re.split(r"[.;:(]\s|[.;:]$|, ", item.summary)[0]
    first, _, rest = clause.partition(" ")
    verb = first.lower()
    verb = _RETURNS.get(verb) or next((v for v in (verb, verb[:-1], verb[:-2]) if v in _VERBS and verb != v + "in"), "")
    is_task = bool(verb and rest) and first[0].isupper() and len(rest) < 70 and rest.count(" ") >= 1
    return f"{verb} {rest}" if is_task and not re.search(r"\b(self|whether|true|false|if)\b", rest.lower()) else ""


def example_of(text: str) -> str:
    """A line of code of a docstring's example, or ""."""
    found = re.search(r"^\s*>>> (.{6,70})$", text, re.MULTILINE)
    return f">>> {found[1]}" if found else ""


class _Asker:
    """Asks about items, and answers from their documents."""

    def __init__(self, items: Sequence[Item], texts: Mapping[str, str], rng: random.Random) -> None:
        self.items, self.texts, self.rng = items, texts, rng
        self.tasks = Counter(task_of(item) for item in items)
        self.by_module: dict[str, list[Item]] = defaultdict(list)
        for item in items:
            self.by_module[item.module].append(item)

    def to_train_on(self, item: Item) -> Iterator[Question]:
        summaries = self._trained("summary", "en", 3) + self._trained("summary", "ko", 1)
        for language, number in summaries:
            yield self._spoken(self.ask(item, "summary", language, number))
        kinds = self._kinds(item)
        for kind in self.rng.sample(kinds, min(2, len(kinds))):
            for language, number in self._trained(kind, self._language(kind), 1):
                yield self._spoken(self.ask(item, kind, language, number))
        language = self.rng.choice(("en", "en", "ko"))
        [(_, number)] = self._trained("summary", language, 1)
        yield self.after_another(self.ask(item, "summary", language, number))
        yield self.about_another(item, language)
        yield self.about_the_same(item, language)

    def to_measure(self, item: Item) -> Iterator[Question]:
        """In a held-out phrasing: what it does, and one more."""
        yield self.ask(item, "summary", "en", self._heldout("summary", "en"))
        if kinds := self._kinds(item):
            kind = self.rng.choice(kinds)
            language = self._language(kind)
            yield self.ask(item, kind, language, self._heldout(kind, language))

    def in_every_form(self, item: Item) -> Iterator[Question]:
        plain = self.ask(item, "summary", "en", self._heldout("summary", "en"))
        yield replace(self.after_another(plain, heldout=True), form=SECOND_TURN)
        yield replace(plain, earlier=(("Hello", "Hello!"),), form="after a greeting")
        for form in ("upper", "no mark", "typing error"):
            yield replace(plain, prompt=typed(plain.prompt, item.name, form, self.rng), form=form)
        korean = self.ask(item, "summary", "ko", self._heldout("summary", "ko"))
        yield replace(korean, form="Korean")

    def ask(self, item: Item, kind: str, language: str, number: int) -> Question:
        words = {"name": item.name, "short": item.short, "task": task_of(item)}
        forms = PHRASINGS[kind][language]
        heldout = number in numbers_of(forms)[1]
        answers = (self.answer(item, kind, language),)
        prompt = fill(forms[number], **words)
        return Question(
            kind, item.name, prompt, answers, number, heldout, False, item.document, short=item.summary,
            language=language,
        )  # fmt: skip

    def answer(self, item: Item, kind: str, language: str) -> str:
        form = {"module": "builtin"}.get(kind, kind) if item.module == "builtins" else kind
        if kind == "parameters" and not item.parameters:
            form = "no parameters"
        if kind == "example" and not example_of(self.texts[item.document]):
            form = "no example"
        others = [other.name for other in self.by_module[item.module] if other is not item]
        return answer(
            form, language, name=item.name, sentence=item.summary, module=item.module, kind=item.kind,
            kind_ko=KINDS_KO[item.kind], parameters=", ".join(item.parameters or ()),
            example=example_of(self.texts[item.document]), others=", ".join(others[:MAX_NEIGHBOURS]),
        )  # fmt: skip

    def after_another(self, question: Question, heldout: bool = False) -> Question:
        """The same question in the second turn, or the third, after questions about other names."""
        turns: list[Turn] = []
        for _ in range(1 if heldout else self.rng.choice((1, 1, 1, 2))):
            kind = self.rng.choice(("summary", "summary", "module", "kind"))
            language = question.language if "ko" in PHRASINGS[kind] else "en"
            [(_, number)] = self._trained(kind, language, 1)
            other = self.ask(self.rng.choice(self.items), kind, language, number)
            turns.append((other.prompt, other.answers[0]))
        return replace(question, earlier=tuple(turns))

    def about_another(self, item: Item, language: str) -> Question:
        """ "And X?" after a question about a name of the same module."""
        before = self.rng.choice(self.by_module[item.module])
        return self._follow_up(item, "summary", language, before)

    def about_the_same(self, item: Item, language: str) -> Question:
        kinds = [*self._kinds(item), "example", "neighbours"]
        kind = self.rng.choice([kind for kind in kinds if kind in FOLLOW_UPS])
        return self._follow_up(item, kind, language, item)

    def _follow_up(self, item: Item, kind: str, language: str, before: Item) -> Question:
        [(_, number)] = self._trained("summary", language, 1)
        first = self.ask(before, "summary", language, number)
        forms = FOLLOW_UPS[kind][language]
        number = self.rng.choice(numbers_of(forms)[0])
        name = item.short if self.rng.random() < 0.3 else item.name
        short = (example_of(self.texts[item.document]) if kind == "example" else "") or item.summary
        return Question(
            kind, item.name, fill(forms[number], name=name), (self.answer(item, kind, language),), number, False, False,
            item.document, short=short, earlier=((first.prompt, first.answers[0]),), language=language,
            form="follow-up",
        )  # fmt: skip

    def _spoken(self, question: Question) -> Question:
        """As people type; a few begin with a greeting."""
        if self.rng.random() < FORM_SHARE:
            form = self.rng.choice(FORMS)
            return replace(question, prompt=typed(question.prompt, question.item, form, self.rng), form=form)
        return question

    def _kinds(self, item: Item) -> list[str]:
        kinds = ["kind"] if item.kind in ("function", "class", "method") else []
        if item.parameters is not None and len(item.parameters) <= MAX_PARAMETERS:
            kinds.append("parameters")
        if item.kind in ("function", "class"):
            kinds.append("module")
        if (task := task_of(item)) and self.tasks[task] == 1:
            kinds += ["howto", "howto"]
        return kinds or ["summary"]

    def _language(self, kind: str) -> str:
        return self.rng.choice(("en", "en", "ko")) if "ko" in PHRASINGS[kind] else "en"

    def _trained(self, kind: str, language: str, n: int) -> list[tuple[str, int]]:
        return [(language, number) for number in self.rng.sample(numbers_of(PHRASINGS[kind][language])[0], n)]

    def _heldout(self, kind: str, language: str) -> int:
        return self.rng.choice(numbers_of(PHRASINGS[kind][language])[1])
