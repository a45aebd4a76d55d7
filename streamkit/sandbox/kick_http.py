"""Kick's REST API, api.kick.com: https://docs.kick.com. Every answer is `{"data": …, "message": …}`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from streamkit.sandbox.cast import Channel
from streamkit.sandbox.grants import Access, Grants
from streamkit.sandbox.kick_oauth import bearer
from streamkit.simulation.signing import sandbox_kick_public_key


class KickHttp:
    """The routes."""

    def __init__(self, grants: Grants, channels: dict[str, Channel]) -> None:
        self._grants = grants
        self._channels = channels

    def routes(self) -> list[web.RouteDef]:
        """Everything that api.kick.com serves."""
        return [
            web.get("/public/v1/public-key", self._public_key),
            web.get("/public/v1/users", self._users),
        ]

    async def _public_key(self, _request: web.Request) -> web.Response:
        return ok({"public_key": sandbox_kick_public_key()})

    async def _users(self, request: web.Request) -> web.Response:
        access = self._grants.access(bearer(request))
        if access is None:
            return unauthorized()
        ids = request.query.getall("id", [])
        if not ids:
            if access.grant is None:
                return unauthorized()
            if "user:read" not in access.scopes:
                return forbidden()
            ids = [access.grant.person_id]
        return ok([_user(self._channels[user_id], access) for user_id in ids if user_id in self._channels])


def _user(channel: Channel, access: Access) -> dict[str, Any]:
    is_own = access.grant is not None and access.grant.person_id == channel.person.id
    return {
        "user_id": int(channel.person.id),
        "name": channel.person.name,
        "email": f"{channel.login}@example.invalid" if is_own else "",
        "profile_picture": "",
    }


def ok(data: Any, **more: Any) -> web.Response:
    """A success."""
    return web.json_response({"data": data, "message": "OK", **more})


def refused(status: int, message: str, data: Any = None) -> web.Response:
    """A failure: `data` is an empty object also where a success has a list."""
    return web.json_response({"data": {} if data is None else data, "message": message}, status=status)


def unauthorized() -> web.Response:
    """No token, or one that is not good any more."""
    return refused(401, "Unauthorized")


def forbidden() -> web.Response:
    """The token is good, and the scope is missing."""
    return refused(403, "Forbidden")
