"""A workspace names its indexes; chat takes the newest one."""

import os
from pathlib import Path

import pytest

from malmoi.errors import UserError, WorkspaceError
from malmoi.files import write_json, write_text
from malmoi.retrieval.index import Index
from malmoi.retrieval.writer import FACTS
from malmoi.workspace.documents import NAME as DOCUMENTS
from malmoi.workspace.documents import add_documents, list_documents, remove_document
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import find_index, index_folder
from malmoi.workspace.locks import LOCK, InUseError, holding


def folder_of(place: Path, name: str, text: str = "A cat sleeps.") -> Path:
    write_text(place / name / "a.txt", text)
    return place / name


def test_the_newest_index_is_found(workspace: Workspace, tmp_path: Path) -> None:
    assert find_index(workspace) is None
    first = index_folder(workspace, folder_of(tmp_path, "내 글"))
    second = index_folder(workspace, folder_of(tmp_path, "Notes of 2024"))
    assert (first.name, second.name) == ("내-글", "notes-of-2024")
    os.utime(first.folder / FACTS, (1, 1))
    assert find_index(workspace) == second.folder and find_index(workspace, "내-글") == first.folder
    os.utime(second.folder / FACTS, (0, 0))
    assert find_index(workspace) == first.folder
    with pytest.raises(WorkspaceError, match="other: no such index here; there is notes-of-2024, 내-글"):
        find_index(workspace, "other")


def test_a_recipes_index_is_one_of_them(workspace: Workspace, tmp_path: Path) -> None:
    made = workspace.runs / "0001-index" / "out" / "index"
    write_json(made / FACTS, {})
    workspace.indexes.mkdir()
    (workspace.indexes / "index").symlink_to("../runs/0001-index/out/index")
    assert find_index(workspace) == workspace.indexes / "index"
    with pytest.raises(WorkspaceError, match="recipes call their own index so"):
        index_folder(workspace, folder_of(tmp_path, "a"), "index")
    assert index_folder(workspace, folder_of(tmp_path, "index")).name == "index-files"


def test_a_name_is_of_one_folder(workspace: Workspace, tmp_path: Path) -> None:
    before = folder_of(tmp_path / "a", "notes")
    index_folder(workspace, before)
    with pytest.raises(WorkspaceError, match=r"notes: is the index of .*a/notes; choose another --name"):
        index_folder(workspace, folder_of(tmp_path / "b", "notes"))
    assert index_folder(workspace, before.rename(tmp_path / "c-notes"), "notes").updated.facts["files"] == 1


@pytest.mark.parametrize("name", ["", "..", "a/b", "-a", "x" * 200])
def test_odd_names_are_refused(workspace: Workspace, tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkspaceError, match="not an index's name"):
        index_folder(workspace, folder_of(tmp_path, "a"), name)
    with pytest.raises(UserError, match="gone: no such file or folder"):
        index_folder(workspace, tmp_path / "gone")


def test_two_do_not_write_one_index_and_readers_go_on(workspace: Workspace, tmp_path: Path) -> None:
    made = index_folder(workspace, folder_of(tmp_path, "notes"))
    with holding(workspace.indexes / f".notes{LOCK}", "index notes"):
        with pytest.raises(InUseError, match=r"index notes: is in use by process \d+"):
            index_folder(workspace, tmp_path / "notes")
        assert Index.open(made.folder).candidates(["cat"], 1)[0][0].file == "a.txt"


def test_a_document_stays_where_the_index_cannot_be_made_again(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        write_text(tmp_path / name, f"What {name} says.")
    add_documents(workspace, [tmp_path / name for name in ("a.txt", "b.txt")])
    with holding(workspace.indexes / f".{DOCUMENTS}{LOCK}", "index"), pytest.raises(InUseError):
        remove_document(workspace, "a.txt")
    listed = [(one["file"], one["added"]) for one in list_documents(workspace)["documents"]]
    assert listed == [("a.txt", True), ("b.txt", True)]
    remove_document(workspace, "a.txt")
    assert [one["file"] for one in list_documents(workspace)["documents"]] == ["b.txt"]
