"""The meaning of `--weights auto` in commands that only answer: the fastest way here that changes no answer.

Training keeps the compute dtype, also when it samples (`Engine`'s own "auto"). Answers may be computed with weights in
bfloat16 if every weight is a bfloat16 number: half as much is read for each token. Which way is faster depends on
processor, threads and network, so a few steps are timed once, and the choice is stored next to the compiled code.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from malmoi import device
from malmoi.errors import DataError
from malmoi.files import write_json
from malmoi.inference import compiled, native
from malmoi.inference.weights import (
    ROWS,
    Weights,
    computes_float32,
    decoder_of,
    dtype_of,
    for_inference,
    training_format,
)
from malmoi.model.kv_cache import KVCache
from malmoi.model.lora import LoraLinear, sharing_copy
from malmoi.model.transformer import LanguageModel, keep_layers

MOST_WEIGHTS, MOST_ROWS = 16_000_000, 8
"""Weights of the timed layers, and of the timed part of the head: more than caches hold. With more than `MOST_ROWS`
rows, fewer weights are timed."""
N_ROUNDS, LONGEST_S = 5, 0.4
LEAST_GAIN = 0.9
"""A way replaces an earlier one only if it takes less than this share of its time; otherwise noise would choose."""
N_SEEN = 32


class Way(NamedTuple):
    """How a model answers: the format of its weights, and whether C decodes if it can."""

    weights: Weights
    in_c: bool = True


def way_of(model: LanguageModel, weights: Weights, n_rows: int = 1) -> Way:
    """The way that a user asked for; "auto": the fastest."""
    return fastest_way(model, n_rows) if weights == "auto" else Way(weights)


def fastest_way(model: LanguageModel, n_rows: int = 1) -> Way:
    """The fastest way to answer `n_rows` prompts together here, among those that keep all weights exact.

    On a GPU, or if the compute dtype is bfloat16, it is the compute dtype. The first call takes up to a second.
    """
    ways = list(_ways(model))
    if len(ways) == 1:
        return ways[0]
    n_rows = 1 << (n_rows - 1).bit_length()  # powers of two: few choices to time and store
    name = _name(model, ways, n_rows)
    folders = list(compiled.safe_folders())
    for folder in folders:
        if (found := _read(folder / name)) in ways:
            return found
    chosen = _chosen(_timed(model, ways, n_rows))
    for folder in folders:
        try:
            write_json(folder / name, {"weights": chosen.weights, "engine": "C" if chosen.in_c else "PyTorch"})
            (folder / name).chmod(0o600)  # a note that others may write to is not read
        except (OSError, DataError):  # on a full or read-only disk the next process times again
            continue
        break
    return chosen


def ways_summary() -> str:
    """A line for people about the formats and the engine that are possible here. Compiles and times nothing."""
    usual, state = training_format(), compiled.state()
    formats = f"{usual} weights"
    if usual == "float32" and computes_float32():
        formats += ", or bfloat16 where a model holds no others and that is faster"
    engine = f"{state.text} (GPT-2's kind by PyTorch)" if state.is_used else state.text
    if state.is_made and native.input_dtype(is_exact=usual == "float32") != dtype_of(usual):
        engine = "by PyTorch: the C compiler does not know this processor's bfloat16 products; a newer one does"
    return f"{formats}; {engine}"


def _ways(model: LanguageModel) -> Iterator[Way]:
    """Ways with the same answers up to the order of sums. The first is used unless another is clearly faster."""
    usual = training_format()
    if usual != "float32" or not computes_float32():
        yield Way(usual)
        return
    formats: list[Weights] = ["float32", *(["bfloat16"] if holds_bfloat16(model) else [])]  # type: ignore[list-item]
    for weights in formats:
        if native.supports(model.config, torch.float32, is_exact=weights == "float32"):
            yield Way(weights)
    for weights in formats:
        yield Way(weights, in_c=False)


def holds_bfloat16(model: LanguageModel) -> bool:
    """Whether every number in every matrix is a bfloat16 number, in whatever dtype: then bfloat16 loses nothing."""
    if any(isinstance(module, LoraLinear) for module in model.modules()):
        return False  # weight and adapter are merged only for inference, and the sum is not a bfloat16 number
    matrices = (parameter.detach() for parameter in model.parameters() if parameter.ndim == 2)
    return all(_survives(part) for matrix in matrices for part in torch.split(matrix, ROWS))


def _survives(matrix: Tensor) -> bool:
    return matrix.dtype == torch.bfloat16 or torch.equal(matrix.bfloat16().to(matrix.dtype), matrix)


def _chosen(times: dict[Way, float]) -> Way:
    best, *others = times
    for way in others:
        if times[way] < LEAST_GAIN * times[best]:
            best = way
    return best


def _name(model: LanguageModel, ways: list[Way], n_rows: int) -> str:
    """File name of a choice: a hash of ways, processor, network, threads, rows and the versions of the code."""
    library = compiled.library()
    made_of = (
        str(ways), compiled.processor(), model.config.model_dump_json(), str(device.current().n_threads), str(n_rows),
        torch.__version__, Path(library._name).name if library else "",
    )  # fmt: skip
    named = hashlib.sha256("\0".join(made_of).encode()).hexdigest()
    return f"fastest-{named[:16]}.json"


def _read(path: Path) -> Way | None:
    note = compiled.note_of(path)
    if note.keys() != {"weights", "engine"}:
        return None
    return Way(cast(Weights, note["weights"]), note["engine"] == "C")


@torch.inference_mode()
def _timed(model: LanguageModel, ways: list[Way], n_rows: int) -> dict[Way, float]:
    """Least seconds of a step of each way. The ways take turns, so that other load on the machine affects all alike."""
    part = _part_of(model, n_rows)
    steps = {way: _step(part, way, n_rows) for way in ways}
    for step in steps.values():
        step()
    times, began = dict.fromkeys(ways, float("inf")), time.perf_counter()
    for _ in range(N_ROUNDS):
        for way, step in steps.items():
            started = time.perf_counter()
            step()
            times[way] = min(times[way], time.perf_counter() - started)
        if time.perf_counter() - began > LONGEST_S:
            break
    return times


def _part_of(model: LanguageModel, n_rows: int) -> LanguageModel:
    """Some layers of the model and a part of its head, timed instead of the whole model."""
    most = int(MOST_WEIGHTS * min(1, MOST_ROWS / n_rows))
    part, config = sharing_copy(model), model.config
    n_in_layer = sum(parameter.numel() for parameter in model.model.layers[0].parameters())
    keep_layers(part, max(1, min(config.n_layer, most // n_in_layer)))
    n_words = max(min(config.vocab_size, most // config.n_embd), min(config.vocab_size, native.UNIT))
    part.config = part.config.model_copy(update={"vocab_size": n_words})
    part.lm_head.weight = nn.Parameter(model.lm_head.weight[:n_words], requires_grad=False)
    return part


def _step(part: LanguageModel, way: Way, n_rows: int) -> Callable[[], Tensor]:
    """A function that decodes one token of each row after `N_SEEN` cached tokens; it can be called repeatedly."""
    config, here = part.config, device.current().torch_device
    fast = for_inference(part, way.weights, n_rows)
    decoder = decoder_of(fast, way.weights) if way.in_c else None
    n_seen = min(N_SEEN, config.seq_len - 1)
    cache = KVCache(
        config.n_layer, n_rows, config.n_kv_head, n_seen + 1, config.head_dim, dtype_of(way.weights), here
    )  # fmt: skip
    rows, ids = cache.rows(0, n_rows), torch.zeros(n_rows, dtype=torch.long, device=here)
    rows.lengths.fill_(n_seen)
    return lambda: decoder(ids, rows) if decoder else fast(ids[:, None], rows)
