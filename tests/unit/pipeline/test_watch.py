"""Alarms ring for what they say, and not for noise."""

from malmoi.pipeline.watch import find_alarms

QUIET = {"kl": 0.1, "kl_error": 0.05, "distinct": 1.0, "finished": 0.5}


def test_an_alarm_rings_when_no_answer_ever_ended() -> None:
    assert not find_alarms(QUIET, 20.0, [0.0], [0.0])
    assert list(find_alarms(QUIET | {"finished": 0.0}, 20.0, [0.0], [0.0])) == ["never_ends"]


def test_a_kl_a_little_below_zero_is_noise() -> None:
    assert not find_alarms(QUIET | {"kl": -0.2}, 20.0, [0.0], [0.0])
    assert list(find_alarms(QUIET | {"kl": -0.4}, 20.0, [0.0], [0.0])) == ["negative_kl"]
