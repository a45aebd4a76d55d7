"""The rate limit by its own clock: a bucket, and several that share."""

from __future__ import annotations

import pytest

from schemas.errors import Problem
from streamkit.limits import Allowance


def taken(allowance: Allowance, now_s: float, *, at_most: int = 1000) -> int:
    """How many requests get through at one moment."""
    for count in range(at_most):
        try:
            allowance.take("a", now_s)
        except Problem:
            return count
    return at_most


def test_a_burst_and_then_the_rate() -> None:
    allowance = Allowance(50)
    assert [taken(allowance, now_s) for now_s in (0.0, 1.0, 1.5, 100.0)] == [100, 50, 25, 100]


def test_off() -> None:
    assert Allowance(0).take("a", 0.0) is None


def test_what_was_spent_is_told_once_and_refusals_cost_nothing() -> None:
    allowance = Allowance(2)
    assert taken(allowance, 0.0) == 4
    allowance.take("b", 0.0)
    assert allowance.spent() == {"a": 4, "b": 1}
    assert allowance.spent() == {}


def test_what_is_spent_elsewhere_is_taken_here_and_not_told_again() -> None:
    allowance = Allowance(50)
    allowance.charge({"a": 60}, 0.0)
    assert allowance.take("a", 0.0) == '"client";r=39;t=2'
    assert allowance.spent() == {"a": 1}


def test_a_bucket_that_is_overdrawn_says_when_to_come_back() -> None:
    allowance = Allowance(50)
    allowance.charge({"a": 100_000}, 0.0)
    with pytest.raises(Problem) as refused:
        allowance.take("a", 0.0)
    assert refused.value.code == "rate_limited"
    assert refused.value.headers["Retry-After"] == "3"
    assert refused.value.headers["RateLimit"] == '"client";r=0;t=4'
    assert taken(allowance, 3.0) == 50


def test_two_that_share_give_what_one_would() -> None:
    here, there = Allowance(50), Allowance(50)
    through = 0
    for tenth in range(100):
        now_s = tenth / 10
        through += taken(here, now_s, at_most=20) + taken(there, now_s, at_most=20)
        spent_here, spent_there = here.spent(), there.spent()
        here.charge(spent_there, now_s)
        there.charge(spent_here, now_s)
    alone = 100 + 10 * 50
    assert alone * 0.9 < through < alone * 1.1
