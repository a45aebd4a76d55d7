"""A streamer's consent in a browser, against the fake platforms; the ingest room over a log in memory, two processes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import CookieJar, web
from msgspec import Struct

import ingest.connect
from ingest.connect import Connect
from ingest.connect_page import page
from schemas.control import PlatformName
from schemas.event import utc_now
from streamkit.keys import Keys
from streamkit.lifecycle import Server, serve
from streamkit.platforms.parts import Platforms as Reach
from streamkit.platforms.scopes import KICK_SCOPES, TWITCH_SCOPES, TWITCH_WEBHOOK_SCOPES
from streamkit.platforms.tickets import issue_ticket
from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER, Platforms, consent
from tests.streamkit.platforms.world import KEYS, Process, World

PEOPLE: dict[PlatformName, str] = {"kick": KICK_STREAMER.id, "twitch": TWITCH_STREAMER.id}
OTHERS: dict[PlatformName, str] = {"kick": "900101", "twitch": "900201"}
BOTH: tuple[PlatformName, ...] = ("kick", "twitch")
HTTPS = {
    "STREAMKIT_PUBLIC_URL": "https://streamkit.example",
    "STREAMKIT_TWITCH_WEBHOOK_SECRET": "a-webhook-secret",
}


class Page(Struct, frozen=True):
    """What a browser got."""

    status: int
    text: str
    location: str
    cookies: str


class Room:
    """An ingest process that a browser reaches."""

    def __init__(self, process: Process, server: Server) -> None:
        self.process = process
        self.url = server.url.replace("127.0.0.1", "localhost")
        self._server = server

    def address(
        self, platform: PlatformName, user_id: int = 1, *, keys: Keys = KEYS, at: timedelta = timedelta()
    ) -> str:
        """What `accounts connect` prints."""
        ticket = issue_ticket(keys, user_id, platform, self.url, now=utc_now() + at)
        return f"{self.url}/connect/{platform}?ticket={ticket}"

    async def close(self) -> None:
        await self._server.close()


class Rooms:
    """Opens rooms of one deployment."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._opened: list[Room] = []

    async def __call__(self, **environ: str) -> Room:
        process = await self.world.process(environ)
        reach = Reach(process.outgoing, process.kick, process.twitch, process.tokens)
        app = web.Application()
        Connect(process.settings, KEYS, process.log, process.directory, reach).add_routes(app)
        room = Room(process, await serve(app, "127.0.0.1", 0, grace_s=0.1))
        self._opened.append(room)
        return room

    async def close(self) -> None:
        for room in self._opened:
            await room.close()


@pytest.fixture
async def rooms(platforms: Platforms, tmp_path: Path) -> AsyncIterator[Rooms]:
    world = World(platforms, tmp_path)
    await world.register(1, 2)
    rooms = Rooms(world)
    yield rooms
    await rooms.close()
    await world.close()


@pytest.fixture
async def room(rooms: Rooms) -> Room:
    return await rooms()


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=CookieJar()) as session:
        yield session


@pytest.fixture
async def other_browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=CookieJar()) as session:
        yield session


async def get(browser: aiohttp.ClientSession, address: str) -> Page:
    async with browser.get(address, allow_redirects=False) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        cookies = "; ".join(answer.headers.getall("Set-Cookie", []))
        return Page(answer.status, await answer.text(), answer.headers.get("Location", ""), cookies)


async def begun(browser: aiohttp.ClientSession, room: Room, platform: PlatformName, user_id: int = 1) -> str:
    """The platform's page that the browser is sent to."""
    shown = await get(browser, room.address(platform, user_id))
    assert shown.status == 302, shown.text
    return shown.location


@pytest.mark.parametrize("platform", BOTH)
async def test_a_consent_connects(room: Room, browser: aiohttp.ClientSession, platform: PlatformName) -> None:
    back = await consent(await begun(browser, room, platform), PEOPLE[platform])
    shown = await get(browser, back)
    assert shown.status == 200
    assert "is connected" in shown.text
    connection = room.process.tokens.connections()[1, platform]
    assert (connection.state, connection.platform_id) == ("connected", PEOPLE[platform])
    assert await room.process.tokens.user_token(1, platform)
    broadcaster = room.process.directory.broadcaster(1)
    assert broadcaster is not None
    assert broadcaster.primary_platform == platform
    assert "Max-Age=0" in shown.cookies


@pytest.mark.parametrize("platform", BOTH)
async def test_the_callback_may_reach_another_process(
    rooms: Rooms, room: Room, browser: aiohttp.ClientSession, platform: PlatformName
) -> None:
    other = await rooms()
    back = await consent(await begun(browser, room, platform), PEOPLE[platform])
    elsewhere = back.replace(room.url, other.url)
    assert elsewhere != back
    assert (await get(browser, elsewhere)).status == 200
    assert (await get(browser, back)).status == 403


async def test_what_the_platforms_are_asked_for(rooms: Rooms, browser: aiohttp.ClientSession) -> None:
    room = await rooms()
    kick = parse_qs(urlsplit(await begun(browser, room, "kick")).query)
    assert kick["scope"] == [" ".join(KICK_SCOPES)]
    assert (kick["response_type"], kick["code_challenge_method"]) == (["code"], ["S256"])
    assert kick["redirect_uri"] == [f"{room.url}/connect/kick/callback"]
    assert "redirect" not in kick
    twitch = parse_qs(urlsplit(await begun(browser, room, "twitch")).query)
    assert twitch["scope"] == [" ".join(TWITCH_SCOPES)]
    delivered_to = await rooms(**HTTPS)
    twitch = parse_qs(urlsplit(await begun(browser, delivered_to, "twitch")).query)
    assert twitch["scope"] == [" ".join(TWITCH_SCOPES + TWITCH_WEBHOOK_SCOPES)]


async def test_kick_gets_a_number_to_spoil(room: Room, browser: aiohttp.ClientSession) -> None:
    ticket = issue_ticket(KEYS, 1, "kick", room.url.replace("localhost", "127.0.0.1"), now=utc_now())
    shown = await get(browser, f"{room.url}/connect/kick?ticket={ticket}")
    assert shown.location.index("redirect=127.0.0.1") < shown.location.index("redirect_uri=")


async def test_the_cookie(room: Room, browser: aiohttp.ClientSession) -> None:
    plain = (await get(browser, room.address("kick"))).cookies
    assert {"HttpOnly", "SameSite=Lax", "Path=/connect/kick/callback", "Max-Age=600"} <= set(plain.split("; "))
    assert "Secure" not in plain
    ticket = issue_ticket(KEYS, 1, "kick", "https://streamkit.example", now=utc_now())
    assert "Secure" in (await get(browser, f"{room.url}/connect/kick?ticket={ticket}")).cookies


async def test_a_ticket_is_needed_and_works_once(rooms: Rooms, room: Room, browser: aiohttp.ClientSession) -> None:
    other = await rooms()
    address = room.address("kick")
    assert (await get(browser, address)).status == 302
    assert (await get(browser, address)).status == 403
    assert (await get(browser, address.replace(room.url, other.url))).status == 403
    ticket = address.split("=")[1]
    bad = [
        f"{room.url}/connect/kick",
        f"{room.url}/connect/kick?ticket=",
        f"{room.url}/connect/kick?ticket=%F0%9F%92%A9.{'x' * 99}",
        f"{room.url}/connect/kick?ticket={ticket[:-4]}",
        f"{room.url}/connect/kick?ticket={'x' * 5000}",
        room.address("kick").replace("/kick?", "/twitch?"),
        room.address("kick", keys=Keys.derive(bytes(range(2, 34)))),
        room.address("kick", at=timedelta(minutes=-10, seconds=-1)),
    ]
    for each in bad:
        assert (await get(browser, each)).status == 403, each
    assert (await get(browser, room.address("kick", user_id=9))).status == 409


async def test_a_look_at_the_address_uses_nothing_up(room: Room, browser: aiohttp.ClientSession) -> None:
    address = room.address("kick")
    async with browser.head(address, allow_redirects=False) as preview:
        assert preview.status == 405
    assert (await get(browser, address)).status == 302


async def test_a_consent_ends_in_the_browser_it_began_in(
    room: Room, browser: aiohttp.ClientSession, other_browser: aiohttp.ClientSession
) -> None:
    back = await consent(await begun(browser, room, "kick"), PEOPLE["kick"])
    assert (await get(other_browser, back)).status == 403
    await begun(other_browser, room, "kick")  # with a cookie of another consent
    assert (await get(other_browser, back)).status == 403
    assert (await get(browser, back)).status == 200  # and nobody used it up
    again = await get(browser, back)  # the page loaded again, its cookie gone
    assert again.status == 403
    assert "used already" in again.text


async def test_two_consents_in_one_browser(room: Room, browser: aiohttp.ClientSession) -> None:
    at = [await begun(browser, room, platform) for platform in BOTH]
    for address, platform in zip(at, BOTH, strict=True):
        assert (await get(browser, await consent(address, PEOPLE[platform]))).status == 200
    assert set(room.process.tokens.connections()) == {(1, "kick"), (1, "twitch")}


async def test_a_state_is_ours_whole_and_young(
    room: Room, browser: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = await consent(await begun(browser, room, "kick"), PEOPLE["kick"])
    state = parse_qs(urlsplit(back).query)["state"][0]
    ticket = room.address("kick").split("=")[1]
    for forged in ("", "x", state[:-5], state[:-5] + "AAAAA", ticket):
        shown = await get(browser, f"{room.url}/connect/kick/callback?code=c&state={forged}")
        assert shown.status == 403, forged
    assert (await get(browser, back.replace("/kick/", "/twitch/"))).status == 403
    now = utc_now
    monkeypatch.setattr(ingest.connect, "utc_now", lambda: now() + timedelta(minutes=10, seconds=1))
    assert (await get(browser, back)).status == 403
    monkeypatch.undo()
    assert (await get(browser, back)).status == 200


@pytest.mark.parametrize("platform", BOTH)
async def test_denied_nothing_is_connected(room: Room, browser: aiohttp.ClientSession, platform: PlatformName) -> None:
    shown = await get(browser, await consent(await begun(browser, room, platform), PEOPLE[platform], deny=True))
    assert shown.status == 403
    assert "did not allow" in shown.text
    assert room.process.tokens.connections() == {}


@pytest.mark.parametrize("platform", BOTH)
async def test_an_account_is_one_broadcasters_and_a_broadcaster_has_one(
    room: Room, browser: aiohttp.ClientSession, platform: PlatformName
) -> None:
    await get(browser, await consent(await begun(browser, room, platform), PEOPLE[platform]))
    token = await room.process.tokens.user_token(1, platform)
    taken = await get(browser, await consent(await begun(browser, room, platform, 2), PEOPLE[platform]))
    assert taken.status == 409
    another = await get(browser, await consent(await begun(browser, room, platform, 1), OTHERS[platform]))
    assert another.status == 409
    assert "not Night_Owl" in another.text or "not night_owl" in another.text
    assert await room.process.tokens.user_token(1, platform) == token
    again = await get(browser, await consent(await begun(browser, room, platform, 1), PEOPLE[platform]))
    assert again.status == 200
    assert set(room.process.tokens.connections()) == {(1, platform)}


async def test_a_code_that_the_platform_does_not_take(room: Room, browser: aiohttp.ClientSession) -> None:
    back = await consent(await begun(browser, room, "kick"), PEOPLE["kick"])
    query = parse_qs(urlsplit(back).query)
    shown = await get(browser, f"{room.url}/connect/kick/callback?code=forged&state={query['state'][0]}")
    assert shown.status == 502
    assert room.process.tokens.connections() == {}


async def test_a_platform_that_is_away(rooms: Rooms, browser: aiohttp.ClientSession) -> None:
    room = await rooms(STREAMKIT_KICK_AUTH_URL="http://127.0.0.1:1")
    state = parse_qs(urlsplit(await begun(browser, room, "kick")).query)["state"][0]
    shown = await get(browser, f"{room.url}/connect/kick/callback?code=c&state={state}")
    assert shown.status == 503


async def test_without_an_app_the_page_says_what_is_missing(rooms: Rooms, browser: aiohttp.ClientSession) -> None:
    room = await rooms(STREAMKIT_TWITCH_CLIENT_ID="")
    address = room.address("twitch")
    shown = await get(browser, address)
    assert shown.status == 503
    assert "STREAMKIT_TWITCH_CLIENT_ID" in shown.text


async def test_no_address_leads_anywhere_else(room: Room, browser: aiohttp.ClientSession, platforms: Platforms) -> None:
    evil = "https://evil.example/"
    extra = f"&redirect_uri={evil}&redirect={evil}&next={evil}&base_url={evil}&state={evil}"
    async with browser.get(
        room.address("kick") + extra, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
        allow_redirects=False,
    ) as answer:  # fmt: skip
        location = answer.headers["Location"]
    assert location.startswith(f"{platforms.kick_url}/oauth/authorize?")
    assert "evil" not in location


def test_what_a_platform_says_is_no_markup_of_ours() -> None:
    assert "<script" not in str(page(200, "<script>", "<script>", '"><script>').text)


async def test_no_log_line_holds_what_travels(
    room: Room, browser: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    address = room.address("kick")
    shown = await get(browser, address)
    back = await consent(shown.location, PEOPLE["kick"])
    await get(browser, back)
    travelled = [
        address.split("=")[1],
        *parse_qs(urlsplit(back).query)["code"],
        *parse_qs(urlsplit(back).query)["state"],
    ]
    travelled += [shown.cookies.split("=")[1].split(";")[0], await room.process.tokens.user_token(1, "kick")]
    told = "".join(f"{r.__dict__}" for r in caplog.records if r.name == "streamkit") + "".join(capfd.readouterr())
    assert "connect.connected" in told
    assert not [one for one in travelled if one in told]
