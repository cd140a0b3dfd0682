"""What a policy lost of what it had learned: measured on held-out answers of the workspace's earlier data."""

from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.cli.versions import earlier_line
from malmoi.data.comparisons import demonstration
from malmoi.files import write_jsonl
from malmoi.formats.folder import load_text, save_model
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.forgetting import earlier_answers, losses_on_earlier
from malmoi.workspace.folder import Workspace

COLOURS = ("red", "blue", "green", "white", "black", "brown", "grey", "pink")


def asked(i: int) -> dict[str, str]:
    return {"role": "user", "content": f"cat {i}?"}


def said(i: int) -> dict[str, str]:
    return {"role": "assistant", "content": f"The cat is {COLOURS[i]}."}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Held-out conversations and prompts; rankings, documents and a question without an answer do not count."""
    here = Workspace.open(tmp_path / "w")
    write_jsonl(here.runs / "0001-data/out/heldout.jsonl", [{"messages": [asked(i), said(i)]} for i in range(4)])
    prompts = [{"messages": [asked(i)], "references": [said(i)["content"]]} for i in range(3, 8)]
    write_jsonl(here.runs / "0002-demonstrations/out/prompts.heldout.jsonl", [*prompts, {"messages": [asked(9)]}])
    ranked = {"messages": [asked(1), said(1), asked(2)], "answers": ["a", "b"], "ranks": [1, 2]}
    write_jsonl(here.runs / "0003-judgements/out/heldout.jsonl", [ranked])
    write_jsonl(here.runs / "0004-corpus/out/heldout.jsonl", [{"text": "The cat."}])
    return here


def taught(policy: LanguageModel, folder: Path, workspace: Workspace, to: Path) -> Path:
    """The policy after some steps on the held-out answers themselves."""
    tokenizer, template = load_text(folder)
    ids = [demonstration(tokenizer, template, one).ids[0] for one in earlier_answers(workspace)]
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    for _ in range(12):
        for row in ids:
            tokens = torch.tensor([[int(id) for id in row]])
            logits = policy.lm_head(policy.model(tokens))[0, :-1]
            torch.nn.functional.cross_entropy(logits, tokens[0, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
    save_model(to, policy, tokenizer, template, {})
    return to


def test_a_policy_that_lost_what_it_knew_is_seen(
    workspace: Workspace, policy: LanguageModel, policy_folder: Path, tmp_path: Path
) -> None:
    assert len(earlier_answers(workspace)) == 8
    same = losses_on_earlier(workspace, policy_folder, policy_folder)
    assert same is not None and same["n"] == 8 and same["before"] == same["after"]
    assert same["more"]["low"] == same["more"]["high"] == 0 and "lost" not in earlier_line(same)

    knows = taught(policy, policy_folder, workspace, tmp_path / "knows")
    lost = losses_on_earlier(workspace, knows, policy_folder)
    assert lost is not None and lost["after"] == pytest.approx(same["before"], rel=1e-5)
    assert lost["more"]["low"] > 0 and "it has lost some of what it had learned" in earlier_line(lost)
    won = losses_on_earlier(workspace, policy_folder, knows)
    assert won is not None and won["more"]["high"] < 0 and "lost" not in earlier_line(won)


def test_without_earlier_data_nothing_is_said(tmp_path: Path, policy_folder: Path) -> None:
    assert losses_on_earlier(Workspace.open(tmp_path / "empty"), policy_folder, policy_folder) is None


def test_answers_longer_than_the_context_are_left_out(workspace: Workspace, policy_folder: Path) -> None:
    rows: list[dict[str, Any]] = [{"messages": [asked(1), {"role": "assistant", "content": "mat " * 5000}]}]
    write_jsonl(workspace.runs / "0005-data/out/heldout.jsonl", rows)
    found = losses_on_earlier(workspace, policy_folder, policy_folder)
    assert found is not None and found["n"] == 8
