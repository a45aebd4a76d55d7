"""Polls before the fake platforms, over HTTP: what they see is on the log, once, and what they do not see does no harm."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from ingest.polls import Polls
from ingest.rounds import Rounds
from schemas.event import Event
from schemas.kinds import LivestreamSnapshot, SubscriptionSnapshot
from streamkit.leases import Leases
from streamkit.sandbox.cast import Subscriber
from streamkit.simulation.bodies import Person
from tests.fakes.faults import Answer, Drop
from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER, Platforms
from tests.ingest.outreach import Ingest, events_of, ingest_of, until
from tests.streamkit.platforms.world import World

NOON = datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC)


@pytest.fixture
async def ingest(world: World) -> AsyncIterator[Ingest]:
    ingest = await ingest_of(world)
    await ingest.process.connect("kick")
    await ingest.process.connect("twitch")
    yield ingest
    await ingest.close()


@pytest.fixture
def polls(ingest: Ingest) -> Polls:
    return Polls(ingest.platforms, ingest.process.directory, ingest.process.log)


async def streams(world: World, platform: str) -> list[LivestreamSnapshot]:
    events = await events_of(world.log)
    return [e.data for e in events if e.platform == platform and isinstance(e.data, LivestreamSnapshot)]


async def lists(world: World) -> list[Event]:
    return [
        e for e in await events_of(world.log) if isinstance(e.data, SubscriptionSnapshot) and e.platform == "twitch"
    ]


async def test_a_live_channel_is_told_with_its_viewers(polls: Polls, world: World, platforms: Platforms) -> None:
    platforms.kick.go_live(KICK_STREAMER.id)
    platforms.twitch.go_live(TWITCH_STREAMER.id)
    platforms.kick.channels[KICK_STREAMER.id].viewers = 12
    platforms.twitch.channels[TWITCH_STREAMER.id].viewers = 70
    await polls.streams(NOON)
    (kick,), (twitch,) = await streams(world, "kick"), await streams(world, "twitch")
    on_kick, on_twitch = (
        platforms.kick.channels[KICK_STREAMER.id].live,
        platforms.twitch.channels[TWITCH_STREAMER.id].live,
    )
    assert on_kick is not None
    assert on_twitch is not None
    assert (kick.is_live, kick.started_at, kick.viewer_count) == (True, on_kick.started_at.replace(microsecond=0), 12)
    assert (twitch.stream_id, twitch.viewer_count, twitch.title) == (on_twitch.id, 70, "Hello from the sandbox")
    assert (kick.title, kick.category_name) == ("Hello from the sandbox", "Just Chatting")


async def test_two_processes_that_look_at_once_say_the_same_under_the_same_ids(
    polls: Polls, world: World, ingest: Ingest, platforms: Platforms
) -> None:
    platforms.kick.go_live(KICK_STREAMER.id)
    other = Polls(ingest.platforms, ingest.process.directory, ingest.process.log)
    for each in (polls, other):
        await each.streams(NOON)
        await each.subscribers(NOON)
    events = await events_of(world.log)
    assert len(events) == 2 * len({event.event_id for event in events}) == 8


async def test_a_channel_that_is_not_live_falls_silent(polls: Polls, world: World) -> None:
    for minute in range(1, 30):
        await polls.streams(NOON + timedelta(minutes=minute))
    assert [data.is_live for data in await streams(world, "kick")] == [False] * 4
    assert len(await streams(world, "twitch")) == 4


async def test_a_lost_end_is_told_for_longer_than_the_grace(polls: Polls, world: World, platforms: Platforms) -> None:
    platforms.twitch.go_live(TWITCH_STREAMER.id)
    await polls.streams(NOON)
    platforms.twitch.channels[TWITCH_STREAMER.id].live = None
    for minute in range(1, 10):
        await polls.streams(NOON + timedelta(minutes=minute))
    assert [data.is_live for data in await streams(world, "twitch")] == [True, False, False]


async def test_kick_counts_its_subscribers_once_an_hour(polls: Polls, world: World, platforms: Platforms) -> None:
    gift = Subscriber(person=Person("7", "b"), gifter=Person("8", "c"))
    platforms.kick.channels[KICK_STREAMER.id].subscribers = [Subscriber(person=Person("6", "a")), gift]
    for minute in (0, 1, 60):
        await polls.streams(NOON + timedelta(minutes=minute))
    counts = [e.data for e in await events_of(world.log) if isinstance(e.data, SubscriptionSnapshot)]
    assert counts == [SubscriptionSnapshot(total=2, gifted=1)] * 2


async def test_twitchs_list_is_read_to_its_end_at_connect_daily_and_after_a_new_consent(
    polls: Polls, world: World, ingest: Ingest, platforms: Platforms
) -> None:
    people = [Person(str(id_), f"fan_{id_}") for id_ in range(1000, 1250)]
    subscribers = [Subscriber(person=person) for person in (*people, TWITCH_STREAMER)]
    platforms.twitch.channels[TWITCH_STREAMER.id].subscribers = subscribers
    await polls.subscribers(NOON)
    await polls.subscribers(NOON + timedelta(minutes=15))
    (event,) = await lists(world)
    assert isinstance(event.data, SubscriptionSnapshot)
    assert (event.occurred_at, event.data.total, event.data.complete) == (NOON, 250, True)
    assert {viewer.id for viewer in event.data.subscribers} == {person.id for person in people}
    await polls.subscribers(NOON + timedelta(days=1))
    assert len(await lists(world)) == 2


async def test_a_platform_that_is_away_or_refuses_does_not_keep_the_other_one_from_being_seen(
    polls: Polls, world: World, platforms: Platforms
) -> None:
    platforms.kick_faults.next("GET", "/public/v1/channels", Drop(), times=4)
    platforms.twitch_faults.next("GET", "/helix/subscriptions", Answer(500), times=2)
    await polls.streams(NOON)
    await polls.subscribers(NOON)
    assert await streams(world, "kick") == []
    assert len(await streams(world, "twitch")) == 1
    assert await lists(world) == []
    await polls.subscribers(NOON)
    assert len(await lists(world)) == 1


async def test_tokens_that_are_refused_are_renewed_and_it_is_asked_once_more(
    polls: Polls, world: World, platforms: Platforms
) -> None:
    platforms.twitch_faults.next("GET", "/helix/subscriptions", Answer(401))
    platforms.twitch_faults.next("GET", "/helix/streams", Answer(401))
    await polls.subscribers(NOON)
    await polls.streams(NOON)
    assert len(await lists(world)) == 1
    assert len(await streams(world, "twitch")) == 1


async def test_a_round_looks_when_it_begins_and_when_somebody_connects(ingest: Ingest) -> None:
    looks: list[datetime] = []

    async def look(at: datetime) -> None:
        looks.append(at)

    matter = [1]
    rounds = Rounds(Leases(ingest.process.soft, "test"), 3600, look, lambda: matter[0])
    ingest.start(rounds.run())
    await until(lambda: len(looks) == 1)
    rounds.changed()
    matter[0] = 2
    rounds.changed()
    await until(lambda: len(looks) == 2)
