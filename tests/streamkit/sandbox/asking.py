"""Speak to a fake platform as an app does, and get (status, document, headers) back."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
from msgspec import Struct

from tests.fakes.platforms import Platforms, consent

VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CALLBACK = "http://127.0.0.1:9/connect/callback"


class Answer(Struct, frozen=True):
    """`document` is None for an empty body, text when it is no JSON."""

    status: int
    document: Any
    headers: Mapping[str, str]


async def ask(
    method: str,
    url: str,
    *,
    token: str | None = None,
    client_id: str | None = None,
    params: Sequence[tuple[str, str]] | None = None,
    form: Mapping[str, str] | None = None,
    json: Any = None,
) -> Answer:
    """One request; `token` goes as Bearer, `client_id` as Client-Id."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if client_id:
        headers["Client-Id"] = client_id
    async with aiohttp.ClientSession() as http:
        sending = http.request(method, url, params=params, data=form, json=json, headers=headers, allow_redirects=False)
        async with sending as answer:
            body: Any = await answer.read()
            if "json" in answer.content_type:
                body = await answer.json()
            return Answer(answer.status, body or None, answer.headers)


def kick_authorize(platforms: Platforms, scopes: str, **changes: str) -> str:
    """The address of Kick's consent page, with what `changes` says (an empty value leaves a parameter out)."""
    query = {
        "response_type": "code",
        "client_id": platforms.kick.grants.client.id,
        "redirect": "127.0.0.1",
        "redirect_uri": CALLBACK,
        "scope": scopes,
        "state": "s t&ate",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return f"{platforms.kick_url}/oauth/authorize?{urlencode({k: v for k, v in query.items() if v})}"


def twitch_authorize(platforms: Platforms, scopes: str, **changes: str) -> str:
    """The address of Twitch's consent page."""
    query = {
        "response_type": "code",
        "client_id": platforms.twitch.grants.client.id,
        "redirect_uri": CALLBACK,
        "scope": scopes,
        "state": "s t&ate",
        **changes,
    }
    return f"{platforms.twitch_url}/oauth2/authorize?{urlencode({k: v for k, v in query.items() if v})}"


async def kick_token(platforms: Platforms, **form: str) -> Answer:
    """Kick's token endpoint; the client's id and secret go along unless `form` has others."""
    client = platforms.kick.grants.client
    both = {"client_id": client.id, "client_secret": client.secret, **form}
    return await ask("POST", f"{platforms.kick_url}/oauth/token", form=both)


async def twitch_token(platforms: Platforms, **form: str) -> Answer:
    """Twitch's token endpoint, likewise."""
    client = platforms.twitch.grants.client
    both = {"client_id": client.id, "client_secret": client.secret, **form}
    return await ask("POST", f"{platforms.twitch_url}/oauth2/token", form=both)


def parameters(url: str) -> dict[str, str]:
    """The query of a redirect."""
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}


async def kick_user(platforms: Platforms, person_id: str, scopes: str) -> Any:
    """The token document of a person who consented on Kick."""
    code = parameters(await consent(kick_authorize(platforms, scopes), person_id))["code"]
    more = {"code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return (await kick_token(platforms, grant_type="authorization_code", **more)).document


async def twitch_user(platforms: Platforms, person_id: str, scopes: str) -> Any:
    """The token document of a person who consented on Twitch."""
    code = parameters(await consent(twitch_authorize(platforms, scopes), person_id))["code"]
    return (await twitch_token(platforms, grant_type="authorization_code", code=code, redirect_uri=CALLBACK)).document
