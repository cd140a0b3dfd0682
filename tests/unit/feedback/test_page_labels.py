"""Keep or drop: pages of a corpus are asked about once, what is said is kept in versions, and training reads it."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DatabaseError
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.corpus.documents import Document
from malmoi.corpus.labels import read_labels, train
from malmoi.errors import ConfigError, DataError
from malmoi.feedback import page_labels
from malmoi.feedback.accounts import add_member
from malmoi.feedback.forgetting import forget_person, people_with_data
from malmoi.feedback.page_labels import label_rows, labels_overview, next_page, save_label, withdraw_label
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.shown_data import data_overview, export_rows
from malmoi.files import write_jsonl
from malmoi.workspace.base import now
from malmoi.workspace.database import writing
from malmoi.workspace.label_schema import LabelPage, PageLabel
from malmoi.workspace.ledger import Ledger
from tests.unit.corpus.test_labels import OFFERS, offer
from tests.unit.corpus.test_web import prose

PASSWORD = "correct horse"


@pytest.fixture
def ann(ledger: Ledger) -> str:
    return add_member(ledger, "Ann", PASSWORD, "owner").id


@pytest.fixture
def bob(ledger: Ledger) -> str:
    return add_member(ledger, "Bob", PASSWORD, "labeler").id


def add_run(ledger: Ledger, n: int = 12) -> str:
    """A run of the corpus stage, with n texts to keep and n to drop in each language; returns its id."""
    run = ledger.start_run(stage="corpus", recipe="web", fingerprint=f"{n}", settings={}, seed=1, inputs={})
    out = ledger.root / "runs" / run / "out"
    out.mkdir(parents=True)
    texts = [one for i in range(n) for lang in OFFERS for one in (prose(i, korean=lang == "ko"), offer(i, lang))]
    rows = [Document(one, f"https://example.org/{at}").to_row() for at, one in enumerate(texts)]
    write_jsonl(out / "train.jsonl", rows)
    ledger.add_artefact(run, "out", "documents", out)
    ledger.finish_run(run, 1.0)
    return run


def is_offer(shown: str) -> bool:
    return "shoes" in shown or "신발" in shown


def judge(ledger: Ledger, who: str, n: int = 1000) -> int:
    """Say keep or drop of at most n pages; returns of how many."""
    for done in range(n):
        page = next_page(ledger, who)
        if page is None:
            return done
        save_label(ledger, who, page["id"], "drop" if is_offer(page["text"]) else "keep", 900, "keyboard")
    return n


def n_rows(ledger: Ledger) -> int:
    with ledger.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(PageLabel)) or 0


def test_without_a_corpus_nothing_is_asked(ledger: Ledger, ann: str) -> None:
    assert next_page(ledger, ann) is None
    found = labels_overview(ledger, ann, leads=True)
    assert (found["corpora"], found["corpus"], found["n_waiting"], found["people"]) == ([], None, 0, [])
    with pytest.raises(RefusedError, match="no such corpus"):
        next_page(ledger, ann, "0009-corpus")


def test_what_two_people_say_trains_a_classifier(
    ledger: Ledger, ann: str, bob: str, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add_run(ledger)
    assert judge(ledger, ann, 20) == 20
    first = labels_overview(ledger, ann, leads=True)
    assert (first["corpus"], first["n_drawn"], first["n_waiting"], first["mine"]) == (run, 48, 28, 20)
    assert judge(ledger, bob) == 28
    found = labels_overview(ledger, bob)
    assert (found["keep"], found["drop"], found["unsure"], found["mine"]) == (24, 24, 0, 28)
    assert found["n_waiting"] == 0 and found["people"] is None  # who did how much is for those who lead
    assert labels_overview(ledger, ann, leads=True)["people"] == [{"name": "Bob", "n": 28}, {"name": "Ann", "n": 20}]
    assert next_page(ledger, ann) is None

    rows = export_rows(ledger, "labels")
    assert {row["person_name"] for row in rows} == {"Ann", "Bob"} and rows[0]["url"].startswith("https://example.org/")
    path = tmp_path / "labels.jsonl"
    how = ["data", "export", str(path), "--form", "labels", "--workspace", str(ledger.root)]
    monkeypatch.setenv("MALMOI_DATABASE_URL", database_url)
    result = CliRunner().invoke(app, how)
    assert result.exit_code == 0 and "48 rows" in result.output, result.output
    given = read_labels([path])
    assert sum(label.keep for label in given) == 24 and train(given)[1]["auc"]["mean"] > 0.9
    with pytest.raises(ConfigError, match="no snapshot holds them"):
        export_rows(ledger, "labels", "abc")


def test_a_page_is_in_one_persons_hands_until_they_say_something_or_their_time_ends(
    ledger: Ledger, ann: str, bob: str
) -> None:
    add_run(ledger)
    mine = next_page(ledger, ann)
    theirs = next_page(ledger, bob)
    assert mine and theirs and mine["id"] != theirs["id"]
    assert next_page(ledger, ann) == mine  # also after the page is loaded again
    with writing(ledger.engine) as connection:
        ended = update(LabelPage).where(LabelPage.held_by == ann)
        connection.execute(ended.values(held_until=now() - timedelta(seconds=1)))
    save_label(ledger, bob, theirs["id"], "keep")
    assert next_page(ledger, bob) == mine
    save_label(ledger, ann, mine["id"], "drop")  # too late, and still not lost
    save_label(ledger, bob, mine["id"], "keep")
    assert [(row["person"], row["label"]) for row in label_rows(ledger) if row["text"] == mine["text"]] == [
        (ann, 0), (bob, 1),
    ]  # fmt: skip


def test_who_cannot_tell_passes_the_page_on_and_is_not_asked_again(ledger: Ledger, ann: str, bob: str) -> None:
    add_run(ledger, n=1)
    unsure = next_page(ledger, ann)
    assert unsure is not None
    save_label(ledger, ann, unsure["id"], "unsure")
    rest = set()
    while (page := next_page(ledger, ann)) is not None:
        rest.add(page["id"])
        save_label(ledger, ann, page["id"], "keep")
    assert len(rest) == 3 and unsure["id"] not in rest
    assert next_page(ledger, bob) == unsure
    save_label(ledger, bob, unsure["id"], "drop")
    assert next_page(ledger, bob) is None
    assert [row["label"] for row in label_rows(ledger)] == [None, 1, 1, 1, 0]


def test_what_was_said_is_taken_back_page_by_page_and_never_overwritten(ledger: Ledger, ann: str, bob: str) -> None:
    add_run(ledger)
    said = []
    for _ in range(3):
        page = next_page(ledger, ann)
        assert page is not None
        said.append(page["id"])
        save_label(ledger, ann, page["id"], "keep")
    save_label(ledger, ann, said[-1], "keep")
    assert n_rows(ledger) == 3  # the same again is nothing new
    held = next_page(ledger, ann)
    for id_ in reversed(said):
        assert labels_overview(ledger, ann)["last"] == id_
        withdraw_label(ledger, ann, id_)
        assert next_page(ledger, ann, "")["id"] == id_  # type: ignore[index]
    assert (labels_overview(ledger, ann)["last"], label_rows(ledger), n_rows(ledger)) == (None, [], 6)
    withdraw_label(ledger, ann, said[0])
    assert n_rows(ledger) == 6
    assert held and next_page(ledger, bob)["id"] not in (said[0], None)  # type: ignore[index]
    save_label(ledger, ann, said[0], "drop")
    assert [row["label"] for row in label_rows(ledger)] == [0]
    with pytest.raises(DatabaseError, match="never updated"), writing(ledger.engine) as connection:
        connection.execute(text("UPDATE page_label SET label = 1"))
    with pytest.raises(RefusedError, match="no such label"):
        withdraw_label(ledger, bob, said[1])


@pytest.mark.parametrize(("page", "said"), [("nowhere", "keep"), ("", "keep"), (None, "maybe"), (None, "1")])
def test_a_page_that_is_none_and_a_word_that_is_none_are_refused(
    ledger: Ledger, ann: str, page: str | None, said: str
) -> None:
    add_run(ledger, n=1)
    shown = next_page(ledger, ann)
    assert shown is not None
    with pytest.raises(RefusedError):
        save_label(ledger, ann, shown["id"] if page is None else page, said)
    assert n_rows(ledger) == 0


def test_more_pages_are_drawn_when_all_are_judged_and_none_twice(
    ledger: Ledger, ann: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_labels, "N_DRAWN", 5)
    add_run(ledger, n=3)
    assert judge(ledger, ann) == 12 == len({row["id"] for row in label_rows(ledger)})
    add_run(ledger, n=4)  # a later run with the same texts and four more
    assert judge(ledger, ann) == 4 and len(label_rows(ledger)) == 16


def test_a_corpus_that_was_built_is_found_and_a_damaged_one_is_told(ledger: Ledger, ann: str, tmp_path: Path) -> None:
    pytest.importorskip("fastwarc", reason="pip install 'malmoi[corpus]'")
    from malmoi.corpus.build import build
    from malmoi.corpus.form import Settings

    write_jsonl(tmp_path / "pages.jsonl", [{"text": prose(i), "url": f"https://tea.org/{i}"} for i in range(4)])
    built = ledger.root / "corpora" / "web"
    build([str(tmp_path / "pages.jsonl")], built, Settings(near_from=1), say=lambda line: None)
    run = add_run(ledger, n=1)
    assert labels_overview(ledger, ann)["corpora"] == ["corpora/web", run]
    page = next_page(ledger, ann, "corpora/web")
    assert page is not None and page["language"] == "en" and page["corpus"] == "corpora/web"
    shard = next((built / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:50])
    with writing(ledger.engine) as connection:
        for table in ("label_page", "label_corpus"):
            connection.execute(text(f"DELETE FROM {table}"))
    with pytest.raises(DataError, match="damaged"):
        next_page(ledger, ann, "corpora/web")


def test_a_person_who_is_forgotten_has_said_nothing(ledger: Ledger, ann: str, bob: str) -> None:
    add_run(ledger)
    judge(ledger, bob, 3)
    held = next_page(ledger, bob)
    assert held is not None
    save_label(ledger, bob, held["id"], "keep")
    withdraw_label(ledger, bob, held["id"])
    assert data_overview(ledger)["labels"] == 3
    assert {row["name"]: row["n_labels"] for row in people_with_data(ledger)} == {"Ann": 0, "Bob": 3}
    forget_person(ledger, bob)
    assert label_rows(ledger) == [] and data_overview(ledger)["labels"] == 0
    assert labels_overview(ledger, ann)["n_waiting"] == 48
