"""Published data -> rows in one form (`formats`, `rows`, `trees`, `columns`, `table`) -> shuffled micro-batches.

`conversations`, `comparisons`, `prompts` and `tokens` read one kind of training data each; `batch` and `stream` pack
and shuffle; `overview` says what a file holds. To read another published format, add a parser to `rows` or `trees` and
its line to `formats.FORMATS`.
"""
