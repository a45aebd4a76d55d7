"""The fake Twitch: its channels, tokens and subscriptions, and what a person or a test can do there.

    twitch = Twitch(now=clock)
    twitch.install(app)

serves api.twitch.tv, id.twitch.tv and eventsub.wss.twitch.tv on one address (their paths do not meet).
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from schemas.event import utc_now
from streamkit.sandbox.cast import TWITCH_PEOPLE, channels_of
from streamkit.sandbox.consent import Consent
from streamkit.sandbox.grants import Client, Clock, Grants, TokenRules
from streamkit.sandbox.helix import Helix
from streamkit.sandbox.twitch_oauth import TWITCH_TOKENS, TwitchOAuth
from streamkit.simulation.bodies import Person

TWITCH_CLIENT = Client("sandboxtwitchclient00000000000", "sandbox-twitch-client-secret")


class Twitch:
    """The platform. `channels` by platform id; `grants` has the levers on tokens (revoke, expire, lifetimes)."""

    def __init__(
        self,
        *,
        client: Client = TWITCH_CLIENT,
        people: Iterable[Person] = TWITCH_PEOPLE,
        tokens: TokenRules = TWITCH_TOKENS,
        now: Clock = utc_now,
    ) -> None:
        self.channels = channels_of(people)
        self.grants = Grants(client, tokens, now)
        self._oauth = TwitchOAuth(self.grants, Consent("Twitch", self.grants, self.channels), self.channels)
        self._helix = Helix(self.grants, self.channels)

    def install(self, app: web.Application) -> None:
        """Serve it with `app`."""
        app.add_routes([*self._oauth.routes(), *self._helix.routes()])

    def settings(self, url: str) -> dict[str, str]:
        """What points StreamKit at this Twitch, served at `url`."""
        client = self.grants.client
        return {
            "STREAMKIT_TWITCH_API_URL": url,
            "STREAMKIT_TWITCH_AUTH_URL": url,
            "STREAMKIT_TWITCH_EVENTSUB_WS_URL": f"ws{url.removeprefix('http')}/ws",
            "STREAMKIT_TWITCH_CLIENT_ID": client.id,
            "STREAMKIT_TWITCH_CLIENT_SECRET": client.secret,
        }
