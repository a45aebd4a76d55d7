"""The circuit breaker and the budget of retries, fed with times."""

from __future__ import annotations

from streamkit.platforms.breaker import FAILURES, OPEN_FIRST_S, OPEN_LAST_S, Breaker


def opened(at_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(at_s)
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    assert breaker.admits(0.0)
    breaker.failed(0.0)
    assert breaker.is_open
    assert not breaker.admits(0.0)
    assert breaker.retry_after_s(0.5) == OPEN_FIRST_S - 0.5


def test_one_probe_at_a_time_and_success_closes_it() -> None:
    breaker = opened()
    assert not breaker.admits(OPEN_FIRST_S - 0.01)
    assert breaker.admits(OPEN_FIRST_S)
    assert not breaker.admits(OPEN_FIRST_S)
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.admits(OPEN_FIRST_S)


def test_a_failed_probe_opens_it_for_longer_to_a_limit() -> None:
    breaker, now_s, waited = opened(), 0.0, []
    for _ in range(8):
        waited.append(breaker.retry_after_s(now_s))
        now_s += waited[-1]
        assert breaker.admits(now_s)
        breaker.failed(now_s)
    assert waited == [2, 4, 8, 16, 32, OPEN_LAST_S, OPEN_LAST_S, OPEN_LAST_S]


def test_a_probe_that_is_given_up_leaves_room_for_another() -> None:
    breaker = opened()
    assert breaker.admits(OPEN_FIRST_S)
    breaker.abandoned()
    assert breaker.admits(OPEN_FIRST_S)


def test_failures_of_calls_that_began_before_it_opened_say_nothing_new() -> None:
    breaker = opened(0.0)
    breaker.failed(1.0)
    assert breaker.retry_after_s(1.0) == OPEN_FIRST_S - 1.0


def test_retries_spend_a_budget_that_calls_fill() -> None:
    breaker = Breaker()
    spent = 0
    while breaker.spend_retry():
        spent += 1
    assert spent == 10
    for _ in range(5):
        breaker.succeeded()
    assert breaker.spend_retry()
    assert not breaker.spend_retry()
