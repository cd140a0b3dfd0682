"""Answers from a vLLM server, over HTTP: nothing of vLLM is imported, and it runs in an environment of its own."""
