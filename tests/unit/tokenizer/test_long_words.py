"""A word without end is merged in bounded parts; ordinary text has the same ids as in the library."""

from tokenizers import Tokenizer as Engine

from malmoi.tokenizer.bpe import MAX_WORD_CHARS, train_bpe

TEXT = "The cat sat on the mat. 말모이는 낱말을 모으던 일이다. " * 20


def test_ordinary_text_has_the_ids_of_the_saved_tokenizer() -> None:
    tokenizer = train_bpe([TEXT], 290)
    saved = Engine.from_str(tokenizer.backend.to_str())
    for text in (TEXT, "a" * MAX_WORD_CHARS, "\n" * 900, "  x\n\n 12 é"):
        assert tokenizer.encode(text) == saved.encode(text).ids


def test_a_long_word_is_cut_and_comes_back() -> None:
    """What each part becomes does not depend on the others, so no part that is merged is longer."""
    tokenizer = train_bpe([TEXT, "ab" * 50_000], 290)
    one = tokenizer.encode("ab" * (MAX_WORD_CHARS // 2))
    assert tokenizer.encode("ab" * (5 * MAX_WORD_CHARS // 2)) == one * 5
    for text in ("말모이" * 2_000, "a" * 400_001, "\n" * 5_001):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    found = tokenizer.encode_marked("말x" * 1_000)
    assert found is not None and found.ends[-1] == 2_000


def test_training_never_learns_from_a_longer_part() -> None:
    """Of a whole run of 64,000 letters the tenth merge would make a token of 1,024."""
    vocabulary = train_bpe(["a" * 64_000], 272).backend.get_vocab()
    assert max(map(len, vocabulary)) <= MAX_WORD_CHARS
