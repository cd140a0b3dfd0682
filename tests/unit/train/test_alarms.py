"""Alarms ring for what they say, and not for noise."""

from malmoi.train.alarms import find_alarms

QUIET = {"kl": 0.1, "kl_error": 0.05, "distinct": 1.0, "finished": 0.5}


def test_an_alarm_rings_when_no_answer_ever_ended() -> None:
    assert not find_alarms(QUIET, 20.0, [0.0], [0.0])
    assert list(find_alarms(QUIET | {"finished": 0.0}, 20.0, [0.0], [0.0])) == ["never_ends"]


def test_a_kl_a_little_below_zero_is_noise() -> None:
    assert not find_alarms(QUIET | {"kl": -0.2}, 20.0, [0.0], [0.0])
    assert list(find_alarms(QUIET | {"kl": -0.4}, 20.0, [0.0], [0.0])) == ["negative_kl"]


def test_scores_that_are_all_equal_ring() -> None:
    assert not find_alarms(QUIET | {"score_range": 1e-3}, 20.0, [0.0], [0.0])
    found = find_alarms(QUIET | {"score_range": 0.0}, 20.0, [0.0], [0.0])
    assert list(found) == ["equal_scores"] and "all scores are equal" in found["equal_scores"]


def test_a_reward_that_rises_while_the_hidden_rule_falls_rings() -> None:
    falling, rising = [0.5] * 8 + [0.4] * 8, [0.0] * 8 + [1.0] * 8
    assert list(find_alarms(QUIET, 20.0, rising, falling)) == ["overoptimised"]
    assert not find_alarms(QUIET, 20.0, rising, rising)
    assert not find_alarms(QUIET, 20.0, rising[:15], falling[:15])
