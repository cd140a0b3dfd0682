"""Parity and worked examples are checked in float32, with a tokenizer small enough to read."""

from collections.abc import Iterator

import pytest

from malmoi import device
from malmoi.tokenizer.bpe import Tokenizer, train_bpe

TEXT = (
    "The cat sat on the mat and the dog sat on the log. What is a list? A list holds values in order. "
    "말모이는 온 나라 사람들에게서 낱말을 모으던 일이다. 사람들은 낱말을 종이에 적어 보냈다. "
)


@pytest.fixture(scope="package", autouse=True)
def float32() -> Iterator[None]:
    """Compute in float32 on one core, whatever this machine is fast at: the networks here are tiny."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MALMOI_DTYPE": "float32", "MALMOI_DEVICE": "cpu", "MALMOI_THREADS": "1"}.items():
            patch.setenv(name, value)
        device.current.cache_clear()
        device.current()
        yield
    device.current.cache_clear()


@pytest.fixture(scope="package")
def tokenizer() -> Tokenizer:
    return train_bpe([TEXT], vocab_size=300)
