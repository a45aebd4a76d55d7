"""Kick and Twitch for tests, each on a port of its own, with a clock that a test moves and a person who consents.

async def test_something(platforms: Platforms) -> None:
    settings = load_settings({**platforms.settings(), "STREAMKIT_PUBLIC_URL": "http://127.0.0.1:9"}, tmp_path)
    back = await consent(authorize_url, KICK_STREAMER.id)   # what the browser is sent to: …?code=…&state=…
    platforms.clock.advance(hours=3)                        # access tokens run out
    platforms.kick.grants.expire_access(KICK_STREAMER.id)   # or: now
    platforms.kick.grants.revoke_person(KICK_STREAMER.id)   # the person disconnected us
    platforms.kick.grants.change_rules(user_s=90)           # shorter-lived tokens from now on
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import aiohttp
from aiohttp import web
from msgspec import Struct

from schemas.event import utc_now
from streamkit.lifecycle import serve
from streamkit.sandbox.kick import Kick
from streamkit.sandbox.twitch import Twitch
from streamkit.simulation.delivery import SANDBOX_STREAMER

KICK_STREAMER = SANDBOX_STREAMER.kick
TWITCH_STREAMER = SANDBOX_STREAMER.twitch


class MovedClock:
    """The present time, and what a test has added to it."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        """Now, on the platforms."""
        return utc_now() + self._ahead

    def advance(self, **duration: float) -> None:
        """Later by `timedelta(**duration)`, at once."""
        self._ahead += timedelta(**duration)


class Platforms(Struct, frozen=True, kw_only=True):
    """Both platforms at work."""

    kick: Kick
    kick_url: str
    twitch: Twitch
    twitch_url: str
    clock: MovedClock

    def settings(self) -> dict[str, str]:
        """The environment that points StreamKit at them."""
        return self.kick.settings(self.kick_url) | self.twitch.settings(self.twitch_url)

    def reconnect(self, session_id: str) -> None:
        """Twitch asks a websocket session to reconnect."""
        self.twitch.sockets.ask_to_reconnect(session_id, f"ws{self.twitch_url.removeprefix('http')}/ws")


@asynccontextmanager
async def running_platforms() -> AsyncIterator[Platforms]:
    """Both platforms on free loopback ports, until the block ends."""
    clock = MovedClock()
    kick, twitch = Kick(now=clock), Twitch(now=clock)
    kick_app, twitch_app = web.Application(), web.Application()
    kick.install(kick_app)
    twitch.install(twitch_app)
    kick_server = await serve(kick_app, "127.0.0.1", 0, grace_s=0.2)
    twitch_server = await serve(twitch_app, "127.0.0.1", 0, grace_s=0.2)
    try:
        yield Platforms(kick=kick, kick_url=kick_server.url, twitch=twitch, twitch_url=twitch_server.url, clock=clock)
    finally:
        await kick_server.close()
        await twitch_server.close()


async def consent(authorize_url: str, person_id: str, *, deny: bool = False) -> str:
    """Open the consent page, click, and give back the address that the browser is redirected to."""
    async with aiohttp.ClientSession() as browser:
        async with browser.get(authorize_url) as page:
            text = await page.text()
            assert page.status == 200, text
        (request_id,) = set(re.findall(r'name="request" value="([^"]+)"', text))
        click = {"request": request_id, "person": person_id, "answer": "deny" if deny else "allow"}
        async with browser.post(authorize_url, data=click, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            return answer.headers["Location"]
