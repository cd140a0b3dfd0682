"""What is told of files to people who are not at the machine: their names, and not their places."""

from pathlib import Path

import pytest

from malmoi.errors import without_folders


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/ann/ws/model.safetensors: is truncated", "model.safetensors: is truncated"),
        ("cannot read '/home/a b/말 모이/x y.json' (see /srv/a.txt)", "cannot read 'x y.json' (see a.txt)"),
        ('File "/opt/malmoi/x.py", line 3\n/home/x/y', 'File "x.py", line 3\ny'),
        ("path:/srv/a, file:///srv/b: log=/var/c", "path:a, b: log=c"),
        ("/data: no such folder", "data: no such folder"),
        ("see https://host/a/b, s3://own/c, POST /v1/models", "see https://host/a/b, s3://own/c, POST /v1/models"),
        ("on and/or off, 3/4, a / b, ../x/y, docs/a.md, /", "on and/or off, 3/4, a / b, ../x/y, docs/a.md, /"),
    ],
)
def test_files_keep_their_names_only(text: str, told: str) -> None:
    assert without_folders(text) == told


def test_what_is_in_the_workspace_keeps_its_place_in_it() -> None:
    text = "/home/ann/ws/runs/0003/log.txt and /home/ann/notes/a.md: are gone"
    assert without_folders(text, Path("/home/ann/ws")) == "runs/0003/log.txt and a.md: are gone"
