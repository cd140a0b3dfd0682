"""Which version serves: an append-only history that every process reads."""

from pathlib import Path

import pytest
import torch
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError

from malmoi.errors import UserError, WorkspaceError
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.choice import choose
from malmoi.workspace.database import writing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.ring_schema import DeploymentRow
from malmoi.workspace.version_lineage import trace_version, version_called, version_rows
from malmoi.workspace.versions import (
    NewVersion,
    add_version,
    begin_versions,
    earlier_version,
    find_version,
    in_service,
    list_versions,
    record_act,
    serving_number,
)


@pytest.fixture
def policy_in(ledger: Ledger, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    """A policy that the workspace has under the name `sft`."""
    torch.manual_seed(3)
    save_model(ledger.root / "models" / "sft", LanguageModel(shape), tokenizer, template, {})
    return ledger.root / "models" / "sft"


def states(ledger: Ledger) -> dict[str, str]:
    return {version.name: version.state for version in list_versions(ledger)}


def test_the_newest_policy_becomes_the_first_version_once(ledger: Ledger, policy_in: Path) -> None:
    assert in_service(ledger) is None and serving_number(ledger) is None
    first, again = begin_versions(ledger), begin_versions(ledger)
    assert first == again and first.name == "v1" and first.model == "sft" and first.state == "in_service"
    assert [act["act"] for act in first.history] == ["promote"] and serving_number(ledger) == 1


def test_a_version_is_traced_to_what_made_it(ledger: Ledger, policy_in: Path) -> None:
    assert version_called(ledger, "v1") is None
    first = begin_versions(ledger)
    found = version_called(ledger, "v1")
    assert found == first and version_called(ledger, "sft") is None
    row = version_rows(trace_version(ledger, found), ledger)
    assert row["from"] is None and row["lineage"] == {"model": None, "reward_model": None}  # no run made them
    run_id = ledger.start_run(stage="sft", recipe="nano", fingerprint="x", settings={}, seed=1, inputs={})
    ledger.add_artefact(run_id, "model", "model", policy_in)
    row = version_rows(trace_version(ledger, found), ledger)
    assert row["lineage"]["model"][0]["run"]["id"] == run_id
    assert row["lineage"]["reward_model"] is None
    (ledger.root / first.name).mkdir()  # what is called so is meant
    assert version_called(ledger, first.name) is None


def test_without_a_policy_no_version_begins(ledger: Ledger) -> None:
    with pytest.raises(UserError, match="no model here yet"):
        begin_versions(ledger)
    with pytest.raises(WorkspaceError, match="v1: no such version here; there is none yet"):
        find_version(ledger, "v1")


def test_a_rollback_goes_back_step_by_step(ledger: Ledger, policy_in: Path) -> None:
    begin_versions(ledger)
    for number in (2, 3):
        add_version(ledger, NewVersion(how="train", model="sft", policy=policy_in))
        record_act(ledger, "promote", number, instead_of=number - 1)
    assert states(ledger) == {"v1": "earlier", "v2": "earlier", "v3": "in_service"}
    assert earlier_version(ledger) == 2
    record_act(ledger, "rollback", 2, instead_of=3)
    assert earlier_version(ledger) == 1 and states(ledger)["v3"] == "earlier"
    record_act(ledger, "rollback", 1, instead_of=2)
    assert earlier_version(ledger) is None
    record_act(ledger, "promote", 3, instead_of=1)
    record_act(ledger, "refuse", 2, instead_of=3)
    assert states(ledger) == {"v1": "earlier", "v2": "refused", "v3": "in_service"} and earlier_version(ledger) == 1


def test_who_decided_on_an_old_state_is_told(ledger: Ledger, policy_in: Path) -> None:
    begin_versions(ledger)
    for _ in range(2):
        add_version(ledger, NewVersion(how="train", model="sft", policy=policy_in))
    record_act(ledger, "promote", 2, instead_of=1)
    with pytest.raises(WorkspaceError, match=r"changed meanwhile \(v2\)"):
        record_act(ledger, "promote", 3, instead_of=1)
    assert serving_number(ledger) == 2


def test_a_job_makes_one_version(ledger: Ledger, policy_in: Path) -> None:
    with writing(ledger.engine) as connection:
        connection.execute(
            text(
                "INSERT INTO job (id, kind, settings, status, place, n_begun, progress, created_at) "
                "VALUES (5, 'improve', '{}', 'running', 1, 1, '{}', '2026-01-01 00:00:00')"
            )
        )
    made = [add_version(ledger, NewVersion(how="train", model="sft", policy=policy_in, job=5)) for _ in range(2)]
    assert made[0] == made[1] and len(list_versions(ledger)) == 1


def test_decisions_are_never_changed(ledger: Ledger, policy_in: Path) -> None:
    begin_versions(ledger)
    with pytest.raises(IntegrityError, match="decide again"), writing(ledger.engine) as connection:
        connection.execute(update(DeploymentRow).values(knowingly=True))


def test_only_a_policy_serves(ledger: Ledger, policy_in: Path, reward_folder: Path) -> None:
    with pytest.raises(WorkspaceError, match="is no policy"):
        add_version(ledger, NewVersion(how="added", model="reward", policy=reward_folder))
    with pytest.raises(WorkspaceError, match="is no reward model"):
        add_version(ledger, NewVersion(how="best-of-n", model="sft", policy=policy_in, reward_model=policy_in, n=4))


def test_a_chat_without_a_name_talks_with_the_version_in_service(
    ledger: Ledger, policy_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALMOI_DATABASE_URL", ledger.engine.url.render_as_string(hide_password=False))
    workspace = Workspace(ledger.root)
    assert choose(workspace, None).name == "sft"
    begin_versions(ledger)
    assert choose(workspace, None).version == find_version(ledger, "v1")
    add_version(ledger, NewVersion(how="train", model="sft", policy=policy_in))
    assert choose(workspace, None).name == "v1" and choose(workspace, "v2").name == "v2"
    assert choose(workspace, "sft").version is None
    (ledger.root / "models" / "sft").rename(ledger.root / "models" / "other")
    with pytest.raises(WorkspaceError, match="its weights are gone"):
        choose(workspace, None)
