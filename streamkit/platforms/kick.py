"""Kick's OAuth and API, typed: https://docs.kick.com. One method a call; each is one attempt unless repeating is safe.

Every method raises PlatformAway, PlatformTimeout, or PlatformRefused with Kick's status and words. What may not live
here: whose token it is and when to renew it (tokens.py).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from msgspec import Struct

from schemas.errors import PlatformRefused
from streamkit.platforms.answers import Grant, GrantRefused, Profile, decoded, error_code, grant_of, refusal
from streamkit.platforms.categories import Category
from streamkit.platforms.http import Outgoing
from streamkit.platforms.observed import Observed
from streamkit.platforms.rest import Rest
from streamkit.platforms.subscriptions import Listed, Wanted, time_of
from streamkit.settings import Settings

PLATFORM = "kick"

_CLIENT_ERRORS = ("invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_scope")


class _User(Struct):
    user_id: int
    name: str


class _Users(Struct):
    data: list[_User]


class _Subscription(Struct):
    id: str
    event: str
    broadcaster_user_id: int
    version: int = 1
    created_at: str | None = None


class _Subscriptions(Struct):
    data: list[_Subscription]


class _MadeOne(Struct):
    name: str
    subscription_id: str | None = None
    error: str | None = None


class _Made(Struct):
    data: list[_MadeOne]


class _Category(Struct):
    id: int
    name: str


class _Categories(Struct):
    data: list[_Category]


class _Stream(Struct):
    is_live: bool = False
    viewer_count: int = 0
    start_time: str | None = None


class _Channel(Struct):
    broadcaster_user_id: int
    stream_title: str = ""
    stream: _Stream | None = None
    category: _Category | None = None
    active_subscribers_count: int | None = None
    active_gifted_subscribers_count: int | None = None


class _Channels(Struct):
    data: list[_Channel]


MOST_CHANNELS = 50
_SHORTEST_NAME = 3
_SUBSCRIPTIONS = "/public/v1/events/subscriptions"
_DELETE_AT_ONCE = 50


class KickApi:
    """Kick for one process."""

    def __init__(self, outgoing: Outgoing, settings: Settings) -> None:
        self._outgoing = outgoing
        self._rest = Rest(outgoing, PLATFORM, settings.kick_api_url)
        self._auth = settings.kick_auth_url
        self._client_id = settings.kick_client_id or ""
        self._client_secret = settings.kick_client_secret or ""

    def authorize_url(self, *, redirect_uri: str, scopes: tuple[str, ...], state: str, verifier: str) -> str:
        """Where the streamer consents: OAuth 2.1 with PKCE, https://docs.kick.com/getting-started/generating-tokens-oauth2-flow."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(scopes),
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
            "state": state,
        }
        if urlsplit(redirect_uri).hostname == "127.0.0.1":
            # Kick rewrites the first 127.0.0.1 it sees; its documentation says to put one in front to be spoilt.
            query = {"redirect": "127.0.0.1"} | query
        return f"{self._auth}/oauth/authorize?{urlencode(query, quote_via=quote)}"

    async def exchange_code(self, code: str, *, redirect_uri: str, verifier: str) -> Grant:
        """The streamer's tokens for the code of the callback. GrantRefused: the code is not good (any more)."""
        fields = {"code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        return await self._token("authorization_code", fields, timeout_s=10.0)

    async def refresh(self, refresh_token: str) -> Grant:
        """New tokens, always with a new refresh token. GrantRefused: this one is taken no more."""
        return await self._token("refresh_token", {"refresh_token": refresh_token})

    async def app_token(self) -> Grant:
        """A token of the app itself, good for 60 days."""
        return await self._token("client_credentials", {}, attempts=2)

    async def revoke(self, token: str, hint: str) -> None:
        """End a token; `hint` is access_token or refresh_token."""
        answer = await self._outgoing.call(
            "POST",
            f"{self._auth}/oauth/revoke",
            params={"token": token, "token_hint_type": hint},
            form={},
            attempts=2,
        )
        if answer.status >= 300:
            raise refusal(PLATFORM, answer)

    async def own_user(self, token: str) -> Profile:
        """Whose user token it is; needs `user:read`."""
        users = decoded(PLATFORM, await self._rest.get("/public/v1/users", token), _Users).data
        if len(users) != 1:
            raise PlatformRefused(PLATFORM, 200, f"{len(users)} users for one token")
        return Profile(str(users[0].user_id), users[0].name)

    async def event_subscriptions(self, token: str, broadcaster_id: str) -> list[Listed]:
        """What the app has subscribed about a channel: https://docs.kick.com/events/subscribe-to-events."""
        params = [("broadcaster_user_id", broadcaster_id)]
        found = decoded(PLATFORM, await self._rest.get(_SUBSCRIPTIONS, token, params), _Subscriptions).data
        return [
            Listed(
                Wanted("kick", str(one.broadcaster_user_id), one.event, str(one.version)),
                one.id,
                "enabled",
                "webhook",
                "",
                time_of(one.created_at),
            )
            for one in found
        ]

    async def subscribe_events(self, token: str, broadcaster_id: str, types: Sequence[str]) -> dict[str, str | None]:
        """Subscribe, and give back what each type was answered: None is well, else Kick's words. Not idempotent: what
        exists is made a second time."""
        body = {
            "broadcaster_user_id": int(broadcaster_id),
            "events": [{"name": type_, "version": 1} for type_ in types],
            "method": "webhook",
        }
        made = decoded(PLATFORM, await self._rest.call("POST", _SUBSCRIPTIONS, token, json=body), _Made).data
        told = {item.name: item.error or (None if item.subscription_id else "no id was given") for item in made}
        return {type_: told.get(type_, "Kick does not mention it") for type_ in types}

    async def unsubscribe_events(self, token: str, ids: Sequence[str]) -> None:
        """Delete subscriptions, 50 at a time; those that are gone are no error."""
        for start in range(0, len(ids), _DELETE_AT_ONCE):
            params = [("id", id_) for id_ in ids[start : start + _DELETE_AT_ONCE]]
            try:
                await self._rest.call("DELETE", _SUBSCRIPTIONS, token, params=params, attempts=2)
            except PlatformRefused as refused:
                if refused.status != 404:
                    raise

    async def channels(self, token: str, ids: Sequence[str]) -> dict[str, Observed]:
        """Channels by broadcaster id, up to MOST_CHANNELS; one that Kick does not know is not among them. Any token will
        do: https://docs.kick.com/apis/channels."""
        params = [("broadcaster_user_id", id_) for id_ in ids]
        found = decoded(PLATFORM, await self._rest.get("/public/v1/channels", token, params), _Channels).data
        return {str(one.broadcaster_user_id): _observed(one) for one in found}

    async def find_categories(self, token: str, wanted: str) -> list[Category]:
        """Those whose name has `wanted` in it, and the one with this id: https://docs.kick.com/apis/categories."""
        asked = [("name", wanted)] if len(wanted) >= _SHORTEST_NAME else []
        found: list[_Category] = []
        for params in ([*asked, ("limit", "100")] if asked else None, [("id", wanted)] if wanted.isdecimal() else None):
            if params is not None:
                found += decoded(
                    PLATFORM, await self._rest.get("/public/v2/categories", token, params), _Categories
                ).data
        return [Category(str(one.id), one.name) for one in found]

    async def change_channel(self, token: str, *, title: str | None, category_id: str | None) -> None:
        """Change the channel of whom the token is of (`channel:write`); None: as it is. Kick tells what it made of it in
        an event, and reads of it are old for a while: https://docs.kick.com/apis/channels."""
        body: dict[str, Any] = {} if title is None else {"stream_title": title}
        if category_id is not None:
            body["category_id"] = int(category_id)
        await self._rest.call("PATCH", "/public/v1/channels", token, json=body)

    async def _token(
        self, grant_type: str, fields: dict[str, str], *, timeout_s: float = 5.0, attempts: int = 1
    ) -> Grant:
        form = {"grant_type": grant_type, "client_id": self._client_id, "client_secret": self._client_secret} | fields
        answer = await self._outgoing.call(
            "POST", f"{self._auth}/oauth/token", form=form, timeout_s=timeout_s, attempts=attempts
        )
        if answer.status == 200:
            return grant_of(PLATFORM, answer)
        code = error_code(answer)
        is_grant = answer.status in (400, 401) and code is not None and code not in _CLIENT_ERRORS
        raise refusal(PLATFORM, answer, GrantRefused if is_grant else PlatformRefused)


def _observed(channel: _Channel) -> Observed:
    stream = channel.stream or _Stream()
    return Observed(
        is_live=stream.is_live,
        started_at=time_of(stream.start_time) if stream.is_live else None,
        title=channel.stream_title or None,
        category_name=channel.category.name or None if channel.category is not None else None,
        viewer_count=max(0, stream.viewer_count) if stream.is_live else None,
        subscribers=channel.active_subscribers_count,
        gifted=channel.active_gifted_subscribers_count,
    )


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
