"""The program of benchmarks/ that puts load on a server, in its shortest form."""

import json
from pathlib import Path

import pytest

from benchmarks.serving import main


def test_chats_at_once_get_all_their_answers(spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(spoken), "--chats", "3", "--seconds", "1"]) == 0
    found = {line.split()[0]: json.loads(line[16:]) for line in capsys.readouterr().out.splitlines()}
    together = found["all_chats"]
    assert together["n_lost"] == 0 and len(together["answers_of_chats"]) == 3 and min(together["answers_of_chats"]) > 0
    assert together["tokens_per_s"] > 0 and found["bare"]["tokens_per_s"] > 0 and found["job_alone"] is None
