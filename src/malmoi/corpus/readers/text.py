"""Plain text and Markdown.

A text longer than PART_CHARS becomes several documents, cut at blank lines if there are any: this bounds the memory
that it takes, and gives a single large file parts that can be held out. Each says in which line of the file it begins.
"""

from collections.abc import Iterator

from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader
from malmoi.text import n_newlines

PART_CHARS = 20_000


def read(file: InputFile) -> Iterator[Document]:
    return text_documents(file.chunks(), file.source)


def text_documents(chunks: Iterator[str], source: str) -> Iterator[Document]:
    """Documents of a text that comes in chunks of any length; its lines are those of the file."""
    line, before = 1, ""
    for part in _parts(chunks):
        line += n_newlines(before) - (before.endswith("\r") and part.startswith("\n"))  # one newline, cut in two
        yield Document(part, source, line=line)
        before = part


def _parts(chunks: Iterator[str]) -> Iterator[str]:
    rest = ""
    for chunk in chunks:
        rest += chunk
        while len(rest) > PART_CHARS:
            borders = (rest.rfind(border, 1, PART_CHARS) for border in ("\n\n", "\n\r\n", "\n", " "))
            cut = next((at for at in borders if at > 0), PART_CHARS)
            yield rest[:cut]
            rest = rest[cut:]
    yield rest


READER = Reader((".txt", ".md", ".markdown"), read)
