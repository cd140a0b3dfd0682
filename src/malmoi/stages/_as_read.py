"""What people said, as a policy reads it: each prompt is the one that it would be asked in service."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from malmoi.data.comparisons import ranking_ids
from malmoi.data.formats import tree_of
from malmoi.errors import DataError
from malmoi.feedback.asked import N_DROPPED
from malmoi.formats.folder import load_config, load_text
from malmoi.formats.inspect import reading_of
from malmoi.inference.chosen import sampling_of
from malmoi.inference.grounded import as_spoken, longest_prompt, newest, without_oldest
from malmoi.workspace.versions import prompt_name

NAME = "prompt_name"
"""Of a row: what the gate calls its question, where it is read otherwise than it was asked."""
Messages = Sequence[Mapping[str, Any]]


def readable(folder: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that fit into the context of this policy, as it reads them: rankings, demonstrations or votes.

    Of a long conversation the newest turns are read. Documents are left out for a policy that never learned to read
    them: it is never given any.
    """
    reader = _Reader(folder)
    return [read for row in rows if (read := reader.read(row)) is not None]


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.text, self.seq_len = load_text(folder), load_config(folder).seq_len
        self.longest = longest_prompt(self.seq_len, sampling_of(folder, {}, "chat").max_tokens)
        self.reads_documents = reading_of(folder) != "no"

    def read(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """The row, None if it does not fit."""
        messages, answers = row["messages"], row.get("answers")
        said = [] if answers else [messages[-1]]
        asked = messages[: len(messages) - len(said)]
        prompt = self._prompt(asked, row.get(N_DROPPED, 0))
        read = {name: value for name, value in row.items() if name != N_DROPPED} | {"messages": [*prompt, *said]}
        if prompt_name(prompt) != prompt_name(asked):
            read |= {NAME: prompt_name(asked), "tree": tree_of(asked)}
        try:
            if not all(one.get("trained", True) for one in prompt):
                self.text[1].training_rows(self.text[0], read["messages"])
            n_tokens = max(map(len, ranking_ids(*self.text, prompt, answers or [said[0]["content"]])))
        except DataError:  # this template does not distinguish answers that are only read
            return None
        return read if n_tokens <= self.seq_len else None

    def _prompt(self, asked: Messages, n_dropped: int) -> list[dict[str, Any]]:
        said = without_oldest(as_spoken(asked), n_dropped)
        if not self.reads_documents:
            said = [{name: value for name, value in one.items() if name != "documents"} for one in said]
        _, n_more = newest(self._ids, said, self.longest)
        return [dict(one) for one in without_oldest(said, n_more)]

    def _ids(self, messages: Messages) -> list[int]:
        return self.text[1].encode(self.text[0], messages, add_generation_prompt=True)[0]
