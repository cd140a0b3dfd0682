"""Tables of text (.csv, .tsv): one document per row, each value with the name of its column, read as a stream."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader, Unreadable
from malmoi.corpus.tables import SAMPLE_ROWS, find_header, row_text

SAMPLE_CHARS = 2**16
DELIMITERS = ",;\t|"
"""In the order in which they are preferred when they fit equally."""


def read(file: InputFile) -> Iterator[Document | Unreadable]:
    lines = file.text_lines()
    sample = list(_up_to(lines, SAMPLE_CHARS))
    n_before = 0
    if sample and (named := sample[0].strip().lower()).startswith("sep=") and len(named) == 5:
        delimiter, n_before = named[4], 1
    else:
        delimiter = _delimiter(sample, "\t" if file.path.name.lower().endswith((".tsv", ".tsv.gz")) else "")
    numbered = _rows(chain(sample[n_before:], lines), delimiter, _quote(sample, delimiter), n_before, file)
    yield from _documents(numbered, file)


def _up_to(lines: Iterable[str], n_chars: int) -> Iterator[str]:
    for line in lines:
        yield line
        n_chars -= len(line)
        if n_chars <= 0:
            return


def _delimiter(sample: list[str], usual: str) -> str:
    """The delimiter that gives most rows one number of cells, more than one; of several, the one with most cells."""
    best, best_score = usual or ",", (0.0, 0)
    for delimiter in (*usual, *DELIMITERS):
        rows = csv.reader(sample, delimiter=delimiter)
        widths = Counter(len(row) for row in _without_errors(rows) if row)
        width, n = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        score = (round(n / widths.total(), 2), width) if width > 1 else (0.0, 0)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _without_errors(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    while True:
        try:
            yield next(rows)
        except csv.Error:
            continue
        except StopIteration:
            return


def _quote(sample: list[str], delimiter: str) -> str:
    """The double quote, unless values are in single quotes and none is in double ones."""
    text = "".join(sample)
    n_single = text.count(f"'{delimiter}'")
    return "'" if n_single > len(sample) / 2 and f'"{delimiter}"' not in text else '"'


def _rows(
    lines: Iterable[str], delimiter: str, quote: str, n_before: int, file: InputFile
) -> Iterator[tuple[int, int, list[str]] | Unreadable]:
    """The number, the first line and the values of every row; an Unreadable where a quote is not closed."""
    rows = csv.reader(lines, delimiter=delimiter, quotechar=quote, skipinitialspace=True)
    number = 0
    while True:
        number, line = number + 1, n_before + rows.line_num + 1
        try:
            yield number, line, [value.strip() for value in next(rows)]
        except StopIteration:
            return
        except csv.Error:
            what = f"a value of more than {csv.field_size_limit():,} characters; is a quote not closed?"
            yield Unreadable("unusable row", f"{file.path}:{line}: {what}")


def _documents(
    rows: Iterator[tuple[int, int, list[str]] | Unreadable], file: InputFile
) -> Iterator[Document | Unreadable]:
    first = list(islice(rows, SAMPLE_ROWS))
    good = [row for row in first if not isinstance(row, Unreadable)]
    at = find_header([values for _, _, values in good])
    header, names = (good[at][0], good[at][2]) if at is not None else (0, [])
    for row in chain(first, rows):
        if isinstance(row, Unreadable):
            yield row
            continue
        number, line, values = row
        if not any(values) or number == header:
            continue
        has_names = number > header > 0
        if has_names and len(values) != len(names):
            file.notes["row with another number of cells than its header"] += 1
        text = row_text(names if has_names else [], values)
        yield Document(text, file.source, place=f"row {number}", line=line)


READER = Reader((".csv", ".tsv", ".csv.gz", ".tsv.gz"), read, has_rows=True)
