"""The fake Kick's API against https://docs.kick.com and what developers reported of the real one."""

from __future__ import annotations

from typing import Any

import pytest

from streamkit.sandbox.kick_http import STALE_READS
from tests.fakes.platforms import KICK_STREAMER, Platforms
from tests.streamkit.sandbox.asking import Answer, ask, kick_token, kick_user

OTHER = "900101"
BAD = {"data": {}, "message": "Invalid request"}


async def _app(platforms: Platforms) -> str:
    token: str = (await kick_token(platforms, grant_type="client_credentials")).document["access_token"]
    return token


async def _get(platforms: Platforms, path: str, *params: tuple[str, str], token: str | None = None) -> Answer:
    return await ask("GET", f"{platforms.kick_url}/public/{path}", token=token or await _app(platforms), params=params)


async def _patch(platforms: Platforms, body: Any, *, scopes: str = "channel:write") -> Answer:
    token = (await kick_user(platforms, KICK_STREAMER.id, scopes))["access_token"]
    return await ask("PATCH", f"{platforms.kick_url}/public/v1/channels", token=token, json=body)


async def test_a_channel_offline_and_live_by_id_and_by_slug_with_an_app_token(platforms: Platforms) -> None:
    (offline,) = (await _get(platforms, "v1/channels", ("broadcaster_user_id", KICK_STREAMER.id))).document["data"]
    assert offline.keys() == {
        "active_gifted_subscribers_count",
        "active_subscribers_count",
        "banner_picture",
        "broadcaster_user_id",
        "canceled_subscribers_count",
        "category",
        "channel_description",
        "slug",
        "stream",
        "stream_title",
    }
    assert offline["stream"] == {
        "is_live": False,
        "is_mature": False,
        "key": "",
        "language": "",
        "start_time": "0001-01-01T00:00:00Z",
        "thumbnail": "",
        "url": "",
        "viewer_count": 0,
    }
    platforms.kick.go_live(KICK_STREAMER.id, viewers=325)
    (live,) = (await _get(platforms, "v1/channels", ("slug", offline["slug"]))).document["data"]
    assert live["stream"]["is_live"] is True
    assert live["stream"]["viewer_count"] == 325
    assert live["stream"]["start_time"][:3] == "202"


@pytest.mark.parametrize(
    "params",
    [
        [("slug", "sandbox-streamer"), ("slug", "nobody-here")],
        [("slug", "sandbox-streamer"), ("broadcaster_user_id", KICK_STREAMER.id)],
        [("broadcaster_user_id", str(number)) for number in range(51)],
    ],
)
async def test_channels_refuses_unknown_slugs_mixtures_and_more_than_50(
    platforms: Platforms, params: list[tuple[str, str]]
) -> None:
    answer = await _get(platforms, "v1/channels", *params)
    assert (answer.status, answer.document) == (400, BAD)


async def test_own_channel_with_a_user_token(platforms: Platforms) -> None:
    token = (await kick_user(platforms, KICK_STREAMER.id, "channel:read"))["access_token"]
    (own,) = (await _get(platforms, "v1/channels", token=token)).document["data"]
    assert own["broadcaster_user_id"] == int(KICK_STREAMER.id)


async def test_no_token(platforms: Platforms) -> None:
    answer = await ask("GET", f"{platforms.kick_url}/public/v1/channels")
    assert (answer.status, answer.document) == (401, {"data": {}, "message": "Unauthorized"})


async def test_patch_answers_204_ignores_what_it_does_not_know_and_is_read_back_late(platforms: Platforms) -> None:
    answer = await _patch(platforms, {"stream_title": "New", "category_id": 77, "mood": "good"})
    assert (answer.status, answer.document) == (204, None)
    assert platforms.kick.channels[KICK_STREAMER.id].title == "New"
    by_id = ("broadcaster_user_id", KICK_STREAMER.id)
    (stale,) = (await _get(platforms, "v1/channels", by_id)).document["data"]
    assert stale["stream_title"] != "New"
    platforms.clock.advance(seconds=STALE_READS.total_seconds())
    (fresh,) = (await _get(platforms, "v1/channels", by_id)).document["data"]
    assert (fresh["stream_title"], fresh["category"]["name"]) == ("New", "Minecraft")
    assert (await _patch(platforms, {"mood": "good"})).status == 204


@pytest.mark.parametrize(
    "body", [{}, {"stream_title": 5}, {"category_id": "77"}, {"category_id": 999_999}, {"custom_tags": ["a"] * 11}, []]
)
async def test_patch_refuses(platforms: Platforms, body: Any) -> None:
    answer = await _patch(platforms, body)
    assert (answer.status, answer.document) == (400, BAD)


async def test_patch_needs_a_user_and_the_scope(platforms: Platforms) -> None:
    assert (await _patch(platforms, {"stream_title": "x"}, scopes="channel:read")).status == 403
    url = f"{platforms.kick_url}/public/v1/channels"
    assert (await ask("PATCH", url, token=await _app(platforms), json={"stream_title": "x"})).status == 401


async def test_categories_are_found_by_name_and_come_in_pages(platforms: Platforms) -> None:
    found = (await _get(platforms, "v2/categories", ("name", "minecraft"))).document
    assert [one["name"] for one in found["data"]] == ["Minecraft", "Minecraft Dungeons"]
    assert found["data"][0].keys() == {"id", "name", "tags", "thumbnail"}
    pages, cursor = [], None
    while cursor != "":
        params = [("limit", "3"), *([("cursor", cursor)] if cursor else [])]
        page = (await _get(platforms, "v2/categories", *params)).document
        pages.append(len(page["data"]))
        cursor = page["pagination"]["next_cursor"]
        assert cursor == "" or 4 <= len(cursor) <= 28
    assert pages == [3, 3, 1]
    assert (await _get(platforms, "v2/categories", ("limit", "1001"))).status == 400
    assert (await _get(platforms, "v2/categories", ("name", "no such thing"))).document["data"] == []


async def _subscribe(platforms: Platforms, *names: str, token: str | None = None, **changes: Any) -> Answer:
    events = [{"name": name, "version": 1} for name in names]
    body = {"broadcaster_user_id": int(KICK_STREAMER.id), "events": events, "method": "webhook", **changes}
    url = f"{platforms.kick_url}/public/v1/events/subscriptions"
    return await ask("POST", url, token=token or await _app(platforms), json=body)


async def _listed(platforms: Platforms, *params: tuple[str, str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await _get(platforms, "v1/events/subscriptions", *params)).document["data"]
    return items


async def test_subscribing_is_not_idempotent_and_its_errors_are_per_item(platforms: Platforms) -> None:
    platforms.kick.events.switch_webhooks("http://127.0.0.1:9/webhooks/kick")
    first = await _subscribe(platforms, "channel.followed", "stream.online")
    assert first.status == 200
    good, bad = first.document["data"]
    assert good.keys() == {"name", "version", "subscription_id"}
    assert bad.keys() == {"name", "version", "error"}
    await _subscribe(platforms, "channel.followed")
    listed = await _listed(platforms, ("broadcaster_user_id", KICK_STREAMER.id))
    assert [one["event"] for one in listed] == ["channel.followed"] * 2
    assert listed[0].keys() == {
        "app_id",
        "broadcaster_user_id",
        "created_at",
        "event",
        "id",
        "method",
        "updated_at",
        "version",
    }
    url = f"{platforms.kick_url}/public/v1/events/subscriptions"
    ids = [("id", one["id"]) for one in listed]
    assert (await ask("DELETE", url, token=await _app(platforms), params=ids)).status == 204
    assert await _listed(platforms) == []
    many = [("id", str(number)) for number in range(330)]
    assert (await ask("DELETE", url, token=await _app(platforms), params=many)).status == 400


async def test_webhooks_off_is_an_error_per_item_and_switching_them_off_drops_everything(platforms: Platforms) -> None:
    (item,) = (await _subscribe(platforms, "channel.followed")).document["data"]
    assert "subscription_id" not in item
    assert item["error"]
    platforms.kick.events.switch_webhooks("http://127.0.0.1:9/")
    await _subscribe(platforms, "channel.followed")
    platforms.kick.events.switch_webhooks(None)
    assert await _listed(platforms) == []


async def test_the_limit(platforms: Platforms) -> None:
    platforms.kick.events.switch_webhooks("http://127.0.0.1:9/")
    platforms.kick.events.most = 1
    assert (await _subscribe(platforms, "channel.followed")).status == 200
    answer = await _subscribe(platforms, "channel.followed")
    assert answer.status == 400
    assert answer.document == {"data": "event subscription limit reached", "message": "Bad request"}


async def test_a_subscription_may_get_an_id_and_never_be_listed(platforms: Platforms) -> None:
    platforms.kick.events.switch_webhooks("http://127.0.0.1:9/")
    platforms.kick.events.unlisted = 1
    (item,) = (await _subscribe(platforms, "channel.followed")).document["data"]
    assert item["subscription_id"]
    assert await _listed(platforms) == []


async def test_a_user_token_subscribes_to_its_owner_and_needs_the_scope(platforms: Platforms) -> None:
    platforms.kick.events.switch_webhooks("http://127.0.0.1:9/")
    token = (await kick_user(platforms, OTHER, "events:subscribe"))["access_token"]
    assert (await _subscribe(platforms, "channel.followed", token=token)).status == 200
    assert [one["broadcaster_user_id"] for one in await _listed(platforms)] == [int(OTHER)]
    token = (await kick_user(platforms, OTHER, "user:read"))["access_token"]
    assert (await _subscribe(platforms, "channel.followed", token=token)).status == 403


@pytest.mark.parametrize("changes", [{"method": "websocket"}, {"events": []}, {"broadcaster_user_id": 1}])
async def test_subscribing_refuses(platforms: Platforms, changes: dict[str, Any]) -> None:
    assert (await _subscribe(platforms, "channel.followed", **changes)).status == 400
