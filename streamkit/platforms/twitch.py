"""Twitch's OAuth and Helix, typed: https://dev.twitch.tv/docs/api/reference/. One method a call; each is one attempt unless
repeating is safe.

Every method raises PlatformAway, PlatformTimeout, or PlatformRefused with Twitch's status and words. What may not live
here: whose token it is and when to renew it (tokens.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode, urlsplit

from msgspec import Struct

from schemas.errors import PlatformRefused
from schemas.kinds import Viewer
from streamkit.platforms.answers import Grant, GrantRefused, Profile, decoded, grant_of, refusal
from streamkit.platforms.categories import Category
from streamkit.platforms.http import Outgoing
from streamkit.platforms.observed import Observed, Subscribers
from streamkit.platforms.rest import Rest
from streamkit.platforms.subscriptions import Listed, Wanted, condition_of, time_of
from streamkit.settings import Settings

PLATFORM = "twitch"


class Validated(Struct, frozen=True):
    """What Twitch says about a token that is good."""

    client_id: str
    expires_in: int
    user_id: str = ""
    login: str = ""
    scopes: tuple[str, ...] | None = None


class _User(Struct):
    id: str
    login: str


class _Users(Struct):
    data: list[_User]


class _Transport(Struct):
    method: str
    callback: str = ""
    session_id: str = ""


class _Subscription(Struct):
    id: str
    status: str
    type: str
    version: str
    condition: dict[str, str]
    transport: _Transport
    created_at: str | None = None


class _Pagination(Struct):
    cursor: str | None = None


class _Subscriptions(Struct):
    data: list[_Subscription] | None = None
    pagination: _Pagination | None = None


class _Categories(Struct):
    data: list[Category] | None = None
    """Nothing found is null in production."""


class _Stream(Struct):
    id: str
    user_id: str
    title: str = ""
    game_name: str = ""
    viewer_count: int = 0
    started_at: str | None = None


class _Streams(Struct):
    data: list[_Stream] | None = None


class _Subscriber(Struct):
    user_id: str
    user_name: str


class _Subscribers(Struct):
    data: list[_Subscriber] | None = None
    pagination: _Pagination | None = None


MOST_STREAMS = 100
_PAGES = 500


class TwitchApi:
    """Twitch for one process. A base address with a path of its own stands for `…/helix` or `…/oauth2` as it is (Twitch's
    command-line client has its mock at `/mock` and `/auth`)."""

    def __init__(self, outgoing: Outgoing, settings: Settings) -> None:
        self._outgoing = outgoing
        self._oauth = _base(settings.twitch_auth_url, "/oauth2")
        self._client_id = settings.twitch_client_id or ""
        self._client_secret = settings.twitch_client_secret or ""
        api, named = _base(settings.twitch_api_url, "/helix"), {"Client-Id": self._client_id}
        self._rest = Rest(outgoing, PLATFORM, api, named)
        self._eventsub = Rest(
            outgoing, PLATFORM, settings.twitch_eventsub_url or f"{api}/eventsub/subscriptions", named
        )

    def authorize_url(self, *, redirect_uri: str, scopes: tuple[str, ...], state: str) -> str:
        """Where the streamer consents: https://dev.twitch.tv/docs/authentication/getting-tokens-oauth/."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(scopes),
            "state": state,
        }
        return f"{self._oauth}/authorize?{urlencode(query, quote_via=quote)}"

    async def exchange_code(self, code: str, *, redirect_uri: str) -> Grant:
        """The streamer's tokens for the code of the callback. GrantRefused: the code is not good (any more)."""
        fields = {"code": code, "redirect_uri": redirect_uri}
        return await self._token("authorization_code", fields, timeout_s=10.0)

    async def refresh(self, refresh_token: str) -> Grant:
        """New tokens, perhaps with a new refresh token. GrantRefused: this one is taken no more."""
        return await self._token("refresh_token", {"refresh_token": refresh_token})

    async def app_token(self) -> Grant:
        """A token of the app itself, good for about 60 days."""
        return await self._token("client_credentials", {}, attempts=2)

    async def validate(self, token: str) -> Validated:
        """What a token is; to be asked at start and hourly, https://dev.twitch.tv/docs/authentication/validate-tokens/.

        PlatformRefused 401: it is not good any more.
        """
        headers = {"Authorization": f"OAuth {token}"}
        answer = await self._outgoing.call("GET", f"{self._oauth}/validate", headers=headers, attempts=2)
        if answer.status != 200:
            raise refusal(PLATFORM, answer)
        return decoded(PLATFORM, answer, Validated)

    async def as_it_is(self, token: str) -> Grant:
        """A streamer's access token that this app was given elsewhere: good until it ends, and not to be renewed.

        GrantRefused: it is none.
        """
        try:
            told = await self.validate(token)
        except PlatformRefused as refused:
            if refused.status != 401:
                raise
            raise GrantRefused(PLATFORM, 401, refused.message) from None
        if told.client_id != self._client_id:
            raise GrantRefused(PLATFORM, 200, "it is another app's")
        if not told.user_id:
            raise GrantRefused(PLATFORM, 200, "it is the app's own, no streamer's")
        return Grant(token, None, told.expires_in, tuple(sorted(told.scopes or ())))

    async def revoke(self, token: str) -> None:
        """End an access token."""
        form = {"client_id": self._client_id, "token": token}
        answer = await self._outgoing.call("POST", f"{self._oauth}/revoke", form=form, attempts=2)
        if answer.status >= 300:
            raise refusal(PLATFORM, answer)

    async def own_user(self, token: str) -> Profile:
        """Whose user token it is; needs no scope."""
        users = decoded(PLATFORM, await self._rest.get("/users", token), _Users).data
        if len(users) != 1:
            raise PlatformRefused(PLATFORM, 200, f"{len(users)} users for one token")
        return Profile(users[0].id, users[0].login)

    async def eventsub_subscriptions(self, token: str) -> list[Listed]:
        """With the app's token its webhooks, with a user's the websockets':
        https://dev.twitch.tv/docs/api/reference/#get-eventsub-subscriptions. Conduits' are left out."""
        found: list[Listed] = []
        params: list[tuple[str, str]] = []
        for _ in range(_PAGES):
            page = decoded(PLATFORM, await self._eventsub.get("", token, params), _Subscriptions)
            found += [listed for one in page.data or () if (listed := _listed(one)) is not None]
            cursor = page.pagination.cursor if page.pagination else None
            if not cursor:
                break
            params = [("after", cursor)]
        return found

    async def eventsub_subscribe(self, token: str, wanted: Wanted, transport: dict[str, str]) -> None:
        """Subscribe. That it is there already (409) is well: a request before this one has come to its end."""
        body = {
            "type": wanted.type,
            "version": wanted.version,
            "condition": dict(wanted.condition),
            "transport": transport,
        }
        try:
            await self._eventsub.call("POST", "", token, json=body, attempts=2)
        except PlatformRefused as refused:
            if refused.status != 409:
                raise

    async def eventsub_unsubscribe(self, token: str, subscription_id: str) -> None:
        """Delete it; one that is gone is no error."""
        try:
            await self._eventsub.call("DELETE", "", token, params=[("id", subscription_id)], attempts=2)
        except PlatformRefused as refused:
            if refused.status != 404:
                raise

    async def streams(self, token: str, ids: Sequence[str]) -> dict[str, Observed]:
        """Channels by broadcaster id, up to MOST_STREAMS; of one that is not live no more than that:
        https://dev.twitch.tv/docs/api/reference/#get-streams."""
        params = [("first", str(MOST_STREAMS)), *(("user_id", id_) for id_ in ids)]
        found = decoded(PLATFORM, await self._rest.get("/streams", token, params), _Streams).data or []
        live = {
            one.user_id: Observed(
                is_live=True,
                stream_id=one.id,
                started_at=time_of(one.started_at),
                title=one.title or None,
                category_name=one.game_name or None,
                viewer_count=max(0, one.viewer_count),
            )
            for one in found
        }
        return dict.fromkeys(ids, Observed(is_live=False)) | live

    async def subscribers(self, token: str, broadcaster_id: str) -> Subscribers:
        """All of a broadcaster's, with a token of theirs (`channel:read:subscriptions`):
        https://dev.twitch.tv/docs/api/reference/#get-broadcaster-subscriptions. They are not their own."""
        found: dict[str, Viewer] = {}
        params = [("broadcaster_id", broadcaster_id), ("first", "100")]
        cursor: str | None = ""
        for _ in range(_PAGES):
            asked = [*params, *([("after", cursor)] if cursor else [])]
            page = decoded(PLATFORM, await self._rest.get("/subscriptions", token, asked), _Subscribers)
            found |= {one.user_id: Viewer(one.user_id, one.user_name) for one in page.data or ()}
            cursor = page.pagination.cursor if page.pagination and page.data else None
            if not cursor:
                break
        found.pop(broadcaster_id, None)
        return Subscribers(tuple(found.values()), complete=not cursor)

    async def find_categories(self, token: str, wanted: str) -> list[Category]:
        """Those whose name is like `wanted`, and the one with this id:
        https://dev.twitch.tv/docs/api/reference/#search-categories, #get-games."""
        params = [("query", wanted), ("first", "100")]
        found = decoded(PLATFORM, await self._rest.get("/search/categories", token, params), _Categories).data or []
        if wanted.isdecimal():
            found += decoded(PLATFORM, await self._rest.get("/games", token, [("id", wanted)]), _Categories).data or []
        return found

    async def change_channel(
        self, token: str, broadcaster_id: str, *, title: str | None, category_id: str | None
    ) -> None:
        """Change the channel of whom the token is of (`channel:manage:broadcast`); None: as it is:
        https://dev.twitch.tv/docs/api/reference/#modify-channel-information."""
        body = {"title": title, "game_id": category_id}
        changed = {name: value for name, value in body.items() if value is not None}
        await self._rest.call("PATCH", "/channels", token, params=[("broadcaster_id", broadcaster_id)], json=changed)

    async def _token(
        self, grant_type: str, fields: dict[str, str], *, timeout_s: float = 5.0, attempts: int = 1
    ) -> Grant:
        form = {"grant_type": grant_type, "client_id": self._client_id, "client_secret": self._client_secret} | fields
        answer = await self._outgoing.call(
            "POST", f"{self._oauth}/token", form=form, timeout_s=timeout_s, attempts=attempts
        )
        if answer.status == 200:
            return grant_of(PLATFORM, answer)
        refused = refusal(PLATFORM, answer)
        # "Invalid refresh token", "Invalid authorization code"; "invalid client" and the like are the app's fault.
        words = refused.message.lower()
        if answer.status in (400, 401) and ("token" in words or "code" in words) and "client" not in words:
            raise refusal(PLATFORM, answer, GrantRefused)
        raise refused


def _listed(one: _Subscription) -> Listed | None:
    transport, condition = one.transport, condition_of(one.condition)
    about = next((value for key, value in condition if key.endswith("broadcaster_user_id")), "")
    wanted = Wanted("twitch", about, one.type, one.version, condition)
    if transport.method == "webhook":
        return Listed(wanted, one.id, one.status, "webhook", transport.callback, time_of(one.created_at))
    if transport.method == "websocket":
        return Listed(wanted, one.id, one.status, "websocket", transport.session_id, time_of(one.created_at))
    return None


def _base(url: str, path: str) -> str:
    return url if urlsplit(url).path.strip("/") else f"{url}{path}"
