"""What a smaller number format of weights costs and brings: bytes, speed, and the change of predictions."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from malmoi import device
from malmoi.errors import DataError
from malmoi.formats.folder import load_model, load_text
from malmoi.inference.engine import Engine
from malmoi.inference.fastest import Way, way_of
from malmoi.inference.sampling import Sampling
from malmoi.inference.weights import Weights, dtype_of, for_inference
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer

N_NEW = 32
N_PROMPT = 16
N_TEXTS, N_TOKENS = 40, 256
"""Texts that are read, at most, and tokens of each."""


def measure_formats(
    model: str, folder: Path, formats: Sequence[Weights], source: str, documents: Iterable[str]
) -> dict[str, Any]:  # fmt: skip
    """Compare number formats of a model's weights on some documents that it was not trained on; see `compare_weights`.

    model: its name in what is returned; source: where the documents come from, in words
    Raises DataError if no document is long enough.
    """
    network, (tokenizer, _) = load_model(folder), load_text(folder)
    texts, n_bytes = _texts(tokenizer, network.config.seq_len, source, documents)
    rows = compare_weights(network, formats, texts, n_bytes, [ids[:N_PROMPT] for ids in texts])
    return {"model": model, "text": source, "n_bytes": n_bytes, "formats": rows}


def compare_networks(
    network: LanguageModel, other: LanguageModel, tokenizer: Tokenizer, source: str, documents: Iterable[str]
) -> dict[str, float]:
    """What another form of a network's weights costs on some documents: {"bits_per_byte_before", "bits_per_byte",
    "agreement"}, the share of positions with the same likeliest next token. Raises DataError as `measure_formats`."""
    texts, n_bytes = _texts(tokenizer, network.config.seq_len, source, documents)
    (ours, before, n_tokens), (theirs, after, _) = (_read(one, "float32", texts) for one in (network, other))
    agreeing = sum(int((a == b).sum()) for a, b in zip(ours, theirs, strict=True))
    bits = torch.tensor(2.0).log().item() * n_bytes
    return {"bits_per_byte_before": before / bits, "bits_per_byte": after / bits, "agreement": agreeing / n_tokens}


def _texts(
    tokenizer: Tokenizer, seq_len: int, source: str, documents: Iterable[str]
) -> tuple[list[list[int]], int]:  # fmt: skip
    """The first documents that are long enough, as ids, and their bytes."""
    longest = min(N_TOKENS, seq_len)
    texts: list[list[int]] = []
    n_bytes = 0
    for document in documents:
        ids = [tokenizer.end_of_text_id, *tokenizer.encode(document)][:longest]
        if len(ids) > N_PROMPT:
            texts.append(ids)
            n_bytes += len(tokenizer.decode(ids[1:]).encode())
        if len(texts) == N_TEXTS:
            break
    if not texts:
        raise DataError(f"{source}: no document of more than {N_PROMPT} tokens to measure on; name another with --text")
    return texts, n_bytes


def compare_weights(
    model: LanguageModel, formats: Sequence[Weights], texts: Sequence[Sequence[int]], n_bytes: int,
    prompts: Sequence[Sequence[int]],
) -> list[dict[str, Any]]:  # fmt: skip
    """One row for each format. The others are compared with the first; "auto" is what `malmoi chat` uses.

    texts: held-out documents as ids, of `n_bytes` bytes in total; prompts: to continue greedily, 32 tokens each
    Each row: weights, bytes, tokens_per_s (one stream, median of five), bits_per_byte, perplexity (per token), and
    agreement: the share of positions of `texts` with the same likeliest token as in the first format.
    """
    rows: list[dict[str, Any]] = []
    expected: list[torch.Tensor] = []
    for weights in formats:
        way = way_of(model, weights)
        fast = for_inference(model, way.weights)
        likeliest, nats, n_tokens = _read(fast, way.weights, texts)
        expected = expected or likeliest
        agreeing = sum(int((a == b).sum()) for a, b in zip(likeliest, expected, strict=True))
        rows.append(
            {
                "weights": weights,
                "bytes": weight_bytes(fast),
                "tokens_per_s": _tokens_per_s(model, way, prompts),
                "bits_per_byte": nats / torch.tensor(2.0).log().item() / n_bytes,
                "perplexity": float(torch.tensor(nats / n_tokens).exp()),
                "agreement": agreeing / n_tokens,
            }
        )
    return rows


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all weights, tied ones counted once."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


@torch.inference_mode()
def _read(
    model: LanguageModel, weights: Weights, texts: Sequence[Sequence[int]]
) -> tuple[list[torch.Tensor], float, int]:
    """The likeliest next token at each position, the texts' negative log-likelihood in nats, and their tokens."""
    likeliest, nats, n_tokens = [], 0.0, 0
    for text in texts:
        ids = torch.tensor([list(text)], device=device.current().torch_device)
        with device.autocast(dtype_of(weights)):
            logits = model(ids[:, :-1])[0].float()
        likeliest.append(logits.argmax(dim=-1))
        nats -= float(logits.log_softmax(dim=-1).gather(1, ids[0, 1:, None]).sum())
        n_tokens += ids.shape[1] - 1
    return likeliest, nats, n_tokens


def _tokens_per_s(model: LanguageModel, way: Way, prompts: Sequence[Sequence[int]]) -> float:
    engine = Engine(model, end_ids=[], weights=way.weights, in_c=way.in_c, n_rows=1)
    speeds = []
    for prompt in list(prompts)[:6]:
        request = engine.submit(prompt, Sampling(temperature=0, max_tokens=N_NEW))
        engine.step()
        began = time.perf_counter()
        while request.finish_reason is None:
            engine.step()
        speeds.append((len(request.ids) - 1) / (time.perf_counter() - began))
    return median(speeds[1:] or speeds)
