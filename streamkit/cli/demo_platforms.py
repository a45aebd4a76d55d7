"""The demo's Kick and Twitch: the sandbox's, with the sandbox streamer connected, kept to what the simulated deliveries tell."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from schemas.control import PlatformName
from schemas.event import utc_now
from streamkit import lifecycle
from streamkit.cli.connect import adopt_by_hand
from streamkit.cli.control import Accounts
from streamkit.platforms.scopes import scopes_asked
from streamkit.sandbox.app import Sandbox
from streamkit.sandbox.cast import CATEGORIES, Category, Channel, Live, Subscriber
from streamkit.settings import Settings
from streamkit.simulation.bodies import Person
from streamkit.simulation.delivery import SANDBOX_STREAMER, Delivery, Fact

_NOWHERE = "http://127.0.0.1:9/"
"""Kick's webhooks are on before StreamKit has its address: an app whose webhooks are off gets no subscriptions."""

_JOINED = ("channel.subscription.new", "channel.subscription.renewal", "channel.subscription.gift_received")


class DemoPlatforms:
    """Both platforms (`sandbox`), served at `url`. `facts` gets what they tell StreamKit by themselves: a title that the viewer of
    the demo changed through the API."""

    def __init__(self, sandbox: Sandbox, url: str, facts: list[Fact]) -> None:
        self.sandbox = sandbox
        self._facts = facts
        self._chance = random.Random()  # noqa: S311 - a story, no secret
        self.settings = sandbox.settings(url)
        self._channels: dict[str, Channel] = {
            "kick": sandbox.kick.channels[SANDBOX_STREAMER.kick.id],
            "twitch": sandbox.twitch.channels[SANDBOX_STREAMER.twitch.id],
        }
        sandbox.kick.on_change = lambda channel: self._changed("kick", channel)
        sandbox.twitch.on_change = lambda channel: self._changed("twitch", channel)

    async def connect(self, settings: Settings, accounts: Accounts, user_id: int) -> None:
        """The sandbox streamer consents on both, without a browser."""
        names: tuple[PlatformName, ...] = ("kick", "twitch")
        for name in names:
            grants = self.sandbox.kick.grants if name == "kick" else self.sandbox.twitch.grants
            issued = grants.consented(self._channels[name].person.id, scopes_asked(name, settings))
            await adopt_by_hand(settings, accounts, user_id, name, issued.refresh_token or "")

    def deliver_to(self, streamkit_url: str) -> None:
        """StreamKit listens there."""
        self.sandbox.kick.events.switch_webhooks(f"{streamkit_url}/webhooks/kick")

    def mirror(self, delivery: Delivery) -> None:
        """What a delivery is about to tell is so on the platform."""
        fact = delivery.fact
        if fact is None:
            return
        channel = self._channels[fact.platform]
        channel.viewers = max(1, channel.viewers + self._chance.choice((-1, 0, 0, 1)))
        if fact.is_live:
            event = msgspec.json.decode(delivery.body).get("event", {})
            channel.live = Live(event.get("id", ""), fact.occurred_at)
            channel.viewers = self._chance.randrange(40, 90)
        channel.title = fact.title or channel.title
        if fact.category is not None:
            known = (one for one in CATEGORIES if one.name == fact.category)
            channel.category = next(known, Category(1, fact.category))
        if fact.kind in _JOINED and fact.viewer is not None:
            _join(channel, fact.viewer, None)
        for receiver in fact.receivers:
            _join(channel, receiver, fact.viewer)
        if fact.kind == "channel.subscription.ended":
            channel.subscribers = [one for one in channel.subscribers if one.person != fact.viewer]

    def _changed(self, platform: str, channel: Channel) -> None:
        at = utc_now()
        self._facts.append(
            Fact(
                kind="livestream.metadata.updated",
                platform=platform,
                event_id=f"{platform}:by-the-api-{at.isoformat()}",
                occurred_at=at.replace(microsecond=0) if platform == "kick" else at,
                title=channel.title,
                category=channel.category.name if channel.category else None,
            )
        )


def _join(channel: Channel, viewer: Person, gifter: Person | None) -> None:
    if all(one.person != viewer for one in channel.subscribers):
        channel.subscribers.append(Subscriber(person=viewer, gifter=gifter))


@asynccontextmanager
async def demo_platforms(facts: list[Fact]) -> AsyncIterator[DemoPlatforms]:
    """Both platforms on a free loopback port, until the block ends."""
    sandbox = Sandbox(webhook_url=_NOWHERE)
    server = await lifecycle.serve(sandbox.build_app(), "127.0.0.1", 0, grace_s=1.0)
    try:
        yield DemoPlatforms(sandbox, server.url, facts)
    finally:
        await server.close()
