"""Excel files: one document per row, each value with the name of its column. Formulas give the values stored for them.

Sheets are read as streams; macros, charts and pictures are not looked at.
"""

import datetime
import zipfile
from collections.abc import Iterator
from itertools import chain, islice, zip_longest
from typing import Any

from malmoi.corpus.archive import open_archive
from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader, Unreadable
from malmoi.corpus.tables import SAMPLE_ROWS, find_header, row_text

MAX_ROWS = 1_048_576
"""As many as Excel has; a forged number of a row could name any."""


def read(file: InputFile) -> Iterator[Document | Unreadable]:
    import openpyxl

    archive = open_archive(file)
    values = openpyxl.load_workbook(file.stream, read_only=True, data_only=True)
    formulas = openpyxl.load_workbook(file.stream, read_only=True) if _has_formulas(archive) else None
    for sheet in values.worksheets:
        if sheet.sheet_state != "visible":
            file.notes["hidden sheet, which is read too"] += 1
        twin = formulas[sheet.title] if formulas else None
        for number, text in _rows(_values(sheet, twin, file), file):
            yield Document(text, file.source, place=f"sheet {sheet.title}, row {number}")


def _has_formulas(archive: zipfile.ZipFile) -> bool:
    """Whether any sheet has a formula. Only then is the file read a second time, for formulas without a value."""
    for name in archive.namelist():
        if name.startswith("xl/worksheets/") and name.endswith(".xml"):
            with archive.open(name) as stream:
                before = b""
                while data := stream.read(2**20):
                    if b"<f>" in before + data or b"<f " in before + data:
                        return True
                    before = data[-2:]
    return False


def _values(sheet: Any, twin: Any, file: InputFile) -> Iterator[list[str]]:
    sheet.reset_dimensions()  # what a file says of its size may be wrong
    rows = sheet.iter_rows(max_row=MAX_ROWS)
    if twin is None:
        yield from ([_text(cell) for cell in row] for row in rows)
        return
    twin.reset_dimensions()
    for row, with_formulas in zip(rows, twin.iter_rows(max_row=MAX_ROWS), strict=False):
        for cell, formula in zip_longest(row, with_formulas):
            if formula is not None and formula.data_type == "f" and (cell is None or cell.value is None):
                file.notes["formula without a value"] += 1
        yield [_text(cell) for cell in row]


def _rows(values: Iterator[list[str]], file: InputFile) -> Iterator[tuple[int, str]]:
    """The number and the text of every row that is not empty and not the names of the columns."""
    first = list(islice(values, SAMPLE_ROWS))
    at = find_header(first)
    names = first[at] if at is not None else []
    for number, row in enumerate(chain(first, values), start=1):
        if not any(row) or number - 1 == at:
            continue
        has_names = at is not None and number - 1 > at
        if has_names and any(row[len(names) :]):
            file.notes["row with more cells than its header"] += 1
        yield number, row_text(names if has_names else [], row)


def _text(cell: Any) -> str:
    """A value as Excel shows it, or nearly so."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime.datetime):
        is_date = value.time() == datetime.time()
        return (
            value.date().isoformat() if is_date else value.isoformat(" ", "minutes" if not value.second else "seconds")
        )
    if isinstance(value, float):
        is_share = str(cell.number_format).endswith("%")
        return f"{value * 100:.10g}%" if is_share else f"{value:.15g}"
    return str(value).strip()


READER = Reader((".xlsx", ".xlsm"), read, has_rows=True, is_guarded=True)
