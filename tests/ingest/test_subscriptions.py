"""Subscriptions before the fake platforms, over HTTP: made, mended, and refused as the platforms do."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from ingest import rounds
from ingest.subscriptions import Subscriptions
from schemas.control import PlatformConnected, PlatformDisconnected, encode_control
from schemas.event import utc_now
from streamkit.log.protocol import CONTROL, Record
from streamkit.platforms.subscriptions import KICK_TYPES, TWITCH_TYPES
from streamkit.redis import open_soft_state
from tests.fakes.faults import Answer, Drop
from tests.fakes.platforms import KICK_STREAMER, Platforms
from tests.fakes.receiver import Receiver, receiving
from tests.ingest.outreach import Ingest, ingest_of, until
from tests.streamkit.platforms.world import USER_ID, World

KICK_PATH = "/public/v1/events/subscriptions"
TWITCH_PATH = "/helix/eventsub/subscriptions"
SECRET = b"a secret of ours"
WEBHOOKS = {"STREAMKIT_PUBLIC_URL": "https://here.example", "STREAMKIT_TWITCH_WEBHOOK_SECRET": SECRET.decode()}


@pytest.fixture
async def receiver(platforms: Platforms) -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        platforms.kick.events.switch_webhooks(f"{receiver.url}/webhooks/kick")
        yield receiver


@pytest.fixture
async def ingest(world: World, receiver: Receiver) -> AsyncIterator[Ingest]:
    process = await world.process(WEBHOOKS)
    ingest = Ingest(process, world.log, process.soft)
    await process.connect("kick")
    await process.connect("twitch")
    yield ingest
    await ingest.close()


@pytest.fixture
def subscriptions(ingest: Ingest, receiver: Receiver) -> Subscriptions:
    return ingest.subscriptions(f"{receiver.url}/webhooks/twitch", SECRET)


def on_kick(platforms: Platforms) -> Counter[str]:
    return Counter(one.event for one in platforms.kick.events.subscriptions.values())


def on_twitch(platforms: Platforms, status: str = "enabled") -> Counter[str]:
    return Counter(one.wanted.type for one in platforms.twitch.eventsub.subscriptions.values() if one.status == status)


ALL_KICK = Counter(KICK_TYPES)
ALL_TWITCH = Counter(each.type for each in TWITCH_TYPES)


async def test_a_pass_makes_what_is_missing_and_the_next_one_finds_nothing_to_do(
    subscriptions: Subscriptions, platforms: Platforms
) -> None:
    assert await subscriptions.make_so()
    await platforms.twitch.eventsub.postman.idle()
    assert on_kick(platforms) == ALL_KICK
    assert on_twitch(platforms) == ALL_TWITCH
    asked = [seen for seen in platforms.twitch_faults.seen + platforms.kick_faults.seen if seen[0] != "GET"]
    assert await subscriptions.make_so()
    assert [s for s in platforms.twitch_faults.seen + platforms.kick_faults.seen if s[0] != "GET"] == asked
    assert subscriptions.problems() == {}


async def test_what_somebody_deleted_doubled_or_revoked_is_mended(
    subscriptions: Subscriptions, platforms: Platforms
) -> None:
    await subscriptions.make_so()
    await platforms.twitch.eventsub.postman.idle()
    kick, twitch = platforms.kick.events, platforms.twitch.eventsub
    kick.subscribe(KICK_STREAMER.id, [("chat.message.sent", 1)] * 120)
    del kick.subscriptions[next(iter(kick.subscriptions))]
    for one in list(twitch.subscriptions.values())[:3]:
        one.status = "notification_failures_exceeded"
    del twitch.subscriptions[next(reversed(twitch.subscriptions))]
    assert await subscriptions.make_so()
    await twitch.postman.idle()
    assert on_kick(platforms) == ALL_KICK
    assert on_twitch(platforms) == ALL_TWITCH
    assert len(twitch.subscriptions) == len(TWITCH_TYPES)


async def test_pages_are_read_to_the_last(subscriptions: Subscriptions, platforms: Platforms) -> None:
    platforms.twitch.eventsub.page_size = 3
    await subscriptions.make_so()
    await platforms.twitch.eventsub.postman.idle()
    await subscriptions.make_so()
    assert on_twitch(platforms) == ALL_TWITCH
    assert len(platforms.twitch.eventsub.subscriptions) == len(TWITCH_TYPES)


async def test_one_type_over_its_limit_does_not_keep_the_others_out(
    subscriptions: Subscriptions, platforms: Platforms
) -> None:
    platforms.kick.events.most_chat = 0
    assert await subscriptions.make_so()
    assert on_kick(platforms) == ALL_KICK - Counter(["chat.message.sent"])
    ((wanted, problem),) = subscriptions.problems().items()
    assert (wanted.type, problem) == ("chat.message.sent", "event subscription limit reached")
    (told,) = subscriptions.readiness()
    assert told.startswith("Kick refuses to subscribe to chat.message.sent of ")


async def test_an_error_of_one_item_is_its_problem(subscriptions: Subscriptions, platforms: Platforms) -> None:
    platforms.kick.events.switch_webhooks(None)
    assert await subscriptions.make_so()
    problems = {wanted.type: problem for wanted, problem in subscriptions.problems().items()}
    assert problems == dict.fromkeys(KICK_TYPES, "webhooks are not enabled for this app")


async def test_what_kick_gave_an_id_and_never_lists_is_not_made_again_and_again(
    subscriptions: Subscriptions, platforms: Platforms
) -> None:
    platforms.kick.events.unlisted = 1
    for _ in range(3):
        await subscriptions.make_so()
    assert platforms.kick_faults.seen.count(("POST", KICK_PATH)) == 1
    assert on_kick(platforms).total() == len(KICK_TYPES) - 1


async def test_a_creation_whose_answer_did_not_come_is_looked_for_before_it_is_made_again(
    subscriptions: Subscriptions, platforms: Platforms
) -> None:
    platforms.kick_faults.next("POST", KICK_PATH, Drop(after=True))
    assert not await subscriptions.make_so()
    assert await subscriptions.make_so()
    assert on_kick(platforms) == ALL_KICK


async def test_a_token_that_is_refused_is_exchanged_once(subscriptions: Subscriptions, platforms: Platforms) -> None:
    platforms.kick_faults.next("GET", KICK_PATH, Answer(401))
    platforms.twitch_faults.next("GET", TWITCH_PATH, Answer(401))
    assert await subscriptions.make_so()
    assert on_kick(platforms) == ALL_KICK
    platforms.kick_faults.next("GET", KICK_PATH, Answer(401), times=2)
    assert not await subscriptions.make_so()


@pytest.mark.parametrize("fault", [Answer(503), Drop()])
async def test_a_platform_that_is_away_does_not_keep_the_other_one_waiting(
    fault: Answer | Drop, subscriptions: Subscriptions, platforms: Platforms
) -> None:
    platforms.kick_faults.next("GET", KICK_PATH, fault, times=4)
    assert not await subscriptions.make_so()
    await platforms.twitch.eventsub.postman.idle()
    assert on_twitch(platforms) == ALL_TWITCH


async def test_too_many_requests_are_a_reason_to_come_again_soon(
    subscriptions: Subscriptions, platforms: Platforms
) -> None:
    platforms.twitch_faults.next("POST", TWITCH_PATH, Answer(429), times=2)
    assert not await subscriptions.make_so()
    assert len(subscriptions.problems()) == 2
    assert await subscriptions.make_so()
    await platforms.twitch.eventsub.postman.idle()
    assert on_twitch(platforms) == ALL_TWITCH


async def test_an_address_that_does_not_answer_the_challenge_is_tried_again(
    subscriptions: Subscriptions, platforms: Platforms, receiver: Receiver
) -> None:
    receiver.echoes = False
    await subscriptions.make_so()
    await platforms.twitch.eventsub.postman.idle()
    assert on_twitch(platforms, "webhook_callback_verification_failed") == ALL_TWITCH
    receiver.echoes = True
    await subscriptions.make_so()
    await platforms.twitch.eventsub.postman.idle()
    assert on_twitch(platforms) == ALL_TWITCH


async def test_who_disconnects_is_unsubscribed(
    subscriptions: Subscriptions, ingest: Ingest, world: World, platforms: Platforms
) -> None:
    await subscriptions.make_so()
    gone = [PlatformDisconnected(at=utc_now(), user_id=USER_ID, platform=platform) for platform in ("kick", "twitch")]
    await world.log.append(CONTROL, [Record("1", encode_control(each)) for each in gone])
    await until(lambda: not ingest.platforms.tokens.connections())
    await subscriptions.make_so()
    assert on_kick(platforms) == Counter()
    assert not platforms.twitch.eventsub.subscriptions


async def test_without_webhooks_those_of_an_earlier_configuration_are_deleted(
    subscriptions: Subscriptions, ingest: Ingest, platforms: Platforms
) -> None:
    await subscriptions.make_so()
    await platforms.twitch.eventsub.postman.idle()
    assert await ingest.subscriptions(None).make_so()
    assert not platforms.twitch.eventsub.subscriptions
    assert on_kick(platforms) == ALL_KICK


async def test_who_connects_is_subscribed_at_once(world: World, platforms: Platforms, receiver: Receiver) -> None:
    ingest = await ingest_of(world)
    try:
        running = ingest.subscriptions(f"{receiver.url}/webhooks/twitch", SECRET)
        ingest.start(running.run())
        await running.first_pass(10.0)
        assert on_kick(platforms) == Counter()
        await ingest.process.connect("kick")
        await until(lambda: on_kick(platforms) == ALL_KICK)
    finally:
        await ingest.close()


async def test_who_is_news_does_not_have_everybody_asked_for(
    world: World, platforms: Platforms, receiver: Receiver
) -> None:
    ingest = await ingest_of(world)
    try:
        await ingest.process.connect("kick")
        running = ingest.subscriptions(f"{receiver.url}/webhooks/twitch", SECRET)
        ingest.start(running.run())
        await running.first_pass(10.0)
        assert platforms.kick_faults.count("GET", KICK_PATH) == 1
        await world.register(2)
        other = PlatformConnected(at=utc_now(), user_id=2, platform="kick", platform_id="5555", username="o")
        await world.log.append(CONTROL, [Record("user:2", encode_control(other))])
        await until(lambda: len(running.problems()) == len(KICK_TYPES))  # the fake does not know this one
        assert platforms.kick_faults.count("GET", KICK_PATH) == 2
        await ingest.process.connect("kick")  # the same streamer consents again
        await until(lambda: platforms.kick_faults.count("GET", KICK_PATH) == 3)
        assert len(running.problems()) == len(KICK_TYPES), "of those that were not looked at they stand"
        assert await running.make_so()
        assert platforms.kick_faults.count("GET", KICK_PATH) == 5
    finally:
        await ingest.close()


async def test_one_process_at_a_time_and_another_when_it_ends(
    world: World, platforms: Platforms, receiver: Receiver, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "BEAT_S", 0.1)
    softs = [await open_soft_state(redis_url, f"subscriptions-{id(world)}") for _ in range(2)]
    ingests = [Ingest(await world.process(soft=soft), world.log, soft) for soft in softs]
    try:
        await ingests[0].process.connect("kick")
        await until(lambda: bool(next(iter(ingests[1].process.directory.broadcasters())).platforms))
        running = [each.subscriptions() for each in ingests]
        tasks = [each.start(one.run()) for each, one in zip(ingests, running, strict=True)]
        await until(lambda: on_kick(platforms) == ALL_KICK)
        for one in running:
            await one.first_pass(10.0)
        assert on_kick(platforms) == ALL_KICK
        await until(lambda: any(one.leads for one in running))
        leader = next(index for index, one in enumerate(running) if one.leads)
        platforms.kick.events.subscriptions.clear()
        tasks[leader].cancel()
        await until(lambda: on_kick(platforms) == ALL_KICK)
    finally:
        for each in ingests:
            await each.close()
        for soft in softs:
            await soft.close()
