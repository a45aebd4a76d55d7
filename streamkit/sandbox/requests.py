"""What both platforms read out of a request."""

from __future__ import annotations

from aiohttp import web


def token_of(request: web.Request, *schemes: str) -> str:
    """The token of the Authorization header under one of the (lower-case) schemes; empty when there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() in schemes else ""


async def form_of(request: web.Request) -> dict[str, str]:
    """The fields of a form, files left out; of a field given twice the last."""
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
