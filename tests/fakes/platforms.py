"""Kick and Twitch for tests, each on a port of its own, with a clock that a test moves and a person who consents.

    async def test_something(platforms: Platforms) -> None:
        settings = load_settings({**platforms.settings(), "STREAMKIT_PUBLIC_URL": "http://127.0.0.1:9"}, tmp_path)
        back = await consent(authorize_url, KICK_STREAMER.id)   # what the browser is sent to: …?code=…&state=…
        platforms.clock.advance(hours=3)                        # access tokens run out
        platforms.kick.grants.expire_access(KICK_STREAMER.id)   # or: now
        platforms.kick.grants.revoke_person(KICK_STREAMER.id)   # the person disconnected us
        platforms.kick.grants.change_rules(user_s=90)           # shorter-lived tokens from now on
        platforms.kick.events.switch_webhooks(url)              # where Kick delivers (off until then)
        platforms.twitch.go_live(TWITCH_STREAMER.id)            # and end_stream, change, follow, subscribe, gift, spend
        platforms.twitch.channels[TWITCH_STREAMER.id].viewers = 70
        platforms.twitch.sockets.rules.unused_s = 0.05          # the times of websockets: see SocketRules
        platforms.twitch.sockets.drop(session_id, 4000)         # every session: platforms.twitch.sockets.sessions
        platforms.twitch.sockets.cut(session_id)                # the network breaks: no close frame
        platforms.reconnect(session_id)                         # session_reconnect
        platforms.twitch.eventsub.revoke(subscription_id, "authorization_revoked")
        await platforms.kick.events.postman.idle()              # all deliveries were answered (Twitch: eventsub.postman)

What goes wrong with the next request is scripted with `tests/fakes/faults.py`; a webhook address that keeps what it got
is `tests/fakes/receiver.py`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import aiohttp
from msgspec import Struct

from schemas.event import utc_now
from streamkit.lifecycle import serve
from streamkit.sandbox.kick import Kick
from streamkit.sandbox.twitch import Twitch
from streamkit.simulation.delivery import SANDBOX_STREAMER
from tests.fakes.faults import Faults, application, kick_words, twitch_words

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
    kick_faults: Faults
    twitch: Twitch
    twitch_url: str
    twitch_faults: Faults
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
    kick_faults, twitch_faults = Faults(kick_words), Faults(twitch_words)
    kick_app, twitch_app = application(kick_faults), application(twitch_faults)
    kick.install(kick_app)
    twitch.install(twitch_app)
    kick_server = await serve(kick_app, "127.0.0.1", 0, grace_s=0.2)
    twitch_server = await serve(twitch_app, "127.0.0.1", 0, grace_s=0.2)
    try:
        yield Platforms(
            kick=kick,
            kick_url=kick_server.url,
            kick_faults=kick_faults,
            twitch=twitch,
            twitch_url=twitch_server.url,
            twitch_faults=twitch_faults,
            clock=clock,
        )
    finally:
        kick_faults.stop()
        twitch_faults.stop()
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
