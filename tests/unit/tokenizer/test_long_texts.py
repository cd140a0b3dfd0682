"""A long text in pieces has the ids that it has as a whole, and Ctrl-C is heard while it is encoded or learned from."""

import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.tokenizer import long_texts
from malmoi.tokenizer.bpe import Tokenizer

PARTS = st.sampled_from(
    ["a", "the", "낱말", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u3000", "\x1c", "'s", "12", "…", "😀",
     "<|end|>", "e\u0301"]
)  # fmt: skip
WORK = """
import sys
from malmoi.tokenizer.bpe import train_bpe
LINE = "The cat sat on the mat and the dog sat on the log, {} times in {} places of the old town. "
def text(n):
    return "\\n".join(LINE.format(i * 7919 % 100003, i * 104729 % 1000003) for i in range(n))
long = text(320_000)
print(len(long), flush=True)
small = train_bpe([text(100)], 300)
try:
    print("begins", flush=True)
    while True:
        small.encode_batch([long]) if sys.argv[1] == "encode" else train_bpe([long], 4096)
except KeyboardInterrupt:
    sys.exit(130)
"""


@given(text=st.lists(PARTS, max_size=40).map("".join))
def test_pieces_have_the_ids_of_the_whole(tokenizer: Tokenizer, text: str) -> None:
    whole = tokenizer._marked_backend.encode(text, add_special_tokens=False).ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_texts, "PIECE_CHARS", 1)
        parts = list(long_texts.cut_in_pieces(text))
        assert "".join(parts) == text
        assert tokenizer.encode_batch([text, "cat", text]) == [whole, tokenizer.encode("cat"), whole]


@pytest.mark.parametrize("work", ["encode", "learn"])
def test_ctrl_c_is_heard_in_a_large_text(work: str) -> None:
    with subprocess.Popen([sys.executable, "-c", WORK, work], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert int(process.stdout.readline()) > 30e6 and process.stdout.readline() == "begins\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=1)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
