"""The fake Twitch's Helix against https://dev.twitch.tv/docs/api/reference/."""

from __future__ import annotations

from typing import Any

import pytest

from streamkit.sandbox.cast import Subscriber
from streamkit.simulation.bodies import Person
from tests.fakes.platforms import TWITCH_STREAMER, Platforms
from tests.streamkit.sandbox.asking import Answer, ask, twitch_token, twitch_user

MANAGE = "channel:manage:broadcast"
OTHER = "900201"


async def app_token(platforms: Platforms) -> str:
    """A token of the app."""
    token: str = (await twitch_token(platforms, grant_type="client_credentials")).document["access_token"]
    return token


async def helix(
    platforms: Platforms, method: str, path: str, *params: tuple[str, str], token: str | None = None, json: Any = None
) -> Answer:
    """A call with the right Client-Id; without `token`, as the app."""
    token = token or await app_token(platforms)
    client_id = platforms.twitch.grants.client.id
    url = f"{platforms.twitch_url}/helix/{path}"
    return await ask(method, url, token=token, client_id=client_id, params=params, json=json)


async def _patch(
    platforms: Platforms, body: Any, *, scopes: str = MANAGE, broadcaster_id: str = TWITCH_STREAMER.id
) -> Answer:
    token = (await twitch_user(platforms, TWITCH_STREAMER.id, scopes))["access_token"]
    return await helix(platforms, "PATCH", "channels", ("broadcaster_id", broadcaster_id), token=token, json=body)


async def test_streams_offline_and_live(platforms: Platforms) -> None:
    asked = ("user_id", TWITCH_STREAMER.id)
    assert (await helix(platforms, "GET", "streams", asked)).document == {"data": [], "pagination": {}}
    platforms.twitch.go_live(TWITCH_STREAMER.id, viewers=78365)
    (live,) = (await helix(platforms, "GET", "streams", asked, ("user_id", OTHER))).document["data"]
    assert live.keys() == {
        "id",
        "user_id",
        "user_login",
        "user_name",
        "game_id",
        "game_name",
        "type",
        "title",
        "tags",
        "viewer_count",
        "started_at",
        "language",
        "thumbnail_url",
        "tag_ids",
        "is_mature",
    }
    assert (live["user_id"], live["viewer_count"], live["type"]) == (TWITCH_STREAMER.id, 78365, "live")
    assert isinstance(live["id"], str)
    many = [("user_id", str(number)) for number in range(101)]
    assert (await helix(platforms, "GET", "streams", *many)).status == 400


async def test_every_answer_tells_what_is_left_and_beyond_it_is_429(platforms: Platforms) -> None:
    token = await app_token(platforms)
    platforms.twitch.limit.points_per_minute = 2
    answers = [await helix(platforms, "GET", "streams", token=token) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [answer.headers["Ratelimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].headers["Ratelimit-Limit"] == "2"
    assert int(answers[2].headers["Ratelimit-Reset"]) > platforms.clock().timestamp()
    assert answers[2].document["error"] == "Too Many Requests"
    platforms.clock.advance(minutes=1)
    assert (await helix(platforms, "GET", "streams", token=token)).status == 200


async def test_patch_answers_204_and_the_channel_shows_it(platforms: Platforms) -> None:
    answer = await _patch(platforms, {"title": "New title", "game_id": "77"})
    assert (answer.status, answer.document) == (204, None)
    (channel,) = (await helix(platforms, "GET", "channels", ("broadcaster_id", TWITCH_STREAMER.id))).document["data"]
    assert (channel["title"], channel["game_id"], channel["game_name"]) == ("New title", "77", "Minecraft")
    assert (await _patch(platforms, {"game_id": "0"})).status == 204
    (channel,) = (await helix(platforms, "GET", "channels", ("broadcaster_id", TWITCH_STREAMER.id))).document["data"]
    assert (channel["title"], channel["game_id"]) == ("New title", "")


async def test_a_title_of_141_characters(platforms: Platforms) -> None:
    assert (await _patch(platforms, {"title": "x" * 140})).status == 204
    answer = await _patch(platforms, {"title": "x" * 141})
    assert answer.status == 400
    assert answer.document == {"data": [], "error": "Bad Request", "message": "Title is too long.", "status": 400}


@pytest.mark.parametrize(
    "body", [{}, {"title": ""}, {"title": 5}, {"game_id": "999999"}, {"tags": ["two words"]}, {"tags": ["č" * 13]}]
)
async def test_patch_refuses(platforms: Platforms, body: Any) -> None:
    answer = await _patch(platforms, body)
    assert (answer.status, answer.document["error"]) == (400, "Bad Request")


async def test_patch_needs_the_broadcasters_token_and_the_scope(platforms: Platforms) -> None:
    other = await _patch(platforms, {"title": "x"}, broadcaster_id=OTHER)
    assert other.document == {
        "status": 401,
        "error": "Unauthorized",
        "message": "Broadcaster ID does not match token",
    }
    scopeless = await _patch(platforms, {"title": "x"}, scopes="bits:read")
    assert scopeless.document == {
        "status": 401,
        "error": "Unauthorized",
        "message": "Missing required scope channel:manage:broadcast",
    }


async def test_categories_are_null_when_there_is_none(platforms: Platforms) -> None:
    found = (await helix(platforms, "GET", "search/categories", ("query", "minecraft"), ("first", "1"))).document
    assert found["data"] == [{"id": "77", "name": "Minecraft", "box_art_url": found["data"][0]["box_art_url"]}]
    after = ("after", found["pagination"]["cursor"])
    rest = (await helix(platforms, "GET", "search/categories", ("query", "minecraft"), after)).document
    assert [one["name"] for one in rest["data"]] == ["Minecraft Dungeons"]
    none = await helix(platforms, "GET", "search/categories", ("query", "no such thing"))
    assert none.document == {"data": None, "pagination": {}}
    assert (await helix(platforms, "GET", "search/categories")).status == 400


async def test_subscriptions_come_in_pages_with_total_and_points(platforms: Platforms) -> None:
    people = [Person(str(number), f"Viewer{number}") for number in range(3)]
    platforms.twitch.channels[TWITCH_STREAMER.id].subscribers = [
        Subscriber(person=people[0], tier="3000"),
        Subscriber(person=people[1], gifter=people[0]),
        Subscriber(person=people[2]),
    ]
    token = (await twitch_user(platforms, TWITCH_STREAMER.id, "channel:read:subscriptions"))["access_token"]
    asked = [("broadcaster_id", TWITCH_STREAMER.id), ("first", "2")]
    page = (await helix(platforms, "GET", "subscriptions", *asked, token=token)).document
    assert (page["total"], page["points"]) == (3, 8)
    assert page["data"][1] == {
        "broadcaster_id": TWITCH_STREAMER.id,
        "broadcaster_login": "sandbox_streamer",
        "broadcaster_name": TWITCH_STREAMER.name,
        "gifter_id": "0",
        "gifter_login": "viewer0",
        "gifter_name": "Viewer0",
        "is_gift": True,
        "tier": "1000",
        "plan_name": "Channel Subscription (sandbox_streamer)",
        "user_id": "1",
        "user_name": "Viewer1",
        "user_login": "viewer1",
    }
    after = ("after", page["pagination"]["cursor"])
    rest = (await helix(platforms, "GET", "subscriptions", *asked, after, token=token)).document
    assert [one["user_id"] for one in rest["data"]] == ["2"]
    assert rest["pagination"] == {}
    assert (await helix(platforms, "GET", "subscriptions", ("broadcaster_id", TWITCH_STREAMER.id))).status == 401
    assert (await helix(platforms, "GET", "subscriptions", *asked[:1], ("first", "101"), token=token)).status == 400
