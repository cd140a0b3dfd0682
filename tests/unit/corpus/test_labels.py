"""Labels of people, keep and drop: asked for, read, and learned from by a classifier that says what it is worth."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.corpus.build import build
from malmoi.corpus.built import open_built, pages_of
from malmoi.corpus.form import Settings
from malmoi.corpus.labelling import LabelFile, pages_to_label
from malmoi.corpus.labels import Label, auc, judged, read_labels, train
from malmoi.corpus.steps.learned import Classifier, fit, rows_of
from malmoi.corpus.steps.quality import score
from malmoi.errors import DataError
from malmoi.files import write_jsonl
from tests.unit.corpus.test_web import prose, records, zipped

pytest.importorskip("fastwarc", reason="pip install 'malmoi[corpus]'")
OFFERS = {
    "en": "Buy now! Best price for shoes and bags. Free shipping today. Click the button to order your new pair. ",
    "ko": "지금 구매하세요! 신발과 가방을 가장 싼 값에 팝니다. 오늘은 배송비가 없습니다. 단추를 눌러 주문하세요. ",
}


def offer(number: int, language: str) -> str:
    """As long as `prose`, with its punctuation: only the words tell them apart."""
    rng = random.Random(number)
    words = OFFERS[language].split()
    lines = [" ".join(rng.sample(words, len(words))) + f" {number * 1000 + n}." for n in range(12)]
    return "\n".join(lines)


def labels(n: int) -> list[Label]:
    kept = [Label(prose(i, korean=language == "ko"), True, language) for i in range(n) for language in OFFERS]
    dropped = [Label(offer(i, language), False, language) for i in range(n) for language in OFFERS]
    return kept + dropped


def test_a_classifier_learns_from_few_labels_in_both_languages_and_keeps_them_apart_from_its_report() -> None:
    classifier, report = train(labels(12))
    assert report["auc"]["mean"] > 0.95 and set(report["auc_by_language"]) == {"en", "ko"}
    for language in OFFERS:
        kept, dropped = prose(99, korean=language == "ko"), offer(99, language)
        assert classifier.of(kept, language) > 0.5 > classifier.of(dropped, language)
    rng = random.Random(1)
    said = [Label(label.text, rng.random() < 0.5, label.language) for label in labels(25)]
    unlearnable = train(said)[1]["auc"]
    assert unlearnable["low"] < 0.5 < unlearnable["high"], "its own training labels would give 1"


def test_the_same_labels_give_the_same_bytes_whatever_their_order(tmp_path: Path) -> None:
    rows = [{"text": label.text, "label": int(label.keep)} for label in labels(10)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    write_jsonl(tmp_path / "b.jsonl", rows[::-1])
    for name in "ab":
        train(read_labels([tmp_path / f"{name}.jsonl"]))[0].save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    (tmp_path / "c").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="no classifier"):
        Classifier.load(tmp_path / "c")


def test_the_fit_is_the_minimum() -> None:
    some = labels(6)
    rows, keep = (
        rows_of([one.text for one in some], [one.language for one in some]),
        np.array([one.keep for one in some]),
    )
    found = fit(rows, keep.astype(float), 0.03)
    wrong = (found.of_rows(rows) - keep) / len(keep)
    each = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    slope = np.bincount(rows.buckets, rows.values * wrong[each], len(found.weights)) + 0.03 * found.weights
    assert abs(wrong.sum()) < 1e-3 and np.abs(slope).max() < 1e-4


def test_where_labels_say_nothing_the_rule_decides() -> None:
    some = labels(6)
    rows = rows_of([one.text for one in some], [one.language for one in some])
    keep = np.array([one.keep for one in some], float)
    rule = np.array([score(one.text, one.language) for one in some])
    held = fit(rows, keep, 1e6).of_rows(rows)  # a penalty under which nothing is learned but the score's weight
    assert np.corrcoef(np.log(held / (1 - held)), rule)[0, 1] > 0.9999


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    scores, keep = np.array([0.1, 0.4, 0.4, 0.8, 0.3]), np.array([0.0, 1, 0, 1, 0])
    pairs = [(a > b) + 0.5 * (a == b) for a, x in zip(scores, keep, strict=True) if x
             for b, y in zip(scores, keep, strict=True) if not y]  # fmt: skip
    assert auc(scores, keep) == pytest.approx(np.mean(pairs))
    report = judged(scores, keep, ["en"] * 5, [1] * 5)
    assert report["roc"][0] == [0, 0] and report["roc"][-1] == [1, 1]
    assert report["auc_of_length"]["mean"] == 0.5 and sum(n for _, _, n in report["calibration"]) == 5


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "l.jsonl:1: is not JSON"), ("[1]", 'needs "text" and "label"'), ('{"text": "a"}', "needs"),
        ('{"text": "a", "label": 2}', "give 1"), ('{"text": "a", "label": [1]}', "give 1"),
        ('{"text": "a", "label": "k"}', "give 1"), ('{"text": "a", "label": 1}', "1 labels keep and 0 drop"),
    ],
)  # fmt: skip
def test_a_wrong_label_is_one_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "l.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=said) as error:
        read_labels([tmp_path / "l.jsonl"])
    assert "l.jsonl" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(DataError, match="no such file"):
        read_labels([tmp_path / "none.jsonl"])


def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"text": "a", "label": 1}\n' * 50)
    (tmp_path / "l.jsonl.gz").write_bytes(whole[:20] + b"\xff" * 20)
    with pytest.raises(DataError, match=r"l\.jsonl\.gz: cannot be read"):
        read_labels([tmp_path / "l.jsonl.gz"])


def test_labels_are_counted_however_they_are_written(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "l.jsonl", [{"text": "a", "label": label} for label in (1, "1", True, "keep", 0, "0", None)])
    assert str(LabelFile(tmp_path / "l.jsonl")) == "4 keep, 2 drop, 1 unsure"


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    folder = tmp_path / "crawl"
    folder.mkdir()
    (folder / "a.warc.gz").write_bytes(zipped(records(8)))
    offers = [{"text": offer(i, language)} for i in range(50, 54) for language in OFFERS]
    write_jsonl(folder / "b.jsonl", offers)
    return folder


def test_a_build_keeps_the_wanted_share_of_each_language(crawl: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "l.jsonl", [{"text": one.text, "label": int(one.keep)} for one in labels(12)])
    how = Settings(labels=(str(tmp_path / "l.jsonl"),), keep_share=0.5, min_score=0, rules=(), near_from=1)
    made = build([str(crawl)], tmp_path / "out", how, say=lambda line: None)
    assert made["languages"] == {"en": 4, "ko": 4} and made["dropped"] == {"share": {"below the best 50%": 8}}
    assert {page.metadata["archive"] for page in pages_of(tmp_path / "out")} == {"a.warc.gz"}
    assert made["classifier"]["auc"]["mean"] > 0.95 and made["passed"]["share"][0] == 8
    how = how.model_copy(update={"keep_share": None})
    made = build([str(crawl)], tmp_path / "likely", how, say=lambda line: None)
    assert made["dropped"] == {"share": {"classifier: rather to drop": 8}}
    how = Settings(keep_share=0.25, min_score=0, rules=(), near_from=1, repeated_lines=False)
    made = build([str(crawl)], tmp_path / "rule", how, say=lambda line: None)
    assert made["n_kept"] == 4 and "classifier" not in open_built(tmp_path / "rule")


def test_a_person_is_asked_goes_back_and_goes_on(crawl: Path, tmp_path: Path) -> None:
    def label(keys: str, *more: str) -> str:
        result = CliRunner().invoke(app, ["corpus", "label", str(crawl), "--to", str(tmp_path / "l.jsonl"), *more],
                                    input="".join(f"{key}\n" for key in keys))  # fmt: skip
        assert result.exit_code == 0, result.output
        return result.output

    assert "3 keep, 1 drop" in label("kdxmukk?udq")
    rows = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == [1, 1, 1, 0]
    order = [page.id for page in pages_to_label(crawl, 300)]
    assert [row["id"] for row in rows] == order[:4]
    assert "12 pages to ask about" in label("ㅇ") and len(LabelFile(tmp_path / "l.jsonl").rows) == 5
    label("d" * 20, "--language", "ko")
    assert {row["language"] for row in LabelFile(tmp_path / "l.jsonl").rows[5:]} == {"ko"}
    build([str(crawl)], tmp_path / "out", Settings(min_score=0, rules=()), say=lambda line: None)
    assert {page.id for page in pages_to_label(tmp_path / "out", 300)} <= set(order)
    with pytest.raises(DataError, match="in language fr"):
        pages_to_label(crawl, 5, "fr")
