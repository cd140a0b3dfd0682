"""Questions that lean on the one before, and the sentence that says what a name does."""

from pathlib import Path

import pytest

from malmoi.corpus.documents import Document
from malmoi.retrieval.findings import title_of
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Lookup

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
