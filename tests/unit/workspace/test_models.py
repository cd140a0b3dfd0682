"""A model is found by its name, by its folder, or as the newest one that can write."""

from pathlib import Path

import pytest

from malmoi.errors import UserError, WorkspaceError
from malmoi.files import write_json
from malmoi.workspace.folder import Workspace
from malmoi.workspace.models import find_model, name_for, policy_names


def make(workspace: Workspace, number: int, stage: str, name: str, kind: str = "policy") -> None:
    """A model's small files in a run's folder, under a name, as a recipe links them."""
    folder = workspace.runs / f"{number:04}-{stage}" / "out" / "model"
    write_json(folder / "config.json", {"model_type": "llama"})
    write_json(folder / "malmoi.json", {"kind": kind})
    (workspace.models / name).unlink(missing_ok=True)
    (workspace.models / name).symlink_to(Path("..") / folder.relative_to(workspace.path))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """What `malmoi demo` leaves, and a model that was imported after it."""
    workspace = Workspace.open(tmp_path / "workspace")
    for number, stage, name in ((3, "pretrain", "base"), (5, "sft", "sft"), (9, "ppo", "ppo"), (11, "import", "a")):
        make(workspace, number, stage, name)
    make(workspace, 10, "reward", "reward", kind="reward")
    return workspace


def test_the_default_is_the_newest_policy_that_a_run_made(workspace: Workspace) -> None:
    assert policy_names(workspace) == ["a", "base", "sft", "ppo"]
    assert find_model(workspace, None) == ("ppo", workspace.models / "ppo")
    make(workspace, 12, "any-stage", "mine")
    assert find_model(workspace, None)[0] == "mine"
    make(workspace, 13, "sft", "sft")  # the stage was run again
    assert find_model(workspace, None)[0] == "sft"


def test_where_nothing_was_made_the_newest_import_is_the_default(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "workspace")
    for number, name in ((1, "smol"), (2, "b"), (10, "a")):
        make(workspace, number, "import", name)
    write_json(workspace.models / "copied" / "config.json", {"model_type": "gpt2"})
    assert policy_names(workspace) == ["copied", "smol", "b", "a"]


def test_any_folder_is_taken_by_its_path(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = workspace.path.parent / "elsewhere"
    elsewhere.mkdir()
    assert find_model(workspace, str(elsewhere)) == ("elsewhere", elsewhere)
    monkeypatch.chdir(elsewhere)
    assert find_model(workspace, ".") == ("elsewhere", Path())


def test_a_broken_model_is_no_default_and_is_still_found(workspace: Workspace) -> None:
    make(workspace, 14, "ppo", "broken")
    (workspace.models / "broken" / "config.json").write_text("{")
    assert find_model(workspace, None)[0] == "ppo"
    assert find_model(workspace, "broken") == ("broken", workspace.models / "broken")


@pytest.mark.parametrize(("name", "message"), [("pop", 'did you mean "ppo"'), ("no/where", "no such model folder")])
def test_an_unknown_model_is_named_with_what_there_is(workspace: Workspace, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        find_model(workspace, name)
    assert "it has a, base, sft, ppo" in str(caught.value)


@pytest.mark.parametrize("name", ["smollm2-135m", "SmolLM2-135M", "smollm2-135"])
def test_a_model_that_can_be_pulled_is_told_so_until_it_is_here(workspace: Workspace, name: str) -> None:
    with pytest.raises(UserError, match=f"malmoi models pull smollm2-135m --workspace {workspace.path} brings it"):
        find_model(workspace, name)
    make(workspace, 14, "sft", "smollm2-135m")
    if name != "smollm2-135m":
        with pytest.raises(UserError, match='did you mean "smollm2-135m"'):
            find_model(workspace, name)


def test_a_name_that_points_outside_is_refused_and_the_folder_itself_is_not(workspace: Workspace) -> None:
    outside = workspace.path.parent / "outside"
    outside.mkdir()
    (workspace.models / "outside").symlink_to(outside)
    (workspace.models / "gone").symlink_to("../runs/0042-ppo/out/model")
    with pytest.raises(WorkspaceError, match=r"points outside the workspace.*give that folder itself"):
        find_model(workspace, "outside")
    assert find_model(workspace, str(outside))[1] == outside
    with pytest.raises(WorkspaceError, match="is gone; malmoi models remove gone"):
        find_model(workspace, "gone")


def test_a_workspace_without_models_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="malmoi demo"):
        find_model(Workspace(tmp_path), None)


def test_names_come_from_where_a_model_comes_from() -> None:
    sources = ("HuggingFaceTB/SmolLM2-135M-Instruct", "/a/b/My Model (1).GGUF", "./qwen2.5/", "모델-v2")
    assert [name_for(source) for source in sources] == ["smollm2-135m-instruct", "my-model-1", "qwen2.5", "v2"]
    with pytest.raises(WorkspaceError, match="--name"):
        name_for("./모델")
