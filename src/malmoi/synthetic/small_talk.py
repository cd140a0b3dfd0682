"""Greetings, thanks, questions about the assistant, and questions that it cannot answer, in English and Korean."""

import random
from dataclasses import dataclass

from malmoi.synthetic.phrasings import numbers_of, table

SAID = table("small_talk.tsv")


@dataclass(frozen=True)
class About:
    """What is true of the assistant: what it was made from, in both languages, and how many documents that are."""

    subject: str
    subject_ko: str
    n_documents: int

    def reply(self, kind: str, language: str) -> str:
        """The true reply to a kind of small talk."""
        [form] = table("replies.tsv")[kind][language]
        return form.format(subject=self.subject, subject_ko=self.subject_ko, n=f"{self.n_documents:,}")


def said(kind: str, language: str, rng: random.Random, heldout: bool = False) -> str:
    """One way to say it: of those that are trained on, or of those held out."""
    forms = SAID[kind][language]
    return forms[rng.choice(numbers_of(forms)[heldout])]
