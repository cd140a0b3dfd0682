"""Plain text and Markdown.

A text longer than PART_CHARS becomes several documents, cut at blank lines if there are any: this bounds the memory
that it takes, and gives a single large file parts that can be held out.
"""

from collections.abc import Iterator

from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader

PART_CHARS = 20_000


def read(file: InputFile) -> Iterator[Document]:
    return (Document(part, file.source) for part in _parts(file.chunks()))


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
