"""The stage `pictures`: what is held out is never trained on, in any wording."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from malmoi.data.pictures import HELDOUT, TRAIN, read_pictures
from malmoi.errors import ConfigError, DataError
from malmoi.pipeline.recipe import Recipe
from malmoi.stages import pictures


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pictures")
    context: Any = SimpleNamespace(out=out, say=lambda line: None)
    pictures.run(context, pictures.Settings(n=600, size=16, n_heldout=50, seed=3))
    return out


def test_no_composition_is_on_both_sides(made: Path) -> None:
    train, heldout = read_pictures(made, TRAIN), read_pictures(made, HELDOUT)
    assert not {row["concept"] for row in train.rows} & {row["concept"] for row in heldout.rows}
    assert not {row["captions"]["en"] for row in train.rows} & {row["captions"]["en"] for row in heldout.rows}
    assert len(train) > 400 and 10 < len(heldout) <= 50


def test_each_row_says_where_it_comes_from(made: Path) -> None:
    for row in read_pictures(made, TRAIN).rows:
        assert row["source"] == "shapes" and row["licence"] and set(row["captions"]) == {"en", "ko"}


def test_more_pictures_move_no_composition_to_the_other_side(made: Path) -> None:
    settings = pictures.Settings(n=10_000, seed=3)
    assert all(pictures.is_held_out(row["concept"], settings) for row in read_pictures(made, HELDOUT).rows)


def test_another_source_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"pictures\.source"):
        Recipe.of({"stages": ["pictures"], "pictures": {"source": "photographs"}})


def test_a_broken_file_is_refused_in_one_line(made: Path, tmp_path: Path) -> None:
    (tmp_path / "train.safetensors").write_bytes((made / "train.safetensors").read_bytes()[:100])
    (tmp_path / "train.jsonl").write_bytes((made / "train.jsonl").read_bytes())
    with pytest.raises(DataError, match=r"train\.safetensors: not a file of pictures"):
        read_pictures(tmp_path, TRAIN)
