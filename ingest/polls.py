"""What no event carries, asked for: how many watch, whether a stream is live whose webhook got lost, and who subscribes.

Every observation is an event whose id follows from what was asked and when, so that two processes that ask at once count
once. What a platform says now is never taken for newer than it is: the fold lets it give way to what was told shortly
before (schemas/read_models/stream_status.py). What may not live here: whose turn it is (rounds.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

from ingest.rounds import Rounds
from ingest.subscriptions import by_app
from schemas.bounds import MAX_QUANTITY
from schemas.control import PlatformName
from schemas.errors import LogUnavailable, NotConnected, PlatformAway, PlatformRefused, PlatformTimeout
from schemas.event import Event
from schemas.kinds import LivestreamSnapshot, SubscriptionSnapshot
from streamkit import telemetry
from streamkit.directory import Directory
from streamkit.leases import Leases
from streamkit.lifecycle import Watch
from streamkit.log.events import record_of
from streamkit.log.protocol import EVENTS, EventLog
from streamkit.platforms.kick import MOST_CHANNELS
from streamkit.platforms.observed import Observed
from streamkit.platforms.parts import Platforms
from streamkit.platforms.tokens import Tokens
from streamkit.platforms.twitch import MOST_STREAMS
from streamkit.redis import SoftState

STREAMS_EVERY_S = 60
SUBSCRIBERS_EVERY_S = 900
"""How often it is looked whose list is due; each is read when the streamer consents, and daily."""

QUIET_AFTER = timedelta(seconds=180)
"""So long a channel that is not live is told to be so, each minute; afterwards every 15 minutes."""

PLATFORMS: tuple[PlatformName, ...] = ("kick", "twitch")
_QUIET_EVERY = 15
_MAY_LIST = "channel:read:subscriptions"
_LARGEST_LIST = 3 << 20
"""Bytes of an event: a longer list does not fit into a record of the log."""
Channel = tuple[int, str]
"""(user_id, the platform's broadcaster id)."""


class Polls:
    """Of all broadcasters that are connected, with or without tokens; lists of subscribers of those with tokens."""

    def __init__(self, platforms: Platforms, directory: Directory, log: EventLog) -> None:
        self._platforms = platforms
        self._directory = directory
        self._log = log
        self._live_at: dict[tuple[PlatformName, Channel], datetime] = {}
        self._counted: dict[Channel, int] = {}
        self._listed: dict[Channel, str] = {}

    def channels(self) -> frozenset[tuple[PlatformName, Channel]]:
        """What `streams` looks at."""
        return frozenset(
            (platform, (broadcaster.user_id, broadcaster.platforms[platform].id))
            for broadcaster in self._directory.broadcasters()
            for platform in PLATFORMS
            if platform in broadcaster.platforms and self._platforms.tokens.configured(platform)
        )

    def consents(self) -> frozenset[tuple[Channel, int]]:
        """What `subscribers` looks at: on Twitch, with when it was consented to."""
        return frozenset(
            ((user_id, one.platform_id), int(one.granted_at.timestamp()))
            for (user_id, platform), one in self._platforms.tokens.connections().items()
            if platform == "twitch" and one.state == "connected" and _MAY_LIST in one.scopes
        )

    async def streams(self, at: datetime) -> None:
        """Look at every channel, a batch at a time. Raises LogClosed; a platform that is away is left for the next time."""
        channels = self.channels()
        self._live_at = {key: live_at for key, live_at in self._live_at.items() if key in channels}
        kick, twitch = self._platforms.kick, self._platforms.twitch
        await self._look("kick", kick.channels, MOST_CHANNELS, at)
        await self._look("twitch", twitch.streams, MOST_STREAMS, at)

    async def subscribers(self, at: datetime) -> None:
        """Read the lists that are due. Raises LogClosed."""
        for channel, granted_s in sorted(self.consents()):
            due = f"{granted_s}:{at.date()}"
            if self._listed.get(channel) != due and await self._tried("twitch", self._list(channel, due, at)):
                self._listed[channel] = due

    async def _look(
        self,
        platform: PlatformName,
        ask: Callable[[str, Sequence[str]], Awaitable[dict[str, Observed]]],
        most: int,
        at: datetime,
    ) -> None:
        channels = sorted(channel for on, channel in self.channels() if on == platform)
        for start in range(0, len(channels), most):
            batch = channels[start : start + most]
            if not await self._tried(platform, self._batch(platform, batch, ask, at)):
                return

    async def _batch(
        self,
        platform: PlatformName,
        batch: Sequence[Channel],
        ask: Callable[[str, Sequence[str]], Awaitable[dict[str, Observed]]],
        at: datetime,
    ) -> None:
        seen = await by_app(self._platforms, platform, lambda token: ask(token, [id_ for _, id_ in batch]))
        events: list[Event] = []
        for channel in batch:
            observed = seen.get(channel[1])
            if observed is not None:
                events += self._told(platform, channel, observed, at)
        await self._append(events)

    def _told(self, platform: PlatformName, channel: Channel, observed: Observed, at: datetime) -> list[Event]:
        slot = int(at.timestamp()) // STREAMS_EVERY_S
        live_at = self._live_at.setdefault((platform, channel), at)
        events = []
        nameless = observed.is_live and observed.stream_id is None and observed.started_at is None
        if observed.is_live:
            self._live_at[platform, channel] = at
        is_due = observed.is_live or at - live_at < QUIET_AFTER or slot % _QUIET_EVERY == 0
        if is_due and not nameless:
            data = LivestreamSnapshot(
                is_live=observed.is_live,
                stream_id=observed.stream_id,
                started_at=observed.started_at,
                title=observed.title,
                category_name=observed.category_name,
                viewer_count=None if observed.viewer_count is None else min(observed.viewer_count, MAX_QUANTITY),
            )
            events.append(_event(platform, channel, "livestream.snapshot", str(slot), at, data))
        hour = int(at.timestamp()) // 3600
        if observed.subscribers is not None and self._counted.get(channel) != hour:
            self._counted[channel] = hour
            count = SubscriptionSnapshot(total=observed.subscribers, gifted=observed.gifted)
            events.append(_event(platform, channel, "channel.subscription.snapshot", str(hour), at, count))
        return events

    async def _list(self, channel: Channel, due: str, at: datetime) -> None:
        tokens, twitch = self._platforms.tokens, self._platforms.twitch
        user_id, broadcaster_id = channel
        token = await tokens.user_token(user_id, "twitch")
        try:
            found = await twitch.subscribers(token, broadcaster_id)
        except PlatformRefused as refused:
            if refused.status != 401:
                raise
            token = await tokens.refreshed(user_id, "twitch", refused=token)
            found = await twitch.subscribers(token, broadcaster_id)
        data = SubscriptionSnapshot(total=len(found.viewers), complete=found.complete, subscribers=found.viewers)
        event = _event("twitch", channel, "channel.subscription.snapshot", due, at, data)
        if len(record_of(event).value) > _LARGEST_LIST:
            telemetry.warn("polls.list_too_long", platform="twitch", user_id=user_id, subscribers=len(found.viewers))
            return
        await self._append([event])

    async def _append(self, events: Sequence[Event]) -> None:
        if events:
            await self._log.append(EVENTS, [record_of(event) for event in events])
        for event in events:
            telemetry.EVENTS_APPENDED.labels(event.type).inc()

    async def _tried(self, platform: PlatformName, asking: Awaitable[None]) -> bool:
        try:
            await asking
        except (PlatformAway, PlatformTimeout, PlatformRefused, LogUnavailable, NotConnected) as error:
            telemetry.POLLS_FAILED.labels(platform).inc()
            telemetry.warn("polls.not_seen", platform=platform, why=str(error))
            return False
        return True


def start_polls(
    stack: AsyncExitStack, watch: Watch, polls: Polls, directory: Directory, tokens: Tokens, soft: SoftState
) -> None:
    """Both kinds, each a task, to end with `stack`."""
    streams = Rounds(Leases(soft, "polls:streams"), STREAMS_EVERY_S, polls.streams, polls.channels)
    subscribers = Rounds(Leases(soft, "polls:subscribers"), SUBSCRIBERS_EVERY_S, polls.subscribers, polls.consents)
    for name, rounds in (("polls of streams", streams), ("polls of subscribers", subscribers)):
        directory.on_change(rounds.changed)
        tokens.on_change(rounds.changed)
        watch.start(stack, name, rounds.run())


def _event(
    platform: PlatformName,
    channel: Channel,
    kind: str,
    when: str,
    at: datetime,
    data: LivestreamSnapshot | SubscriptionSnapshot,
) -> Event:
    user_id, broadcaster_id = channel
    return Event(
        event_id=f"{platform}:poll:{kind}:{user_id}:{broadcaster_id}:{when}",
        natural_key=None,
        type=kind,
        platform=platform,
        user_id=user_id,
        actor=None,
        occurred_at=at,
        received_at=at,
        data=data,
    )
