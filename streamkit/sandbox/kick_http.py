"""Kick's REST API, api.kick.com: https://docs.kick.com. Every answer is `{"data": …, "message": …}`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from streamkit.sandbox import kick_answers as answers
from streamkit.sandbox.cast import CATEGORIES, Category, Channel
from streamkit.sandbox.grants import Access, Clock, Grants
from streamkit.sandbox.kick_answers import Refused, Told, ok
from streamkit.sandbox.kick_events import KickEvents, LimitReached, shown
from streamkit.sandbox.requests import token_of
from streamkit.simulation.signing import sandbox_kick_public_key

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Patched = Callable[[Channel, str | None, Category | None], None]

MOST_IDS_DELETED = 100
"""50 ids in one DELETE have been seen to work and 330 not; the limit between is unknown."""
STALE_READS = timedelta(seconds=2)
"""So long after a change a read still tells what was there before (KickDevDocs issues 205, 127, 226)."""


class KickHttp:
    """The routes. `patched(channel, title, category)` is called for a change that was taken; None: left as it is."""

    def __init__(
        self, grants: Grants, channels: dict[str, Channel], events: KickEvents, now: Clock, patched: Patched
    ) -> None:
        self._grants = grants
        self._channels = channels
        self._events = events
        self._now = now
        self._patched = patched
        self._before: dict[str, tuple[datetime, Told]] = {}

    def routes(self) -> list[web.RouteDef]:
        """What StreamKit asks of api.kick.com."""
        subscriptions = "/public/v1/events/subscriptions"
        return [
            web.get("/public/v1/public-key", self._public_key),
            web.get("/public/v1/users", _told(self._users)),
            web.get("/public/v1/channels", _told(self._get_channels)),
            web.patch("/public/v1/channels", _told(self._patch_channel)),
            web.get("/public/v2/categories", _told(self._categories)),
            web.get(subscriptions, _told(self._list_subscriptions)),
            web.post(subscriptions, _told(self._subscribe)),
            web.delete(subscriptions, _told(self._unsubscribe)),
        ]

    def _access(self, request: web.Request) -> Access:
        access = self._grants.access(token_of(request, "bearer"))
        if access is None:
            raise Refused(401, "Unauthorized")
        return access

    def _person(self, request: web.Request, scope: str) -> str:
        access = self._access(request)
        if access.grant is None:
            raise Refused(401, "Unauthorized")
        if scope not in access.scopes:
            raise Refused(403, "Forbidden")
        return access.grant.person_id

    async def _public_key(self, _request: web.Request) -> web.Response:
        return ok({"public_key": sandbox_kick_public_key()})

    async def _users(self, request: web.Request) -> web.Response:
        access = self._access(request)
        ids = request.query.getall("id", []) or [self._person(request, "user:read")]
        own = access.grant.person_id if access.grant else None
        return ok(
            [
                {
                    "user_id": int(channel.person.id),
                    "name": channel.person.name,
                    "email": f"{channel.login}@example.invalid" if channel.person.id == own else "",
                    "profile_picture": "",
                }
                for channel in self._known(ids)
            ]
        )

    async def _get_channels(self, request: web.Request) -> web.Response:
        self._access(request)
        ids, slugs = request.query.getall("broadcaster_user_id", []), request.query.getall("slug", [])
        if (ids and slugs) or len(ids) > 50 or len(slugs) > 50:
            raise Refused(400, "Invalid request")
        by_slug = {channel.slug: channel for channel in self._channels.values()}
        if any(slug not in by_slug for slug in slugs):
            raise Refused(400, "Invalid request")
        if not ids and not slugs:
            ids = [self._person(request, "channel:read")]
        channels = [by_slug[slug] for slug in slugs] or self._known(ids)
        return ok([answers.channel(channel, self._seen(channel)) for channel in channels])

    async def _patch_channel(self, request: web.Request) -> web.Response:
        channel = self._channels[self._person(request, "channel:write")]
        body = await _body(request)
        title, category_id, tags = body.get("stream_title"), body.get("category_id"), body.get("custom_tags")
        fits = isinstance(title, str | None) and isinstance(category_id, int | None) and isinstance(tags, list | None)
        # Fields it does not know are ignored, with 204 (KickDevDocs issue 344).
        if not body or not fits or len(tags or ()) > 10:
            raise Refused(400, "Invalid request")
        category = next((one for one in CATEGORIES if one.id == category_id), None)
        if category_id is not None and category is None:
            raise Refused(400, "Invalid request")
        if title is not None or category is not None:
            self._before[channel.person.id] = (self._now() + STALE_READS, Told(channel.title, channel.category))
            self._patched(channel, title, category)
        return web.Response(status=204)

    async def _categories(self, request: web.Request) -> web.Response:
        self._access(request)
        query = request.query
        limit, cursor = _whole(query.get("limit", "25"), 1, 1000), query.get("cursor")
        if cursor is not None and not 4 <= len(cursor) <= 28:
            raise Refused(400, "Invalid request")
        tags = query.getall("tag", [])
        if any(len(tag) < 3 for tag in tags):
            raise Refused(400, "Invalid request")
        names, ids = [name.casefold() for name in query.getall("name", [])], query.getall("id", [])
        found = [
            category
            for category in CATEGORIES
            if (not names or any(name in category.name.casefold() for name in names))
            and (not ids or str(category.id) in ids)
            and not tags  # no category here has one
        ]
        start = answers.offset_of(cursor) if cursor else 0
        page = [answers.category(category) | {"tags": None} for category in found[start : start + limit]]
        more = answers.cursor_of(start + limit) if len(found) > start + limit else ""
        return ok(page, pagination={"next_cursor": more})

    async def _list_subscriptions(self, request: web.Request) -> web.Response:
        access = self._access(request)
        broadcaster_id = request.query.get("broadcaster_user_id")
        if access.grant is not None:
            broadcaster_id = self._person(request, "events:subscribe")
        return ok(
            [
                shown(one, self._grants.client.id)
                for one in self._events.subscriptions.values()
                if broadcaster_id in (None, one.broadcaster_id)
            ]
        )

    async def _subscribe(self, request: web.Request) -> web.Response:
        access, body = self._access(request), await _body(request)
        events, broadcaster_id = body.get("events"), body.get("broadcaster_user_id")
        if access.grant is not None:
            # A user's token subscribes to its owner, whatever the body names.
            broadcaster_id = int(self._person(request, "events:subscribe"))
        if body.get("method") != "webhook" or not isinstance(events, list) or not events:
            raise Refused(400, "Invalid request")
        if not isinstance(broadcaster_id, int) or str(broadcaster_id) not in self._channels:
            raise Refused(400, "Invalid request")
        try:
            wanted = msgspec.convert([(one["name"], one["version"]) for one in events], list[tuple[str, int]])
            made = self._events.subscribe(str(broadcaster_id), wanted)
        except (KeyError, TypeError, msgspec.ValidationError):
            raise Refused(400, "Invalid request") from None
        except LimitReached:
            raise Refused(400, "Bad request", "event subscription limit reached") from None
        return ok(made)

    async def _unsubscribe(self, request: web.Request) -> web.Response:
        access, ids = self._access(request), request.query.getall("id", [])
        if not 1 <= len(ids) <= MOST_IDS_DELETED:
            raise Refused(400, "Invalid request")
        own = None if access.grant is None else self._person(request, "events:subscribe")
        for subscription_id in ids:
            found = self._events.subscriptions.get(subscription_id)
            if found is not None and own in (None, found.broadcaster_id):
                del self._events.subscriptions[subscription_id]
        return web.Response(status=204)

    def _known(self, ids: list[str]) -> list[Channel]:
        return [self._channels[one] for one in dict.fromkeys(ids) if one in self._channels]

    def _seen(self, channel: Channel) -> Told:
        until, before = self._before.get(channel.person.id, (None, None))
        if until is not None and before is not None and self._now() < until:
            return before
        return Told(channel.title, channel.category)


def _told(handler: Handler) -> Handler:
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refusal:
            return refusal.answer

    return answered


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(await request.read(), type=dict[str, Any])
    except msgspec.DecodeError:
        raise Refused(400, "Invalid request") from None
    return body


def _whole(text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise Refused(400, "Invalid request")
    return int(text)
