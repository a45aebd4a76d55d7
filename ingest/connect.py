"""A streamer's consent: from the one-use address to the platform, and back with a code that becomes tokens.

Any ingest process can take the callback of a consent that another one began: what it needs is sealed in the state, and
the control topic says whose use of a ticket or state is the first. What may not live here: how tokens are kept.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from ingest.connect_page import HEADERS, page
from schemas.control import ConnectSpent, PlatformName
from schemas.errors import LogUnavailable, NotConnected, PlatformAway, PlatformRefused, PlatformTimeout
from schemas.event import utc_now
from streamkit import telemetry
from streamkit.directory import Directory
from streamkit.keys import Keys
from streamkit.log.events import control_record
from streamkit.log.protocol import CONTROL, EventLog
from streamkit.platforms.adopt import IdentityTaken, adopt
from streamkit.platforms.answers import Grant
from streamkit.platforms.parts import Platforms
from streamkit.platforms.scopes import scopes_asked
from streamkit.platforms.tickets import GOOD_FOR, State, begin, read_state, read_ticket
from streamkit.settings import Settings

_ASK_ANEW = "Ask whoever runs this StreamKit for a new address: each can be used once, within 10 minutes."
_MAX_CODE = 2048


class Connect:
    """The addresses `/connect/{platform}` and `/connect/{platform}/callback`."""

    def __init__(
        self, settings: Settings, keys: Keys, log: EventLog, directory: Directory, platforms: Platforms
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._log = log
        self._directory = directory
        self._platforms = platforms

    def add_routes(self, app: web.Application) -> None:
        """Register them. GET only: a HEAD of somebody's link preview uses nothing up."""
        for platform in ("kick", "twitch"):
            app.router.add_get(f"/connect/{platform}", self._handler(self._begin, platform), allow_head=False)
            app.router.add_get(
                f"/connect/{platform}/callback", self._handler(self._callback, platform), allow_head=False
            )

    def _handler(
        self, answer: Callable[[web.Request, PlatformName], Awaitable[web.Response]], platform: PlatformName
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        named = platform.capitalize()

        async def handle(request: web.Request) -> web.Response:
            try:
                return await answer(request, platform)
            except (LogUnavailable, PlatformAway, PlatformTimeout) as away:
                telemetry.warn("connect.failed", platform=platform, error=type(away).__name__)
                return page(503, "Not now", str(away), "Nothing was connected.", _ASK_ANEW)
            except PlatformRefused as refused:
                telemetry.warn("connect.failed", platform=platform, error="PlatformRefused", status=refused.status)
                return page(502, f"{named} did not go along", f"{refused}.", "Nothing was connected.", _ASK_ANEW)
            except IdentityTaken as taken:
                return page(409, "Connected elsewhere", str(taken))
            except NotConnected as gone:
                return page(409, "Nothing to connect", str(gone))

        return handle

    async def _begin(self, request: web.Request, platform: PlatformName) -> web.Response:
        """From the one-use address to the platform's own page."""
        now = utc_now()
        ticket = read_ticket(self._keys, request.query.get("ticket", ""), platform, now=now)
        if ticket is None:
            return page(403, "This address is not good", "It is not complete, too old, or not ours.", _ASK_ANEW)
        if not self._platforms.tokens.configured(platform):
            name = platform.upper()
            return page(
                503,
                "Not set up",
                f"This StreamKit has no {platform.capitalize()} app: STREAMKIT_{name}_CLIENT_ID and "
                f"STREAMKIT_{name}_CLIENT_SECRET have to be set where it runs.",
            )
        if not await self._spend(ticket.id):
            return page(403, "This address was used already", _ASK_ANEW)
        if self._directory.broadcaster(ticket.user_id) is None:
            return page(409, "Nothing to connect", f"Broadcaster {ticket.user_id} does not exist any more.")
        state, text, cookie = begin(self._keys, ticket, now=now)
        answer = web.Response(status=302, headers=HEADERS | {"Location": self._authorize_url(state, text)})
        answer.set_cookie(
            state.cookie_name,
            cookie,
            max_age=int(GOOD_FOR.total_seconds()),
            path=urlsplit(state.redirect_uri).path,
            secure=urlsplit(state.redirect_uri).scheme == "https",
            httponly=True,
            samesite="Lax",
        )
        return answer

    async def _callback(self, request: web.Request, platform: PlatformName) -> web.Response:
        """Back from the platform, with a code or with a refusal."""
        state = read_state(self._keys, request.query.get("state", ""), platform, now=utc_now())
        if state is None:
            return page(403, "This consent is not good", "It took more than 10 minutes, or is not ours.", _ASK_ANEW)
        if not state.began_in(request.cookies.get(state.cookie_name)):
            why = "It was used already (a page that was loaded again), or began in another browser or without cookies."
            return page(403, "This consent is not good here", why, _ASK_ANEW)
        if not await self._spend(state.id):
            return page(403, "This consent was used already", _ASK_ANEW)
        answer = await self._consented(request, state)
        answer.del_cookie(state.cookie_name, path=urlsplit(state.redirect_uri).path)
        return answer

    async def _consented(self, request: web.Request, state: State) -> web.Response:
        named = state.platform.capitalize()
        code = request.query.get("code", "")
        if "error" in request.query or not 0 < len(code) <= _MAX_CODE:
            telemetry.info("connect.denied", user_id=state.user_id, platform=state.platform)
            return page(403, f"{named} is not connected", f"{named} says that you did not allow it.", _ASK_ANEW)
        asked = scopes_asked(state.platform, self._settings)
        grant = await self._exchange(code, state)
        api = self._platforms.kick if state.platform == "kick" else self._platforms.twitch
        profile = await adopt(
            (state.user_id, state.platform),
            grant,
            api,
            scopes=asked,
            keys=self._keys,
            log=self._log,
            directory=self._directory,
            vault=self._platforms.tokens.vault,
        )
        told = [f"The {named} account {profile.username} is connected. You can close this page."]
        missing = [] if grant.scopes is None else sorted(set(asked) - set(grant.scopes))
        if missing:
            telemetry.warn("connect.scopes_missing", user_id=state.user_id, platform=state.platform, missing=missing)
            told.append(f"{named} did not give {', '.join(missing)}: what needs them will not work.")
        return page(200, "Connected", *told)

    async def _exchange(self, code: str, state: State) -> Grant:
        if state.platform == "kick":
            return await self._platforms.kick.exchange_code(
                code, redirect_uri=state.redirect_uri, verifier=state.verifier
            )
        return await self._platforms.twitch.exchange_code(code, redirect_uri=state.redirect_uri)

    def _authorize_url(self, state: State, text: str) -> str:
        scopes = scopes_asked(state.platform, self._settings)
        if state.platform == "kick":
            return self._platforms.kick.authorize_url(
                redirect_uri=state.redirect_uri, scopes=scopes, state=text, verifier=state.verifier
            )
        return self._platforms.twitch.authorize_url(redirect_uri=state.redirect_uri, scopes=scopes, state=text)

    async def _spend(self, id: str) -> bool:
        """Whether this request is the first to use it, whichever processes the others are at. Raises LogUnavailable."""
        by = secrets.token_hex(8)
        if self._directory.spent_by(id) is not None:
            return False
        await self._log.append(CONTROL, [control_record(ConnectSpent(at=utc_now(), id=id, by=by))])
        await self._directory.catch_up(self._log)
        return self._directory.spent_by(id) == by
