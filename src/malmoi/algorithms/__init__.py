"""One algorithm a file: its settings, its loss, and how its job is built. None imports another.

To add one, see `docs/guides/add-an-algorithm.md`.
"""
