"""The exact numbers of one broadcaster, computed from scratch over the list of standing events: the oracle's inside.

Rows carry aware UTC datetimes to the microsecond, platforms and viewer ids, so that they can be compared with read
models. What the texts leave open is decided in comments that begin with "Reading:".
"""

from __future__ import annotations

from calendar import monthrange
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from schemas.event import Event
from schemas.kinds import (
    BitsUsed,
    ChatMessage,
    Cheered,
    Followed,
    KicksGifted,
    LivestreamMetadata,
    LivestreamStatus,
    SubscriptionEnded,
    SubscriptionGiftReceived,
    SubscriptionGifts,
    SubscriptionNew,
    SubscriptionRenewal,
    SubscriptionSnapshot,
)

NOT_STORED = ("channel.subscription.gift_received", "channel.subscription.snapshot")
NOT_STORED_PREFIX = "platform."
COINS = {"chat_minute": 1, "follow": 10, "subscription": 100, "gift": 50, "kick": 1, "bit": 1}
ViewerKey = tuple[str, str]
"""A viewer: (platform, platform user id)."""


class Standing(NamedTuple):
    """An event that no earlier one displaced, and its place in the log."""

    position: int
    event: Event


class StreamState(NamedTuple):
    """One platform's stream; `title` and `category` are the newest known, live or not."""

    is_live: bool
    title: str | None
    category: str | None


class Ranked(NamedTuple):
    """A viewer in a ranking or preview; `value` is coins, kicks, or a time."""

    username: str
    platform: str
    viewer_id: str
    value: Any


class SubscriptionRow(NamedTuple):
    """A row of the subscription history."""

    type: str
    platform: str
    actor: str | None
    subscriptions: int
    received_at: datetime
    position: int


class EventRow(NamedTuple):
    """A row of the events history."""

    type: str
    platform: str
    actor: str | None
    message: str | None
    received_at: datetime
    position: int


class Numbers:
    """One broadcaster's numbers over `log`, its standing events in log order."""

    def __init__(self, log: Sequence[Standing]) -> None:
        self._log = log

    # ------------------------------------------------------------------ stream

    def stream(self, platform: str) -> StreamState:
        """The stream of one platform, connected or not."""
        told: dict[Any, tuple[datetime, str]] = {}  # stream → when it started, and the event that told so
        ended: set[Any] = set()
        nameless_ends: list[datetime] = []
        titles: list[tuple[datetime, str, str | None]] = []
        categories: list[tuple[datetime, str, str | None]] = []
        for event in self._events():
            if event.platform != platform:
                continue
            match event.data:
                case LivestreamStatus() as status:
                    stream = status.stream_id if platform == "twitch" else status.started_at
                    if status.is_live:
                        # Reading: a stream told to start twice under one id started at the earlier time.
                        start = (status.started_at or event.occurred_at, event.event_id)
                        told[stream] = min(start, told.get(stream, start))
                    elif stream is not None:
                        ended.add(stream)
                    elif platform == "twitch":
                        nameless_ends.append(event.occurred_at)
                    if status.title is not None:
                        titles.append((event.occurred_at, event.event_id, status.title))
                case LivestreamMetadata() as metadata:
                    # Reading: a full snapshot also without a title, which makes the title null.
                    titles.append((event.occurred_at, event.event_id, metadata.title))
                    categories.append((event.occurred_at, event.event_id, metadata.category_name))
        for end in nameless_ends:
            before = [stream for stream, (started_at, _) in told.items() if started_at < end]
            if before:
                ended.add(max(before, key=lambda stream: told[stream]))
        # Reading: of two streams with one start the greater event_id (of the first telling) is the newer.
        is_live = bool(told) and max(told, key=lambda stream: told[stream]) not in ended
        return StreamState(is_live, _newest(titles), _newest(categories))

    # ------------------------------------------------------------------ subscriptions

    def subscription_totals(self) -> tuple[int, int, int]:
        """(new, resubs, gifted)."""
        new = resubs = gifted = 0
        for row in self.subscription_rows():
            if row.type == "channel.subscription.new":
                new += 1
            elif row.type == "channel.subscription.renewal":
                resubs += 1
            else:
                gifted += row.subscriptions
        return new, resubs, gifted

    def subscription_rows(self) -> list[SubscriptionRow]:
        """The whole subscription history, newest first."""
        suppressed = self._suppressed()
        rows = []
        for position, event in self._log:
            match event.data:
                case SubscriptionGifts() as gifts:
                    count = gifts.count
                case SubscriptionNew():
                    count = 1
                case SubscriptionRenewal() if event.event_id not in suppressed:
                    count = 1
                case _:
                    continue
            row = SubscriptionRow(event.type, event.platform, _actor(event), count, event.received_at, position)
            rows.append(row)
        return sorted(rows, key=lambda row: (row.received_at, row.position), reverse=True)

    def active_rows(self, platforms: Collection[str], now: datetime) -> list[Ranked]:
        """Every active subscriber on `platforms`, the one that expires first in front."""
        facts: dict[ViewerKey, list[tuple[datetime, datetime]]] = defaultdict(list)  # (occurred_at, expires_at)
        ends: dict[ViewerKey, list[datetime]] = defaultdict(list)
        snapshots: list[tuple[str, datetime, set[str]]] = []
        for event in self._events():
            match event.data:
                case SubscriptionNew() | SubscriptionRenewal() | SubscriptionGiftReceived():
                    expires_at = _expiry(event)
                    if event.actor is not None and expires_at is not None:
                        facts[event.platform, event.actor.id].append((event.occurred_at, expires_at))
                case SubscriptionGifts() as gifts if event.platform == "kick" and gifts.expires_at is not None:
                    for giftee in gifts.giftees:
                        facts["kick", giftee.id].append((event.occurred_at, gifts.expires_at))
                case SubscriptionEnded() if event.actor is not None:
                    ends[event.platform, event.actor.id].append(event.occurred_at)
                case SubscriptionSnapshot() as snapshot if snapshot.complete:
                    listed = {viewer.id for viewer in snapshot.subscribers}
                    snapshots.append((event.platform, event.occurred_at, listed))
                    for viewer_id in listed:
                        expires_at = add_months(event.occurred_at, 1)
                        facts[event.platform, viewer_id].append((event.occurred_at, expires_at))
        active: dict[ViewerKey, datetime] = {}
        for (platform, viewer_id), known in facts.items():
            # Reading: a complete snapshot is an `ended` at its start for everyone it does not list, so that facts
            # after it stand and facts up to it do not come back with a later one.
            ended_at = ends[platform, viewer_id] + [
                at for of, at, listed in snapshots if of == platform and viewer_id not in listed
            ]
            expiries = [expires for occurred, expires in known if all(occurred > end for end in ended_at)]
            if platform in platforms and expiries and max(expiries) > now:
                active[platform, viewer_id] = max(expiries)
        ranked = self._ranked(active)
        return sorted(ranked, key=lambda row: (row.value, *_tie(row)))

    def _suppressed(self) -> set[str]:
        """The event ids of the renewals that do not count."""
        bought: dict[str, list[datetime]] = defaultdict(list)
        for event in self._events():
            if isinstance(event.data, SubscriptionNew) and event.platform == "twitch" and event.actor is not None:
                bought[event.actor.id].append(event.occurred_at)
        suppressed = set()
        for event in self._events():
            if not isinstance(event.data, SubscriptionRenewal) or event.platform != "twitch":
                continue
            earliest, latest = event.occurred_at - timedelta(days=30), event.occurred_at + timedelta(minutes=10)
            near = [at for at in bought[event.actor.id] if earliest <= at <= latest] if event.actor else []
            if event.data.cumulative_months == 1 or near:
                suppressed.add(event.event_id)
        return suppressed

    # ------------------------------------------------------------------ coins and kicks

    def coin_rows(self) -> list[Ranked]:
        """Every viewer with coins, the richest in front."""
        suppressed = self._suppressed()
        balance: dict[ViewerKey, int] = defaultdict(int)
        minutes: set[tuple[ViewerKey, datetime]] = set()
        followers: set[ViewerKey] = set()
        for event in self._events():
            if event.actor is None:
                continue
            viewer: ViewerKey = (event.platform, event.actor.id)
            match event.data:
                case ChatMessage():
                    minutes.add((viewer, event.occurred_at.astimezone(UTC).replace(second=0, microsecond=0)))
                case Followed():
                    followers.add(viewer)
                case SubscriptionNew():
                    balance[viewer] += COINS["subscription"]
                case SubscriptionRenewal() if event.event_id not in suppressed:
                    balance[viewer] += COINS["subscription"]
                case SubscriptionGifts() as gifts:
                    balance[viewer] += COINS["gift"] * gifts.count
                case KicksGifted() as gift:
                    balance[viewer] += COINS["kick"] * gift.amount
                case Cheered() as cheer:
                    balance[viewer] += COINS["bit"] * cheer.amount
        for viewer, _ in minutes:
            balance[viewer] += COINS["chat_minute"]
        for viewer in followers:
            balance[viewer] += COINS["follow"]
        positive = {viewer: coins for viewer, coins in balance.items() if coins > 0}
        return sorted(self._ranked(positive), key=lambda row: (-row.value, *_tie(row)))

    def rules(self) -> dict[str, int]:
        """Coins by rule, as they stand."""
        return COINS

    def kick_rows(self) -> list[tuple[str | None, int, datetime]]:
        """Every kicks gift as (actor, amount, occurred_at), newest first."""
        gifts = [(e, e.data.amount) for e in self._events() if isinstance(e.data, KicksGifted)]
        gifts.sort(key=lambda pair: (pair[0].occurred_at, pair[0].event_id), reverse=True)
        return [(_actor(event), amount, event.occurred_at) for event, amount in gifts]

    def gifter_rows(self) -> list[Ranked]:
        """Every kicks gifter who is known, the greatest sum in front."""
        sums: dict[ViewerKey, int] = defaultdict(int)
        for event in self._events():
            if isinstance(event.data, KicksGifted) and event.actor is not None:
                sums[event.platform, event.actor.id] += event.data.amount
        return sorted(self._ranked(sums), key=lambda row: (-row.value, *_tie(row)))

    # ------------------------------------------------------------------ events

    def events_total(self) -> int:
        """Stored events."""
        return len(self.event_rows())

    def event_rows(self, type: str | None = None) -> list[EventRow]:
        """Every stored event (of that type), newest first."""
        rows = [
            EventRow(event.type, event.platform, _actor(event), _message(event), event.received_at, position)
            for position, event in self._log
            if _is_stored(event) and type in (None, event.type)
        ]
        return sorted(rows, key=lambda row: (row.received_at, row.position), reverse=True)

    # ------------------------------------------------------------------ shared

    def _events(self) -> Iterator[Event]:
        return (standing.event for standing in self._log)

    def names(self) -> dict[ViewerKey, str]:
        """The newest name of every viewer of this broadcaster."""
        seen: dict[ViewerKey, list[tuple[datetime, str, str | None]]] = defaultdict(list)
        listed: dict[ViewerKey, list[tuple[datetime, str, str | None]]] = defaultdict(list)
        for event in self._events():
            when = (event.occurred_at, event.event_id)
            if event.actor is not None:
                seen[event.platform, event.actor.id].append((*when, event.actor.name))
            if isinstance(event.data, SubscriptionGifts) and event.platform == "kick":
                for giftee in event.data.giftees:
                    seen["kick", giftee.id].append((*when, giftee.name))
            if isinstance(event.data, SubscriptionSnapshot):
                for viewer in event.data.subscribers:
                    listed[event.platform, viewer.id].append((*when, viewer.name))
        # Reading: a snapshot names nobody whom an event has named; whom it alone knows must be shown somehow.
        return {viewer: _newest(seen.get(viewer) or listed[viewer]) or "" for viewer in {*seen, *listed}}

    def _ranked(self, values: dict[ViewerKey, Any]) -> list[Ranked]:
        names = self.names()
        return [Ranked(names[viewer], *viewer, value) for viewer, value in values.items()]


def add_months(at: datetime, months: int) -> datetime:
    """The same day and time of day `months` later in UTC, or that month's last day where it is shorter."""
    at = at.astimezone(UTC)
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    return at.replace(year=year, month=month + 1, day=min(at.day, monthrange(year, month + 1)[1]))


def _expiry(event: Event) -> datetime | None:
    """When the subscription of a new, renewal or gift_received ends; None where the platform does not say."""
    if event.platform == "kick":
        # Reading: a Kick subscription without `expires_at` is no fact about an expiry.
        assert not isinstance(event.data, SubscriptionGiftReceived)
        assert isinstance(event.data, SubscriptionNew | SubscriptionRenewal)
        return event.data.expires_at
    months = event.data.months if isinstance(event.data, SubscriptionRenewal) else None
    return add_months(event.occurred_at, 1 if months is None else months)


def _is_stored(event: Event) -> bool:
    return event.type not in NOT_STORED and not event.type.startswith(NOT_STORED_PREFIX)


def _actor(event: Event) -> str | None:
    return event.actor.name if event.actor is not None else None


def _message(event: Event) -> str | None:
    if isinstance(event.data, ChatMessage | Cheered | SubscriptionRenewal | BitsUsed | KicksGifted):
        return event.data.message or None
    return None


def _newest(told: list[tuple[datetime, str, str | None]]) -> str | None:
    return max(told, key=lambda at: at[:2])[2] if told else None


def _tie(row: Ranked) -> tuple[str, str, str]:
    return row.username.casefold(), row.platform, row.viewer_id
