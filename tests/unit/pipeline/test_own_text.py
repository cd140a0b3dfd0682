"""What a person is told about their text before anything is trained, and the steps that suit it."""

from pathlib import Path

import pytest

from malmoi.errors import DataError
from malmoi.pipeline.own_text import OwnText, fitting, forecast, look_at
from malmoi.pipeline.recipe import Recipe, find_recipe, read_recipe

NOTES = {
    "shop.md": "# Shop\n\nThe shop opens at 9:00. Parts are stored in the basement. A service takes three days.\n",
    "빵집.md": "# 달빛빵집 안내\n\n평일에는 오전 8시에 엽니다. 주차장은 가게 뒤에 있습니다.\n",
}


@pytest.fixture
def recipe() -> Recipe:
    return read_recipe(find_recipe("nano-small"))


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def text_of(n_bytes: int, n_demonstrations: int = 10_000, is_all: bool = True) -> OwnText:
    return OwnText(Path("notes"), 5, n_bytes, is_all, 50, n_demonstrations, {"Korean": 5})


def test_notes_are_looked_at(tmp_path: Path) -> None:
    found = look_at(write(tmp_path / "notes", NOTES), "strict", "utf-8", 600, 1)
    assert (found.n_documents, found.is_all, found.languages) == (2, True, {"English": 1, "Korean": 1})
    assert found.n_bytes == sum(len(text.strip().encode()) for text in NOTES.values())
    assert found.n_asked >= 5 and found.n_demonstrations >= 10
    assert found == look_at(tmp_path / "notes", "strict", "utf-8", 600, 1)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"one.txt": "One sentence about nothing much."}, "look-up works all the same"),
        ({"a.md": "# One\n\n# Two\n\n# Three\n"}, "no questions can be made"),
        ({"a.txt": "1 2 3\n4 5 6\n", "b.txt": "7.5\n8.5\n"}, "no questions can be made"),
        ({"a.txt": "これは本です。それは猫です。", "b.txt": "这是一本书。那是一只猫。"}, "in English or Korean"),
        ({"a.bin": "nothing that is read"}, "nothing to read"),
        ({}, "nothing to read"),
        ({"a.txt": "word of a line without an end\n" * 100_000}, "no questions can be made"),
    ],
)
def test_text_that_nothing_can_be_made_of_is_refused_before_training(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        look_at(write(tmp_path / "notes", files), "strict", "utf-8", 600, 1)


def test_of_a_long_text_the_beginning_is_looked_at(tmp_path: Path) -> None:
    folder = write(tmp_path / "notes", {"a.md": NOTES["shop.md"], "b.txt": "a line without an end\n" * 100_000})
    found = look_at(folder, "strict", "utf-8", 600, 1)
    assert not found.is_all and found.n_bytes < 2_100_000 and found.n_asked >= 3


def test_small_text_gets_few_steps_and_large_text_the_recipes_own(recipe: Recipe) -> None:
    assert fitting(text_of(3_000, 100), recipe) == ["pretrain.n_steps=40", "sft.n_steps=125"]
    assert fitting(text_of(20_000), recipe) == ["pretrain.n_steps=156"]
    full = read_recipe(find_recipe("nano"))
    assert fitting(text_of(20_000), full)[-1] == "ppo.n_iterations=4"
    assert fitting(text_of(300_000), recipe) == fitting(text_of(3_000, is_all=False), recipe) == []


def test_what_will_come_of_it_is_told(recipe: Recipe) -> None:
    told = "\n".join(forecast(text_of(3_000), recipe, ["pretrain.n_steps=40"]))
    assert "3 kB in 5 documents (5 Korean); 50 things to ask about" in told
    assert "reads it about 341 times; steps that suit its size: pretrain.n_steps=40" in told
    assert "the form of answers, not the language" in told and "the facts come from look-up" in told
    assert '--documents "notes" --model smollm2-135m' in told
    large = "\n".join(forecast(text_of(3_000_000, is_all=False), recipe, []))
    assert "more than 3 MB" in large and "learns the language" in large and "for more" not in large
