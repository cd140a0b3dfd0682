"""What the stage `eval` of the demo's recipe measures."""

from pathlib import Path

from malmoi.evals.demo import _sample_text
from malmoi.files import write_jsonl


def test_what_xz_reads_of_a_large_corpus_is_a_bounded_sample(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    texts = [f"{number:04d}" * 25 for number in range(1000)]
    write_jsonl(path, ({"text": text} for text in texts))
    assert _sample_text(path, 100_000, 100_000) == "\n\n".join(texts).encode()
    sample = _sample_text(path, 100_000, 10_000).decode().split("\n\n")
    assert 5_000 < sum(map(len, sample)) <= 10_000
    assert any(text in sample for text in texts[500:])
