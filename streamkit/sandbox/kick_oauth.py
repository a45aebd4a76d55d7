"""Kick's OAuth 2.1 server, id.kick.com: https://docs.kick.com/getting-started/generating-tokens-oauth2-flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from streamkit.sandbox.consent import Asked, Consent
from streamkit.sandbox.grants import Grants, InvalidGrant, Issued, TokenRules
from streamkit.sandbox.postman import is_on_this_machine
from streamkit.sandbox.requests import form_of

KICK_TOKENS = TokenRules(user_s=7200, rotates=True)

_INVALID_GRANT = (
    "The provided authorization grant (e.g., authorization code, resource owner credentials) or refresh token is "
    "invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued "
    "to another client"
)


class KickOAuth:
    """The routes; what they need of the platform is given."""

    def __init__(self, grants: Grants, consent: Consent) -> None:
        self._grants = grants
        self._consent = consent

    def routes(self) -> list[web.RouteDef]:
        """What StreamKit asks of id.kick.com."""
        return [
            web.get("/oauth/authorize", self._authorize, allow_head=False),
            web.post("/oauth/authorize", self._consent.answered),
            web.post("/oauth/token", self._token),
            web.post("/oauth/revoke", self._revoke),
        ]

    async def _authorize(self, request: web.Request) -> web.Response:
        # Kick's page writes `localhost` for the first 127.0.0.1 of its address (KickDevDocs issue 211): an app that is
        # redirected to 127.0.0.1 puts `redirect=127.0.0.1` in front of redirect_uri.
        query = dict(parse_qsl(request.rel_url.raw_query_string.replace("127.0.0.1", "localhost", 1)))
        asked = Asked(
            redirect_uri=query.get("redirect_uri", ""),
            scopes=tuple(query.get("scope", "").split()),
            state=query.get("state", ""),
            challenge=query.get("code_challenge", ""),
        )
        is_complete = asked.scopes and asked.state and asked.challenge and query.get("code_challenge_method") == "S256"
        is_ours = query.get("client_id") == self._grants.client.id and is_on_this_machine(asked.redirect_uri)
        if query.get("response_type") != "code" or not is_complete or not is_ours:
            return web.json_response({"error": "Invalid request"}, status=400)
        return self._consent.page(asked)

    async def _token(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        if request.content_type != "application/x-www-form-urlencoded":
            return _refused("invalid_request", "The body must be application/x-www-form-urlencoded")
        client = self._grants.client
        if (form.get("client_id"), form.get("client_secret")) != (client.id, client.secret):
            return _refused("invalid_client", "Client authentication failed", status=401)
        try:
            issued = self._issue(form)
        except InvalidGrant:
            return _refused("invalid_grant", _INVALID_GRANT)
        if issued is None:
            return _refused("unsupported_grant_type", "The authorization grant type is not supported")
        return web.json_response(_told(issued))

    def _issue(self, form: Mapping[str, str]) -> Issued | None:
        match form.get("grant_type"):
            case "authorization_code":
                return self._grants.redeem(
                    form.get("code", ""), form.get("redirect_uri", ""), form.get("code_verifier")
                )
            case "refresh_token":
                return self._grants.refresh(form.get("refresh_token", ""))
            case "client_credentials":
                return self._grants.app()
            case _:
                return None

    async def _revoke(self, request: web.Request) -> web.Response:
        if "token" not in request.query:
            return web.json_response({"error": "Invalid request"}, status=400)
        self._grants.revoke(request.query["token"])
        return web.Response(text="OK")


def _told(issued: Issued) -> dict[str, Any]:
    told: dict[str, Any] = {"access_token": issued.access.token, "token_type": "Bearer"}
    if issued.refresh_token is not None:
        told |= {"refresh_token": issued.refresh_token, "scope": " ".join(issued.access.scopes)}
    return told | {"expires_in": issued.lifetime_s}


def _refused(error: str, description: str, *, status: int = 400) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=status)
