"""What the fake platforms deliver to webhooks: signed as the platforms sign, to whoever subscribed."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from streamkit.sandbox.cast import CATEGORIES
from streamkit.simulation.bodies import Person
from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER, Platforms
from tests.fakes.receiver import Delivered, Receiver, receiving
from tests.streamkit.sandbox.asking import Answer, ask, kick_token, twitch_user
from tests.streamkit.sandbox.test_helix import helix

VIEWER = Person("5", "Viewer_Five")
SECRET = "a-secret-of-mine"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def _kick_subscribe(platforms: Platforms, receiver: Receiver, *names: str) -> list[str]:
    platforms.kick.events.switch_webhooks(f"{receiver.url}/webhooks/kick")
    token = (await kick_token(platforms, grant_type="client_credentials")).document["access_token"]
    events = [{"name": name, "version": 1} for name in names]
    body = {"broadcaster_user_id": int(KICK_STREAMER.id), "events": events, "method": "webhook"}
    url = f"{platforms.kick_url}/public/v1/events/subscriptions"
    made = (await ask("POST", url, token=token, json=body)).document["data"]
    return [item["subscription_id"] for item in made]


async def _verify_kick(platforms: Platforms, delivered: Delivered) -> None:
    answer = await ask("GET", f"{platforms.kick_url}/public/v1/public-key")
    key = serialization.load_pem_public_key(answer.document["data"]["public_key"].encode())
    assert isinstance(key, rsa.RSAPublicKey)
    headers = delivered.headers
    signed = ".".join((headers["Kick-Event-Message-Id"], headers["Kick-Event-Message-Timestamp"])).encode()
    signature = base64.b64decode(headers["Kick-Event-Signature"])
    key.verify(signature, signed + b"." + delivered.body, padding.PKCS1v15(), hashes.SHA256())


async def test_kick_delivers_signed_once_per_subscription(platforms: Platforms, receiver: Receiver) -> None:
    ids = await _kick_subscribe(platforms, receiver, "channel.followed", "channel.followed", "kicks.gifted")
    platforms.kick.follow(KICK_STREAMER.id, VIEWER)
    await platforms.kick.events.postman.idle()
    assert {one.headers["Kick-Event-Subscription-Id"] for one in receiver.delivered} == set(ids[:2])
    assert len({one.headers["Kick-Event-Message-Id"] for one in receiver.delivered}) == 2
    for one in receiver.delivered:
        await _verify_kick(platforms, one)
        assert one.path == "/webhooks/kick"
        assert one.headers["Kick-Event-Type"] == "channel.followed"
        assert one.document["follower"]["user_id"] == 5


async def test_kick_tells_of_a_stream_its_title_and_its_gifts(platforms: Platforms, receiver: Receiver) -> None:
    names = ["livestream.status.updated", "livestream.metadata.updated", "channel.subscription.gifts", "kicks.gifted"]
    await _kick_subscribe(platforms, receiver, *names)

    async def delivered() -> Any:
        await platforms.kick.events.postman.idle()
        return receiver.delivered.pop().document

    platforms.kick.go_live(KICK_STREAMER.id)
    started = await delivered()
    assert (started["is_live"], started["ended_at"]) == (True, None)
    platforms.kick.change(KICK_STREAMER.id, title="Other", category=CATEGORIES[3])
    metadata = (await delivered())["metadata"]
    assert (metadata["title"], metadata["category"]["id"], metadata["Category"]) == ("Other", 77, metadata["category"])
    platforms.kick.gift(KICK_STREAMER.id, VIEWER, [Person("6", "a"), Person("7", "b")])
    assert len((await delivered())["giftees"]) == 2
    platforms.kick.end_stream(KICK_STREAMER.id)
    ended = await delivered()
    assert (ended["is_live"], ended["started_at"]) == (False, started["started_at"])
    assert receiver.delivered == []


async def test_kick_does_not_send_again_and_unsubscribes_after_a_day_of_failures(
    platforms: Platforms, receiver: Receiver
) -> None:
    await _kick_subscribe(platforms, receiver, "channel.followed", "kicks.gifted")
    receiver.status = 500
    for hours in (0, 12, 13):
        platforms.clock.advance(hours=hours)
        platforms.kick.follow(KICK_STREAMER.id, VIEWER)
        await platforms.kick.events.postman.idle()
    assert len(receiver.delivered) == 3
    assert [one.event for one in platforms.kick.events.subscriptions.values()] == ["kicks.gifted"]


async def _twitch_subscribe(platforms: Platforms, receiver: Receiver, kind: str, **changes: Any) -> Answer:
    body = {
        "type": kind,
        "version": "1",
        "condition": {"broadcaster_user_id": TWITCH_STREAMER.id},
        "transport": {"method": "webhook", "callback": f"{receiver.url}/webhooks/twitch", "secret": SECRET},
        **changes,
    }
    return await helix(platforms, "POST", "eventsub/subscriptions", json=body)


def _check_twitch(delivered: Delivered) -> None:
    headers = delivered.headers
    signed = headers["Twitch-Eventsub-Message-Id"] + headers["Twitch-Eventsub-Message-Timestamp"]
    digest = hmac.new(SECRET.encode(), signed.encode() + delivered.body, hashlib.sha256).hexdigest()
    assert headers["Twitch-Eventsub-Message-Signature"] == f"sha256={digest}"


async def _statuses(platforms: Platforms) -> list[str]:
    listed = (await helix(platforms, "GET", "eventsub/subscriptions")).document
    assert listed.keys() == {"data", "total", "total_cost", "max_total_cost", "pagination"}
    return [one["status"] for one in listed["data"]]


async def test_twitch_verifies_the_callback_first(platforms: Platforms, receiver: Receiver) -> None:
    answer = await _twitch_subscribe(platforms, receiver, "stream.online")
    assert answer.status == 202
    (made,) = answer.document["data"]
    assert made["status"] == "webhook_callback_verification_pending"
    assert made["transport"] == {"method": "webhook", "callback": f"{receiver.url}/webhooks/twitch"}
    assert answer.document["max_total_cost"] == 10_000
    await platforms.twitch.eventsub.postman.idle()
    (challenge,) = receiver.delivered
    _check_twitch(challenge)
    assert challenge.document.keys() == {"challenge", "subscription"}
    assert await _statuses(platforms) == ["enabled"]
    receiver.echoes = False
    assert (await _twitch_subscribe(platforms, receiver, "stream.offline")).status == 202
    await platforms.twitch.eventsub.postman.idle()
    assert await _statuses(platforms) == ["enabled", "webhook_callback_verification_failed"]


async def test_twitch_notifies_signed_and_sends_again_under_the_same_id(
    platforms: Platforms, receiver: Receiver
) -> None:
    await _twitch_subscribe(platforms, receiver, "stream.online")
    await platforms.twitch.eventsub.postman.idle()
    receiver.delivered.clear()
    platforms.twitch.eventsub.retry_after_s = (0.0,)
    receiver.status = 500
    platforms.twitch.go_live(TWITCH_STREAMER.id)
    await platforms.twitch.eventsub.postman.idle()
    first, again = receiver.delivered
    _check_twitch(first)
    _check_twitch(again)
    assert first.headers["Twitch-Eventsub-Message-Id"] == again.headers["Twitch-Eventsub-Message-Id"]
    assert again.headers["Twitch-Eventsub-Message-Retry"] == "1"
    assert first.document["event"]["broadcaster_user_id"] == TWITCH_STREAMER.id
    assert first.document["subscription"]["status"] == "enabled"


async def test_twitch_gives_up_on_a_callback_that_keeps_failing(platforms: Platforms, receiver: Receiver) -> None:
    await _twitch_subscribe(platforms, receiver, "channel.update", version="2")
    await platforms.twitch.eventsub.postman.idle()
    platforms.twitch.eventsub.retry_after_s = ()
    platforms.twitch.eventsub.failures_allowed = 2
    receiver.status = 503
    for title in ("a", "b"):
        platforms.twitch.change(TWITCH_STREAMER.id, title=title)
        await platforms.twitch.eventsub.postman.idle()
    assert await _statuses(platforms) == ["notification_failures_exceeded"]
    revocation = receiver.delivered[-1]
    assert revocation.headers["Twitch-Eventsub-Message-Type"] == "revocation"
    assert revocation.document["subscription"]["status"] == "notification_failures_exceeded"
    assert "event" not in revocation.document


async def test_twitch_needs_the_scope_once_and_revokes_when_the_person_disconnects(
    platforms: Platforms, receiver: Receiver
) -> None:
    refused = await _twitch_subscribe(platforms, receiver, "channel.cheer")
    assert (refused.status, refused.document["message"]) == (403, "subscription missing proper authorization")
    await twitch_user(platforms, TWITCH_STREAMER.id, "bits:read")
    made = await _twitch_subscribe(platforms, receiver, "channel.cheer")
    assert (made.status, made.document["data"][0]["cost"]) == (202, 0)
    await platforms.twitch.eventsub.postman.idle()
    platforms.twitch.grants.revoke_person(TWITCH_STREAMER.id)
    await platforms.twitch.eventsub.postman.idle()
    assert receiver.delivered[-1].document["subscription"]["status"] == "authorization_revoked"
    assert await _statuses(platforms) == ["authorization_revoked"]


async def test_twitch_refuses_duplicates_and_what_does_not_fit(platforms: Platforms, receiver: Receiver) -> None:
    assert (await _twitch_subscribe(platforms, receiver, "stream.online")).status == 202
    duplicate = await _twitch_subscribe(platforms, receiver, "stream.online")
    assert (duplicate.status, duplicate.document["error"]) == (409, "Conflict")
    webhook = {"method": "webhook", "callback": f"{receiver.url}/other", "secret": SECRET}
    others = [
        await _twitch_subscribe(platforms, receiver, "stream.online", transport={**webhook, "callback": f"{url}/{n}"})
        for n, url in enumerate([receiver.url] * 3)
    ]
    assert [answer.status for answer in others] == [202, 202, 429]
    misfits: tuple[dict[str, Any], ...] = (
        {"transport": {**webhook, "secret": "short"}},
        {"transport": {**webhook, "callback": "https://example.com/"}},
        {"transport": {"method": "websocket", "session_id": "x"}},
        {"condition": {}},
        {"version": "9"},
        {"condition": 5},
    )
    for changes in misfits:
        assert (await _twitch_subscribe(platforms, receiver, "stream.offline", **changes)).status == 400, changes
    follow = await _twitch_subscribe(platforms, receiver, "channel.follow")
    assert follow.status == 410


async def test_twitch_lists_with_one_filter_in_pages_and_deletes(platforms: Platforms, receiver: Receiver) -> None:
    for kind in ("stream.online", "stream.offline"):
        await _twitch_subscribe(platforms, receiver, kind)
    platforms.twitch.eventsub.page_size = 1
    first = (await helix(platforms, "GET", "eventsub/subscriptions")).document
    second = (
        await helix(platforms, "GET", "eventsub/subscriptions", ("after", first["pagination"]["cursor"]))
    ).document
    assert [one["type"] for one in (*first["data"], *second["data"])] == ["stream.online", "stream.offline"]
    assert second["pagination"] == {}
    only = (await helix(platforms, "GET", "eventsub/subscriptions", ("type", "stream.offline"))).document["data"]
    assert [one["type"] for one in only] == ["stream.offline"]
    both = await helix(platforms, "GET", "eventsub/subscriptions", ("type", "a"), ("status", "b"))
    assert both.status == 400
    gone = ("id", only[0]["id"])
    deleted = [(await helix(platforms, "DELETE", "eventsub/subscriptions", gone)).status for _ in range(2)]
    assert deleted == [204, 404]
