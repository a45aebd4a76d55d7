"""The fake EventSub websocket against https://dev.twitch.tv/docs/eventsub/handling-websocket-events/."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from streamkit.sandbox.eventsub_sockets import CLOSED_WITH
from streamkit.simulation.bodies import Person
from tests.fakes.platforms import TWITCH_STREAMER, Platforms
from tests.streamkit.sandbox.asking import Answer, twitch_user
from tests.streamkit.sandbox.test_helix import helix

SCOPES = "moderator:read:followers bits:read"
OTHER = "900201"


class Client:
    """A socket as a client has it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def frame(self) -> Any:
        """The next frame; a close is a failure."""
        message = await self.socket.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def closed(self) -> int | None:
        """The close code, after whatever still came."""
        while (message := await self.socket.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR), message
        return self.socket.close_code


@asynccontextmanager
async def connected(platforms: Platforms, url: str | None = None, *, autoping: bool = True) -> AsyncIterator[Client]:
    url = url or platforms.settings()["STREAMKIT_TWITCH_EVENTSUB_WS_URL"]
    async with aiohttp.ClientSession() as http, http.ws_connect(url, autoping=autoping) as socket:
        yield Client(socket)


async def subscribe(
    platforms: Platforms, session_id: str, token: str, kind: str = "stream.online", version: str = "1", **more: str
) -> Answer:
    body = {
        "type": kind,
        "version": version,
        "condition": {"broadcaster_user_id": TWITCH_STREAMER.id, **more},
        "transport": {"method": "websocket", "session_id": session_id},
    }
    return await helix(platforms, "POST", "eventsub/subscriptions", token=token, json=body)


async def user_token(platforms: Platforms, person_id: str = TWITCH_STREAMER.id) -> str:
    token: str = (await twitch_user(platforms, person_id, SCOPES))["access_token"]
    return token


async def _status(platforms: Platforms, token: str) -> list[str]:
    listed = (await helix(platforms, "GET", "eventsub/subscriptions", token=token)).document
    return [one["status"] for one in listed["data"]]


async def test_welcome_subscription_notification(platforms: Platforms) -> None:
    token = await user_token(platforms)
    async with connected(platforms) as client:
        welcome = await client.frame()
        assert welcome["metadata"].keys() == {"message_id", "message_type", "message_timestamp"}
        assert welcome["metadata"]["message_type"] == "session_welcome"
        session = welcome["payload"]["session"]
        assert session.keys() == {"id", "status", "keepalive_timeout_seconds", "reconnect_url", "connected_at"}
        assert (session["status"], session["keepalive_timeout_seconds"], session["reconnect_url"]) == (
            "connected",
            10,
            None,
        )
        more = {"kind": "channel.follow", "version": "2", "moderator_user_id": TWITCH_STREAMER.id}
        answer = await subscribe(platforms, session["id"], token, **more)
        assert (answer.status, answer.document["data"][0]["status"]) == (202, "enabled")
        assert answer.document["max_total_cost"] == 10
        platforms.twitch.follow(TWITCH_STREAMER.id, Person("5", "Viewer"))
        told = await client.frame()
        assert told["metadata"]["message_type"] == "notification"
        assert told["metadata"]["subscription_type"] == "channel.follow"
        assert told["metadata"]["subscription_version"] == "2"
        assert told["payload"].keys() == {"subscription", "event"}
        assert told["payload"]["subscription"]["transport"] == {"method": "websocket", "session_id": session["id"]}
        assert told["payload"]["event"]["user_login"] == "viewer"


async def test_keepalive_when_idle(platforms: Platforms) -> None:
    platforms.twitch.sockets.rules.keepalive_s = 0.01
    async with connected(platforms) as client:
        await client.frame()
        keepalive = await client.frame()
        assert keepalive["metadata"]["message_type"] == "session_keepalive"
        assert keepalive["payload"] == {}


async def test_the_client_chooses_the_keepalive_time_between_10_and_600(platforms: Platforms) -> None:
    url = platforms.settings()["STREAMKIT_TWITCH_EVENTSUB_WS_URL"]
    async with connected(platforms, f"{url}?keepalive_timeout_seconds=30") as client:
        assert (await client.frame())["payload"]["session"]["keepalive_timeout_seconds"] == 30
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with connected(platforms, f"{url}?keepalive_timeout_seconds=9"):
            pass


async def test_4003_without_a_subscription_in_time(platforms: Platforms) -> None:
    platforms.twitch.sockets.rules.unused_s = 0.02
    async with connected(platforms) as client:
        assert await client.closed() == 4003
    assert platforms.twitch.sockets.sessions == {}


@pytest.mark.parametrize("kind", ["text", "ping"])
async def test_4001_for_whatever_the_client_sends(platforms: Platforms, kind: str) -> None:
    async with connected(platforms) as client:
        await client.frame()
        await (client.socket.send_str("hello") if kind == "text" else client.socket.ping())
        assert await client.closed() == 4001


async def test_4002_when_no_pong_comes_and_a_pong_is_no_traffic(platforms: Platforms) -> None:
    platforms.twitch.sockets.rules.ping_s = platforms.twitch.sockets.rules.pong_s = 0.02
    platforms.twitch.sockets.rules.keepalive_s = 0.1
    async with connected(platforms) as client:
        await client.frame()
        assert (await client.frame())["metadata"]["message_type"] == "session_keepalive"
    async with connected(platforms, autoping=False) as client:
        await client.frame()
        assert (await client.socket.receive()).type is aiohttp.WSMsgType.PING
        assert await client.closed() == 4002


@pytest.mark.parametrize(("code", "status"), CLOSED_WITH.items())
async def test_every_close_code_ends_the_sessions_subscriptions(platforms: Platforms, code: int, status: str) -> None:
    token = await user_token(platforms)
    async with connected(platforms) as client:
        session_id = (await client.frame())["payload"]["session"]["id"]
        await subscribe(platforms, session_id, token)
        platforms.twitch.sockets.drop(session_id, code)
        assert await client.closed() == code
        assert await _status(platforms, token) == [status]
        assert (await subscribe(platforms, session_id, token)).status == 400


async def test_a_cut_has_no_close_frame(platforms: Platforms) -> None:
    async with connected(platforms) as client:
        session_id = (await client.frame())["payload"]["session"]["id"]
        platforms.twitch.sockets.cut(session_id)
        assert await client.closed() == 1006


async def test_reconnect_with_both_sockets_open(platforms: Platforms) -> None:
    token = await user_token(platforms)
    async with connected(platforms) as old:
        session_id = (await old.frame())["payload"]["session"]["id"]
        await subscribe(platforms, session_id, token)
        platforms.reconnect(session_id)
        asked = (await old.frame())["payload"]["session"]
        assert (asked["status"], asked["keepalive_timeout_seconds"]) == ("reconnecting", None)
        platforms.twitch.go_live(TWITCH_STREAMER.id)
        assert (await old.frame())["metadata"]["subscription_type"] == "stream.online"
        async with connected(platforms, asked["reconnect_url"]) as new:
            welcome = await new.frame()
            assert welcome["payload"]["session"]["id"] == session_id
            await old.socket.close()
            platforms.twitch.end_stream(TWITCH_STREAMER.id)
            platforms.twitch.go_live(TWITCH_STREAMER.id)
            assert (await new.frame())["metadata"]["subscription_type"] == "stream.online"
            assert await _status(platforms, token) == ["enabled"]


async def test_both_sockets_may_get_the_same_message_in_the_overlap(platforms: Platforms) -> None:
    token = await user_token(platforms)
    platforms.twitch.sockets.rules.repeats_in_overlap = True
    async with connected(platforms) as old:
        session_id = (await old.frame())["payload"]["session"]["id"]
        await subscribe(platforms, session_id, token)
        platforms.reconnect(session_id)
        url = (await old.frame())["payload"]["session"]["reconnect_url"]
        async with connected(platforms, url) as new:
            await new.frame()
            platforms.twitch.go_live(TWITCH_STREAMER.id)
            assert await old.frame() == await new.frame()


async def test_4004_for_the_old_socket_when_the_grace_is_over(platforms: Platforms) -> None:
    token = await user_token(platforms)
    platforms.twitch.sockets.rules.reconnect_grace_s = 0.02
    async with connected(platforms) as client:
        session_id = (await client.frame())["payload"]["session"]["id"]
        await subscribe(platforms, session_id, token)
        platforms.reconnect(session_id)
        assert await client.closed() == 4004
    assert await _status(platforms, token) == ["websocket_failed_to_reconnect"]


@pytest.mark.parametrize("how", ["altered", "old closed", "unknown"])
async def test_4007_for_an_address_that_is_not_good(platforms: Platforms, how: str) -> None:
    async with connected(platforms) as old:
        session_id = (await old.frame())["payload"]["session"]["id"]
        platforms.reconnect(session_id)
        url = (await old.frame())["payload"]["session"]["reconnect_url"]
        if how == "old closed":
            await old.socket.close()
        wrong = {"altered": f"{url}&keepalive_timeout_seconds=30", "unknown": f"{url}x"}.get(how, url)
        async with connected(platforms, wrong) as new:
            assert await new.closed() == 4007


async def test_a_session_carries_one_users_subscriptions_and_a_user_three_sessions(platforms: Platforms) -> None:
    token, other = await user_token(platforms), await user_token(platforms, OTHER)
    async with (
        connected(platforms) as one,
        connected(platforms) as two,
        connected(platforms) as three,
        connected(platforms) as four,
    ):
        ids = [(await client.frame())["payload"]["session"]["id"] for client in (one, two, three, four)]
        kinds = ["stream.online"] * 3
        made = [await subscribe(platforms, session, token, kind) for session, kind in zip(ids, kinds, strict=False)]
        assert [answer.status for answer in made] == [202, 202, 202]
        assert (await subscribe(platforms, ids[0], other, "stream.offline")).status == 400
        assert (await subscribe(platforms, ids[3], token, "stream.offline")).status == 429
        again = await subscribe(platforms, ids[0], token)
        assert (again.status, again.document["message"]) == (409, "subscription already exists")
        app = await helix(platforms, "GET", "eventsub/subscriptions")
        assert app.document["data"] == []


async def test_revocation_comes_over_the_socket(platforms: Platforms) -> None:
    token = await user_token(platforms)
    async with connected(platforms) as client:
        session_id = (await client.frame())["payload"]["session"]["id"]
        await subscribe(platforms, session_id, token, "channel.cheer")
        platforms.twitch.grants.revoke_person(TWITCH_STREAMER.id)
        told = await client.frame()
        assert told["metadata"]["message_type"] == "revocation"
        assert told["metadata"]["subscription_type"] == "channel.cheer"
        assert told["payload"]["subscription"]["status"] == "authorization_revoked"
        assert told["payload"].keys() == {"subscription"}
