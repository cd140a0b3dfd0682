"""One side of a row, in a separate process: `python -m benchmarks.side MODULE CONFIGURATION WORK.json RESULT.json`.

This file only needs the standard library, so that any interpreter that has the peer can run it.
"""

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Work = dict[str, Any]
Result = dict[str, Any]
Answer = Callable[[list[list[int]], int, Callable[[], None]], list[list[int]]]


def time_decoding(answer: Answer, work: Work) -> Result:
    """Tokens per second from the first new token on; the time until then is prefill.

    answer(prompts, n_new, on_first) -> exactly `n_new` new ids of each prompt, greedy; `on_first` is called when every
    prompt has its first one
    """
    if work["check"]:
        return {"same": {"ids": answer(work["prompts"], work["n_check"], lambda: None)}}
    answer(work["warm_up"], 8, lambda: None)
    times = [time.perf_counter()]
    ids = answer(work["prompts"], work["n_new"], lambda: times.append(time.perf_counter()))
    started, first, ended = *times[:2], time.perf_counter()
    n_prompt_tokens = sum(map(len, work["prompts"]))
    return {
        "value": len(ids) * (work["n_new"] - 1) / (ended - first),
        "prefill_s": first - started,
        "same": {"prompt tokens": n_prompt_tokens, "new tokens": sum(map(len, ids))},
    }


def peak_memory_bytes() -> int:
    """The peak of resident memory of this process.

    On Linux `ru_maxrss` includes the memory of the parent when it started this process; VmHWM does not.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def main(arguments: Sequence[str]) -> None:
    module, configuration, work_path, result_path = arguments
    work: Work = json.loads(Path(work_path).read_text())
    try:
        side = importlib.import_module(f"benchmarks.{module}")
    except ModuleNotFoundError as error:
        result: Result = {"missing": f"{error.name} is not installed"}
    else:
        result = getattr(side, work["work"])(work, configuration)
        result["peak_memory_bytes"] = peak_memory_bytes()
        result["versions"] = side.VERSIONS
    Path(result_path).write_text(json.dumps(result))


if __name__ == "__main__":
    # Without this the module would be loaded twice: as `__main__` and under its name.
    from benchmarks import side as this

    this.main(sys.argv[1:])
