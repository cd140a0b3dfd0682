"""Malmoi: ChatGPT taken apart and rebuilt as one tool that its owner owns."""

import os

# Threads that wait for work sleep: spinning, they would take the cores that others need, and wait for them in turn.
# OpenMP reads it once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
