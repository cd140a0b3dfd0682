"""The documentation of this Python as documents and facts."""

import inspect
from collections import Counter

import pytest

from malmoi.corpus.documents import Document
from malmoi.synthetic.pydocs import Item, first_sentence, read_python_docs


@pytest.fixture(scope="module")
def library() -> list[tuple[Document, Item | None]]:
    return list(read_python_docs(packages=()))


def test_every_text_stands_once_with_its_source_and_licence(library: list[tuple[Document, Item | None]]) -> None:
    assert len(library) > 4000
    ids = Counter(document.id for document, _ in library)
    assert max(ids.values()) == 1
    assert {document.origin for document, _ in library} == {"human"}
    assert {document.license for document, _ in library} == {"PSF-2.0"}


def test_names_are_those_of_their_home(library: list[tuple[Document, Item | None]]) -> None:
    names = {item.name for _, item in library if item is not None}
    assert {"json.dumps", "os.getpid", "textwrap.dedent", "collections.OrderedDict"} <= names
    # The C module behind os, and what modules merely import, are not where people look.
    assert not any(name.startswith("posix.") for name in names)
    assert "cgi.StringIO" not in names


def test_an_item_says_what_the_documentation_says(library: list[tuple[Document, Item | None]]) -> None:
    found = {item.name: (document, item) for document, item in library if item is not None}
    document, item = found["textwrap.dedent"]
    assert item.summary == "Remove any common leading whitespace from every line in `text`.".replace("`", "")
    assert (item.kind, item.module, item.parameters) == ("function", "textwrap", ("text",))
    assert item.document == document.id and document.text.startswith("function textwrap.dedent(text)\n")
    assert Item.from_row(item.to_row()) == item


def test_language_topics_are_documents_without_items(library: list[tuple[Document, Item | None]]) -> None:
    topics = [document for document, item in library if item is None]
    assert len(topics) > 50 and all(":topic:" in document.source for document in topics)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Serialize ``obj`` to a JSON\nformatted ``str``.\n\nMore.", "Serialize obj to a JSON formatted str."),
        ("Return the sum. And more of it.", "Return the sum."),
        ("len(obj, /)\n\nReturn the number of items.", "Return the number of items."),
        ("open(file) -> object\n\nOpen a whole file", "Open a whole file."),
        ("lower case begins it here.", ""),
        ("Short.", ""),
        ("Raised when x == y in a {set}.", ""),
        ("An unclosed (bracket, e.g. Something else.", ""),
        ("word " * 40, ""),
    ],
)
def test_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


def test_an_attribute_that_does_not_document_itself_is_no_item() -> None:
    found = [(item.name, document.text) for document, item in read_python_docs(()) if item is not None]
    for type_ in (int, str, list, dict, bool):
        assert [name for name, text in found if inspect.cleandoc(type_.__doc__ or "") in text] == [
            f"builtins.{type_.__name__}"
        ]
