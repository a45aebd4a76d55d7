"""Dead letters: once each, within limits that hold over restarts and over processes."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import pytest

from ingest import parking
from ingest.parking import DeadLetterBox
from schemas.control import DeadLettersDropped, DeadLettersRedriven, encode_control
from schemas.dead_letter import DeadLetter, decode_dead_letter, encode_dead_letter, letter_key
from schemas.errors import LogUnavailable, ParkReason
from schemas.event import utc_now
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, Appended, Record
from streamkit.telemetry import REGISTRY
from tests.unreadable import UNREADABLE


def letter(
    number: int = 0, reason: ParkReason = "unknown_type", broadcaster_id: str | None = None, body: bytes = b"{}"
) -> DeadLetter:
    return DeadLetter(
        reason=reason,
        platform="kick",
        type="t",
        event_id=f"kick:{number}",
        user_id=None,
        received_at=utc_now(),
        detail="a test",
        headers={},
        body=body,
        broadcaster_id=broadcaster_id,
    )


async def kept(log: MemoryLog) -> list[DeadLetter]:
    return [decode_dead_letter(value) for value in (await log.read(DEAD_LETTERS, 0, 0, limit=10_000)).values]


async def box(log: MemoryLog, max_bytes: int = 1 << 20) -> DeadLetterBox:
    made = DeadLetterBox(log, max_bytes)
    await made.start()
    return made


async def test_one_letter_for_each_id_and_reason() -> None:
    log = MemoryLog()
    letters = await box(log)
    assert await letters.park(letter(1)) == "parked"
    assert await letters.park(letter(1)) == "already_parked"
    assert await letters.park(letter(1, "malformed")) == "parked"
    assert await letters.park(letter(2)) == "parked"
    assert [(one.event_id, one.reason) for one in await kept(log)] == [
        ("kick:1", "unknown_type"),
        ("kick:1", "malformed"),
        ("kick:2", "unknown_type"),
    ]


async def test_bytes_of_any_kind_are_kept_verbatim() -> None:
    log = MemoryLog()
    body = bytes(range(256))
    await (await box(log)).park(letter(body=body))
    assert (await kept(log))[0].body == body


async def test_the_byte_limit_drops_and_counts_what_is_beyond() -> None:
    log = MemoryLog()
    size = len(encode_dead_letter(letter(100)))
    letters = await box(log, max_bytes=3 * size)
    results = [await letters.park(letter(100 + number)) for number in range(5)]
    assert results == ["parked", "parked", "parked", "dropped", "dropped"]
    assert letters.dropped == 2
    assert letters.bytes_kept <= 3 * size
    assert len(await kept(log)) == 3


async def test_an_unknown_broadcaster_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parking.MAX_PER_UNKNOWN_BROADCASTER == 1000
    monkeypatch.setattr(parking, "MAX_PER_UNKNOWN_BROADCASTER", 3)
    letters = await box(MemoryLog())
    results = [await letters.park(letter(number, "unknown_broadcaster", "1")) for number in range(4)]
    assert results == ["parked", "parked", "parked", "dropped"]
    assert await letters.park(letter(9, "unknown_broadcaster", "2")) == "parked"
    assert await letters.park(letter(10)) == "parked"


async def test_limits_and_ids_hold_over_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "MAX_PER_UNKNOWN_BROADCASTER", 2)
    log = MemoryLog()
    first = await box(log)
    for number in range(2):
        await first.park(letter(number, "unknown_broadcaster", "1"))
    again = await box(log)
    assert again.bytes_kept == first.bytes_kept
    assert await again.park(letter(0, "unknown_broadcaster", "1")) == "already_parked"
    assert await again.park(letter(7, "unknown_broadcaster", "1")) == "dropped"


async def test_what_another_process_parked_counts_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "MAX_PER_UNKNOWN_BROADCASTER", 1)
    log = MemoryLog()
    one, other = await box(log), await box(log)
    assert await one.park(letter(1, "unknown_broadcaster", "1")) == "parked"
    assert await other.park(letter(1, "unknown_broadcaster", "1")) == "already_parked"
    assert await other.park(letter(2, "unknown_broadcaster", "1")) == "dropped"


async def test_letters_of_the_fold_and_of_newer_builds_count_their_bytes() -> None:
    log = MemoryLog()
    failed = encode_dead_letter(letter(1, "fold_failed"))
    await log.append(DEAD_LETTERS, [Record("k", failed), Record("k", failed), Record("k", b"[]")])
    assert (await box(log)).bytes_kept == 2 * len(failed) + 2


async def closed(log: MemoryLog, *letters: DeadLetter, dropped: bool = False) -> None:
    """An operator redrives or drops these letters."""
    kind = DeadLettersDropped if dropped else DeadLettersRedriven
    event = kind(at=utc_now(), by="a test", letters=tuple(letter_key(one) for one in letters))
    await log.append(CONTROL, [Record("dead-letters", encode_control(event))])


async def test_what_lies_before_the_oldest_open_letter_is_room_again() -> None:
    log = MemoryLog()
    size = len(encode_dead_letter(letter(100)))
    letters = await box(log, max_bytes=3 * size)
    for number in range(3):
        await letters.park(letter(100 + number))
    await closed(log, letter(101))
    assert await letters.park(letter(103)) == "dropped"  # a full topic would lose its oldest record, which is open
    await closed(log, letter(100), dropped=True)
    assert await letters.park(letter(103)) == "parked"
    assert await letters.park(letter(104)) == "parked"
    assert await letters.park(letter(105)) == "dropped"
    await closed(log, letter(102), letter(103), letter(104))
    other = await box(log, max_bytes=3 * size)
    assert await other.park(letter(105)) == "parked"
    assert await letters.park(letter(106)) == "parked"
    assert letters.bytes_kept == 2 * size


async def test_an_unknown_broadcasters_letters_are_free_again_when_they_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parking, "MAX_PER_UNKNOWN_BROADCASTER", 2)
    log = MemoryLog()
    letters = await box(log)
    for number in range(2):
        await letters.park(letter(number, "unknown_broadcaster", "1"))
    assert await letters.park(letter(2, "unknown_broadcaster", "1")) == "dropped"
    await closed(log, letter(1, "unknown_broadcaster", "1"))
    await closed(log, letter(1, "unknown_broadcaster", "1"), dropped=True)  # once more: the first stands
    for one in (letters, await box(log)):
        assert await one.park(letter(1, "unknown_broadcaster", "1")) == "already_parked"
    assert await letters.park(letter(3, "unknown_broadcaster", "1")) == "parked"
    for one in (letters, await box(log)):
        assert await one.park(letter(4, "unknown_broadcaster", "1")) == "dropped"


async def test_records_of_the_control_topic_that_mean_nothing_here_free_nothing() -> None:
    log = MemoryLog()
    letters = await box(log, max_bytes=len(encode_dead_letter(letter(1))))
    await letters.park(letter(1))
    await log.append(CONTROL, [Record("1", value) for value in UNREADABLE])
    await closed(log, letter(1, "malformed"))
    assert await letters.park(letter(2)) == "dropped"


class Slow(MemoryLog):
    """A log whose dead letters are durable when the test says so, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.fails = False

    async def append(self, topic: str, records: Any) -> list[Appended]:
        await self.gate.wait()
        if self.fails:
            raise LogUnavailable("The log is away.")
        return await super().append(topic, records)


async def test_a_copy_under_way_is_answered_when_the_first_is_durable() -> None:
    log = Slow()
    letters = await box(log)
    first, second = (asyncio.create_task(letters.park(letter(1))) for _ in range(2))
    _, pending = await asyncio.wait((first, second), timeout=0.02)
    assert pending == {first, second}
    log.gate.set()
    assert {await first, await second} == {"parked", "already_parked"}
    assert len(await kept(log)) == 1


async def test_a_letter_that_is_not_durable_is_not_kept_for_any_of_its_copies() -> None:
    log = Slow()
    log.fails = True
    log.gate.set()
    letters = await box(log)
    results = await asyncio.gather(letters.park(letter(1)), letters.park(letter(1)), return_exceptions=True)
    assert [type(result) for result in results] == [LogUnavailable, LogUnavailable]
    assert letters.bytes_kept == 0
    log.fails = False
    assert await letters.park(letter(1)) == "parked"


async def test_a_letter_that_this_build_cannot_read_counts_by_its_bytes() -> None:
    log = MemoryLog()
    await log.append(DEAD_LETTERS, [Record("1", value) for value in UNREADABLE])
    assert (await box(log)).bytes_kept == sum(map(len, UNREADABLE))


async def test_the_open_ones_are_counted_by_reason_whoever_parked_and_closed_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def open_now() -> dict[str, float | None]:
        reasons = get_args(ParkReason)
        return {r: REGISTRY.get_sample_value("streamkit_dead_letters_open", {"reason": r}) for r in reasons}

    async def counted(expected: dict[str, float]) -> None:
        async with asyncio.timeout(10):
            while open_now() != dict.fromkeys(get_args(ParkReason), 0.0) | expected:
                await asyncio.sleep(0.005)

    monkeypatch.setattr(parking, "COUNT_EVERY_S", 0.01)
    log = MemoryLog()
    mine, others = await box(log), await box(log)
    counting = asyncio.create_task(mine.count())
    await counted({})
    await mine.park(letter(1))
    await others.park(letter(2, "malformed"))
    await others.park(letter(3))
    await log.append(DEAD_LETTERS, [Record("x", UNREADABLE[0]), Record("x", encode_dead_letter(letter(3)))])
    await counted({"unknown_type": 2.0, "malformed": 1.0})
    for _ in range(2):  # closed by two operators at once
        event = DeadLettersDropped(at=utc_now(), by="me", letters=(letter_key(letter(3)), letter_key(letter(9))))
        await log.append(CONTROL, [Record(key="dead-letters", value=encode_control(event))])
    await counted({"unknown_type": 1.0, "malformed": 1.0})
    counting.cancel()
    await asyncio.wait([counting])
    for one in (mine, others):
        await one.close()
