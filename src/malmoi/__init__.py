"""Malmoi: ChatGPT taken apart and rebuilt as one tool that its owner owns."""

__version__ = "0.1.0"
