"""Who reports and who listens; how long the rest takes."""

from malmoi import progress
from malmoi.progress import Pace


def test_each_reports_what_is_done_to_whoever_listens() -> None:
    told: list[tuple[int, int | None, str]] = []
    with progress.listening(lambda *what: told.append(what)):
        assert list(progress.track("ab", "letters")) == ["a", "b"]
        assert list(progress.track(iter("a"), "letters")) == ["a"]
    assert told == [*((n, 2, "letters") for n in (0, 1, 2)), *((n, None, "letters") for n in (0, 1))]
    assert list(progress.track("ab", "letters")) == ["a", "b"] and len(told) == 5  # nobody listens any more


def test_pace_counts_what_was_done_here_and_begins_again_with_other_work() -> None:
    now = [100.0]
    pace = Pace(lambda: now[0])
    pace.follow(20, 100, "answers")  # 20 were there already
    now[0] += 10
    pace.follow(40, 100, "answers")
    assert str(pace) == "10 s, 30 s left, 2.00 answers/s"
    pace.follow(0, 100, "answers")
    now[0] += 2
    pace.follow(1000, None, "rows")
    now[0] += 1
    pace.follow(1500, None, "rows")
    assert str(pace) == "1 s, 500 rows/s"
