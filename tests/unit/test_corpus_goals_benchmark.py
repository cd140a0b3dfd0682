"""The table of the corpus's goals: figures are found in what the commands print, and a missed floor is said."""

from benchmarks.corpus_goals import GOALS, table

SAID = {
    "pages": "malmoi                 0.978 [0.969, 0.985]\ntrafilatura, default   0.964 [0.950, 0.975]\n"
    "difference             0.014 [0.005, 0.026]\nbelow .1: 1 of 90 pages\n2.6 MB/s, 36 pages/s of processor time\n",
    "steps": "of 6,636 clean sentences 2 are taken to hold some\n",
    "build": "  1 processes: 168 pages, 41.5 MB, 99 kept\n    11.0 s by the clock (3.77 MB/s), 10.5 s of processor "
    "time (3.95 MB/s); largest process so far 197 MB\n  1 -> 2 processes: 1.48 times as fast by the clock\n",
}


def test_floors_that_are_missed_or_not_measured_are_named() -> None:
    lines, missed = table(SAID)
    told = {line[:40].strip(): line[40:] for line in lines[1:]}
    assert "0.978 [0.969, 0.985]" in told["main text, F1, articles"] and told["main text, F1, articles"].endswith(
        "good"
    )
    assert "0.964 [0.950, 0.975]" in told["main text, F1, articles"]
    assert told["pages with F1 below .1"].endswith("BELOW THE FLOOR")
    assert told["extraction, MB/s of HTML"].endswith("BELOW THE FLOOR")
    assert told["clean sentences taken, of 1,000"].split()[-2:] == ["0.30", "floor"]
    assert told["whole build, MB/s of HTML a core"].split()[-2:] == ["3.95", "good"]
    assert told["1 -> 2 processes, by the clock"].endswith("BELOW THE FLOOR")
    assert told["near-duplicates, recall"].endswith("NOT MEASURED")
    n_measured = sum(not line.endswith("NOT MEASURED") for line in lines[1:])
    assert (n_measured, missed) == (8, len(GOALS) - 8 + 3)
