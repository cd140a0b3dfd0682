"""Data that a program makes where people gave none: questions about a text with their answers, and a simulated labeler.

`pydocs` and `questions` ask about Python's documentation, `text_questions` about any text; `demonstrations` turns
questions into conversations and prompts; `labeler` ranks answers.
"""
