"""llama.cpp's side, through llama-cpp-python: all streams in one batch, one `llama_decode` a step, greedy."""

import ctypes
from collections.abc import Callable
from typing import Any

import llama_cpp as llama
import numpy as np

from benchmarks.side import Result, Work, time_decoding

VERSIONS = {"llama-cpp-python": llama.__version__}


def decode(work: Work, _: str) -> Result:
    """Decode in the file's quantisation, which the result names."""
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(work["gguf"].encode(), llama.llama_model_default_params())
    if not model:
        raise RuntimeError(f"{work['gguf']}: llama.cpp cannot load it")
    n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    n_streams = len(work["prompts"])
    longest = max(len(ids) for name in ("warm_up", "prompts") for ids in work[name])
    settings = llama.llama_context_default_params()
    settings.n_seq_max = n_streams
    settings.n_ctx = n_streams * _round_up(longest + work["n_new"], 256)
    settings.n_batch = settings.n_ubatch = max(512, n_streams * longest)
    settings.n_threads = settings.n_threads_batch = work["threads"]
    context = llama.llama_init_from_model(model, settings)
    batch = llama.llama_batch_init(n_streams * longest, 0, 1)

    def read(rows: list[tuple[int, int, list[int]]]) -> list[int]:
        """Read (stream, position, ids) of each row; returns the likeliest next token of each."""
        last, place = [], 0
        for stream, position, ids in rows:
            for offset, token in enumerate(ids):
                batch.token[place], batch.pos[place] = token, position + offset
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, stream
                batch.logits[place] = offset == len(ids) - 1
                place += 1
            last.append(place - 1)
        batch.n_tokens = place
        if llama.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        return [int(_logits(context, index, n_vocab).argmax()) for index in last]

    def answer(prompts: list[list[int]], n_new: int, on_first: Callable[[], None]) -> list[list[int]]:
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        made = [[token] for token in read([(stream, 0, ids) for stream, ids in enumerate(prompts)])]
        on_first()
        for _ in range(n_new - 1):
            rows = [(i, len(prompts[i]) + len(ids) - 1, ids[-1:]) for i, ids in enumerate(made)]
            for ids, token in zip(made, read(rows), strict=True):
                ids.append(token)
        return made

    return time_decoding(answer, work) | {"configuration": _quantisation(model)}


def _quantisation(model: Any) -> str:
    """Such as Q8_0: the last word of llama.cpp's description of a model, after architecture and size."""
    description = ctypes.create_string_buffer(256)
    llama.llama_model_desc(model, description, len(description))
    return description.value.decode(errors="replace").split(maxsplit=2)[-1]


def _logits(context: Any, index: int, n_vocab: int) -> np.ndarray:
    pointer = llama.llama_get_logits_ith(context, index)
    return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (n_vocab,))


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
