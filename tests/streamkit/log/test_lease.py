"""How long a member may act, on a clock that the test holds."""

from __future__ import annotations

from streamkit.log.lease import LEASE_S, STOPPED_S, Lease


def running(lease: Lease, until_s: float, from_s: float = 0.0) -> None:
    """The process runs and looks at its clock four times a second."""
    ticks = int((until_s - from_s) / 0.25)
    for number in range(ticks + 1):
        lease.tick(from_s + number * 0.25)


def test_nothing_holds_before_it_is_proven() -> None:
    lease = Lease(0.0)
    running(lease, 1.0)
    assert not lease.holds(1.0)
    assert not lease.holds_strictly(1.0)


def test_a_proof_holds_from_when_it_was_asked_for() -> None:
    lease = Lease(0.0)
    running(lease, 3.0)
    lease.proved(1.0)
    assert lease.holds(3.0)
    assert lease.holds_strictly(1.0 + LEASE_S)
    assert not lease.holds_strictly(1.1 + LEASE_S)


def test_a_broker_that_is_away_takes_nothing_away_but_the_right_to_publish() -> None:
    lease = Lease(0.0)
    lease.proved(0.0)
    running(lease, 3600.0)
    assert lease.holds(3600.0)
    assert not lease.holds_strictly(3600.0)


def test_a_process_that_was_stopped_answers_nothing_until_proven_anew() -> None:
    lease = Lease(0.0)
    running(lease, 10.0)
    lease.proved(10.0)
    assert not lease.holds(20.0), "before anything else runs"
    lease.tick(20.0)
    running(lease, 25.0, from_s=20.0)
    assert not lease.holds(25.0)
    lease.proved(19.9)
    assert not lease.holds(25.0), "asked for before it woke"
    lease.proved(20.5)
    assert lease.holds(25.0)


def test_an_answer_that_came_while_it_was_stopped_is_as_old_as_its_question() -> None:
    lease = Lease(0.0)
    running(lease, 10.0)
    lease.tick(30.0)
    lease.proved(10.0)
    assert not lease.holds(30.0)


def test_a_short_stop_changes_nothing() -> None:
    lease = Lease(0.0)
    lease.proved(0.0)
    lease.tick(STOPPED_S + 1)
    assert lease.holds(STOPPED_S + 1)


def test_the_end_of_a_generation_ends_it_at_once() -> None:
    lease = Lease(0.0)
    lease.proved(0.0)
    lease.end()
    assert not lease.holds(0.0)
