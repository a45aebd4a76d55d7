"""Kick's event subscriptions and their deliveries: https://docs.kick.com/events/subscribe-to-events, .../webhooks.

All deliveries go to the one webhook address of the app, once: Kick does not promise to send again. An event type whose
deliveries failed for more than a day is unsubscribed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from streamkit.sandbox.grants import Clock
from streamkit.sandbox.postman import Postman
from streamkit.simulation.bodies import Json, rfc3339_seconds
from streamkit.simulation.delivery import ulid_from
from streamkit.simulation.signing import kick_headers

EVENT_TYPES = (
    "chat.message.sent",
    "channel.followed",
    "channel.subscription.new",
    "channel.subscription.renewal",
    "channel.subscription.gifts",
    "channel.reward.redemption.updated",
    "livestream.status.updated",
    "livestream.metadata.updated",
    "moderation.banned",
    "kicks.gifted",
)

FAILING_TOO_LONG = timedelta(days=1)


class Subscription(Struct, frozen=True, kw_only=True):
    """One subscription of the app."""

    id: str
    event: str
    broadcaster_id: str
    created_at: datetime


class LimitReached(Exception):
    """The app has as many subscriptions of this type as it may."""


class KickEvents:
    """`webhook_url` None: webhooks are off in the app's settings. `most` is the limit per event type.

    `unlisted`: so many of the next subscriptions get an id and are never seen again (KickDevDocs issue 419).
    """

    def __init__(self, now: Clock, webhook_url: str | None) -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self.most = 10_000
        self.most_chat = 1_000
        self.unlisted = 0
        self.postman = Postman()
        self._webhook_url = webhook_url
        self._now = now
        self._ids = random.Random()  # noqa: S311 - ids of a sandbox
        self._failing_since: dict[str, datetime] = {}

    @property
    def webhook_url(self) -> str | None:
        """Where deliveries go."""
        return self._webhook_url

    def switch_webhooks(self, url: str | None) -> None:
        """The app's settings: another address, or off, which drops every subscription."""
        self._webhook_url = url
        if url is None:
            self.subscriptions.clear()

    def subscribe(self, broadcaster_id: str, events: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
        """One item a (name, version), with its id or its error; what exists is made again. Raises LimitReached."""
        wanted = list(events)
        for name, _ in wanted:
            if self._count(name) + 1 > (self.most_chat if name == "chat.message.sent" else self.most):
                raise LimitReached
        return [self._subscribe(broadcaster_id, name, version) for name, version in wanted]

    def _subscribe(self, broadcaster_id: str, name: str, version: int) -> dict[str, Any]:
        item: dict[str, Any] = {"name": name, "version": version}
        if name not in EVENT_TYPES or version != 1:
            return {**item, "error": "event type or version is not supported"}
        if self._webhook_url is None:
            return {**item, "error": "webhooks are not enabled for this app"}
        made = Subscription(id=self._ulid(), event=name, broadcaster_id=broadcaster_id, created_at=self._now())
        if self.unlisted:
            self.unlisted -= 1
        else:
            self.subscriptions[made.id] = made
        return {**item, "subscription_id": made.id}

    def _count(self, name: str) -> int:
        return sum(subscription.event == name for subscription in self.subscriptions.values())

    def emit(self, broadcaster_id: str, event: str, body: Json) -> None:
        """It happened: every subscription to it gets a delivery of its own, with a message id of its own."""
        data = msgspec.json.encode(body)
        for subscription in list(self.subscriptions.values()):
            if (subscription.broadcaster_id, subscription.event) == (broadcaster_id, event):
                self.postman.start(self._deliver(subscription, data))

    async def _deliver(self, subscription: Subscription, data: bytes) -> None:
        headers = kick_headers(self._ulid(), subscription.event, self._now(), data)
        headers["Kick-Event-Subscription-Id"] = subscription.id
        status = 0
        if self._webhook_url is not None:
            status, _ = await self.postman.post(self._webhook_url, headers, data)
        if 200 <= status < 300:
            self._failing_since.pop(subscription.event, None)
        elif self._now() - self._failing_since.setdefault(subscription.event, self._now()) > FAILING_TOO_LONG:
            del self._failing_since[subscription.event]
            for other in list(self.subscriptions.values()):
                if other.event == subscription.event:
                    del self.subscriptions[other.id]

    def _ulid(self) -> str:
        return ulid_from(self._ids, self._now())


def shown(subscription: Subscription, app_id: str) -> dict[str, Any]:
    """The item of a list."""
    at = rfc3339_seconds(subscription.created_at)
    return {
        "app_id": app_id,
        "broadcaster_user_id": int(subscription.broadcaster_id),
        "created_at": at,
        "event": subscription.event,
        "id": subscription.id,
        "method": "webhook",
        "updated_at": at,
        "version": 1,
    }
