"""Malmoi: every step of building ChatGPT as one tool, from tokenizer to chat."""

import os
import time
from pathlib import Path

__version__ = "0.1.0"


def _others_compute(load: Path = Path("/proc/loadavg")) -> bool:
    """Whether another process keeps a core busy: looks up to five times, until no other process runs."""
    for look in range(5):
        try:
            n_running = int(load.read_text().split()[3].partition("/")[0])
        except (OSError, ValueError, IndexError):
            return False
        if n_running <= 1:  # this process itself
            return False
        if look < 4:
            time.sleep(0.004)
    return True


# OpenMP reads this once, when torch is imported. On a quiet machine, threads that spin while they wait are a third
# faster. If others compute, a spinning thread occupies the core that the thread it waits for needs: sleeping is faster.
if "OMP_WAIT_POLICY" not in os.environ and _others_compute():
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
