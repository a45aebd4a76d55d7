"""Twitch's REST API, api.twitch.tv/helix: https://dev.twitch.tv/docs/api/reference. EventSub's part is eventsub_http.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from streamkit.sandbox import helix_answers as answers
from streamkit.sandbox.cast import CATEGORIES, Category, Channel
from streamkit.sandbox.grants import Access, Grants
from streamkit.sandbox.helix_answers import RateLimit, Refused
from streamkit.sandbox.requests import token_of

Handler = Callable[[web.Request, Access], Awaitable[web.Response]]
Patched = Callable[[Channel, str | None, Category | None], None]

LONGEST_TITLE = 140
NO_CATEGORY = Category(0, "")
"""What a patch with the game id "0" or "" sets."""
_POINTS = {"1000": 1, "2000": 2, "3000": 6}


class Helix:
    """The routes. `patched(channel, title, category)` is called for a change that was taken; None: left as it is."""

    def __init__(self, grants: Grants, channels: dict[str, Channel], limit: RateLimit, patched: Patched) -> None:
        self._grants = grants
        self._channels = channels
        self._limit = limit
        self._patched = patched

    def routes(self) -> list[web.RouteDef]:
        """Everything that api.twitch.tv serves, but EventSub."""
        return [
            web.get("/helix/users", self.told(self._users)),
            web.get("/helix/streams", self.told(self._streams)),
            web.get("/helix/channels", self.told(self._get_channels)),
            web.patch("/helix/channels", self.told(self._patch_channel)),
            web.get("/helix/games", self.told(self._games)),
            web.get("/helix/search/categories", self.told(self._search_categories)),
            web.get("/helix/subscriptions", self.told(self._subscriptions)),
        ]

    def told(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """`handler` behind the token and the rate limit, its Refused as an answer."""

        async def answered(request: web.Request) -> web.Response:
            try:
                access = self._access(request)
            except Refused as refused:
                return refused.answer
            is_left, headers = self._limit.take(access.grant.person_id if access.grant else None)
            try:
                if not is_left:
                    raise Refused(429, "You have exceeded your rate limit")
                answer = await handler(request, access)
            except Refused as refused:
                answer = refused.answer
            answer.headers.update(headers)
            return answer

        return answered

    def _access(self, request: web.Request) -> Access:
        token = token_of(request, "bearer")
        if not token:
            raise Refused(401, "OAuth token is missing")
        access = self._grants.access(token)
        if access is None:
            raise Refused(401, "Invalid OAuth token")
        if request.headers.get("Client-Id") != self._grants.client.id:
            raise Refused(401, "Client ID and OAuth token do not match")
        return access

    async def _users(self, request: web.Request, access: Access) -> web.Response:
        wanted = {*request.query.getall("id", []), *request.query.getall("login", [])}
        if not wanted:
            if access.grant is None:
                raise Refused(400, 'The "id" or "login" field is required when using an app access token')
            wanted = {access.grant.person_id}
        channels = self._channels.values()
        return web.json_response(
            {"data": [answers.user(one) for one in channels if {one.person.id, one.login} & wanted]}
        )

    async def _streams(self, request: web.Request, _access: Access) -> web.Response:
        ids, logins = request.query.getall("user_id", []), request.query.getall("user_login", [])
        if len(ids) > 100 or len(logins) > 100:
            raise Refused(400, "The number of user ids or logins exceeds 100")
        live = [
            answers.stream(channel, channel.live)
            for channel in self._channels.values()
            if channel.live and (not (ids or logins) or channel.person.id in ids or channel.login in logins)
        ]
        data, pagination = answers.page(live, request)
        return web.json_response({"data": data, "pagination": pagination})

    async def _get_channels(self, request: web.Request, _access: Access) -> web.Response:
        ids = request.query.getall("broadcaster_id", [])
        if not 1 <= len(ids) <= 100:
            raise Refused(400, 'Missing required parameter "broadcaster_id"')
        return web.json_response(
            {"data": [answers.channel(self._channels[one]) for one in ids if one in self._channels]}
        )

    async def _patch_channel(self, request: web.Request, access: Access) -> web.Response:
        if "broadcaster_id" not in request.query:
            raise Refused(400, 'Missing required parameter "broadcaster_id"')
        channel = self._own(access, request.query["broadcaster_id"], "channel:manage:broadcast")
        try:
            body = msgspec.json.decode(await request.read(), type=_Patch)
        except msgspec.DecodeError:
            raise Refused(400, "The request body is malformed") from None
        if body == _Patch():
            raise Refused(400, "The request must update at least one field", data=[])
        if body.title is not None and not body.title.strip():
            raise Refused(400, "The title may not be empty", data=[])
        if body.title is not None and len(body.title) > LONGEST_TITLE:
            raise Refused(400, "Title is too long.", data=[])
        if any(len(tag.encode()) > 25 or " " in tag for tag in body.tags or ()) or len(body.tags or ()) > 10:
            raise Refused(400, "One of the tags is not valid", data=[])
        category = None
        if body.game_id is not None:
            known = (NO_CATEGORY, *CATEGORIES)
            category = next((one for one in known if str(one.id) == (body.game_id or "0")), None)
            if category is None:
                raise Refused(400, "The game ID is not valid", data=[])
        self._patched(channel, body.title, category)
        return web.Response(status=204)

    async def _search_categories(self, request: web.Request, _access: Access) -> web.Response:
        query = request.query.get("query", "")
        if not query:
            raise Refused(400, 'Missing required parameter "query"')
        found = [answers.category(one) for one in CATEGORIES if query.casefold() in one.name.casefold()]
        data, pagination = answers.page(found, request)
        # Nothing found is null in production, and no empty list.
        return web.json_response({"data": data or None, "pagination": pagination})

    async def _games(self, request: web.Request, _access: Access) -> web.Response:
        wanted = request.query.getall("id", [])
        return web.json_response({"data": [answers.category(one) for one in CATEGORIES if str(one.id) in wanted]})

    async def _subscriptions(self, request: web.Request, access: Access) -> web.Response:
        channel = self._own(access, request.query.get("broadcaster_id", ""), "channel:read:subscriptions")
        data, pagination = answers.page([answers.subscription(channel, one) for one in channel.subscribers], request)
        total, points = len(channel.subscribers), sum(_POINTS[one.tier] for one in channel.subscribers)
        return web.json_response({"data": data, "pagination": pagination, "total": total, "points": points})

    def _own(self, access: Access, broadcaster_id: str, scope: str) -> Channel:
        if access.grant is None or access.grant.person_id != broadcaster_id:
            raise Refused(401, "Broadcaster ID does not match token")
        if scope not in access.scopes:
            raise Refused(401, f"Missing required scope {scope}")
        return self._channels[broadcaster_id]


class _Patch(msgspec.Struct):
    game_id: str | None = None
    title: str | None = None
    broadcaster_language: str | None = None
    tags: list[str] | None = None
    content_classification_labels: list[Any] | None = None
    is_branded_content: bool | None = None
    delay: int | None = None
