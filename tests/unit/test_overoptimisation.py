"""Over-optimisation curves: the paper's forms are found again, and the arithmetic from answers to gains is right."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.curves import centred, draw, fit_form, frontier, gain_of, mean_curve, table
from benchmarks.overoptimisation import Sizes, Subject, best_of_points, kept, look_at, main
from malmoi.errors import UserError
from malmoi.evals.answering import TextAnswer
from malmoi.files import write_jsonl

SFT: dict[str, Any] = {"golds": [0.4, 0.6], "gold_mean": 0.5, "gold_std": 0.2, "proxies": {"p": {"mean": 1, "std": 2}}}
TOPICS = ["a", "b"]


def curve(form: Any, alpha: float, beta: float, kls: Any = (0.25, 1, 2.25, 4, 9)) -> dict[str, Any]:
    """A seed whose gold follows the paper's form and whose proxy gains √KL."""
    points = []
    for at, kl in enumerate(kls, start=1):
        gain = 0.2 * gain_of(kl**0.5, form, alpha, beta)
        points.append({"at": at, "kl": kl, "proxy": 1 + 2 * kl**0.5, "golds": [0.4 + gain, 0.6 + gain]})
    return centred(points, SFT, "p", TOPICS, form)


@pytest.mark.parametrize(("form", "alpha", "beta"), [("best_of", 1.3, 0.4), ("rl", 0.9, 0.5)])
def test_fit_finds_the_form_and_its_maximum(form: Any, alpha: float, beta: float) -> None:
    d = np.linspace(0, 6, 601)
    gains = np.concatenate([[0], gain_of(d[1:], form, alpha, beta)])
    fit = fit_form(d.tolist(), gains.tolist(), form)
    assert (fit.alpha, fit.beta, fit.r2) == pytest.approx((alpha, beta, 1))
    assert fit.peak == pytest.approx(d[gains.argmax()], abs=0.01)


def test_fit_names_no_maximum_where_there_is_none() -> None:
    rising = [1.0, 2.0, 3.0]
    assert fit_form(rising, [1, 4, 9], "best_of").peak is None
    assert fit_form(rising, [d * (1 - 1e-6 * np.log(d)) for d in rising], "rl").peak is None
    with pytest.raises(ValueError, match="2 points"):
        fit_form([0, 1, 2], [0, 1, 2], "rl")


def test_best_of_n_takes_the_gold_of_what_the_proxy_chose() -> None:
    rng = np.random.default_rng(1)
    scores, golds = rng.normal(size=(3, 4)), rng.random((3, 4))
    points = best_of_points(scores, golds)
    assert [point["at"] for point in points] == [1, 2, 4]
    assert [point["kl"] for point in points] == pytest.approx([0, np.log(2) - 1 / 2, np.log(4) - 3 / 4])
    assert points[0]["golds"] == pytest.approx(golds.mean(axis=1))
    assert points[2]["golds"] == pytest.approx(golds[np.arange(3), scores.argmax(axis=1)])
    chosen = [[row[max(pair, key=lambda i: row[i])] for pair in combinations(range(4), 2)] for row in scores]
    assert points[1]["proxy"] == pytest.approx(np.mean(chosen))


def test_gains_are_in_deviations_of_the_sft_models_answers() -> None:
    found = curve("rl", 0.9, 0.5)
    assert [row["d"] for row in found["points"]] == pytest.approx([0.5, 1, 1.5, 2, 3])
    assert [row["proxy"] for row in found["points"]] == pytest.approx([0.5, 1, 1.5, 2, 3])
    assert found["points"][1]["gold"]["mean"] == pytest.approx(0.9)
    assert (found["fit"]["alpha"], found["fit"]["beta"]) == pytest.approx((0.9, 0.5))


def test_fall_is_from_the_highest_gold_to_the_farthest() -> None:
    found = curve("best_of", 1.0, 0.5)
    assert found["points"][found["best"]]["d"] == 1
    assert found["fall"]["mean"] == pytest.approx(3 * (1 - 0.5 * 3) - 0.5)
    assert found["fall"]["high"] < 0


def test_seeds_are_averaged_only_as_far_as_all_go() -> None:
    near, far = curve("best_of", 1, 0, kls=(0.25, 1, 4)), curve("best_of", 3, 0)
    mean = mean_curve([near, far])
    assert mean["d"][-1] == pytest.approx(2)
    assert mean["gold"][-1] == pytest.approx(4)
    assert frontier(far, near) == pytest.approx({"proxy": 0, "gold": 2, "to_d": 2})


def test_looks_come_often_at_first_and_after_the_last_iteration() -> None:
    assert look_at(40, 4) == {5, 14, 26, 40}
    assert look_at(2, 12) == {1, 2}


def test_what_was_measured_is_measured_again_only_with_other_sizes(tmp_path: Path) -> None:
    said: list[str] = []
    for sizes, result in ((Sizes(), 1), (Sizes(), 2), (Sizes(prompts=3), 3)):
        found = kept("ppo", lambda result=result: result, Subject(tmp_path, tmp_path / "parts", sizes), said.append)
        assert found == (1 if sizes == Sizes() else 3)
    assert len(said) == 2


def test_plot_and_table_say_who_judged(tmp_path: Path) -> None:
    seeds = {"one": curve("best_of", 1.0, 0.5), "two": curve("best_of", 1.2, 0.5)}
    found = {"title": "gold = simulated labeler", "curves": {"best-of-n": {"seeds": seeds}}}
    found["curves"]["best-of-n"]["mean"] = mean_curve(list(seeds.values()))  # type: ignore[index]
    draw(found, tmp_path / "plot.svg")
    assert "gold = simulated labeler" in (tmp_path / "plot.svg").read_text()
    rows = [line.split(" | ")[1:4] for line in table(found).splitlines()[2:]]
    assert rows == [["one", "1.000", "0.500"], ["two", "1.200", "0.500"], ["mean", "1.100", "0.500"]]


def test_a_folder_without_a_finished_demo_is_the_users_mistake(tmp_path: Path, capsys: Any) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "has no rank run" in capsys.readouterr().err
    with pytest.raises(UserError, match="finish it"):
        Subject(tmp_path, tmp_path, Sizes()).made("rank", "train.jsonl")


def test_answers_are_scored_with_the_documents_of_their_prompt(tmp_path: Path) -> None:
    """As stage `demonstrations` writes prompts: a name that only the documents have is supported."""
    documents = [{"title": "os.getcwd", "text": "Return a string: the current folder."}]
    row = {
        "messages": [{"role": "user", "content": "Where am I?", "documents": documents}],
        "references": ["It returns the current folder."], "item": "os.getcwd",
    }  # fmt: skip
    path = tmp_path / "runs" / "0001-demonstrations" / "out" / "prompts.heldout.jsonl"
    write_jsonl(path, [row, {**row, "messages": [{"role": "user", "content": "Where am I?"}]}])
    subject = Subject(tmp_path, tmp_path / "parts", Sizes())
    answer = TextAnswer("os.getcwd returns the current folder.", [1], True)
    given, missing = subject.golds([[answer], [answer]])[:, 0]
    with_documents = "documents" in subject.rows[0]["messages"][-1]
    assert given > missing if with_documents else missing > given
