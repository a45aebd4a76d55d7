"""The pages a streamer sees after a consent, or instead of one: what happened, and what to do. No scripts, no links out."""

from __future__ import annotations

from html import escape

from aiohttp import web

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
}
"""Of every answer here: tickets, codes and states stand in the addresses."""

_STYLE = (
    "body{font:1.1rem/1.6 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem;color:#1b1b1f;"
    "background:#fdfdfd}@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#17171a}}"
)


def page(status: int, title: str, *paragraphs: str) -> web.Response:
    """A page of plain texts."""
    told = "".join(f"<p>{escape(text)}</p>" for text in paragraphs)
    return web.Response(
        status=status,
        text=(
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(title)} - StreamKit</title><style>{_STYLE}</style></head>"
            f"<body><h1>{escape(title)}</h1>{told}</body></html>\n"
        ),
        content_type="text/html",
        headers=HEADERS,
    )
