"""The sandbox's page: what each channel shows, and buttons for what can happen there."""

from __future__ import annotations

from html import escape

from streamkit.sandbox.cast import CATEGORIES, Channel

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>StreamKit sandbox</title>
<style>body{font:1rem/1.6 sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}
section{border:1px solid #bbb;border-radius:.5rem;padding:.5rem 1rem;margin:1rem 0}form{display:inline-block;margin:.2rem}
</style><h1>StreamKit sandbox</h1>
<p>Kick and Twitch as far as StreamKit sees of them. What happens here is told to whoever subscribed to it.
Settings for StreamKit: <a href="/sandbox.env">sandbox.env</a>.</p>"""


def page(kick: dict[str, Channel], twitch: dict[str, Channel]) -> str:
    """The page as HTML."""
    channels = [("kick", one) for one in kick.values()] + [("twitch", one) for one in twitch.values()]
    return _HEAD + "".join(_channel(platform, one) for platform, one in channels) + "</html>"


def _channel(platform: str, channel: Channel) -> str:
    state = f"live, {channel.viewers} watch" if channel.live else "offline"
    category = channel.category.name if channel.category else "no category"
    options = "".join(
        f"<option{' selected' if one == channel.category else ''}>{escape(one.name)}</option>" for one in CATEGORIES
    )
    at = f"/{platform}/{channel.person.id}"
    money = "kicks" if platform == "kick" else "bits"
    fields = (
        (f"{at}/{'offline' if channel.live else 'live'}", "", "End the stream" if channel.live else "Go live"),
        (f"{at}/change", f'<input name="title" value="{escape(channel.title)}" size="30">', "New title"),
        (f"{at}/change", f'<select name="category">{options}</select>', "New category"),
        (f"{at}/viewers", f'<input name="viewers" type="number" min="0" value="{channel.viewers}">', "Viewers"),
        (f"{at}/chat", '<input name="text" value="hello">', "Chat"),
        (f"{at}/follow", "", "A follow"),
        (f"{at}/subscribe", "", "A subscription"),
        (f"{at}/gift", '<input name="count" type="hidden" value="3">', "3 gifted subscriptions"),
        (f"{at}/spend", '<input name="amount" type="hidden" value="100">', f"100 {money}"),
        (f"{at}/expire", "", "Access token runs out"),
        (f"{at}/revoke", "", "Disconnect the app"),
    )
    forms = "".join(
        f'<form method="post" action="{to}">{inside}<button>{what}</button></form>' for to, inside, what in fields
    )
    return (
        f"<section><h2>{escape(channel.person.name)} on {platform.capitalize()} <small>(id {channel.person.id})</small></h2>"
        f"<p><b>{escape(channel.title)}</b>, {escape(category)}: {state}; "
        f"{len(channel.subscribers)} subscribers.</p>{forms}</section>"
    )
