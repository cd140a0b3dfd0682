"""What `benchmarks.corpus` leaves out: more pages for the main text, languages of whole documents, reading of archives.

    python -m benchmarks.corpus_pages [--readability FOLDER] [--korean TEXTS] [--documents EN KO] [--pages FOLDER]

--readability: folders with `source.html` and `expected.html`, as in the tests of Mozilla's Readability
--korean: gzipped JSON lines of articles; pages are made of them here, in three layouts. Such pages are easy: they only
    show that nothing got worse
--documents: gzipped JSON lines of English and of Korean texts
--pages: pages (.html, .html.gz), which become one archive of at least 100 MB, zipped record by record, read three times
"""

import argparse
import gzip
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from html import escape
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.corpus import f1, interval, rows_of
from benchmarks.corpus_steps import as_archives, wilson
from malmoi.corpus.steps import extract, language
from malmoi.corpus.steps.archive import Record, read_archive

LEAST_CHARS = 300
"""Of a document."""
ARCHIVE_BYTES = 100 << 20
ALONE = """import re, sys
from pathlib import Path
from malmoi.corpus.steps.archive import read_archive
n = sum(1 for _ in read_archive(Path(sys.argv[1])))
most = int(re.search("VmHWM:[ \\t]*([0-9]+)", Path("/proc/self/status").read_text())[1])
print(f"a process that only reads its {n:,} records: {most / 1e3:.0f} MB at most")
"""
MENU = (
    "뉴스",
    "연예",
    "스포츠",
    "날씨",
    "로그인",
    "회원가입",
    "고객센터",
    "전체 메뉴",
    "구독하기",
    "내 블로그",
    "이웃 목록",
)
OTHERS = (
    "많이 본 기사",
    "관련 글 더 보기",
    "댓글 3개",
    "이 글을 공유하기",
    "다음 글",
    "이전 글",
    "광고 문의",
    "개인정보 처리방침",
)


def main_text(pages: Sequence[tuple[bytes, str]], title: str) -> None:
    """pages: (HTML, its main text)"""
    import trafilatura

    ours, theirs, taken, quick, n_bytes = list[float](), list[float](), list[bool](), 0.0, 0
    for html, right in pages:
        found = extract.extract(Record("", 0, html))
        taken.append(isinstance(found, extract.Extracted))
        ours.append(f1(found.text if isinstance(found, extract.Extracted) else "", right))
        theirs.append(f1(trafilatura.extract(html, include_comments=False) or "", right))
        text, _ = extract.decode(html)
        began = time.process_time()
        extract._quick(text)
        quick += time.process_time() - began
        n_bytes += len(html)
    print(f"{title}, {len(pages)} pages")
    paired = [a - b for a, b in zip(ours, theirs, strict=True)]
    rows = {"malmoi": ours, "trafilatura, default": theirs, "difference": paired}
    for name, values in rows.items():
        print("  {:<22} {:.3f} [{:.3f}, {:.3f}]".format(name, *interval(values)))
    for name, values in rows.items():
        mean, low, high = interval([value for value, is_read in zip(values, taken, strict=True) if is_read])
        print(f"  {name:<22} {mean:.3f} [{low:.3f}, {high:.3f}], of the {sum(taken)} that are read")
    print(f"  below .1: {sum(value < 0.1 for value in ours)}; quick pass {n_bytes / 1e6 / quick:.1f} MB/s")


def of_readability(folder: Path) -> Iterator[tuple[bytes, str]]:
    """Pages and what their authors expect. Those without an expected text are left out."""
    from lxml import html  # type: ignore[import-untyped]

    for path in sorted(folder.glob("*/source.html")):
        wanted = (path.parent / "expected.html").read_text("utf-8")
        text = "\n".join(html.fromstring(wanted).itertext()) if wanted.strip() else ""
        if text.split():
            yield path.read_bytes(), text


def made_pages(texts: Sequence[str], n: int = 60) -> Iterator[tuple[bytes, str]]:
    """Korean pages as of a newspaper, a blog and a wiki, with what is around their text, and their text."""
    rng, layouts = random.Random(1), (newspaper, blog, wiki)
    for number, text in enumerate(rng.sample([text for text in texts if len(text) >= 600], n)):
        parts = [line.strip() for line in text.splitlines() if line.strip()]
        links = "".join(
            f'<li><a href="/{at}">{escape(rng.choice(MENU))}</a></li>' for at in range(rng.randrange(8, 25))
        )
        other = "".join(f'<li><a href="/o/{at}">{escape(rng.choice(OTHERS))} {rng.choice(texts)[:24]}</a></li>'
                        for at in range(rng.randrange(4, 12)))  # fmt: skip
        body = layouts[number % len(layouts)](parts, links, other)
        page = (
            f'<!doctype html><html lang="ko"><head><meta charset="utf-8"><title>{escape(parts[0][:30])}</title></head>'
        )
        yield f"{page}<body>{body}</body></html>".encode(), "\n".join(parts)


def newspaper(parts: Sequence[str], links: str, other: str) -> str:
    text = "<br><br>\n".join(map(escape, parts))
    return (
        f'<div id="gnb"><ul>{links}</ul></div><div class="view"><h2>{escape(parts[0][:30])}</h2>'
        f'<div class="info">입력 2026.01.02 03:04 | 김기자 기자</div><div id="articleBody">{text}</div></div>'
        f'<div class="aside"><h3>많이 본 기사</h3><ol>{other}</ol></div><div class="copyright">무단 전재 금지</div>'
    )


def blog(parts: Sequence[str], links: str, other: str) -> str:
    text = "".join(f'<div class="se-module se-module-text"><p><span>{escape(part)}</span></p></div>' for part in parts)
    return (
        f'<div class="header"><ul>{links}</ul></div><div class="post"><div class="se-main-container">{text}</div>'
        f'<div class="tags">#일상 #기록</div></div><div class="comments"><ul>{other}</ul><p>잘 보고 갑니다!</p></div>'
        '<div class="side">오늘 방문자 12 전체 3,456</div>'
    )


def wiki(parts: Sequence[str], links: str, other: str) -> str:
    text = "".join(f"<p>{escape(part)}</p>" for part in parts)
    return (
        f'<div id="content"><h1>{escape(parts[0][:30])}</h1><div id="toc"><ul>{links}</ul></div>'
        f'<div id="text">{text}</div><table class="navbox"><tr><td><ul>{other}</ul></td></tr></table></div>'
        '<div id="footer">이 문서는 자유롭게 쓸 수 있다.</div>'
    )


def documents(english: Sequence[str], korean: Sequence[str]) -> None:
    for name, right, texts in (("English", "en", english), ("Korean", "ko", korean)):
        chosen = [text for text in texts if len(text) >= LEAST_CHARS]
        began = time.process_time()
        n = sum(language.language_of(text)[0] == right for text in chosen)
        speed = sum(len(text.encode()) for text in chosen) / 1e6 / (time.process_time() - began)
        print(f"language of {len(chosen):,} {name} documents: {wilson(n, len(chosen))}; {speed:.1f} MB/s")


def reading(folder: Path) -> None:
    """Payload of a zipped archive by the second of processor time, and the memory of the process that reads it."""
    with TemporaryDirectory() as scratch:
        plain = as_archives(folder, Path(scratch), 1)[0]
        one = b"".join(gzip.compress(b"WARC/1.0\r\n" + record, 6)
                       for record in plain.read_bytes().split(b"WARC/1.0\r\n")[1:])  # fmt: skip
        times = -(-ARCHIVE_BYTES // plain.stat().st_size)
        archive = Path(scratch, "all.warc.gz")
        with archive.open("wb") as file:
            for _ in range(times):
                file.write(one)
        for name, reader in (("malmoi", read_ours), ("fastwarc alone", read_alone)):
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                told = [pool.submit(_measured, reader, archive).result() for _ in range(3)]
            n, n_bytes, _, before, peak = told[0]
            said = f"{name}: {n:,} records, {n_bytes / 1e6:.0f} MB of pages in {archive.stat().st_size / 1e6:.0f} MB"
            best = max(one[1] / 1e6 / one[2] for one in told)
            least = min(one[1] / 1e6 / one[2] for one in told)
            print(f"{said}: {least:.0f} to {best:.0f} MB/s; memory {peak:.0f} MB, of which {before:.0f} MB before it")
        subprocess.run([sys.executable, "-c", ALONE, str(archive)], check=True)


def read_ours(path: Path) -> tuple[int, int]:
    bodies = [len(one.body) for one in read_archive(path) if isinstance(one, Record)]
    return len(bodies), sum(bodies)


def read_alone(path: Path) -> tuple[int, int]:
    from fastwarc.warc import ArchiveIterator

    with path.open("rb") as file:
        bodies = [len(record.reader.read()) for record in ArchiveIterator(file, auto_decode="all")]
    return len(bodies), sum(bodies)


def _measured(reader: Callable[[Path], tuple[int, int]], path: Path) -> tuple[int, int, float, float, float]:
    import fastwarc.warc  # noqa: F401  # its memory is not the archive's

    before, began = _peak(), time.process_time()
    n, n_bytes = reader(path)
    return n, n_bytes, time.process_time() - began, before, _peak()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readability", type=Path)
    parser.add_argument("--korean", type=Path)
    parser.add_argument("--documents", type=Path, nargs=2)
    parser.add_argument("--pages", type=Path)
    given = parser.parse_args()
    if given.readability:
        main_text(list(of_readability(given.readability)), "pages of Readability's tests")
    if given.korean:
        main_text(list(made_pages([row["text"] for row in rows_of(given.korean)])), "Korean pages, made here")
    if given.documents:
        texts, others = ([row["text"] for row in rows_of(path)] for path in given.documents)
        documents(texts, others)
    if given.pages:
        reading(given.pages)
