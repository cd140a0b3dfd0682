"""Questions that lean on the one before, and the sentence that says what a name does."""

from pathlib import Path

import pytest

from malmoi.corpus.documents import Document
from malmoi.retrieval.findings import title_of
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.question import MOST_CHARS, what_is_read

DOCSTRINGS = {
    "function open(file, mode)": "Open file and return a stream. Raise OSError upon failure.",
    "function os.close(fd)": "Close a file descriptor.",
    "function json.load(fp)": "Deserialize fp (a .read()-supporting file-like object containing a JSON document) to a "
    "Python object.",
    "function json.dump(obj, fp)": "Serialize obj as a JSON formatted stream to fp (a .write()-supporting file-like "
    "object).",
    "function time.sleep": "sleep(seconds)\n\nDelay execution for a given number of seconds.",
    "method str.encode(encoding)": "Encode the string to bytes.",
    "method bytes.decode(encoding)": "Decode the bytes to a str.",
    "function os.listdir(path)": "Return a list containing the names of the files in the directory.",
    "function shutil.copy(src, dst)": "Also called shutil.copy_file_and_mode.\n\nCopy data and mode bits.",
}


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Lookup:
    folder = Path(tmp_path_factory.mktemp("names")) / "index"
    build_index([Document(f"{name}\n{text}", f"python:{name}") for name, text in DOCSTRINGS.items()], folder)
    return Lookup(Index.open(folder))


@pytest.mark.parametrize(
    ("turns", "title"),
    [
        (("How do I read a JSON file?", "and write it?"), "json.dump"),
        (("json 읽는 법", "그럼 쓰는 건?"), "json.dump"),
        (("how do I open a file?", "and how do I close it?"), "os.close"),
        (("how do I close a file?", "and open it?"), "open"),
        (("What does time.sleep do?", "can you explain that in simple words"), "time.sleep"),
        (("What does time.sleep do?", "다시 말해줘"), "time.sleep"),
        (("How do I convert a str to bytes?", "and the other way round?"), "bytes.decode"),
        (("str을 bytes로 바꾸려면?", "반대로는?"), "bytes.decode"),
    ],
)
def test_what_is_done_in_a_follow_up_is_not_what_was_done_before(
    lookup: Lookup, turns: tuple[str, ...], title: str
) -> None:
    found = lookup.find([{"role": "user", "content": turn} for turn in turns])
    assert [title_of(source.passage) for source in found.sources[:1]] == [title]


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("how to sleep for 2 seconds", "Delay execution for a given number of seconds."),
        ("time.sleep with seconds", "Delay execution for a given number of seconds."),
        ("copy a file and its mode bits", "Copy data and mode bits."),
    ],
)
def test_a_name_is_answered_by_what_it_does_and_not_by_its_signature(
    lookup: Lookup, question: str, sentence: str
) -> None:
    found = lookup.find([{"role": "user", "content": question}])
    assert [source.sentence for source in found.sources[:1]] == [sentence]


@pytest.mark.parametrize(
    ("turns", "titles"),
    [
        (("os.listdir이 뭐야", "그거랑 os.close 차이는?"), ["os.listdir", "os.close"]),
        (("what is os.listdir", "what is the difference to os.close?"), ["os.listdir", "os.close"]),
        (("How is json.dump different from json.load?", "and os.close?"), ["json.dump", "os.close"]),
    ],
)
def test_a_name_is_compared_with_the_one_before(lookup: Lookup, turns: tuple[str, ...], titles: list[str]) -> None:
    found = lookup.find([{"role": "user", "content": turn} for turn in turns])
    assert [title_of(source.passage) for source in found.sources] == titles


@pytest.mark.parametrize("unit", ["9", "가", " ", "\n", "a", "A", "a.", "1.", "9월 ", "room 1", "요 ", "「"])
def test_a_message_that_is_no_question_is_read_only_so_far(lookup: Lookup, unit: str) -> None:
    """As a whole it would hold up a server for hours: what reads it takes the square of its length."""
    asked = [{"role": "user", "content": "how do I open a file?"}, {"role": "user", "content": unit * 100_000}]
    for messages in (asked, asked[::-1]):
        assert len(lookup.find(messages).question) <= MOST_CHARS


def test_a_question_is_found_before_and_after_what_is_pasted(lookup: Lookup) -> None:
    pasted = "\n" + "[2024-01-02] zzz: qqq\n" * 5000
    for text in (f"How do I close a file descriptor?{pasted}", f"{pasted}How do I close a file descriptor?"):
        assert "close a file descriptor?" in what_is_read(text)
    assert what_is_read("plain  text") == "plain  text"
    whole = "x" * 300 + " " * 300 + "y\u0301"
    assert what_is_read(what_is_read(whole)) == what_is_read(whole) == f"{'x' * 100}{' ' * 20}ý"


def test_numbers_of_many_digits_are_read(lookup: Lookup) -> None:
    for text in ("9" * 5000 + "층은 어디야?", "where is room " + "1" * 5000 + "?"):
        assert lookup.find([{"role": "user", "content": text}]).question
