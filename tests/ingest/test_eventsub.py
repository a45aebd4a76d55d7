"""The websocket shell before the fake Twitch: over real connections, with whatever Twitch and the network do to them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ingest import eventsub
from ingest.codecs import eventsub_session
from ingest.eventsub import MAX_FRAME_BYTES, Listeners
from ingest.intake import Intake
from schemas.errors import LogUnavailable
from streamkit.platforms.subscriptions import TWITCH_TYPES
from streamkit.redis import open_soft_state
from streamkit.sandbox.eventsub import MOST_ALIKE, Subscription, Wanted
from streamkit.sandbox.grants import Access
from streamkit.sandbox.helix_answers import Refused
from streamkit.simulation.bodies import Person
from tests.eventsub import follow
from tests.fakes.faults import Answer
from tests.fakes.platforms import TWITCH_STREAMER, Platforms
from tests.ingest.outreach import Ingest, events_of, ingest_of, until
from tests.samples import TWITCH_BROADCASTER
from tests.streamkit.platforms.world import USER_ID, World

VIEWER = Person("4242", "Viewer")
CREATE = ("POST", "/helix/eventsub/subscriptions")


@pytest.fixture
async def ingest(world: World) -> AsyncIterator[Ingest]:
    """A process whose broadcaster is connected to Twitch; nothing listens yet."""
    ingest = await ingest_of(world)
    await ingest.process.connect("twitch")
    yield ingest
    await ingest.close()


@pytest.fixture
async def listeners(ingest: Ingest, platforms: Platforms) -> Listeners:
    """Listening."""
    listeners = ingest.listeners()
    ingest.start(listeners.run())
    await until(lambda: listeners.listening == 1)
    return listeners


def enabled(platforms: Platforms) -> list[str]:
    """The types that Twitch delivers to somebody now."""
    return [one.wanted.type for one in platforms.twitch.eventsub.subscriptions.values() if one.status == "enabled"]


def session_id(platforms: Platforms) -> str:
    """The newest; empty when there is none."""
    return next(reversed(platforms.twitch.sockets.sessions), "")


async def heard(world: World) -> list[str]:
    """Who followed, in the order of the log."""
    return [event.actor.id for event in await events_of(world.log) if event.type == "channel.followed" and event.actor]


async def test_everything_is_subscribed_and_what_happens_is_an_event(
    listeners: Listeners, world: World, platforms: Platforms
) -> None:
    assert sorted(enabled(platforms)) == sorted(each.type for each in TWITCH_TYPES)
    platforms.twitch.go_live(TWITCH_STREAMER.id)
    platforms.twitch.follow(TWITCH_STREAMER.id, VIEWER)
    await until(lambda: _count(world, 2))
    events = await events_of(world.log)
    assert {event.type for event in events} == {"livestream.status.updated", "channel.followed"}
    assert {event.user_id for event in events} == {USER_ID}
    assert all(event.event_id.startswith("twitch:") for event in events)


async def _count(world: World, count: int) -> bool:
    return len(await events_of(world.log)) == count


async def test_a_moved_session_loses_nothing_and_is_not_subscribed_again(
    listeners: Listeners, ingest: Ingest, world: World, platforms: Platforms
) -> None:
    platforms.twitch.sockets.rules.repeats_in_overlap = True
    asked = platforms.twitch_faults.seen.count(CREATE)
    session = platforms.twitch.sockets.sessions[session_id(platforms)]
    (before,) = session.links
    platforms.reconnect(session.id)
    for number in range(50):
        platforms.twitch.follow(TWITCH_STREAMER.id, Person(str(number + 1), "Viewer"))
    await until(lambda: before not in session.links)
    platforms.twitch.follow(TWITCH_STREAMER.id, VIEWER)
    platforms.twitch.follow(TWITCH_STREAMER.id, Person("5", "Again"))
    await until(lambda: _heard_all(world, {*map(str, range(1, 51)), VIEWER.id}))
    events = await events_of(world.log)
    # Copies on both links have one message id: what slips past the edge at the same moment is dropped by the fold.
    assert len({event.event_id for event in events}) == 52
    assert platforms.twitch_faults.seen.count(CREATE) == asked
    assert listeners.listening == 1


async def _heard_all(world: World, viewers: set[str]) -> bool:
    return viewers <= set(await heard(world))


@pytest.mark.parametrize("code", [4000, 4002, 4006, None])
async def test_a_lost_session_is_made_anew(
    code: int | None, listeners: Listeners, world: World, platforms: Platforms
) -> None:
    lost = session_id(platforms)
    if code is None:
        platforms.twitch.sockets.cut(lost)
    else:
        platforms.twitch.sockets.drop(lost, code)
    await until(lambda: listeners.listening == 0)
    await until(lambda: listeners.listening == 1)
    assert session_id(platforms) != lost
    assert sorted(enabled(platforms)) == sorted(each.type for each in TWITCH_TYPES)
    platforms.twitch.follow(TWITCH_STREAMER.id, VIEWER)
    await until(lambda: _count(world, 1))


async def test_silence_is_noticed(ingest: Ingest, platforms: Platforms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventsub_session, "SLACK_S", 0.2)
    monkeypatch.setattr(eventsub_session, "_KEEPALIVE_S", (0.1, 600))
    platforms.twitch.sockets.rules.keepalive_s = 0.1
    listeners = ingest.listeners()
    ingest.start(listeners.run())
    await until(lambda: listeners.listening == 1)
    first = platforms.twitch.sockets.sessions[session_id(platforms)]
    first.links[-1].keepalive_at += 3600.0
    first.links[-1].keepalive_s = 3600.0
    await until(lambda: session_id(platforms) not in (first.id, ""))
    await until(lambda: listeners.listening == 1)


async def test_a_session_that_nobody_may_subscribe_with_is_tried_again(ingest: Ingest, platforms: Platforms) -> None:
    platforms.twitch_faults.next(*CREATE, Answer(403), times=len(TWITCH_TYPES))
    listeners = ingest.listeners()
    ingest.start(listeners.run())
    await until(lambda: listeners.listening == 1)
    assert len(platforms.twitch.sockets.sessions) == 1


async def test_a_revoked_subscription_is_an_event_and_made_anew(
    listeners: Listeners, world: World, platforms: Platforms
) -> None:
    (follows,) = [
        one.id for one in platforms.twitch.eventsub.subscriptions.values() if one.wanted.type == "channel.follow"
    ]
    platforms.twitch.eventsub.revoke(follows, "version_removed")
    await until(lambda: "channel.follow" in enabled(platforms))
    (event,) = await events_of(world.log)
    assert event.type == "platform.subscription.revoked"


async def test_who_takes_the_grant_back_is_left_alone_until_the_next_consent(
    listeners: Listeners, ingest: Ingest, world: World, platforms: Platforms
) -> None:
    platforms.twitch.grants.revoke_person(TWITCH_STREAMER.id)
    await until(lambda: not listeners._running)
    (connection,) = ingest.platforms.tokens.connections().values()
    assert connection.state == "needs_reconnect"
    revoked = [event for event in await events_of(world.log) if event.type == "platform.subscription.revoked"]
    assert revoked
    await ingest.process.connect("twitch")
    await until(lambda: listeners.listening == 1)


async def test_an_address_elsewhere_is_never_opened(listeners: Listeners, platforms: Platforms) -> None:
    lost = session_id(platforms)
    platforms.twitch.sockets.ask_to_reconnect(lost, "ws://127.0.0.2.example/ws")
    await until(lambda: session_id(platforms) not in (lost, ""))
    await until(lambda: lost not in platforms.twitch.sockets.sessions)
    await until(lambda: listeners.listening == 1)


async def test_a_frame_that_is_too_large_ends_the_session_and_not_the_listener(
    listeners: Listeners, world: World, platforms: Platforms
) -> None:
    lost = session_id(platforms)
    platforms.twitch.sockets.sessions[lost].links[-1].outgoing.put_nowait("x" * (MAX_FRAME_BYTES + 1))
    await until(lambda: lost not in platforms.twitch.sockets.sessions and listeners.listening == 1)
    platforms.twitch.follow(TWITCH_STREAMER.id, VIEWER)
    await until(lambda: _count(world, 1))


async def test_what_the_log_does_not_take_at_once_is_taken_later(
    ingest: Ingest, world: World, platforms: Platforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventsub, "UNDER_WAY", 2)
    log, failures = world.log, 8
    append = log.append

    async def flaky(topic, records):  # type: ignore[no-untyped-def]
        nonlocal failures
        if topic == "streamkit.events" and failures:
            failures -= 1
            raise LogUnavailable("away")
        return await append(topic, records)

    monkeypatch.setattr(log, "append", flaky)
    monkeypatch.setattr(eventsub, "_TAKE_AGAIN_FIRST_S", 0.01)
    monkeypatch.setattr(eventsub, "_TAKE_AGAIN_LAST_S", 0.05)
    listeners = ingest.listeners()
    ingest.start(listeners.run())
    await until(lambda: listeners.listening == 1)
    for number in range(30):
        platforms.twitch.follow(TWITCH_STREAMER.id, Person(str(number + 1), "Viewer"))
    await until(lambda: _count(world, 30))
    assert failures == 0
    assert listeners.listening == 1


async def test_flapping_neither_leaks_nor_counts_twice(
    ingest: Ingest, world: World, platforms: Platforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventsub_session, "BACKOFF_LAST_S", 0.02)
    listeners = ingest.listeners()
    ingest.start(listeners.run())
    for round_ in range(30):
        await until(lambda: listeners.listening == 1)
        platforms.twitch.follow(TWITCH_STREAMER.id, Person(str(round_ + 1), "Viewer"))
        await until(lambda wanted=round_ + 1: _count(world, wanted))  # type: ignore[misc]
        assert len(enabled(platforms)) == len(TWITCH_TYPES)
        (running,) = listeners._running.values()
        assert running.listener.links <= 2
        lost = session_id(platforms)
        match round_ % 3:
            case 0:
                platforms.twitch.sockets.cut(lost)
            case 1:
                platforms.twitch.sockets.drop(lost, 4000 + round_ % 8)
            case _:
                platforms.reconnect(lost)
                platforms.twitch.sockets.drop(lost, 4005)
        await until(lambda lost=lost: session_id(platforms) not in (lost, ""))  # type: ignore[misc]
    assert len(await heard(world)) == 30


async def test_sessions_that_ended_are_deleted_where_they_count_among_the_three_of_a_kind(
    ingest: Ingest, platforms: Platforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventsub_session, "BACKOFF_LAST_S", 0.02)
    twitch = platforms.twitch.eventsub
    subscribe = twitch.subscribe

    def strict(access: Access, wanted: Wanted) -> Subscription:
        alike = [one for one in twitch.subscriptions.values() if one.wanted.type == wanted.type]
        if len(alike) >= MOST_ALIKE:
            raise Refused(429, "maximum number of subscriptions with this type and condition exceeded")
        return subscribe(access, wanted)

    monkeypatch.setattr(twitch, "subscribe", strict)
    listeners = ingest.listeners()
    ingest.start(listeners.run())
    lost = ""
    for _ in range(5):
        await until(lambda lost=lost: listeners.listening == 1 and session_id(platforms) != lost)  # type: ignore[misc]
        assert sorted(enabled(platforms)) == sorted(each.type for each in TWITCH_TYPES)
        lost = session_id(platforms)
        platforms.twitch.sockets.drop(lost, 4006)


async def test_the_same_message_by_webhook_and_by_socket_is_one_event(
    listeners: Listeners, ingest: Ingest, world: World, platforms: Platforms
) -> None:
    link = platforms.twitch.sockets.sessions[session_id(platforms)].links[-1]
    text = follow("the-same", VIEWER.id).replace(TWITCH_BROADCASTER, TWITCH_STREAMER.id)
    link.outgoing.put_nowait(text)
    await until(lambda: _count(world, 1))
    link.outgoing.put_nowait(text)
    platforms.twitch.follow(TWITCH_STREAMER.id, Person("9", "Last"))
    await until(lambda: _heard_all(world, {"9"}))
    assert len(await events_of(world.log)) == 2
    assert isinstance(ingest.intake, Intake)


async def test_processes_share_broadcasters_and_one_takes_over_what_another_leaves(
    world: World, platforms: Platforms, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventsub, "BEAT_S", 0.1)
    log_id = f"sockets-{id(world)}"
    softs = [await open_soft_state(redis_url, log_id) for _ in range(2)]
    ingests = [Ingest(await world.process(soft=soft), world.log, soft) for soft in softs]
    try:
        await ingests[0].process.connect("twitch")
        shared = [each.listeners(lease_s=3.0) for each in ingests]
        tasks = [each.start(listeners.run()) for each, listeners in zip(ingests, shared, strict=True)]
        await until(lambda: sum(each.listening for each in shared) == 1)
        assert len(enabled(platforms)) == len(TWITCH_TYPES)
        (first,) = [index for index, each in enumerate(shared) if each.listening]
        tasks[first].cancel()
        await until(lambda: shared[1 - first].listening == 1)
        assert shared[first].listening == 0
        platforms.twitch.follow(TWITCH_STREAMER.id, VIEWER)
        await until(lambda: _count(world, 1))
    finally:
        for each in ingests:
            await each.close()
        for soft in softs:
            await soft.close()
