"""Files of text -> documents (`folder`, `readers`) -> clean, split documents (`clean`) -> token shards (`shards`).

To read another file format, add a module to `readers`.
"""
