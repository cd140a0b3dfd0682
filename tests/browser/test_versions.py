"""The ring in a browser: Improve, a job, blind comparisons, a verdict, in service, and back again.

The network is tiny and has learned nothing; what is tried is everything around it.
"""

import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.feedback.accounts import members
from malmoi.feedback.contenders import Match
from malmoi.feedback.gate_comparisons import record_answer
from malmoi.formats.folder import load_model, load_text, save_model
from malmoi.model.transformer import LanguageModel
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.versions import NewVersion, add_version, begin_versions, find_version, in_service
from tests.browser.conftest import Site, serving
from tests.browser.test_access import serious_faults
from tests.browser.test_chat import act, ask
from tests.ranked_workspace import SMALL, ranked_workspace

OpenPage = Callable[..., Any]
JOB_MS = 600_000


@pytest.fixture(scope="module")
def site(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server in front of that workspace."""
    folder = tmp_path_factory.mktemp("ring")
    here = ranked_workspace(folder / "w", n_prompts=60, n_heldout=36, seq_len=96)
    with serving(chromium, here.path, folder / "log", SMALL) as served:
        yield served


def test_improve_compare_put_in_service_and_back(open_page: OpenPage, site: Site) -> None:
    page = open_page("/versions")
    page.get_by_text("Pinned questions: 0").click()
    page.get_by_label("Question").fill("what is a list?")
    page.get_by_label("Words that a right answer must contain, separated by commas").fill("no network says this")
    page.get_by_role("button", name="Pin", exact=True).click()
    page.get_by_text("Pinned questions: 1").wait_for()

    page.get_by_role("button", name="Improve", exact=True).click()
    page.get_by_text("Rankings: 60, by 2 people").wait_for()
    page.get_by_role("button", name="Start").click()
    page.get_by_text("You may close this page; it goes on.").wait_for()
    page.get_by_role("link", name="See it").wait_for(timeout=JOB_MS)
    page.get_by_role("link", name="See it").click()

    page.get_by_role("heading", name="v2").wait_for()
    page.locator(".verdict", has_text="Nobody has compared them yet.").wait_for()
    page.get_by_text("Right: 0 of 1; v1: 0").wait_for()
    page.get_by_role("heading", name="What the judge says").wait_for()
    page.get_by_role("link", name="Compare now").click()
    for answer in ("A is better", "Both bad"):
        page.get_by_role("heading", name="Which answer is better?").wait_for()
        page.get_by_role("button", name=answer).click()
    page.get_by_text("Compared by you: 2").wait_for()
    page.get_by_role("link", name="v2").click()

    page.get_by_text("관리자: 2").wait_for()
    page.get_by_role("button", name="Put in service").click()
    page.get_by_role("button", name="Put in service anyway").click()
    page.get_by_text("in service", exact=True).wait_for()
    with closing(Ledger.open(Workspace(site.workspace))) as ledger:
        serving = in_service(ledger)
        assert serving is not None and serving.name == "v2" and serving.history[-1]["knowingly"]

    page.get_by_role("link", name="Chat", exact=True).first.click()
    ask(page, "what is a mat?")
    act(page, "Where from?").click()
    page.get_by_text(serving.policy_sha256[:12]).wait_for()
    page.goto(f"{site.base}/versions/v2")
    page.get_by_role("button", name="Back to the one before").click()
    page.get_by_text("earlier", exact=True).wait_for()
    page.goto(f"{site.base}/versions")
    page.get_by_text("v1 in service").first.wait_for()

    page.goto(f"{site.base}/data/snapshots")
    page.get_by_role("button", name="Delete a person's data").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_label("Whose?").select_option(label="Ben (30 rankings, 0 answers)")
    sheet.get_by_text("versions: v2").wait_for()
    sheet.get_by_text(serving.reward_sha256[:12]).wait_for()
    assert serious_faults(page) == []
    sheet.get_by_role("button", name="Delete for good").click()
    sheet.get_by_text("Ben's data is deleted.").wait_for()


def test_a_page_that_breaks_says_so_and_lets_go_elsewhere(chromium: Any, site: Site) -> None:
    context = chromium.new_context(locale="en-US", storage_state=site.state)
    page = context.new_page()
    page.route("**/api/versions", lambda route: route.fulfill(json={"versions": [{}]}))
    page.goto(f"{site.base}/versions")
    page.get_by_text("Something went wrong on this page.").wait_for()
    page.get_by_role("link", name="Data", exact=True).first.click()
    page.get_by_role("heading", name="Add files").wait_for()
    # What is typed in a terminal finds this workspace, from wherever it is typed.
    page.get_by_text(f"malmoi data list --workspace {site.workspace}").wait_for()
    context.close()


def test_a_version_made_worse_is_called_worse_and_refused(open_page: OpenPage, site: Site) -> None:
    here = Workspace(site.workspace)
    with closing(Ledger.open(here)) as ledger:
        model = load_model(here.models / "sft", LanguageModel)
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(2)))
        save_model(here.models / "broken", model, *load_text(here.models / "sft"), {})
        worse = add_version(ledger, NewVersion(how="added", model="broken", policy=here.models / "broken"))
        owner = next(member["id"] for member in members(ledger) if member["role"] == "owner")
        match = Match(ledger, worse, find_version(ledger, "v1"))
        for _ in range(24):
            pair = match.next_pair(owner)
            assert pair is not None
            record_answer(ledger, pair["id"], "ab"[pair["shown"][0]["version"] == worse.number], owner)
    page = open_page(f"/versions/{worse.name}")
    page.get_by_text("Worse than v1", exact=True).wait_for()
    assert page.get_by_role("button", name="Put in service").is_disabled()
    page.get_by_role("button", name="Refuse").click()
    page.get_by_text("refused", exact=True).wait_for()


def test_an_export_is_downloaded_as_a_file_and_as_a_folder(open_page: OpenPage, site: Site, tmp_path: Path) -> None:
    with closing(Ledger.open(Workspace(site.workspace))) as ledger:
        name = f"{(first := begin_versions(ledger)).name}-{first.policy_sha256[:12]}"
    page = open_page("/versions/v1")
    page.get_by_role("button", name="Export").click()
    sheet = page.get_by_role("dialog")
    for form, file in (("a GGUF file with all its digits", f"{name}.gguf"), ("a folder", f"{name}.tar")):
        sheet.get_by_label(form).check()
        sheet.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            sheet.get_by_role("link", name=file).click()
        assert download.value.suggested_filename == file
        download.value.save_as(tmp_path / file)
    assert (tmp_path / f"{name}.gguf").read_bytes() == (site.workspace / "exports" / f"{name}.gguf").read_bytes()
    with tarfile.open(tmp_path / f"{name}.tar") as folder:
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {Path(one).name for one in folder.getnames()}
