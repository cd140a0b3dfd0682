"""Look-up: the passages of documents that answer a question.

`terms` says what is indexed and searched, `lookup` finds passages in a conversation, `quote` answers with them without
a network, `prompt` gives them to one, and `check` holds what it said against them.
"""
