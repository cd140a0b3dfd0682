"""PDF files: one document per page, its lines joined into paragraphs. Headings are those of the file's outline."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from malmoi.corpus.archive import locked
from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader, Unreadable
from malmoi.text import is_blank

if TYPE_CHECKING:
    from pypdf import PdfReader

MAX_PAGES = 20_000
MAX_LEVEL = 6
MAX_TITLE_CHARS, MAX_PREFIX_CHARS = 200, 12
FULL_LINE = 0.7
"""A line of at least this share of the page's longest goes on in the next one, unless it ends a sentence."""
_PAGE_NUMBER = re.compile(r"[-–—\s]*(\d{1,4}|[ivxlc]{1,7})[-–—\s]*")
_ENDS = re.compile(r"[.!?:;。！？…][\"'”’)\]]*$|(\. ?){4,}\s*\w*$")
_BEGINS = re.compile(r"\s*([-*•·▪◦‣○●□■※]|\(?\d{1,3}[.)]|[가-하][.)]|제\s*\d+\s*[장절조관항])")


def read(file: InputFile) -> Iterator[Document | Unreadable]:
    from pypdf.errors import DependencyError, PdfReadError

    if b"%PDF" not in file.stream.read(1024):
        raise Unreadable("damaged", f"{file.path}: no PDF file, or damaged; copy or download it again")
    file.stream.seek(0)
    try:
        yield from _pages(file, _open(file))
    except DependencyError:
        need = "encrypted, and reading it needs another package: pip install 'malmoi[documents]'"
        raise Unreadable("encrypted, and cryptography is not installed", f"{file.path}: {need}") from None
    except PdfReadError as error:
        message = f"{file.path}: damaged ({error}); copy, download or save it again"
        raise Unreadable("damaged", message) from None


def _open(file: InputFile) -> "PdfReader":
    from pypdf import PasswordType, PdfReader

    reader = PdfReader(file.stream)
    # Many files may be read by everybody and are encrypted only to forbid printing or copying.
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise locked(file)
    return reader


def _pages(file: InputFile, reader: "PdfReader") -> Iterator[Document | Unreadable]:
    n_pages, n_empty, heading = len(reader.pages), 0, ""
    titles = _titles(reader)
    for number in range(1, min(n_pages, MAX_PAGES) + 1):
        try:
            text = _valid(reader.pages[number - 1].extract_text())
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # a parser's answer to damage may be any exception
            what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            yield Unreadable("damaged page", f"{file.path}: page {number} cannot be read ({what}); save the file again")
            continue
        if is_blank(text):
            n_empty += 1
            continue
        lines, rest = _with_headings(_without_number(text), titles.get(number, []))
        heading = rest[-1] if rest else heading
        text = joined_lines(lines)
        text = text if text.startswith("#") or not heading else f"{heading}\n\n{text}"
        yield Document(text, file.source, place=f"page {number}")
        heading = next((line for line in reversed(lines) if line.startswith("#")), heading)
    if n_pages > MAX_PAGES:
        what = f"{n_pages:,} pages, but at most {MAX_PAGES:,} are read; split it"
        yield Unreadable("page too many", f"{file.path}: {what}")
    if n_empty == n_pages:
        what = f"no text in its {n_pages} page{'s' * (n_pages != 1)}; a scan needs OCR first"
        raise Unreadable("no text in it: a scan needs OCR", f"{file.path}: {what}: ocrmypdf IN.pdf OUT.pdf")
    if n_empty:
        file.notes["page without text"] += n_empty


def _titles(reader: "PdfReader") -> dict[int, list[str]]:
    """The headings of the file's outline: page, from 1 -> its headings, as "# Title"."""
    found: dict[int, list[str]] = {}
    try:
        waiting: list[tuple[int, Any]] = [(0, reader.outline)]
        while waiting:
            level, entry = waiting.pop()
            if isinstance(entry, list):
                waiting += [(level + 1, part) for part in reversed(entry)]
            elif (page := reader.get_destination_page_number(entry)) is not None and _letters(entry.title or ""):
                title = " ".join(_valid(entry.title).split())
                found.setdefault(page + 1, []).append("#" * min(level, MAX_LEVEL) + " " + title)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # a damaged outline costs the headings, not the text
        return {}
    return found


def _letters(title: str) -> str:
    """A title without numbers, spaces and marks, in which outline and page may differ."""
    return re.sub(r"^[#\d.\s]+|[\W_]+", "", title).casefold()


def _without_number(text: str) -> list[str]:
    """The lines of a page without its number at the top or at the bottom."""
    lines = [" ".join(line.split()) for line in text.splitlines() if not line.isspace()]
    begin = bool(lines and _PAGE_NUMBER.fullmatch(lines[0]))
    end = len(lines) - bool(len(lines) > 1 and _PAGE_NUMBER.fullmatch(lines[-1]))
    return lines[begin:end] or lines


def _with_headings(lines: list[str], titles: list[str]) -> tuple[list[str], list[str]]:
    """The lines of a page, of which those that are titles begin with "# "; and the titles that none of them is.

    A line may have a word before the title: "Appendix A".
    """
    marked, rest = list(lines), list(titles)
    for at, line in enumerate(lines):
        letters = _letters(line) if rest and len(line) <= MAX_TITLE_CHARS else ""
        for title in rest:
            wanted = _letters(title)
            if letters.endswith(wanted) and len(letters) - len(wanted) <= MAX_PREFIX_CHARS * (len(wanted) > 5):
                marked[at] = title[: title.index(" ") + 1] + line
                rest.remove(title)
                break
    return marked, rest


def _valid(text: str) -> str:
    """Valid Unicode: fonts may map to halves of characters."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def joined_lines(lines: list[str]) -> str:
    """The text of a page with the lines of each paragraph joined, and words that were cut at a line's end too."""
    longest = max(map(len, lines), default=0)
    joined, goes_on = list[str](), False
    for line in lines:
        is_heading = line.startswith("#")
        if not line:
            joined.append("")
        elif goes_on and not is_heading and not _BEGINS.match(line):
            is_cut = re.search(r"[a-z]-$", joined[-1]) and line[0].islower()
            joined[-1] = joined[-1][:-1] + line if is_cut else f"{joined[-1]} {line}"
        else:
            joined.append(f"\n{line}\n" if is_heading else line)
        goes_on = not is_heading and len(line) >= FULL_LINE * longest and not _ENDS.search(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(joined)).strip()


READER = Reader((".pdf",), read, has_rows=True, is_guarded=True)
