from __future__ import annotations

import random
from pathlib import Path

import pytest

from projector.fold import SettlingFailed
from projector.fold import fold as fold_batch
from projector.seen_filter import Filter
from projector.seen_newest import Newest
from projector.staging import read_heads
from schemas.event import Event, encode_event
from schemas.kinds import KicksGifted
from schemas.read_models import READ_MODELS, ReadModel
from tests.harness import Folded, fold
from tests.projector.events import USER, event


def gift(amount: int, event_id: str, natural_key: str | None = None) -> Event:
    return event(KicksGifted(amount=amount), event_id=f"kick:{event_id}", natural_key=natural_key)


CHAINS = {
    "by event id": ([gift(1, "a"), gift(2, "a")], 1),
    "by natural key": ([gift(1, "a", "k"), gift(2, "b", "k")], 1),
    "no natural key is no key": ([gift(1, "a"), gift(2, "b")], 3),
    "what fell leaves no trace": ([gift(1, "a", "k"), gift(2, "b", "k"), gift(4, "b", "l"), gift(8, "c", "l")], 5),
    "two that stand forbid one": ([gift(1, "a", "k"), gift(2, "b", "l"), gift(4, "a", "l")], 3),
    "an event id is no natural key": ([gift(1, "a", "kick:b"), gift(2, "b", "kick:a")], 3),
    "text that sql would trim or fold": ([gift(1, "a", "k"), gift(2, "A", "k "), gift(4, "a ", "K")], 7),
}


@pytest.mark.parametrize("batches", [None, [1, 1, 1, 1], [2, 2], [1, 3]], ids=str)
@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_the_first_in_the_log_stands_whole(tmp_path: Path, chain: str, batches: list[int] | None) -> None:
    log, kicks = CHAINS[chain]
    with fold(log, path=tmp_path / "a.duckdb", batches=batches) as folded:
        assert folded.ask(USER, "kicks_summary")[0].total_kicks == kicks


def test_however_far_apart(tmp_path: Path) -> None:
    first = gift(1, "first", "key")
    between = [gift(0, str(number)) for number in range(3_000)]
    with fold([first, *between], path=tmp_path / "a.duckdb", batches=[500] * 6) as folded:
        folded.more([gift(2, "first"), gift(4, "other", "key"), gift(8, "new")])
        assert folded.ask(USER, "kicks_summary")[0].total_kicks == 9
        assert folded.commits[-1].duplicates == 2


@pytest.mark.parametrize("restarts", [False, True])
def test_however_far_back_past_what_is_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    monkeypatch.setattr("projector.seen_newest.KEPT", 3)
    monkeypatch.setattr("projector.seen.LOADED_AT_ONCE", 12)
    folded = Folded(tmp_path / "a.duckdb")
    rng, log = random.Random(1), [gift(1, f"{number}", f"key {number}") for number in range(400)]
    for begin in range(0, 400, 10):
        known = log[: begin or 1]
        repeated = [rng.choice(known), gift(2, f"other {begin}", rng.choice(known).natural_key)] if begin else []
        folded.more([*log[begin : begin + 10], *repeated])
        assert folded.commits[-1].duplicates == len(repeated)
        if restarts and begin % 100 == 0:
            folded.close()
            folded = Folded(tmp_path / "a.duckdb")
    assert folded.session.filter.loaded > (300 if not restarts else 100)
    assert folded.ask(USER, "kicks_summary")[0].total_kicks == 400
    folded.close()


def test_a_filter_has_what_it_was_given_and_little_else() -> None:
    rng = random.Random(1)
    given, others = ([rng.getrandbits(64) for _ in range(50_000)] for _ in range(2))
    known = Filter(first_slots=1 << 12)
    assert known.may_have(given) == []
    known.add(given)
    known.add(given[:1000])
    assert set(known.may_have(given)) == set(range(50_000))
    assert len(known.may_have(others)) < 50


def test_what_was_not_committed_is_not_remembered(tmp_path: Path) -> None:
    with fold([gift(1, "a", "k")], path=tmp_path / "a.duckdb") as folded:
        values = [encode_event(gift(2, "b", "l"))]
        broken = ReadModel(name="broken", version=1, settle=("SELECT error('no')",))
        with pytest.raises(SettlingFailed):
            fold_batch(folded.session, 1, [1], values, 20_000, models=(*READ_MODELS, broken))
        folded.more([gift(2, "b", "l"), gift(4, "c", "l"), gift(8, "b")])
        assert folded.ask(USER, "kicks_summary")[0].total_kicks == 3


def test_the_newest_keys_are_those_of_the_last_two_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projector.seen_newest.KEPT", 10)
    newest = Newest()
    heads = [gift(1, f"{number}", f"key {number}") for number in range(40)]
    for at in range(0, 35, 5):
        newest.add(read_heads(range(5), [encode_event(one) for one in heads[at : at + 5]]).heads, at + 5)
    assert (newest.since, newest.until) == (20, 35)
    read = read_heads(range(40), [encode_event(one) for one in heads]).heads
    assert newest.known(range(40), read) == set(range(20, 35))
    newest.begin(50)
    assert (newest.since, newest.until, newest.known(range(40), read)) == (50, 50, set())


@pytest.mark.parametrize("large", [1, 1_000])
def test_large_batches_and_small_ones_know_of_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    with fold([], path=tmp_path / "a.duckdb") as folded:
        for size in (1, large, 1):
            monkeypatch.setattr("projector.seen.LARGE", size)
            folded.more([gift(1, "a", "k"), gift(1, "b"), gift(1, f"new {len(folded.commits)}")])
        assert [commit.duplicates for commit in folded.commits] == [0, 2, 2]


def test_equal_hashes_of_different_keys_are_no_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projector.seen.LARGE", 1)  # the table itself is looked through
    with fold([gift(1, "a")], path=tmp_path / "a.duckdb") as folded:
        folded.session.execute("UPDATE seen SET hash = hash('kick:b')")
        folded.more([gift(2, "b")])
        assert folded.ask(USER, "kicks_summary")[0].total_kicks == 3
