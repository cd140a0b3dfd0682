"""`malmoi corpus label`: pages one by one on the terminal, and a person says keep or drop."""

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.cli.corpus import app
from malmoi.cli.options import a_path

if TYPE_CHECKING:
    from malmoi.corpus.labelling import LabelFile
    from malmoi.corpus.steps.page import Page

KEYS = "k keep · d drop · ? not sure · m more of the text · u undo · q quit"
ANSWERS = {"k": True, "d": False, "?": None}
HANGUL = str.maketrans("ㅏㅇㅡㅕㅂ", "kdmuq")
"""What the same keys write where Korean is typed."""


@app.command()
def label(
    given: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A corpus, or files and folders that one is built from.",
            parser=a_path,
            show_default=False,
        ),
    ],
    to: Annotated[
        Path,
        typer.Option(metavar="FILE", help="File of the labels; what is in it already is not asked.", parser=a_path),
    ] = Path("labels.jsonl"),
    language: Annotated[str, typer.Option(metavar="CODE", help="Only pages in this language, such as ko.")] = "",
    n: Annotated[int, typer.Option("-n", min=1, max=100_000, help="Pages to ask about, at most.")] = 300,
) -> None:
    """Judge which pages are worth keeping, and let a classifier of your own learn from that.

    One key for each page; every answer is saved at once, and the same command goes on another time. The pages come in a
    random order. Files of several people go together into `malmoi corpus build --set labels=[...]`, which trains the
    classifier and says in its report what it is worth on labels that it has not seen.

    \b
    Example:
      malmoi corpus label crawl --to mine.jsonl
      malmoi corpus build crawl --out web --set 'labels=["mine.jsonl"]' --set keep_share=0.5
    """  # fmt: skip
    from malmoi.cli.next_commands import after_labels
    from malmoi.cli.printing import printable
    from malmoi.corpus.build import check_installed
    from malmoi.corpus.labelling import LabelFile, pages_to_label
    from malmoi.workspace.locks import holding_for_now

    check_installed()
    with holding_for_now(to.with_name(f".{to.name}.lock"), str(to)):
        labels = LabelFile(to)
        pages = [page for page in pages_to_label(given, n, language) if page.id not in labels.asked]
        if pages:
            print(f"{len(pages):,} pages to ask about. {KEYS}")
        ask(pages, labels)
    print(printable(f"{to}: {labels}" if labels.rows else f"{to}: nothing was written"))
    if labels.rows:
        print(printable(f"next: {after_labels(given, to)}"))


def ask(pages: "list[Page]", labels: "LabelFile") -> None:
    """Ask about pages one after the other until they, or the answers, end."""
    at, done, whole = 0, list[int](), False
    with _keys() as keys:
        while at < len(pages):
            _show(pages[at], f"{at + 1:,} of {len(pages):,} · {labels}", whole)
            key = next(keys, "q").translate(HANGUL)
            whole = key == "m"
            if key == "q":
                return
            if key in ANSWERS:
                labels.add(pages[at], ANSWERS[key])
                done.append(at)
                at += 1
            elif key == "u" and done:
                labels.undo()
                at = done.pop()
            elif key == "u":
                print("nothing to undo")
            elif key != "m":
                print(KEYS)


def _show(page: "Page", place: str, whole: bool) -> None:
    from malmoi.cli.printing import printable

    size = shutil.get_terminal_size()
    lines = [part for line in page.text.split("\n") for part in textwrap.wrap(line, max(20, size.columns - 1))]
    room = len(lines) if whole else max(5, size.lines - 6)
    more = f"… {len(lines) - room:,} more lines (m)" if len(lines) > room else ""
    where = page.metadata["url"] or page.metadata["archive"]
    head = f"── {place} · {page.metadata['language']} · {len(page.text):,} characters · {where}"
    print(printable("\n".join(["", head, *lines[:room], *([more] if more else [])])))
    print("k/d/?/m/u/q ", end="", flush=True)


@contextlib.contextmanager
def _keys() -> Iterator[Iterator[str]]:
    """The keys that a person presses, without Enter on a terminal; from a pipe the first letters of lines."""
    if not sys.stdin.isatty():
        yield (line.strip()[:1].lower() for line in sys.stdin if line.strip())
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)

    def pressed() -> Iterator[str]:
        while key := sys.stdin.read(1):
            print(key if key.isprintable() else "")
            yield "q" if key == "\x04" else key.lower()

    try:
        tty.setcbreak(sys.stdin)
        yield pressed()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
