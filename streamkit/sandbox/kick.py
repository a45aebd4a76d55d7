"""The fake Kick: its channels, tokens and subscriptions, and what a person or a test can do there.

    kick = Kick(now=clock)
    app = web.Application()
    app.add_routes(kick.routes())

serves api.kick.com and id.kick.com on one address (their paths do not meet).
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from schemas.event import utc_now
from streamkit.sandbox.cast import KICK_PEOPLE, channels_of
from streamkit.sandbox.consent import Consent
from streamkit.sandbox.grants import Client, Clock, Grants, TokenRules
from streamkit.sandbox.kick_http import KickHttp
from streamkit.sandbox.kick_oauth import KICK_TOKENS, KickOAuth
from streamkit.simulation.bodies import Person

KICK_CLIENT = Client("01SANDBOXKICKCLIENT0000000", "sandbox-kick-client-secret")


class Kick:
    """The platform. `channels` by platform id; `grants` has the levers on tokens (revoke, expire, lifetimes)."""

    def __init__(
        self,
        *,
        client: Client = KICK_CLIENT,
        people: Iterable[Person] = KICK_PEOPLE,
        tokens: TokenRules = KICK_TOKENS,
        now: Clock = utc_now,
    ) -> None:
        self.channels = channels_of(people)
        self.grants = Grants(client, tokens, now)
        self._oauth = KickOAuth(self.grants, Consent("Kick", self.grants, self.channels))
        self._http = KickHttp(self.grants, self.channels)

    def routes(self) -> list[web.RouteDef]:
        """Everything Kick serves."""
        return [*self._oauth.routes(), *self._http.routes()]

    def settings(self, url: str) -> dict[str, str]:
        """What points StreamKit at this Kick, served at `url`."""
        client = self.grants.client
        return {
            "STREAMKIT_KICK_API_URL": url,
            "STREAMKIT_KICK_AUTH_URL": url,
            "STREAMKIT_KICK_CLIENT_ID": client.id,
            "STREAMKIT_KICK_CLIENT_SECRET": client.secret,
        }
