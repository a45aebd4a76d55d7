"""What the log does not take goes into the spool and from there onto the log: in order, within limits, counted once."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ingest import drain as draining
from schemas.errors import LogUnavailable
from schemas.first_party_route import PUSH_EVENTS
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import DEAD_LETTERS, EVENTS, Appended, Batch, Record
from streamkit.standby import OfLog, StandbyFile, take_file
from streamkit.telemetry import REGISTRY
from tests.harness import fold
from tests.ingest.conftest import OTHER_USER_ID, Answered, Ingest
from tests.ingest.test_broker_away import follow_of
from tests.samples import KICK_BROADCASTER, USER_ID
from tests.signing import KickSigner, TwitchSigner

JSON = {"Content-Type": "application/json"}


class Fickle(MemoryLog):
    """A log that can be away. `lands`: what it says it did not take is there all the same."""

    def __init__(self) -> None:
        super().__init__(partitions=4)
        self.is_away = False
        self.lands = False

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        if self.is_away:
            if self.lands:
                await super().append(topic, records)
            raise LogUnavailable("away")
        return await super().append(topic, records)

    async def read(self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0) -> Batch:
        if self.is_away:
            raise LogUnavailable("away")
        return await super().read(topic, partition, position, limit=limit, wait_s=wait_s)

    async def ends(self, topic: str) -> tuple[int, ...]:
        if self.is_away:
            raise LogUnavailable("away")
        return await super().ends(topic)


class Spooling(Ingest):
    """A room with a spool in front of a fickle log."""

    log: Fickle
    file: StandbyFile

    async def restart(self, folder: Path, max_bytes: int = 1 << 20) -> None:
        """Serve a room over what the folder holds."""
        self.file = await take_file(folder, OfLog(self.log.log_id, 4, "kafka://test"))
        await self.start(standby=self.file, spool_max_bytes=max_bytes)

    async def stop(self) -> None:
        """End it; `restart` goes on from what the folder holds."""
        await self.close()
        await self.file.close()
        self._stop = asyncio.Event()

    async def follow(self, user: str) -> Answered:
        """A delivery about a broadcaster of Kick, who may be unknown."""
        return await self.post_kick("channel.followed", follow_of(user))

    async def drained(self) -> None:
        """Returns when the spool is empty."""
        assert self.room.spool is not None
        await until(lambda: self.room.spool is not None and self.room.spool.events == 0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.fixture
async def ingest(kick_signer: KickSigner, tmp_path: Path) -> AsyncIterator[Spooling]:
    ingest = Spooling(kick_signer, TwitchSigner(), Fickle())
    await ingest.register(USER_ID, "kick", KICK_BROADCASTER)
    await ingest.restart(tmp_path)
    yield ingest
    await ingest.stop()


def spooled(answer: Answered) -> bool:
    """Whether it is a 200 without a position."""
    assert answer.status == 200, answer
    return "Streamkit-Position" not in answer.headers


async def test_order_is_kept_over_the_seam_and_what_comes_meanwhile_joins(ingest: Spooling) -> None:
    answers = [await ingest.follow(KICK_BROADCASTER)]
    ids = []
    for number in range(30):
        ingest.log.is_away = 5 <= number < 20
        id_ = f"01KJMMA2G0TESTS0000000{number:04}"
        answers.append(await ingest.post_kick("channel.followed", follow_of(KICK_BROADCASTER), message_id=id_))
        ids.append(f"kick:{id_}")
    await ingest.drained()
    assert [spooled(answer) for answer in answers[:21]] == [False] * 6 + [True] * 15
    events = await ingest.events()
    assert [event.event_id for event in events[1:]] == ids
    assert not spooled(await ingest.follow(KICK_BROADCASTER))


async def test_an_id_is_known_at_the_edge_only_when_its_event_is_on_the_log(ingest: Spooling) -> None:
    ingest.log.is_away = True
    signed = ingest.kick.headers("channel.followed", follow_of(KICK_BROADCASTER))
    for _ in range(2):
        assert spooled(await ingest.post("/webhooks/kick", follow_of(KICK_BROADCASTER), signed))
    assert ingest.soft.positions == {}
    ingest.log.is_away = False
    await ingest.drained()
    assert len(await ingest.events()) == 2
    assert ingest.soft.positions == {f"kick:{signed['Kick-Event-Message-Id']}": "3:2"}
    again = await ingest.post("/webhooks/kick", follow_of(KICK_BROADCASTER), signed)
    assert again.headers["Streamkit-Position"] == "3:2"


async def test_an_append_that_was_given_up_and_landed_all_the_same_counts_once(
    ingest: Spooling, tmp_path: Path
) -> None:
    ingest.log.is_away = ingest.log.lands = True
    assert spooled(await ingest.follow(KICK_BROADCASTER))
    assert spooled(await ingest.follow(KICK_BROADCASTER))
    await until(lambda: len(ingest.log._records[EVENTS][3]) >= 3)  # the drain's own knock landed too
    ingest.log.is_away = ingest.log.lands = False
    await ingest.drained()
    on_log = await ingest.events()
    assert len(on_log) > len({event.event_id for event in on_log}) == 2
    with fold(on_log, path=tmp_path / "folded.duckdb") as folded:
        assert sum(commit.duplicates for commit in folded.commits) == len(on_log) - 2


async def test_the_next_process_goes_on_with_what_is_spooled(ingest: Spooling, tmp_path: Path) -> None:
    ingest.log.is_away = True
    for _ in range(3):
        assert spooled(await ingest.follow(KICK_BROADCASTER))
    await ingest.stop()
    ingest.log.is_away = False
    await ingest.restart(tmp_path)
    await ingest.drained()
    assert len({event.event_id for event in await ingest.events()}) == 3


async def test_a_spool_that_is_full_refuses_until_there_is_room(ingest: Spooling, tmp_path: Path) -> None:
    await ingest.stop()
    await ingest.restart(tmp_path, max_bytes=2000)
    ingest.log.is_away = True
    answers = [await ingest.follow(KICK_BROADCASTER) for _ in range(8)]
    taken = [answer for answer in answers if answer.status == 200]
    assert 1 <= len(taken) < 8
    refused = answers[-1]
    assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
    assert json.loads(refused.body)["error"] == "unavailable"
    assert "STREAMKIT_SPOOL_MAX_BYTES" in json.loads(refused.body)["message"]
    assert any("platforms get 503" in reason for reason in ingest.room.readiness())
    ingest.log.is_away = False
    await ingest.drained()
    assert not spooled(await ingest.follow(KICK_BROADCASTER))
    assert ingest.room.readiness() == []
    assert len(await ingest.events()) == len(taken) + 1


async def test_what_a_bot_pushes_is_spooled_whole_and_is_idempotent_still(ingest: Spooling) -> None:
    credentials = await ingest.issue()
    body = [{"id": str(number), "type": "wheel.spun", "data": {"result": "x"}} for number in range(3)]
    sent = json.dumps(body).encode()
    assert (await ingest.post(PUSH_EVENTS.path, json.dumps([body[0]]).encode(), JSON | credentials)).status == 200
    ingest.log.is_away = True
    answer = await ingest.post(PUSH_EVENTS.path, sent, JSON | credentials)
    assert spooled(answer)
    assert json.loads(answer.body)["data"] == {"accepted": 3}
    ingest.log.is_away = False
    await ingest.drained()
    ids = [event.event_id for event in await ingest.events()]
    assert ids == [f"streamkit:{USER_ID}:{number}" for number in range(3)]
    again = await ingest.post(PUSH_EVENTS.path, sent, JSON | credentials)
    assert again.headers["Streamkit-Position"] == "3:3"


async def test_who_is_not_known_is_judged_when_the_log_is_back(ingest: Spooling) -> None:
    ingest.log.is_away = True
    assert spooled(await ingest.follow("7777"))
    assert spooled(await ingest.follow("8888"))
    assert spooled(await ingest.post_kick("no.such.type", b"{}"))
    ingest.log.is_away = False
    await ingest.register(OTHER_USER_ID, "kick", "7777")
    await ingest.drained()
    assert [event.user_id for event in await ingest.events()] == [OTHER_USER_ID]
    letters = {letter.reason: letter for letter in await ingest.letters()}
    assert letters.keys() == {"unknown_broadcaster", "unknown_type"}
    assert letters["unknown_broadcaster"].broadcaster_id == "8888"
    assert letters["unknown_broadcaster"].body == follow_of("8888")


async def test_what_a_process_that_is_gone_left_is_brought_to_the_log(
    ingest: Spooling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "LOOK_AROUND_S", 0.01)
    of = OfLog(ingest.log.log_id, 4, "kafka://test")
    gone, alive = await take_file(tmp_path, of), await take_file(tmp_path, of)
    assert len({ingest.file.path, gone.path, alive.path}) == 3
    ingest.log.is_away = True
    assert spooled(await ingest.follow(KICK_BROADCASTER))
    (value,) = (await ingest.file.log.read(EVENTS, 0, 0)).values
    for file in (gone, alive):
        await file.log.append(
            EVENTS, [Record(str(USER_ID), value.replace(b'"kick:', b'"kick:' + file.path.name.encode()))]
        )
    await gone.close()
    ingest.log.is_away = False
    await until(lambda: not gone.path.exists())
    assert len(await ingest.events()) == 2
    assert alive.path.exists()
    await alive.close(delete=True)


async def test_what_this_build_cannot_read_goes_on_as_it_is(ingest: Spooling) -> None:
    ingest.log.is_away = True
    assert spooled(await ingest.follow(KICK_BROADCASTER))
    assert ingest.room.spool is not None
    await ingest.room.spool.put([Record(str(USER_ID), b"new"), Record("unjudged", b"letter")])
    ingest.log.is_away = False
    await until(lambda: len(ingest.log._records[EVENTS][3]) == 2 and len(ingest.log._records[DEAD_LETTERS][0]) == 1)
    assert ingest.log._records[EVENTS][3][1] == Record(str(USER_ID), b"new")


async def test_a_full_disk_refuses_and_recovers_by_itself(ingest: Spooling) -> None:
    """The limit on the size of files stands for the disk; both give SQLite the same kind of error."""
    ingest.log.is_away = True
    assert spooled(await ingest.follow(KICK_BROADCASTER))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (ingest.file.path.with_name(f"{ingest.file.path.name}-wal").stat().st_size, hard)
    )
    try:
        answer = await ingest.follow(KICK_BROADCASTER)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert any("platforms get 503" in reason for reason in ingest.room.readiness())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert spooled(await ingest.follow(KICK_BROADCASTER))
    ingest.log.is_away = False
    await ingest.drained()
    assert len(await ingest.events()) == 2


async def test_the_metrics_tell_what_waits(ingest: Spooling) -> None:
    ingest.log.is_away = True
    before: Any = REGISTRY.get_sample_value("streamkit_deliveries_total", {"platform": "kick", "outcome": "spooled"})
    assert spooled(await ingest.follow(KICK_BROADCASTER))
    told = ingest.room.spooled()
    assert told is not None
    assert (told.events, told.bytes > 100, told.oldest_s >= 0) == (1, True, True)
    sample = REGISTRY.get_sample_value
    assert sample("streamkit_spool_events") == 1
    assert sample("streamkit_spool_bytes") == told.bytes
    assert sample("streamkit_spool_oldest_seconds") == pytest.approx(told.oldest_s, abs=0.01)
    assert sample("streamkit_deliveries_total", {"platform": "kick", "outcome": "spooled"}) == before + 1
    ingest.log.is_away = False
    await ingest.drained()
    told = ingest.room.spooled()
    assert told is not None
    assert (told.events, told.bytes, told.oldest_s) == (0, 0, 0.0)
