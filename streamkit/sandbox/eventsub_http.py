"""EventSub's part of Helix: https://dev.twitch.tv/docs/api/reference/#create-eventsub-subscription."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from streamkit.sandbox.eventsub import COSTS, EventSub, Subscription, Wanted, shown
from streamkit.sandbox.grants import Access
from streamkit.sandbox.helix import Helix
from streamkit.sandbox.helix_answers import Refused

_FILTERS = ("status", "type", "user_id", "subscription_id")


class EventSubHttp:
    """The routes. A webhook's subscription belongs to the app's token, a websocket's to the user's."""

    def __init__(self, eventsub: EventSub, helix: Helix) -> None:
        self._eventsub = eventsub
        self._helix = helix

    def routes(self) -> list[web.RouteDef]:
        """Create, list, delete."""
        path = "/helix/eventsub/subscriptions"
        return [
            web.post(path, self._helix.told(self._create)),
            web.get(path, self._helix.told(self._list)),
            web.delete(path, self._helix.told(self._delete)),
        ]

    async def _create(self, request: web.Request, access: Access) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=Wanted)
        except msgspec.DecodeError:
            raise Refused(400, "The request body is malformed") from None
        made = self._eventsub.subscribe(access, wanted)
        return web.json_response({"data": [shown(made)], **self._totals(access)}, status=202)

    async def _list(self, request: web.Request, access: Access) -> web.Response:
        given = [name for name in _FILTERS if name in request.query]
        if len(given) > 1:
            raise Refused(400, "filters are mutually exclusive")
        own = [one for one in self._own(access) if all(_fits(one, name, request.query[name]) for name in given)]
        after = request.query.get("after", "0")
        if not after.isascii() or not after.isdecimal():
            raise Refused(400, "Invalid pagination cursor")
        start, size = int(after), self._eventsub.page_size
        page = own[start : start + size]
        pagination = {"cursor": str(start + size)} if len(own) > start + size else {}
        return web.json_response(
            {"data": [shown(one) for one in page], **self._totals(access), "pagination": pagination}
        )

    async def _delete(self, request: web.Request, access: Access) -> web.Response:
        if not request.query.get("id"):
            raise Refused(400, 'Missing required parameter "id"')
        found = self._eventsub.subscriptions.get(request.query["id"])
        if found is None or found not in self._own(access):
            raise Refused(404, "subscription not found")
        del self._eventsub.subscriptions[found.id]
        return web.Response(status=204)

    def _own(self, access: Access) -> list[Subscription]:
        user_id = access.grant.person_id if access.grant else None
        return [one for one in self._eventsub.subscriptions.values() if one.user_id == user_id]

    def _totals(self, access: Access) -> dict[str, Any]:
        user_id = access.grant.person_id if access.grant else None
        method = "webhook" if user_id is None else "websocket"
        return {
            "total": len(self._own(access)),
            "total_cost": self._eventsub.total_cost(method, user_id),
            "max_total_cost": COSTS[method],
        }


def _fits(subscription: Subscription, name: str, value: str) -> bool:
    match name:
        case "status":
            return subscription.status == value
        case "type":
            return subscription.wanted.type == value
        case "user_id":
            return value in subscription.wanted.condition.values()
        case _:
            return subscription.id == value
