"""Malmoi beside its peers: the same work, in the same run, as a ratio. `python -m benchmarks --help` has the rows."""
