"""Malmoi compared with its peers: the same work in the same run, as ratios. Rows: `python -m benchmarks --help`."""
