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
from schemas.first_party_kinds import FirstPartyData
from schemas.kinds import (
    BitsUsed,
    ChatMessage,
    Cheered,
    KicksGifted,
    LivestreamMetadata,
    LivestreamSnapshot,
    LivestreamStatus,
    SubscriptionEnded,
    SubscriptionGiftReceived,
    SubscriptionGifts,
    SubscriptionNew,
    SubscriptionRenewal,
    SubscriptionSnapshot,
)
from tests.oracle_coins import SOURCES, earned, rules
from tests.oracle_log import Log, ViewerKey, name_of, place

NOT_STORED = ("channel.subscription.gift_received", "channel.subscription.snapshot", "livestream.snapshot")
NOT_STORED_PREFIXES = ("platform.", "stream_info.")


GRACE = timedelta(seconds=90)
"""Reading: a poll's word gives way to what was told up to so long before it; its titles count as so much older."""

Naming = tuple[datetime, str, str]
"""A name told: (occurred_at, event_id, name)."""


class StreamState(NamedTuple):
    """One platform's stream; `title` and `category` are the newest known, live or not; `viewers` of this stream."""

    is_live: bool
    viewers: int | None
    title: str | None
    category: str | None


class Ranked(NamedTuple):
    """A viewer in a ranking or preview; `value` is coins, kicks, or a time."""

    username: str
    platform: str
    viewer_id: str
    value: Any


class ViewerCoins(NamedTuple):
    """A viewer looked up; `account` says what each of oracle_coins.SOURCES brought, `rank` is None without coins."""

    username: str
    platform: str
    viewer_id: str
    rank: int | None
    account: dict[str, int]


class KickRow(NamedTuple):
    """A row of the kicks history."""

    actor: str | None
    amount: int
    occurred_at: datetime
    event_id: str


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
    """One broadcaster's numbers over `log`. Songs, giveaways, the wheel and gambles: oracle_engagement.py."""

    def __init__(self, log: Log) -> None:
        self.log = log

    # ------------------------------------------------------------------ stream

    def stream(self, platform: str) -> StreamState:
        """The stream of one platform, connected or not."""
        told: dict[Any, tuple[datetime, str]] = {}  # stream → when it started, and the event that told so
        ended: dict[Any, datetime] = {}
        nameless_ends: list[datetime] = []
        seen: dict[Any, tuple[datetime, str, int | None]] = {}  # stream → the last poll that found it live, its viewers
        unseen: list[datetime] = []
        titles: list[tuple[datetime, str, str | None]] = []
        categories: list[tuple[datetime, str, str | None]] = []
        for event in self._events():
            if event.platform != platform:
                continue
            match event.data:
                case LivestreamStatus() | LivestreamSnapshot() as status:
                    stream = status.stream_id if platform == "twitch" else status.started_at
                    is_poll = isinstance(status, LivestreamSnapshot)
                    if status.is_live:
                        # Reading: a stream told to start twice under one id started at the earlier time.
                        start = (status.started_at or event.occurred_at, event.event_id)
                        told[stream] = min(start, told.get(stream, start))
                    elif isinstance(status, LivestreamSnapshot):
                        unseen.append(event.occurred_at)
                    elif stream is not None:
                        ended[stream] = max(event.occurred_at, ended.get(stream, event.occurred_at))
                    elif platform == "twitch":
                        nameless_ends.append(event.occurred_at)
                    if isinstance(status, LivestreamSnapshot) and status.is_live:
                        poll = (event.occurred_at, event.event_id, status.viewer_count)
                        seen[stream] = max(poll, seen.get(stream, poll), key=lambda one: one[:2])
                    if status.title is not None:
                        titles.append((event.occurred_at - GRACE * is_poll, event.event_id, status.title))
                    if isinstance(status, LivestreamSnapshot) and status.category_name is not None:
                        categories.append((event.occurred_at - GRACE, event.event_id, status.category_name))
                case LivestreamMetadata() as metadata:
                    # Reading: a full snapshot also without a title, which makes the title null.
                    titles.append((event.occurred_at, event.event_id, metadata.title))
                    categories.append((event.occurred_at, event.event_id, metadata.category_name))
        for end in nameless_ends:
            before = [stream for stream, (started_at, _) in told.items() if started_at < end]
            if before:
                last = max(before, key=lambda stream: told[stream])
                ended[last] = max(end, ended.get(last, end))
        viewers, is_live = None, False
        if told:
            # Reading: of two streams with one start the greater event_id (of the first telling) is the newer.
            current = max(told, key=lambda stream: told[stream])
            polled_at, _, viewers = seen.get(current, (None, "", None))
            is_live = current not in ended or (polled_at is not None and polled_at - ended[current] > GRACE)
            last_live = max(told[current][0], polled_at or told[current][0])
            is_live = is_live and all(poll_at - last_live <= GRACE for poll_at in unseen)
        return StreamState(is_live, viewers if is_live else None, _newest(titles), _newest(categories))

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
        for position, event in self.log:
            match event.data:
                case SubscriptionGifts() as gifts:
                    count = gifts.count
                case SubscriptionNew():
                    count = 1
                case SubscriptionRenewal() if event.event_id not in suppressed:
                    count = 1
                case _:
                    continue
            row = SubscriptionRow(event.type, event.platform, name_of(event), count, event.received_at, position)
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
        balances = {viewer: sum(account.values()) for viewer, account in self._earned().items()}
        positive = {viewer: coins for viewer, coins in balances.items() if coins > 0}
        return sorted(self._ranked(positive), key=lambda row: (-row.value, *_tie(row)))

    def coins_of(self, platform: str, username: str) -> ViewerCoins | None:
        """The viewer whose newest name is `username` in any case; None when there is none."""
        # Reading: whoever has a name is a viewer, coins or not. Of several the one seen last is the one whose newest
        # name was told last; where one event told both, the lesser id, as in all ties.
        names = self._newest_names()
        namesakes = sorted(
            viewer
            for viewer, told in names.items()
            if viewer[0] == platform and told[2].casefold() == username.casefold()
        )
        if not namesakes:
            return None
        viewer = max(namesakes, key=lambda viewer: names[viewer][:2])
        ranks = [row[1:3] for row in self.coin_rows()]
        rank = ranks.index(viewer) + 1 if viewer in ranks else None
        account = self._earned().get(viewer) or dict.fromkeys(SOURCES, 0)
        return ViewerCoins(names[viewer][2], *viewer, rank, account)

    def rules(self) -> dict[str, int]:
        """Coins by rule, as they stand."""
        return rules(self.log)

    def _earned(self) -> dict[ViewerKey, dict[str, int]]:
        return earned(self.log, self._suppressed())

    def kick_rows(self) -> list[KickRow]:
        """Every kicks gift, newest first."""
        rows = [
            KickRow(name_of(event), event.data.amount, *place(event))
            for event in self._events()
            if isinstance(event.data, KicksGifted)
        ]
        return sorted(rows, key=lambda row: row[2:], reverse=True)

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

    def event_rows(
        self,
        type: str | None = None,
        platform: str | None = None,
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[EventRow]:
        """Every stored event (that is of that type, …), newest first. `since` inclusive, `until` exclusive."""
        rows = [
            EventRow(event.type, event.platform, name_of(event), _message(event), event.received_at, position)
            for position, event in self.log
            if _is_stored(event)
        ]
        kept = [
            row
            for row in rows
            if type in (None, row.type)
            and platform in (None, row.platform)
            and actor in (None, row.actor)
            and (since is None or since <= row.received_at)
            and (until is None or row.received_at < until)
        ]
        return sorted(kept, key=lambda row: (row.received_at, row.position), reverse=True)

    # ------------------------------------------------------------------ shared

    def _events(self) -> Iterator[Event]:
        return (standing.event for standing in self.log)

    def names(self) -> dict[ViewerKey, str]:
        """The newest name of every viewer of this broadcaster."""
        return {viewer: told[2] for viewer, told in self._newest_names().items()}

    def _newest_names(self) -> dict[ViewerKey, Naming]:
        """Reading: a snapshot names nobody whom an event has named; whom it alone knows must be shown somehow."""
        told: dict[str, dict[ViewerKey, Naming]] = {"snapshot": {}, "first party": {}, "platform": {}}
        for event in self._events():
            source = "first party" if isinstance(event.data, FirstPartyData) else "platform"
            named = [event.actor] if event.actor is not None else []
            if isinstance(event.data, SubscriptionGifts) and event.platform == "kick":
                named += event.data.giftees
            if isinstance(event.data, SubscriptionSnapshot):
                source, named = "snapshot", [*event.data.subscribers]
            for viewer in named:
                key, naming = (event.platform, viewer.id), (*place(event), viewer.name)
                told[source][key] = max(naming, told[source].get(key, naming))
        return told["snapshot"] | told["first party"] | told["platform"]

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
    return event.type not in NOT_STORED and not event.type.startswith(NOT_STORED_PREFIXES)


def _message(event: Event) -> str | None:
    if isinstance(event.data, ChatMessage | Cheered | SubscriptionRenewal | BitsUsed | KicksGifted):
        return event.data.message or None
    return None


def _newest(told: Sequence[tuple[datetime, str, str | None]]) -> str | None:
    return max(told, key=lambda at: at[:2])[2] if told else None


def _tie(row: Ranked) -> tuple[str, str, str]:
    return row.username.casefold(), row.platform, row.viewer_id
