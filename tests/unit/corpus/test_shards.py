import hashlib
import json
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.corpus.shards import ShardWriter, TokenShards
from malmoi.errors import DataError
from malmoi.files import sha256_of

DOCUMENTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [15, 16], [17]]
TOKENS = list(chain(*DOCUMENTS))


@pytest.fixture
def folder(tmp_path):
    with ShardWriter(tmp_path, "train", vocab_size=300, shard_tokens=4) as writer:
        for document in DOCUMENTS:
            writer.append(document, n_bytes=10 * len(document))
    return tmp_path


def test_what_was_written_is_read(folder):
    shards = TokenShards(folder, "train")
    assert (len(shards), shards.n_documents, shards.n_text_bytes, shards.vocab_size) == (17, 5, 170, 300)
    assert [shards.document(i).tolist() for i in range(5)] == DOCUMENTS
    assert list(shards) == TOKENS and shards[-1] == 17
    for start in range(18):
        for stop in range(start, 18):
            assert shards.read(start, stop - start).tolist() == TOKENS[start:stop]
    assert shards.read(0, 3).dtype == np.uint16


def test_the_files_are_what_the_page_says(folder):
    index = json.loads((folder / "train.index.json").read_text())
    assert index["dtype"] == "uint16" and [shard["n_tokens"] for shard in index["shards"]] == [4, 4, 4, 4, 1]
    assert [shard["n_documents"] for shard in index["shards"]] == [2, 1, 0, 1, 1]
    digests = [sha256_of(folder / f"train-{number:05d}.bin") for number in range(5)]
    assert [shard["sha256"] for shard in index["shards"]] == digests
    data = (folder / "train-00001.bin").read_bytes()
    assert data == np.array(TOKENS[4:8], "<u2").tobytes()
    assert index["shards"][1]["sha256"] == hashlib.sha256(data).hexdigest()
    assert np.load(folder / "train-00000.docs.npy").tolist() == [0, 3]
    assert not list(folder.glob(".*"))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 70_000), min_size=1, max_size=9), min_size=1, max_size=9), st.integers(2, 12))
def test_any_documents_in_shards_of_any_size(tmp_path_factory, documents, shard_tokens):
    folder = tmp_path_factory.mktemp("shards")
    with ShardWriter(folder, "heldout", vocab_size=70_001, shard_tokens=shard_tokens) as writer:
        for document in documents:
            writer.append(np.array(document), n_bytes=1)
    shards = TokenShards(folder, "heldout")
    assert shards.read(0, len(shards)).tolist() == list(chain(*documents))
    assert [shards.document(i).tolist() for i in range(shards.n_documents)] == documents


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_the_largest_id_survives(tmp_path, vocab_size, dtype):
    with ShardWriter(tmp_path, "train", vocab_size) as writer:
        writer.append([0, vocab_size - 1], n_bytes=2)
    ids = TokenShards(tmp_path, "train").read(0, 2)
    assert ids.tolist() == [0, vocab_size - 1] and ids.dtype.name == dtype


@pytest.mark.parametrize("ids", [[], [300], [-1], [1.5], [[1, 2]]])
def test_ids_outside_the_vocabulary_are_refused(tmp_path, ids):
    with pytest.raises(ValueError, match="from 0 to 299"):
        ShardWriter(tmp_path, "train", 300).append(ids, n_bytes=1)


def test_reading_outside_is_an_error(folder):
    shards = TokenShards(folder, "train")
    for start, length in ((-1, 2), (16, 2), (0, -1), (18, 0)):
        with pytest.raises(IndexError):
            shards.read(start, length)
    for i in (-1, 5):
        with pytest.raises(IndexError):
            shards.document(i)


def test_a_truncated_or_missing_shard_is_found(folder):
    path = folder / "train-00002.bin"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(DataError, match=r"train-00002\.bin: 7 bytes instead of 8"):
        TokenShards(folder, "train")
    path.unlink()
    with pytest.raises(DataError, match="0 bytes instead of 8"):
        TokenShards(folder, "train")


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"nonsense"])
def test_damaged_offsets_are_found(folder, data):
    (folder / "train-00003.docs.npy").write_bytes(data)
    with pytest.raises(DataError, match=r"train-00003\.docs\.npy: cannot be read"):
        TokenShards(folder, "train")


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "uint32"},
        {"n_tokens": 18},
        {"n_documents": 4},
        {"shards": []},
        {"shards": [1]},
        {"vocab_size": "many"},
    ],
)
def test_a_forged_index_is_found(folder, change):
    path = folder / "train.index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"train\.index\.json: .*run the tokenizer stage again"):
        TokenShards(folder, "train")


def test_an_interrupted_writer_leaves_no_index(folder):
    with pytest.raises(KeyboardInterrupt), ShardWriter(folder, "train", 300, shard_tokens=2) as writer:
        writer.append([1, 2, 3], n_bytes=3)
        raise KeyboardInterrupt
    with pytest.raises(DataError, match="no such file"):
        TokenShards(folder, "train")


def test_no_text_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no heldout text"), ShardWriter(tmp_path, "heldout", 300):
        pass
