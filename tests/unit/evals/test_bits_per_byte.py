"""Bits per byte of a model and of xz, on examples worked out by hand."""

import math
import random
from collections.abc import Sequence

import pytest
import torch

from malmoi.data.batch import Tokens
from malmoi.evals.bits_per_byte import bits_per_byte, xz_bits_per_byte
from malmoi.model.transformer import LanguageModel

pytestmark = pytest.mark.usefixtures("float32")


def windows(rows: Sequence[Sequence[int]]) -> list[Tokens]:
    ids = torch.tensor(rows)
    return [Tokens(row[None, :-1], row[None, 1:], torch.ones(1, len(row) - 1, dtype=torch.bool)) for row in ids]


def test_a_model_that_knows_nothing_needs_the_logarithm_of_its_vocabulary(policy: LanguageModel) -> None:
    with torch.no_grad():
        policy.lm_head.weight.zero_()
    found = bits_per_byte(policy, windows([[7, 8, 9, 10], [11, 12, 13, 14]]), n_bytes=20)
    assert found == pytest.approx(6 * math.log2(300) / 20, rel=1e-5)


def test_bits_are_summed_over_all_windows_before_the_division(policy: LanguageModel) -> None:
    one, two = [7, 8, 9, 10], [11, 12, 13, 14]
    both = bits_per_byte(policy, windows([one, two]), n_bytes=10)
    assert both == pytest.approx(
        bits_per_byte(policy, windows([one]), 10) + bits_per_byte(policy, windows([two]), 10), rel=1e-5
    )


def test_xz_finds_what_repeats_and_what_its_primer_said() -> None:
    text = random.Random(0).randbytes(3000)
    assert 8 <= xz_bits_per_byte(text) < 8.5
    assert xz_bits_per_byte(b"a" * 10_000) < 0.2
    assert xz_bits_per_byte(text, primer=text) < 0.5
    assert xz_bits_per_byte(text, primer=b"b" * 5000) == pytest.approx(xz_bits_per_byte(text), rel=0.1)
