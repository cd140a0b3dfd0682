"""Pages of the web in a recipe: every step off, and the way from a run down to the record of a page."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.corpus.build import build
from malmoi.corpus.built import trace
from malmoi.corpus.form import Settings
from malmoi.corpus.steps.extract import decode
from tests.unit.corpus.test_web import KOREAN, page_of, prose, record_of, records, urls_in, zipped

pytest.importorskip("fastwarc", reason="pip install 'malmoi[corpus]'")


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of eight pages with one twice and one that is reserved, and a note with an address."""
    folder = tmp_path_factory.mktemp("crawl")
    twice = record_of("https://copy.example.com/1", page_of(prose(1, korean=True)))
    reserved = record_of("https://example.org/no", page_of(prose(99)), headers="TDM-Reservation: 1\r\n")
    (folder / "one.warc.gz").write_bytes(zipped([*records(8), twice, reserved]))
    (folder / "note.md").write_text(f"{prose(50)}\nWrite to me: ann@example.org\n")
    return folder


def test_an_archive_in_zstandard_is_read_and_a_damage_costs_only_what_is_damaged(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    frames = []
    for record in records(6):
        with pa.CompressedOutputStream(str(tmp_path / "one.zst"), "zstd") as file:
            file.write(record)
        frames.append((tmp_path / "one.zst").read_bytes())
    frames[2] = bytes(byte ^ 0x5A if at > 40 else byte for at, byte in enumerate(frames[2]))
    (tmp_path / "a.warc.zst").write_bytes(b"".join(frames))
    urls = [f"https://example.org/{at}" for at in (0, 1, 3, 4, 5)]
    assert urls_in(tmp_path / "a.warc.zst") == urls


@pytest.mark.parametrize("declared", ["", "utf-8", "iso-8859-1", "euc-kr"])
def test_korean_pages_are_read_whatever_their_server_declares(declared: str) -> None:
    page = f"<html><meta charset='{declared}'><p>{KOREAN} (安東)</p></html>"
    assert decode(page.encode("cp949"), declared) == (page, "cp949")
    text, charset = decode(page.encode("cp949") + b"\xff\xff</html>", declared)
    assert text.startswith(page) and charset == "cp949 with damage"


CHINESE = "日本的首都是东京。我每天去学校。天气很好，所以我们去散步吧。写电脑程序非常有趣。"
JAPANESE = (
    "日本の首都は東京です。私は毎日学校へ行きます。天気がいいから散歩しましょう。コンピュータはとても楽しいです。"
)
RUSSIAN = "Столица Японии называется Токио. Я каждый день хожу в школу. Погода хорошая, поэтому мы пойдём гулять."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(CHINESE, "gb18030"), (JAPANESE, "cp932"), (JAPANESE, "euc-jp"), (RUSSIAN, "cp1251"), (RUSSIAN, "big5")],
    ids=["gb18030", "cp932", "euc-jp", "cp1251", "big5"],
)
def test_other_languages_do_not_become_korean(text: str, encoding: str) -> None:
    assert "cp949" not in decode((text * 3).encode(encoding, "ignore"))[1]
    assert decode((text * 3).encode(encoding, "ignore"), encoding)[1] == encoding


def test_each_step_can_be_switched_off(crawl: Path, tmp_path: Path) -> None:
    off = Settings(
        languages=(), main_text=False, honour_reservations=False, min_score=0, rules=(), drop_copies=False,
        repeated_lines=False, personal="keep",
    )  # fmt: skip
    made = build([str(crawl)], tmp_path / "out", off, say=lambda line: None)
    assert made["n_read"] == made["n_kept"] == 11 and not made["dropped"] and not made["masked"]
    page = trace(tmp_path / "out", "https://example.org/0")
    assert "Home" in page["text"] and page["metadata"]["date"] == "2026-01-02T03:04:05Z"


def test_a_page_is_found_in_what_the_runs_of_a_workspace_have_read(crawl: Path, tmp_path: Path) -> None:
    sources = f"corpus.sources={json.dumps([str(crawl / 'one.warc.gz')])}"
    words = ["run", "web", "--workspace", str(tmp_path / "w"), "--set", 'stages=["corpus"]', "--set"]
    assert CliRunner().invoke(app, [*words, sources]).exit_code == 0
    where = ["https://example.org/1", "--workspace", str(tmp_path / "w")]
    found = CliRunner().invoke(app, ["corpus", "trace", *where])
    built = tmp_path / "w" / "runs" / "0001-corpus" / "web"
    assert f"corpus: {built}" in found.output.replace("\n", "") and "record: one.warc.gz, byte" in found.output
    missing = CliRunner().invoke(app, ["corpus", "trace", "https://example.org/none", *where[1:]])
    assert missing.exit_code == 2 and "in no corpus that a run of" in missing.output
    gone = ["corpus", "remove", str(built), "--url", "https://example.org/1", "--out", str(tmp_path / "next")]
    removed = CliRunner().invoke(app, [*gone, "--workspace", str(tmp_path / "w")])
    assert "has read the earlier version: corpus of run 0001-corpus" in removed.output
