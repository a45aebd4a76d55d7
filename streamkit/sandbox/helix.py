"""Twitch's REST API, api.twitch.tv/helix: https://dev.twitch.tv/docs/api/reference."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web

from streamkit.sandbox.cast import Channel
from streamkit.sandbox.grants import Access, Grants
from streamkit.sandbox.twitch_oauth import token_of


class Refused(Exception):
    """A failure of Helix, with its status and words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Helix:
    """The routes."""

    def __init__(self, grants: Grants, channels: dict[str, Channel]) -> None:
        self._grants = grants
        self._channels = channels

    def routes(self) -> list[web.RouteDef]:
        """Everything that api.twitch.tv serves, but EventSub."""
        return [web.get("/helix/users", self._users)]

    async def _users(self, request: web.Request) -> web.Response:
        try:
            access = self.access(request)
            wanted = {*request.query.getall("id", []), *request.query.getall("login", [])}
            if not wanted:
                if access.grant is None:
                    raise Refused(400, 'The "id" or "login" field is required when using an app access token')
                wanted = {access.grant.person_id}
        except Refused as refused:
            return answer_of(refused)
        users = [_user(channel) for channel in self._channels.values() if {channel.person.id, channel.login} & wanted]
        return web.json_response({"data": users})

    def access(self, request: web.Request) -> Access:
        """Whose request it is. Raises Refused."""
        token = token_of(request, "bearer")
        if not token:
            raise Refused(401, "OAuth token is missing")
        access = self._grants.access(token)
        if access is None:
            raise Refused(401, "Invalid OAuth token")
        if request.headers.get("Client-Id") != self._grants.client.id:
            raise Refused(401, "Client ID and OAuth token do not match")
        return access


def _user(channel: Channel) -> dict[str, Any]:
    return {
        "id": channel.person.id,
        "login": channel.login,
        "display_name": channel.person.name,
        "type": "",
        "broadcaster_type": "affiliate",
        "description": "",
        "profile_image_url": "",
        "offline_image_url": "",
        "view_count": 0,
        "created_at": "2020-01-01T00:00:00Z",
    }


def answer_of(refused: Refused) -> web.Response:
    """The failure as Helix words it."""
    reason = HTTPStatus(refused.status).phrase
    return web.json_response(
        {"error": reason, "status": refused.status, "message": refused.message}, status=refused.status
    )
