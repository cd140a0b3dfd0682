"""Makes the input of a row once, for both sides: `python -m benchmarks.prepare SPEC.json`.

Prompts, chats and pairs are parts of this Python's documentation, chosen by a seed; nothing is downloaded.
It runs in a separate process, so that its memory does not count as the peak of a side.
"""

import itertools
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import Sizes
from malmoi.corpus.shards import ShardWriter
from malmoi.data.comparisons import ranking_ids
from malmoi.data.tokens import window_steps
from malmoi.errors import UserError
from malmoi.files import write_json, write_jsonl
from malmoi.formats.folder import load_model, load_text, save_model
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel, initialise
from malmoi.synthetic.item_questions import item_questions
from malmoi.synthetic.pydocs import Item, read_python_docs
from malmoi.synthetic.questions import choose_items
from malmoi.tokenizer.bpe import Tokenizer, train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate

SEED = 1
N_ITEMS = 600
# Steps of windows in the file that the peer reads; after them it begins again.
N_STORED_STEPS = 512
TOY_SEQ_LEN = 512
Conversation = list[dict[str, str]]


class Source:
    """Words and questions, in an order that depends only on the seed."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        items: list[Item] = []
        by_id: dict[str, str] = {}
        for document, item in read_python_docs(packages=()):
            self.texts.append(document.text)
            by_id[document.id] = document.text
            items += [item] if item is not None else []
        rng = random.Random(SEED)
        rng.shuffle(self.texts)
        chosen, _ = choose_items(items, N_ITEMS, 0, SEED)
        self.questions = sorted({question.prompt for question in item_questions(chosen, [], by_id, SEED)})
        rng.shuffle(self.questions)

    def reader(self) -> Callable[[int], str]:
        """A function that returns the next `n` words on each call, endlessly."""
        words = (word for text in itertools.cycle(self.texts) for word in text.split())
        return lambda n: " ".join(itertools.islice(words, n))


def decode(source: Source, folder: Path, model: Path, sizes: Sizes, spec: dict[str, Any]) -> dict[str, Any]:
    """Prompts to answer, and others of the same length to warm up on, so that caching a prompt brings nothing."""
    found = _prompts(source, model, sizes.n_prompt, 2 * spec["n_streams"])
    by_length = sorted((ids for _, ids in found), key=lambda ids: (len(ids), ids))
    return {"warm_up": by_length[::2], "prompts": by_length[1::2], "n_new": sizes.n_new, "n_check": sizes.n_check}


def sft(source: Source, folder: Path, model: Path, sizes: Sizes, spec: dict[str, Any]) -> dict[str, Any]:
    """Chats of one question and one answer, of evenly spread lengths."""
    tokenizer, template = load_text(model)
    read, conversations = source.reader(), []
    for question, n_words in zip(source.questions, _lengths(sizes), strict=False):
        answer = read(max(1, n_words - len(question.split())))
        conversations.append([_user(question), _assistant(answer)])
    write_jsonl(folder / "chats.jsonl", ({"messages": messages} for messages in conversations))
    chats = [template.encode(tokenizer, messages) for messages in conversations]
    return {
        "data": str(folder / "chats.jsonl"),
        "chats": [{"ids": ids, "trained": trained} for ids, trained in chats],
        "batch_size": sizes.batch_size,
        "n_tokens": sum(len(ids) for ids, _ in chats),
        "spare_id": spare_id(tokenizer, [ids for ids, _ in chats]),
    }


def reward(source: Source, folder: Path, model: Path, sizes: Sizes, spec: dict[str, Any]) -> dict[str, Any]:
    """Pairs of conversations that share their first half, and a reward model that both sides start from."""
    tokenizer, template = load_text(model)
    read, rows, pairs = source.reader(), [], []
    for n_words in _lengths(sizes):
        question = [_user(read(n_words // 2))]
        answers = [read(n_words - n_words // 2) for _ in range(2)]
        rows.append({"messages": question, "answers": answers, "ranks": [1, 2]})
        pairs.append(ranking_ids(tokenizer, template, question, answers))
    write_jsonl(folder / "pairs.jsonl", rows)
    return {
        "data": str(folder / "pairs.jsonl"),
        "pairs": pairs,
        "reward_model": _reward_folder(folder, model, tokenizer, template),
        "batch_size": sizes.batch_size,
        "n_tokens": sum(len(ids) for pair in pairs for ids in pair),
        "spare_id": spare_id(tokenizer, [ids for pair in pairs for ids in pair]),
    }


def rl_step(source: Source, folder: Path, model: Path, sizes: Sizes, spec: dict[str, Any]) -> dict[str, Any]:
    return _rollouts(source, folder, model, sizes, n_times=sizes.n_answers)


def rl_step_grpo(source: Source, folder: Path, model: Path, sizes: Sizes, spec: dict[str, Any]) -> dict[str, Any]:
    """GRPO samples several answers to each prompt itself."""
    return _rollouts(source, folder, model, sizes, n_times=1)


def _rollouts(source: Source, folder: Path, model: Path, sizes: Sizes, n_times: int) -> dict[str, Any]:
    """Prompts, and the reward model that scores their answers.

    No answer may end early: on both sides the end of turn is a token that is practically never sampled.
    """
    tokenizer, template = load_text(model)
    chosen = list(_prompts(source, model, sizes.n_prompt, sizes.n_asked))
    rows = [{"messages": [_user(question)]} for question, _ in chosen for _ in range(n_times)]
    write_jsonl(folder / "prompts.jsonl", rows)
    return {
        "data": str(folder / "prompts.jsonl"),
        "questions": [[_user(question)] for question, _ in chosen],
        "prompts": [ids for _, ids in chosen],
        "n_answers": sizes.n_answers,
        "n_new": sizes.n_rl_new,
        "n_iterations": sizes.n_iterations,
        "reward_model": _reward_folder(folder, model, tokenizer, template),
        "spare_id": spare_id(tokenizer, [ids for _, ids in chosen]),
    }


def pretrain(source: Source, folder: Path, model: Path, sizes: Sizes, spec: dict[str, Any]) -> dict[str, Any]:
    """Token shards for Malmoi, the same windows in the same order for the peer, and the initial weights of both."""
    tokenizer = train_bpe(source.texts, sizes.vocab_size)
    with ShardWriter(folder / "shards", "train", tokenizer.vocab_size) as writer:
        for text, ids in zip(source.texts, tokenizer.encode_batch(source.texts), strict=True):
            writer.append([tokenizer.end_of_text_id, *ids], len(text.encode()))
    config = _config(sizes, tokenizer.vocab_size, sizes.window)
    network = LanguageModel(config)
    initialise(network, SEED)
    save_model(folder / "initial", network, tokenizer, ChatTemplate.default(), {})
    steps = iter(window_steps(folder / "shards", sizes.window, sizes.n_windows, sizes.n_windows, SEED))
    windows = []
    for _ in range(N_STORED_STEPS):
        [batch] = next(steps)
        windows.append(np.concatenate([batch.ids.numpy(), batch.targets[:, -1:].numpy()], axis=1).astype(np.uint16))
    np.save(folder / "windows.npy", np.stack(windows))
    return {
        "shards": str(folder / "shards"),
        "initial": str(folder / "initial"),
        "windows": str(folder / "windows.npy"),
        "config": config.model_dump(),
        "n_windows": sizes.n_windows,
        "seconds": sizes.seconds,
        "seed": SEED,
    }


def spare_id(tokenizer: Tokenizer, rows: Sequence[Sequence[int]]) -> int:
    """A special token that does not occur in the input: it is padding, and an end of turn that never comes."""
    used = {token for row in rows for token in row}
    special = [token for token, added in tokenizer.backend.get_added_tokens_decoder().items() if added.special]
    free = sorted(set(special) - used)
    if not free:
        raise UserError("tokenizer: has no special token to spare; take a model whose tokenizer has reserved ones")
    return free[-1]


def toy_model(source: Source, folder: Path, sizes: Sizes) -> None:
    """A random network of Llama's kind with a small tokenizer, for --quick."""
    tokenizer = train_bpe(source.texts[:300], sizes.vocab_size)
    network = LanguageModel(_config(sizes, tokenizer.vocab_size, TOY_SEQ_LEN))
    initialise(network, SEED)
    # The head of a new network is zero: all tokens would be equally likely, and no answers could be compared.
    network.lm_head.weight.data.copy_(network.model.embed_tokens.weight.flip(0) / 8)
    save_model(folder, network, tokenizer, ChatTemplate.default(), {})


def _config(sizes: Sizes, vocab_size: int, seq_len: int) -> ModelConfig:
    return ModelConfig(vocab_size=vocab_size, seq_len=seq_len, qk_norm=False, **sizes.shape)


def _prompts(source: Source, model: Path, n_tokens: int, n: int) -> Iterator[tuple[str, list[int]]]:
    """The `n` questions whose prompts, with the chat template, have the closest lengths to `n_tokens`."""
    tokenizer, template = load_text(model)
    encoded = [
        (question, template.encode(tokenizer, [_user(question)], add_generation_prompt=True)[0])
        for question in source.questions
    ]
    yield from sorted(encoded, key=lambda pair: abs(len(pair[1]) - n_tokens))[:n]


def _lengths(sizes: Sizes) -> list[int]:
    """The number of words of each chat: evenly spread, then shuffled."""
    lengths = [int(n) for n in np.linspace(*sizes.n_words, sizes.n_rows)]
    random.Random(SEED).shuffle(lengths)
    return lengths


def _reward_folder(folder: Path, model: Path, tokenizer: Tokenizer, template: ChatTemplate) -> str:
    save_model(folder / "reward", load_model(model, ScalarModel, seed=SEED), tokenizer, template, {})
    return str(folder / "reward")


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


MAKERS: dict[str, Callable[[Source, Path, Path, Sizes, dict[str, Any]], dict[str, Any]]] = {
    "decode": decode, "sft": sft, "reward": reward, "rl_step": rl_step,
    "rl_step_grpo": rl_step_grpo, "pretrain": pretrain,
}  # fmt: skip


def main(path: Path) -> None:
    """Read {"work", "n_streams", "sizes", "model" or null, …}; write both sides' input next to it, as work.json."""
    spec = json.loads(path.read_text())
    folder, sizes, source = path.parent, Sizes(**spec["sizes"]), Source()
    model = Path(spec["model"] or folder / "model")
    if not spec["model"] and spec["work"] != "pretrain":
        toy_model(source, model, sizes)
    made = MAKERS[spec["work"]](source, folder, model, sizes, spec)
    write_json(folder / "work.json", {**spec, "model": str(model), "folder": str(folder), **made})


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"error: {error}")
