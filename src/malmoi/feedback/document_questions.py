"""Questions that a workspace's own documents answer, for people to rank where nobody has asked anything yet."""

from sqlalchemy import select

from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.teach_items import add_question
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.suggestions import drawn_questions
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Prompt
from malmoi.workspace.service_schema import TeachItem

MOST = 100
"""At once: each has to be answered several times before anybody can rank it."""


def ask_from_documents(ledger: Ledger, person_id: str, lookup: Lookup | None, language: str, n: int) -> list[str]:
    """Add up to n questions, 1 to `MOST`, in this person's name; those that were asked before are left out.

    language: "en" | "ko". Returns their texts. Raises RefusedError if nothing is looked up, or no document answers one
    """
    if lookup is None:
        raise RefusedError("no_documents", "no documents are looked up: malmoi data add FILE adds some")
    query = select(Prompt.messages).join(TeachItem, TeachItem.prompt_id == Prompt.id)
    with ledger.engine.connect() as connection:
        known = {str(messages[-1]["content"]) for messages in connection.scalars(query)}
    texts = drawn_questions(lookup, language, n, known)
    if not texts:
        raise RefusedError("no_documents", "the documents give no further questions: malmoi data add FILE adds some")
    for text in texts:
        add_question(ledger, person_id, text)
    return texts
