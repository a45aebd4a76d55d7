"""The page on which a person allows an app what it asks for: clicked in a browser, or posted by a test.

GET shows the page, which carries one request id; POST of `request`, `person` (a platform id) and `answer` (`allow` or
`deny`) sends the browser back to the app.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from html import escape
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from msgspec import Struct

from streamkit.sandbox.cast import Channel
from streamkit.sandbox.grants import Grants
from streamkit.sandbox.requests import form_of


class Asked(Struct, frozen=True, kw_only=True):
    """What the app asks for."""

    redirect_uri: str
    scopes: tuple[str, ...]
    state: str
    challenge: str | None = None


class Consent:
    """The pages that are open on one platform."""

    def __init__(self, platform: str, grants: Grants, channels: dict[str, Channel]) -> None:
        self._platform = platform
        self._grants = grants
        self._channels = channels
        self._open: dict[str, Asked] = {}

    def page(self, asked: Asked) -> web.Response:
        """The page to click on."""
        request_id = secrets.token_urlsafe(16)
        self._open[request_id] = asked
        return web.Response(
            text=_page(self._platform, request_id, asked, self._channels.values()), content_type="text/html"
        )

    async def answered(self, request: web.Request) -> web.Response:
        """The person's click: back to the app with a code, or with `access_denied`. An old page is 400."""
        form = await form_of(request)
        asked = self._open.pop(form.get("request", ""), None)
        channel = self._channels.get(form.get("person", ""))
        if asked is None or (channel is None and form.get("answer") == "allow"):
            return web.Response(status=400, text="This page was used already: go back to where you came from.")
        if channel is None or form.get("answer") != "allow":
            told = {"error": "access_denied", "error_description": "The user denied you access", "state": asked.state}
        else:
            code = self._grants.code(channel.person.id, asked.scopes, asked.redirect_uri, asked.challenge)
            told = {"code": code, "scope": " ".join(asked.scopes), "state": asked.state}
        joint = "&" if urlsplit(asked.redirect_uri).query else "?"
        return web.Response(status=302, headers={"Location": f"{asked.redirect_uri}{joint}{urlencode(told)}"})


def _page(platform: str, request_id: str, asked: Asked, channels: Iterable[Channel]) -> str:
    scopes = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in asked.scopes)
    buttons = "".join(
        f'<button name="person" value="{escape(channel.person.id)}">Allow as {escape(channel.person.name)}</button> '
        for channel in channels
    )
    fields = f'<input type="hidden" name="request" value="{request_id}">'
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{platform} (sandbox)</title>
<body style="font: 1.1rem/1.6 sans-serif; max-width: 36rem; margin: 3rem auto">
<h1>{platform} <small>(sandbox)</small></h1>
<p>StreamKit asks to act for you at <b>{escape(urlsplit(asked.redirect_uri).netloc)}</b>:</p><ul>{scopes}</ul>
<form method="post">{fields}<input type="hidden" name="answer" value="allow">{buttons}</form>
<form method="post">{fields}<button name="answer" value="deny">Deny</button></form>
</body></html>"""
