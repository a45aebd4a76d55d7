"""What the ingest room does at the platforms by itself, in the background: started here, each as a task of its own.

Nothing of it may slow a delivery, and a platform without an app in the settings is left alone.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from ingest.app import IngestRoom
from ingest.eventsub import Listeners
from ingest.polls import Polls, start_polls
from ingest.subscriptions import Subscriptions
from streamkit.leases import Leases
from streamkit.lifecycle import Watch
from streamkit.parts import Parts
from streamkit.platforms.scopes import twitch_uses_webhooks
from streamkit.platforms.subscriptions import twitch_callback
from streamkit.platforms.upkeep import Upkeep

_FIRST_PASS_S = 10.0


def start_outreach(stack: AsyncExitStack, watch: Watch, parts: Parts, room: IngestRoom) -> None:
    """Start the tasks, to end with `stack`; the room tells what they complain of."""
    platforms = parts.platforms
    watch.start(stack, "upkeep of tokens", Upkeep(platforms.tokens, platforms.twitch, parts.soft).run())
    settings, tokens = parts.settings, platforms.tokens
    if not (tokens.configured("kick") or tokens.configured("twitch")):
        return
    webhooks = twitch_uses_webhooks(settings)
    subscriptions = Subscriptions(
        platforms,
        parts.directory,
        Leases(parts.soft, "subscriptions"),
        callback=twitch_callback(settings) if webhooks else None,
        secret=settings.twitch_webhook_secret,
    )
    room.complaints.append(subscriptions.readiness)
    watch.start(stack, "subscriptions", subscriptions.run())
    start_polls(stack, watch, Polls(platforms, parts.directory, parts.log), parts.directory, tokens, parts.soft)
    if tokens.configured("twitch") and not webhooks:
        listeners = Listeners(settings.twitch_eventsub_ws_url, platforms, room.intake, Leases(parts.soft, "eventsub"))
        watch.start(stack, "eventsub", _listen(subscriptions, listeners))


async def _listen(subscriptions: Subscriptions, listeners: Listeners) -> None:
    """Webhooks that an earlier configuration left are deleted before a socket subscribes: never both ways at once."""
    await subscriptions.first_pass(_FIRST_PASS_S)
    await listeners.run()
