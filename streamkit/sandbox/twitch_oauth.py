"""Twitch's OAuth server, id.twitch.tv/oauth2: https://dev.twitch.tv/docs/authentication/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from streamkit.sandbox.cast import Channel
from streamkit.sandbox.consent import Asked, Consent
from streamkit.sandbox.grants import Grants, InvalidGrant, Issued, TokenRules
from streamkit.sandbox.postman import is_on_this_machine
from streamkit.sandbox.requests import form_of, token_of

TWITCH_TOKENS = TokenRules(user_s=14_124, rotates=False)


class TwitchOAuth:
    """The routes; what they need of the platform is given."""

    def __init__(self, grants: Grants, consent: Consent, channels: dict[str, Channel]) -> None:
        self._grants = grants
        self._consent = consent
        self._channels = channels

    def routes(self) -> list[web.RouteDef]:
        """Everything that id.twitch.tv serves."""
        return [
            web.get("/oauth2/authorize", self._authorize, allow_head=False),
            web.post("/oauth2/authorize", self._consent.answered),
            web.post("/oauth2/token", self._token),
            web.get("/oauth2/validate", self._validate),
            web.post("/oauth2/revoke", self._revoke),
        ]

    async def _authorize(self, request: web.Request) -> web.Response:
        query = request.query
        asked = Asked(
            redirect_uri=query.get("redirect_uri", ""),
            scopes=tuple(query.get("scope", "").split()),
            state=query.get("state", ""),
        )
        if query.get("client_id") != self._grants.client.id:
            return _refused(400, "invalid client")
        if not is_on_this_machine(asked.redirect_uri):
            return _refused(400, "Parameter redirect_uri does not match registered URI")
        if query.get("response_type") != "code":
            return _refused(400, "invalid response type")
        return self._consent.page(asked)

    async def _token(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        client = self._grants.client
        if "client_id" not in form:
            return _refused(400, "missing client id")
        if form["client_id"] != client.id:
            return _refused(400, "invalid client")
        if form.get("client_secret") != client.secret:
            return _refused(403, "invalid client secret")
        try:
            issued = self._issue(form)
        except InvalidGrant:
            is_refresh = form.get("grant_type") == "refresh_token"
            return _refused(400, "Invalid refresh token" if is_refresh else "Invalid authorization code")
        return _refused(400, "missing grant type") if issued is None else web.json_response(_told(issued))

    def _issue(self, form: Mapping[str, str]) -> Issued | None:
        match form.get("grant_type"):
            case "authorization_code":
                return self._grants.redeem(form.get("code", ""), form.get("redirect_uri", ""), None)
            case "refresh_token":
                return self._grants.refresh(form.get("refresh_token", ""))
            case "client_credentials":
                return self._grants.app()
            case _:
                return None

    async def _validate(self, request: web.Request) -> web.Response:
        access = self._grants.access(token_of(request, "oauth", "bearer"))
        if access is None:
            return web.json_response({"status": 401, "message": "invalid access token"}, status=401)
        told: dict[str, Any] = {"client_id": self._grants.client.id, "scopes": list(access.scopes)}
        if access.grant is not None:
            told |= {"login": self._channels[access.grant.person_id].login, "user_id": access.grant.person_id}
        return web.json_response(told | {"expires_in": self._grants.expires_in_s(access)})

    async def _revoke(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        if form.get("client_id") != self._grants.client.id:
            return _refused(404, "client does not exist")
        if not self._grants.revoke(form.get("token", "")):
            return _refused(400, "Invalid token")
        return web.Response()


def _told(issued: Issued) -> dict[str, Any]:
    told: dict[str, Any] = {"access_token": issued.access.token, "expires_in": issued.lifetime_s}
    if issued.refresh_token is not None:
        told |= {"refresh_token": issued.refresh_token, "scope": list(issued.access.scopes)}
    return told | {"token_type": "bearer"}


def _refused(status: int, message: str) -> web.Response:
    reasons = {400: "Bad Request", 403: "Forbidden", 404: "Not Found"}
    return web.json_response({"error": reasons[status], "status": status, "message": message}, status=status)
