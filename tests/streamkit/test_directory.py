"""What stands in the directory is decided by the records and their log order alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import (
    BroadcasterRegistered,
    BroadcasterRemoved,
    ClientRevoked,
    ControlEvent,
    PlatformConnected,
    PlatformDisconnected,
    PlatformName,
    TokenRevoked,
    encode_control,
)
from streamkit.directory import Directory, Identity
from streamkit.log.protocol import Batch
from tests.streamkit.control_records import (
    AT,
    client,
    connected,
    disconnected,
    folded,
    registered,
    removed,
    rotated,
    token,
)
from tests.unreadable import UNREADABLE


def state(directory: Directory) -> object:
    pairs = [(p, i) for p in ("kick", "twitch") for i in ("1", "2", "3")]
    return (
        list(directory.broadcasters()),
        list(directory.clients()),
        list(directory.tokens()),
        {pair: directory.broadcaster_of(*pair) for pair in pairs},
    )


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
        *UNREADABLE,
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
