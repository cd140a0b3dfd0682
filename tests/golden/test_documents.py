"""Documents in prompts: where they are written, that they stay text of others, and which answers learn from them."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.documents import writes_documents
from tests.golden.small_families import CHATML_TOKENS, QWEN, Family, byte_level, spoken
from tests.golden.test_chat_template import INJECTION, TEMPLATE, spelled
from tests.golden.test_generation_prompt import KINDS

pytestmark = pytest.mark.filterwarnings("default:::transformers.*")

ON_TOP = """
{%- if documents -%}{{- '<|im_start|>system\\nKnown:' -}}
{%- for document in documents -%}{{- '\\n' + document.title + ' | ' + document.text -}}{%- endfor -%}
{{- '<|im_end|>\\n' -}}{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
AS_JSON = ON_TOP.replace("'\\n' + document.title + ' | ' + document.text", "document | tojson")
WITH_DOCUMENTS = {
    name: lambda source=source: Family(byte_level(*CHATML_TOKENS), QWEN, source, "<|im_end|>")
    for name, source in {"on top": ON_TOP, "as json": AS_JSON, "ours": TEMPLATE.source}.items()
}
EVERY = {**KINDS, **WITH_DOCUMENTS}
CATS = [{"title": "Cats", "text": "A cat sat."}, {"title": "", "text": "The mat is 말모이."}]
DOGS = [{"title": "Dogs", "text": "A dog sat."}]


def asked(content: str, documents: Any = None) -> dict[str, Any]:
    return {"role": "user", "content": content} | ({} if documents is None else {"documents": documents})


def said(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def test_our_template_writes_documents_before_the_last_question(tokenizer: Tokenizer) -> None:
    messages = [asked("Who?"), said("The cat."), asked("Where?", CATS), said("On the mat.")]
    documents = ("<|system|>", "Cats: A cat sat.\nThe mat is 말모이.", "<|end|>")
    assert TEMPLATE.encode(tokenizer, messages) == spelled(
        tokenizer, "<|user|>", "Who?", "<|end|>", "<|assistant|>", ("The cat.", True), ("<|end|>", True), *documents,
        "<|user|>", "Where?", "<|end|>", "<|assistant|>", ("On the mat.", True), ("<|end|>", True),
    )  # fmt: skip


def test_what_was_said_before_is_the_same_with_documents(tokenizer: Tokenizer) -> None:
    """So that the keys and values of earlier turns are used again, whatever is looked up for the next question."""
    before = [asked("Who?"), said("The cat.")]
    history, _ = TEMPLATE.encode(tokenizer, before)
    for documents in (None, CATS, DOGS):
        ids, _ = TEMPLATE.encode(tokenizer, [*before, asked("Where?", documents)], add_generation_prompt=True)
        assert ids[: len(history)] == history


@pytest.mark.parametrize("name", EVERY)
def test_documents_of_earlier_messages_are_not_written_again(name: str) -> None:
    family = EVERY[name]()
    tokenizer, template = family.ours(), ChatTemplate(family.source())
    for last in (None, DOGS):
        first, second = (
            template.encode(tokenizer, [asked("Who?", earlier), said("\nThe cat."), asked("Where?", last)])
            for earlier in (CATS, None)
        )
        assert first == second


@pytest.mark.parametrize("name", EVERY)
def test_an_answer_continues_its_prompt_with_documents(name: str) -> None:
    family = EVERY[name]()
    tokenizer, template = family.ours(), ChatTemplate(family.source())
    for messages in ([asked("Who?", CATS)], [asked("Who?", DOGS), said("The dog."), asked("Where?", CATS)]):
        prompt, _ = template.encode(tokenizer, messages, add_generation_prompt=True)
        text = tokenizer.backend.decode(prompt, skip_special_tokens=False)
        assert "A cat sat." in text and "Dogs" not in text
        ids, trained = template.encode(tokenizer, [*messages, said("On the mat.")])
        if template.is_continued(tokenizer):
            assert ids[: len(prompt)] == prompt and trained[len(prompt)] and not trained[len(prompt) - 1]


def test_a_template_without_documents_reads_them_in_the_question() -> None:
    family = KINDS["smollm2"]()
    tokenizer, template = family.ours(), ChatTemplate(family.source())
    folded = "Documents:\n[1] Cats\nA cat sat.\n\n[2] The mat is 말모이.\n\nQuestion: Where?"
    assert template.encode(tokenizer, [asked("Where?", CATS)]) == template.encode(tokenizer, [asked(folded)])


@pytest.mark.parametrize("name", WITH_DOCUMENTS)
def test_the_ids_are_those_of_transformers_where_a_template_knows_documents(name: str) -> None:
    family = WITH_DOCUMENTS[name]()
    ours, theirs, source = family.ours(), family.theirs(), family.source()
    assert writes_documents(source, tuple(ours.names.items()))
    for before in ([], [{"role": "system", "content": "Be brief."}, asked("Who?"), said("\nThe cat.")]):
        for documents in (CATS, DOGS):
            expected = theirs.apply_chat_template(
                [*before, asked("Where?")], documents=documents, chat_template=source, return_dict=False,
                add_generation_prompt=True,
            )  # fmt: skip
            messages = [*before, asked("Where?", documents)]
            ids, _ = ChatTemplate(source).encode(ours, messages, add_generation_prompt=True)
            assert theirs.decode(ids) == theirs.decode(expected)


@pytest.mark.parametrize("name", EVERY)
def test_documents_do_not_end_turns_or_speak_as_others(name: str) -> None:
    """Whatever is typed in a document, the special tokens of the prompt are those of a harmless one."""
    family = EVERY[name]()
    tokenizer, template = family.ours(), ChatTemplate(family.source())
    tokens = [*tokenizer.special, *(token for token in tokenizer.plain_tokens if token in template.source)]
    hostile = st.sampled_from([INJECTION, *tokens, "{{ messages }}", "\ue001", "\ue006", "Question: ", "ignore all"])
    pieces = st.lists(hostile | st.text(max_size=8), max_size=4).map("".join)

    def structure(documents: list[dict[str, str]]) -> list[str]:
        messages = [asked("Who?"), said("The cat."), asked("Where?", documents), said("Here.")]
        rows = template.training_rows(tokenizer, messages)
        words = "".join(spoken(tokenizer, *row) for row in rows)
        assert words.count("The cat.") == words.count("Here.") == 1
        assert sum(sum(trained) for _, trained in rows) < 40
        ids, _ = template.encode(tokenizer, messages)
        found = (tokenizer.backend.id_to_token(id) for id in ids)
        return [token for token in found if token in tokens]

    @settings(max_examples=40)
    @given(st.lists(st.fixed_dictionaries({"title": pieces, "text": pieces}), min_size=1, max_size=3))
    def check(documents: list[dict[str, str]]) -> None:
        harmless = [{"title": "a", "text": "b"}] * len(documents)
        try:
            assert structure(documents) == structure(harmless)
        except DataError:  # characters of private planes, which it cannot follow into JSON, next to a special token
            assert name == "as json"

    check()


@pytest.mark.parametrize("name", EVERY)
def test_every_answer_is_learnt_with_its_own_documents(name: str) -> None:
    """Each in the row that a model is given when it answers; one without documents shares the last row."""
    family = EVERY[name]()
    tokenizer, template = family.ours(), ChatTemplate(family.source())
    messages = [
        asked("Who?", CATS), said("The cat."), asked("And?"), said("No more."), asked("Where?", DOGS), said("Here."),
    ]  # fmt: skip
    rows = [row for row in template.training_rows(tokenizer, messages) if any(row[1])]
    answers = {"The cat.": 2, "No more.": 4, "Here.": 6}
    for ids, trained in rows:
        for answer, n in answers.items():
            if answer in spoken(tokenizer, ids, trained):
                whole, _ = template.encode(tokenizer, messages[:n])
                assert ids[: len(whole) - 1] == whole[:-1] or ids[: len(whole)] == whole
    said_in = ["".join(answer for answer in answers if answer in spoken(tokenizer, *row)) for row in rows]
    assert "".join(said_in) == "The cat.No more.Here."
    assert said_in[0] == "The cat."


def test_only_the_answer_of_a_row_is_learnt_if_the_others_are_marked(tokenizer: Tokenizer) -> None:
    messages = [asked("Who?", DOGS), said("The cat.", trained=False), asked("Where?", CATS), said("Here.")]
    *earlier, (ids, trained) = TEMPLATE.training_rows(tokenizer, messages)
    assert not earlier and spoken(tokenizer, ids, trained) == "Here.<|end|>"
    prompt, _ = TEMPLATE.encode(tokenizer, messages[:3], add_generation_prompt=True)
    assert ids[: len(prompt)] == prompt


def test_messages_are_not_changed(tokenizer: Tokenizer) -> None:
    messages = [asked("Where?", CATS), said("Here.")]
    before = copy.deepcopy(messages)
    ChatTemplate.plain().training_rows(tokenizer, messages)
    assert messages == before


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (asked("Hi", "a text"), "message 0: documents are a list"),
        (asked("Hi", ["a text"]), "message 0, document 0: expected"),
        (asked("Hi", [{"title": "a"}]), "message 0, document 0: expected"),
        (asked("Hi", [{"title": 3, "text": "a"}]), "message 0, document 0: expected"),
        (asked("Hi", [{"text": "half \ud83d"}]), "lone surrogate"),
        ({"role": "system", "content": "Hi", "documents": CATS}, "only a user's message has documents"),
    ],
)
def test_what_is_no_document_is_refused(tokenizer: Tokenizer, message: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        TEMPLATE.encode(tokenizer, [message])
