"""The directory: what stands is decided by log order alone; it follows, refreshes, and survives a log that is away."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import (
    BroadcasterRegistered,
    BroadcasterRemoved,
    ClientIssued,
    ClientRevoked,
    ClientSecretRotated,
    ControlEvent,
    PlatformConnected,
    PlatformDisconnected,
    PlatformName,
    TokenIssued,
    TokenRevoked,
    encode_control,
)
from schemas.errors import LogUnavailable
from streamkit import directory as directory_module
from streamkit.directory import Directory, Identity
from streamkit.log import open_log
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, Batch, EventLog, Record

AT = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def registered(user_id: int, name: str = "N", primary: PlatformName | None = None) -> ControlEvent:
    return BroadcasterRegistered(at=AT, user_id=user_id, name=name, primary_platform=primary)


def connected(user_id: int, platform: PlatformName, platform_id: str, username: str = "u") -> ControlEvent:
    return PlatformConnected(at=AT, user_id=user_id, platform=platform, platform_id=platform_id, username=username)


def disconnected(user_id: int, platform: PlatformName) -> ControlEvent:
    return PlatformDisconnected(at=AT, user_id=user_id, platform=platform)


def removed(user_id: int) -> ControlEvent:
    return BroadcasterRemoved(at=AT, user_id=user_id)


def client(client_id: str, user_id: int) -> ControlEvent:
    return ClientIssued(at=AT, client_id=client_id, user_id=user_id, secret_hash="h0", key_id="k", scopes=("read",))


def rotated(client_id: str, secret_hash: str, at_s: int, overlap_s: int) -> ControlEvent:
    at = AT + timedelta(seconds=at_s)
    return ClientSecretRotated(
        at=at,
        client_id=client_id,
        secret_hash=secret_hash,
        key_id="k",
        previous_until=at + timedelta(seconds=overlap_s),
    )


def token(jti: str, client_id: str, user_id: int) -> ControlEvent:
    return TokenIssued(
        at=AT, jti=jti, client_id=client_id, user_id=user_id, scopes=("read",), expires_at=AT + timedelta(days=1)
    )


def folded(*events: ControlEvent) -> Directory:
    directory = Directory()
    for event in events:
        directory.apply(encode_control(event))
    return directory


async def append(log: EventLog, *events: ControlEvent) -> None:
    await log.append(CONTROL, [Record("any", encode_control(event)) for event in events])


def state(directory: Directory) -> object:
    pairs = [(p, i) for p in ("kick", "twitch") for i in ("1", "2", "3")]
    return (
        list(directory.broadcasters()),
        list(directory.clients()),
        list(directory.tokens()),
        {pair: directory.broadcaster_of(*pair) for pair in pairs},
    )


# What stands


def test_the_first_registration_of_a_user_id_stands() -> None:
    directory = folded(registered(1, "First"), registered(1, "Second"))
    assert [b.name for b in directory.broadcasters()] == ["First"]
    assert directory.version == 1


def test_an_identity_belongs_to_whom_it_was_connected_first() -> None:
    directory = folded(registered(1), registered(2), connected(1, "kick", "7"), connected(2, "kick", "7"))
    assert directory.broadcaster_of("kick", "7") == 1
    assert directory.broadcaster_of("twitch", "7") is None
    second = directory.broadcaster(2)
    assert second is not None
    assert second.platforms == {}


def test_a_connection_of_nobody_is_passed_over() -> None:
    directory = folded(connected(1, "kick", "7"), registered(1))
    assert directory.broadcaster_of("kick", "7") is None


def test_a_rename_stands_and_a_second_account_of_a_platform_does_not() -> None:
    directory = folded(
        registered(1), connected(1, "kick", "7", "old"), connected(1, "kick", "7", "new"), connected(1, "kick", "8")
    )
    found = directory.broadcaster(1)
    assert found is not None
    assert found.platforms == {"kick": Identity("new", "7")}
    assert directory.broadcaster_of("kick", "8") is None


def test_the_primary_platform_is_one_that_is_connected() -> None:
    directory = folded(registered(1, primary="twitch"))

    def primary() -> str | None:
        found = directory.broadcaster(1)
        assert found is not None
        return found.primary_platform

    assert primary() is None
    for event, expected in (
        (connected(1, "kick", "7"), "kick"),
        (connected(1, "twitch", "8"), "twitch"),
        (disconnected(1, "twitch"), "kick"),
        (disconnected(1, "kick"), None),
    ):
        directory.apply(encode_control(event))
        assert primary() == expected


def test_disconnecting_and_removing_free_the_identity() -> None:
    for event in (disconnected(1, "kick"), removed(1)):
        directory = folded(registered(1), connected(1, "kick", "7"), registered(2), event, connected(2, "kick", "7"))
        assert directory.broadcaster_of("kick", "7") == 2


def test_removal_ends_clients_and_tokens_and_the_user_id_is_never_used_again() -> None:
    directory = folded(
        registered(1, "A"), client("c", 1), token("t", "c", 1), removed(1), registered(1, "B"), client("d", 1)
    )
    assert directory.broadcaster(1) is None
    assert directory.was_removed(1)
    assert directory.highest_user_id == 1
    found = directory.client("c")
    assert found is not None
    assert found.revoked
    assert directory.client("d") is None


def test_the_secret_before_is_good_until_the_overlap_ends() -> None:
    directory = folded(registered(1), client("c", 1), rotated("c", "h1", 10, 60))
    found = directory.client("c")
    assert found is not None
    assert [(s.hash, s.valid_until) for s in found.secrets] == [("h1", None), ("h0", AT + timedelta(seconds=70))]


def test_a_rotation_without_overlap_shuts_every_earlier_secret_out() -> None:
    directory = folded(registered(1), client("c", 1), rotated("c", "h1", 10, 60), rotated("c", "h2", 20, 0))
    found = directory.client("c")
    assert found is not None
    assert [s.hash for s in found.secrets] == ["h2"]


def test_no_overlap_outlives_its_own_promise() -> None:
    directory = folded(
        registered(1), client("c", 1), rotated("c", "h1", 0, 10), rotated("c", "h2", 5, 60), rotated("c", "h3", 20, 60)
    )
    found = directory.client("c")
    assert found is not None
    assert [(s.hash, s.valid_until) for s in found.secrets] == [
        ("h3", None),
        ("h2", AT + timedelta(seconds=80)),
        ("h1", AT + timedelta(seconds=65)),
    ]


def test_revoked_stays_revoked() -> None:
    revocations: Sequence[ControlEvent] = (TokenRevoked(at=AT, jti="t"), ClientRevoked(at=AT, client_id="c"))
    directory = folded(registered(1), client("c", 1), token("t", "c", 1), *revocations)
    before = state(directory)
    again = (client("c", 1), token("t", "c", 1), rotated("c", "h1", 0, 9), token("u", "c", 1), *revocations)
    assert not any(directory.apply(encode_control(event)) for event in again)
    assert state(directory) == before


def test_a_token_of_another_broadcasters_client_is_passed_over() -> None:
    directory = folded(registered(1), registered(2), client("c", 1), token("t", "c", 2))
    assert directory.token("t") is None


@pytest.mark.parametrize(
    "value",
    [
        b'{"type":"snapshot.asked","at":"2026-06-01T12:00:00Z"}',
        b"not json",
        b'{"type":"broadcaster.removed","at":"2026-06-01T12:00:00","user_id":1}',
        b'{"type":"broadcaster.removed","at":"2026-06-01T12:00:00Z","user_id":"1"}',
        b"\xff",
        b"",
    ],
)
def test_records_this_build_does_not_know_are_counted_and_passed_over(value: bytes) -> None:
    directory = folded(registered(1))
    assert not directory.apply(value)
    assert (directory.skipped, directory.version) == (1, 1)
    assert directory.broadcaster(1) is not None


_PLATFORMS: st.SearchStrategy[PlatformName] = st.sampled_from(("kick", "twitch"))
_USERS = st.integers(1, 3)
_IDS = st.sampled_from(("1", "2", "3"))
_EVENTS: st.SearchStrategy[ControlEvent] = st.one_of(
    st.builds(registered, _USERS, st.sampled_from("AB"), st.none() | _PLATFORMS),
    st.builds(connected, _USERS, _PLATFORMS, _IDS, st.sampled_from("xy")),
    st.builds(disconnected, _USERS, _PLATFORMS),
    st.builds(removed, _USERS),
    st.builds(client, st.sampled_from("cd"), _USERS),
    st.builds(rotated, st.sampled_from("cd"), st.sampled_from(("h1", "h2")), st.integers(0, 9), st.integers(0, 9)),
    st.builds(lambda c: ClientRevoked(at=AT, client_id=c), st.sampled_from("cd")),
    st.builds(token, st.sampled_from("tu"), st.sampled_from("cd"), _USERS),
    st.builds(lambda t: TokenRevoked(at=AT, jti=t), st.sampled_from("tu")),
)


@given(st.lists(_EVENTS, max_size=40))
def test_identities_are_whose_the_log_order_says(events: list[ControlEvent]) -> None:
    """Against an oracle that keeps nothing but the list of (user, platform, id) that stand."""
    standing: list[tuple[int, str, str]] = []
    alive: set[int] = set()
    ever: set[int] = set()
    for event in events:
        match event:
            case BroadcasterRegistered(user_id=user) if user not in ever:
                ever.add(user)
                alive.add(user)
            case BroadcasterRemoved(user_id=user):
                alive.discard(user)
                standing = [entry for entry in standing if entry[0] != user]
            case PlatformDisconnected(user_id=user, platform=platform):
                standing = [entry for entry in standing if entry[:2] != (user, platform)]
            case PlatformConnected(user_id=user, platform=platform, platform_id=platform_id):
                has_one = any(entry[:2] == (user, platform) for entry in standing)
                is_taken = any(entry[1:] == (platform, platform_id) for entry in standing)
                if user in alive and not has_one and not is_taken:
                    standing.append((user, platform, platform_id))
    directory = folded(*events)
    assert {b.user_id for b in directory.broadcasters()} == alive
    found = {(b.user_id, p, identity.id) for b in directory.broadcasters() for p, identity in b.platforms.items()}
    assert found == set(standing)
    assert all(directory.broadcaster_of(platform, i) == user for user, platform, i in standing)
    live_clients = {c.client_id for c in directory.clients() if not c.revoked}
    assert all(c.user_id in alive for c in directory.clients() if c.client_id in live_clients)


@given(st.lists(_EVENTS, max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=12))
def test_overlapping_and_repeated_batches_change_nothing(
    events: list[ControlEvent], reads: list[tuple[int, int]]
) -> None:
    values = [encode_control(event) for event in events]
    directory = Directory()
    for start, size in [*reads, (directory.position, len(values))]:
        first = min(start, directory.position)  # two readers may overlap; neither ever leaves a gap
        part = values[first : first + size]
        positions = list(range(first, first + len(part)))
        directory.apply_batch(Batch(positions, [""] * len(part), part, first + len(part)))
    directory.apply_batch(Batch(list(range(len(values))), [""] * len(values), values, len(values)))
    assert directory.position == len(values)
    assert state(directory) == state(folded(*events))


# Following


@asynccontextmanager
async def following(log: EventLog) -> AsyncIterator[Directory]:
    directory, stop = Directory(), asyncio.Event()
    task = asyncio.create_task(directory.follow(log, stop=stop))
    try:
        async with asyncio.timeout(5):
            await directory.ready()
        yield directory
    finally:
        stop.set()
        await task


async def until_version(directory: Directory, version: int) -> None:
    changed = asyncio.Event()
    directory.on_change(changed.set)
    async with asyncio.timeout(5):
        while directory.version < version:
            changed.clear()
            await changed.wait()


class Wrapped(MemoryLog):
    """A memory log that counts, fails or holds its `ends`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.failures = 0
        self.gate: asyncio.Event | None = None
        self.held = asyncio.Event()

    async def ends(self, topic: str) -> tuple[int, ...]:
        self.asked += 1
        found = await super().ends(topic)
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("away")
        if self.gate is not None:
            self.held.set()
            await self.gate.wait()
        return found


async def test_ready_when_what_was_there_has_been_applied() -> None:
    log = MemoryLog()
    await append(log, *(registered(user_id) for user_id in range(1, 2501)))
    async with following(log) as directory:
        assert directory.highest_user_id == 2500
        assert directory.position == 2500
    await log.close()


async def test_follow_tells_of_changes() -> None:
    log = MemoryLog()
    async with following(log) as directory:
        await append(log, registered(1), connected(1, "kick", "7"))
        await until_version(directory, 2)
        assert directory.broadcaster_of("kick", "7") == 1
    await log.close()


async def test_a_log_that_is_away_leaves_the_directory_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "_RETRY_FIRST_S", 0.001)
    log = Wrapped()
    log.failures = 3
    await append(log, registered(1))
    async with following(log) as directory:
        assert directory.broadcaster(1) is not None
        assert log.asked == 4
        log.failures = 1
        await append(log, registered(2))
        assert not await directory.refresh()
        await until_version(directory, 2)
    await log.close()


async def test_stop_ends_a_follow_that_waits() -> None:
    log = MemoryLog()
    started = time.monotonic()
    async with following(log):
        pass
    assert time.monotonic() - started < 1
    await log.close()


# Refreshing


async def test_refresh_knows_what_was_appended_before_it() -> None:
    log = MemoryLog()
    async with following(log) as directory:
        for user_id in range(1, 6):
            await append(log, registered(user_id))
            assert await directory.refresh()
            assert directory.broadcaster(user_id) is not None
    await log.close()


async def test_many_callers_share_one_reading() -> None:
    log = Wrapped()
    async with following(log) as directory:
        asked = log.asked
        assert all(await asyncio.gather(*(directory.refresh() for _ in range(200))))
        assert log.asked == asked + 1
    await log.close()


async def test_a_caller_who_comes_while_one_runs_shares_the_next() -> None:
    log = Wrapped()
    async with following(log) as directory:
        log.gate = asyncio.Event()
        asked = log.asked
        first = asyncio.create_task(directory.refresh())
        async with asyncio.timeout(5):
            await log.held.wait()
        await append(log, registered(1))
        later = [asyncio.create_task(directory.refresh()) for _ in range(50)]
        log.gate.set()
        assert await first
        assert all(await asyncio.gather(*later))
        assert directory.broadcaster(1) is not None
        assert log.asked == asked + 2
    await log.close()


async def test_no_more_than_twenty_a_second() -> None:
    log = Wrapped()
    async with following(log) as directory:
        asked, started = log.asked, time.monotonic()
        for _ in range(6):
            await directory.refresh()
        assert log.asked == asked + 6
        assert time.monotonic() - started >= 5 / 20
    await log.close()


async def test_a_refresh_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "REFRESH_WAIT_S", 0.1)
    log = Wrapped()
    async with following(log) as directory:
        log.gate = asyncio.Event()
        assert not await directory.refresh()
        log.gate = None
        assert await directory.refresh()
    await log.close()


async def test_without_a_log_there_is_nothing_to_ask() -> None:
    assert await Directory().refresh()


# Over the real file, from another process


async def test_a_revocation_by_another_process_is_in_force_within_a_second(tmp_path: Path) -> None:
    log = await open_log("sqlite:", data_dir=tmp_path)
    await append(log, registered(1), client("c", 1), token("t", "c", 1))
    async with following(log) as directory:
        assert directory.token("t") is not None
        command = "from streamkit.cli.tokens import tokens; tokens(['revoke', '--jti', 't'])"
        await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", command],
            env={"STREAMKIT_DATA_DIR": str(tmp_path)},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        )
        done = time.monotonic()
        await until_version(directory, 4)
        assert time.monotonic() - done < 1
        found = directory.token("t")
        assert found is not None
        assert found.revoked
    await log.close()
