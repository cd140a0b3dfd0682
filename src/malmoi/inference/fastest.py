"""What `--weights auto` means where somebody only wants answers: the fastest way here that changes nothing.

What is trained keeps the compute dtype, in samples too (`Engine`'s own "auto"). Answers may be computed from weights in
bfloat16 where they hold nothing else: half as much is read for each token. Which way is faster depends on processor,
threads and network, so a few steps are timed, once, and the choice is remembered next to the compiled code.
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
from malmoi.inference.weights import ROWS, Weights, computes_float32, decoder_of, dtype_of, for_inference, trained_in
from malmoi.model.kv_cache import KVCache
from malmoi.model.lora import LoraLinear, sharing_copy
from malmoi.model.transformer import LanguageModel, keep_layers

MOST_WEIGHTS, MOST_ROWS = 16_000_000, 8
"""Of the layers that are timed, and of the head: more than caches hold. With more rows than these, fewer weights."""
N_ROUNDS, LONGEST_S = 5, 0.4
LEAST_GAIN = 0.9
"""A way takes less than this share of the time of the one before it, or noise would choose."""
N_SEEN = 32


class Way(NamedTuple):
    """How a model answers: the format of its weights, and whether C decodes, where it can."""

    weights: Weights
    in_c: bool = True


def way_of(model: LanguageModel, weights: Weights, n_rows: int = 1) -> Way:
    """A format as somebody asked for it; "auto": the fastest."""
    return fastest_way(model, n_rows) if weights == "auto" else Way(weights)


def fastest_way(model: LanguageModel, n_rows: int = 1) -> Way:
    """Of the ways that lose nothing of the weights, the one that answers `n_rows` prompts together fastest here.

    It is the compute dtype on a GPU, and where that is bfloat16. The first time costs less than a second.
    """
    ways = list(_ways(model))
    if len(ways) == 1:
        return ways[0]
    n_rows = 1 << (n_rows - 1).bit_length()  # so that few choices serve all
    name = _name(model, ways, n_rows)
    folders = list(compiled.safe_folders())
    for folder in folders:
        if (found := _read(folder / name)) in ways:
            return found
    chosen = _chosen(_timed(model, ways, n_rows))
    for folder in folders:
        try:
            write_json(folder / name, {"weights": chosen.weights, "engine": "C" if chosen.in_c else "PyTorch"})
        except (OSError, DataError):  # a full or read-only disk costs timing again
            continue
        break
    return chosen


def described() -> str:
    """What can be chosen here, in words: formats and engine. Compiles and times nothing."""
    usual, state = trained_in(), compiled.state()
    formats = f"{usual} weights"
    if usual == "float32" and computes_float32():
        formats += ", or bfloat16 where a model holds no others and that is faster"
    engine = f"{state.text} (GPT-2's kind by PyTorch)" if state.is_used else state.text
    if state.is_made and native.multiplied_in(is_exact=usual == "float32") != dtype_of(usual):
        engine = "by PyTorch: the C compiler does not know this processor's bfloat16 products; a newer one does"
    return f"{formats}; {engine}"


def _ways(model: LanguageModel) -> Iterator[Way]:
    """What gives the same answers up to the order of sums; the first is taken unless another is clearly faster."""
    usual = trained_in()
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
    """Whether every matrix holds numbers of bfloat16 alone, whatever it is stored in: then that loses nothing."""
    if any(isinstance(module, LoraLinear) for module in model.modules()):
        return False  # weight and adapter become one matrix only when it answers
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
    """A file for each choice, processor, network, number of threads and rows, and version of what computes."""
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
    """Seconds that a step takes, the least of some, in turn: what else this machine does disturbs all alike."""
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
    """Some layers of the model and a part of its head, which are timed in place of all."""
    most = int(MOST_WEIGHTS * min(1, MOST_ROWS / n_rows))
    part, config = sharing_copy(model), model.config
    n_in_layer = sum(parameter.numel() for parameter in model.model.layers[0].parameters())
    keep_layers(part, max(1, min(config.n_layer, most // n_in_layer)))
    n_words = max(min(config.vocab_size, most // config.n_embd), min(config.vocab_size, native.UNIT))
    part.config = part.config.model_copy(update={"vocab_size": n_words})
    part.lm_head.weight = nn.Parameter(model.lm_head.weight[:n_words], requires_grad=False)
    return part


def _step(part: LanguageModel, way: Way, n_rows: int) -> Callable[[], Tensor]:
    """One token of each row, after some that were read; it can be done again and again."""
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
