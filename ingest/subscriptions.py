"""Keeps the platforms' subscriptions as they should be: at start, when somebody connects, and every 15 minutes what is
missing is made, what is there twice or leads elsewhere is deleted, what was revoked is made anew.

One process does it at a time. What Twitch sends over a websocket is subscribed to by the listener of each broadcaster
(`ensure_on_session`), since such a subscription lives and dies with its connection. What should be there is decided in
streamkit/platforms/subscriptions.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from ingest.rounds import until_done_or_woken
from schemas.control import PlatformName
from schemas.errors import (
    LogUnavailable,
    NotConnected,
    PlatformAway,
    PlatformRefused,
    PlatformTimeout,
)
from schemas.event import utc_now
from streamkit import telemetry
from streamkit.directory import Directory
from streamkit.leases import Leases
from streamkit.platforms.parts import Platforms
from streamkit.platforms.subscriptions import (
    Listed,
    Plan,
    Wanted,
    by_webhook,
    by_websocket,
    plan,
    wanted_on_kick,
    wanted_on_twitch,
    without_the_ended,
)

EVERY_S = 900.0
RETRY_S = 60.0
"""After a pass in which a platform did not answer."""

UNLISTED_S = 3600.0
"""Kick has given ids to subscriptions that its list never showed (KickDevDocs issue 419): so long none is made again."""

AT_ONCE = 5
"""Requests to one platform at the same time."""

_WORK = "subscriptions"
_NEVER = datetime.min
_TOLD = 5

T = TypeVar("T")


class Subscriptions:
    """Of all connected broadcasters, by webhook. `callback` None: Twitch's come over websockets, and any webhooks of
    Twitch's that an earlier configuration left are deleted."""

    def __init__(
        self, platforms: Platforms, directory: Directory, leases: Leases, *, callback: str | None, secret: bytes | None
    ) -> None:
        self._platforms = platforms
        self._directory = directory
        self._leases = leases
        self._callback = callback
        self._secret = (secret or b"").decode()
        self._seen_on_kick: dict[str, datetime | None] = {}
        self._unlisted: dict[Wanted, float] = {}
        self._problems: dict[Wanted, str] = {}
        self._too_much = False
        self.leads = False
        """Whether this process is the one that does it."""
        self._wake = asyncio.Event()
        self._first = asyncio.Event()
        self._interested_in = self._interest()
        directory.on_change(self._look)
        platforms.tokens.on_change(self._look)

    def readiness(self) -> list[str]:
        """What a platform will not subscribe to, a sentence each; empty when all is well."""
        return [
            f"{wanted.platform.capitalize()} refuses to subscribe to {wanted.type} of {wanted.broadcaster_id}: {problem}."
            for wanted, problem in sorted(self._problems.items())[:_TOLD]
        ]

    def problems(self) -> Mapping[Wanted, str]:
        """What a platform refused in the last pass, in its words."""
        return self._problems

    async def first_pass(self, within_s: float) -> None:
        """Wait until the first pass was made (well or not, here or elsewhere)."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._first.wait()

    async def run(self) -> None:
        """For the life of the process; a task of its own. Raises LogClosed."""
        loop = asyncio.get_running_loop()
        due_at, whole = 0.0, True
        work: asyncio.Task[bool] | None = None
        try:
            while True:
                led, self.leads = self.leads, await self._leases.lead(_WORK, held=self.leads)
                woken = work is None and self._wake.is_set()
                if woken:
                    self._wake.clear()
                if self.leads and work is None and (woken or not led or loop.time() >= due_at):
                    whole = not led or loop.time() >= due_at
                    work = asyncio.create_task(self.make_so(whole=whole), name="a pass over subscriptions")
                await until_done_or_woken(work, self._wake)
                if work is not None and work.done():
                    if whole or not work.result():
                        due_at = loop.time() + (EVERY_S if work.result() else RETRY_S)
                    work = None
                if work is None:
                    self._first.set()
        finally:
            if work is not None:
                work.cancel()
                await asyncio.wait([work])
            await self._leases.leave([_WORK])

    def _look(self) -> None:
        """Something changed; only who is connected, and may what, is of interest here."""
        interest = self._interest()
        if interest != self._interested_in:
            self._interested_in = interest
            self._wake.set()

    def _interest(self) -> frozenset[tuple[str, ...]]:
        twitch = {
            (connection.platform, connection.platform_id, connection.state, str(connection.granted_at))
            for connection in self._platforms.tokens.connections().values()
        }
        return frozenset({("kick", id_) for id_ in self._kick_channels()} | twitch)

    def _kick_channels(self) -> dict[str, datetime | None]:
        """By id, when the broadcaster consented; None: connected without tokens."""
        connections = self._platforms.tokens.connections()
        return {
            each.platforms["kick"].id: connection.granted_at if connection is not None else None
            for each in self._directory.broadcasters()
            if "kick" in each.platforms
            for connection in (connections.get((each.user_id, "kick")),)
        }

    async def make_so(self, *, whole: bool = True) -> bool:
        """One pass; whether both platforms could be asked, and neither said that it is too much at a time (429).

        Not `whole`: of Kick's channels, each of which takes a call, those that are news alone.
        """
        if whole:
            self._seen_on_kick = dict.fromkeys(self._seen_on_kick, _NEVER)
        self._problems = {} if whole else {w: why for w, why in self._problems.items() if w.platform == "kick"}
        self._too_much = False
        done = [await self._on("twitch", self._twitch), await self._on("kick", self._kick)]  # listeners wait for Twitch
        for platform in ("kick", "twitch"):
            count = sum(wanted.platform == platform for wanted in self._problems)
            telemetry.SUBSCRIPTIONS_REFUSED.labels(platform).set(count)
        return all(done) and not self._too_much

    async def _on(self, platform: PlatformName, work: Callable[[], Awaitable[None]]) -> bool:
        if not self._platforms.tokens.configured(platform):
            return True
        try:
            await work()
        except (PlatformAway, PlatformTimeout, PlatformRefused, LogUnavailable, NotConnected) as error:
            telemetry.warn("subscriptions.not_looked_at", platform=platform, why=str(error))
            return False
        return True

    async def _kick(self) -> None:
        channels, seen = self._kick_channels(), self._seen_on_kick
        for broadcaster_id in sorted(channels.keys() | seen.keys()):
            if broadcaster_id not in channels:
                await self._kick_channel(broadcaster_id, [])
                del seen[broadcaster_id]
            elif seen.get(broadcaster_id, _NEVER) != channels[broadcaster_id]:
                await self._kick_channel(broadcaster_id, wanted_on_kick(broadcaster_id))
                seen[broadcaster_id] = channels[broadcaster_id]

    async def _kick_channel(self, broadcaster_id: str, wanted: list[Wanted]) -> None:
        kick = self._platforms.kick
        self._problems = {
            w: why for w, why in self._problems.items() if (w.platform, w.broadcaster_id) != ("kick", broadcaster_id)
        }
        listed = await by_app(self._platforms, "kick", lambda token: kick.event_subscriptions(token, broadcaster_id))
        await self._carry_out_on_kick(broadcaster_id, plan(wanted, listed, "", utc_now()))

    async def _carry_out_on_kick(self, broadcaster_id: str, to_do: Plan) -> None:
        kick = self._platforms.kick
        if to_do.delete:
            ids = [one.id for one in to_do.delete]
            await by_app(self._platforms, "kick", lambda token: kick.unsubscribe_events(token, ids))
            telemetry.SUBSCRIPTIONS_CHANGED.labels("kick", "deleted").inc(len(ids))
        now = asyncio.get_running_loop().time()
        self._unlisted = {
            wanted: until for wanted, until in self._unlisted.items() if until > now and wanted not in to_do.keep
        }
        create = [wanted.type for wanted in to_do.create if wanted not in self._unlisted]
        if not create:
            return
        for type_, problem in (await self._subscribe_on_kick(broadcaster_id, create)).items():
            wanted = Wanted("kick", broadcaster_id, type_, "1")
            if problem is None:
                self._unlisted[wanted] = now + UNLISTED_S
                telemetry.SUBSCRIPTIONS_CHANGED.labels("kick", "created").inc()
            else:
                self._refused(wanted, problem)

    async def _subscribe_on_kick(self, broadcaster_id: str, types: list[str]) -> dict[str, str | None]:
        """What became of each type. One over its limit fails the whole request: then they are asked for one by one."""
        kick = self._platforms.kick
        try:
            return await by_app(
                self._platforms, "kick", lambda token: kick.subscribe_events(token, broadcaster_id, types)
            )
        except PlatformRefused as refused:
            if refused.status not in (400, 403, 404, 422):
                raise
            if len(types) == 1:
                return {types[0]: refused.message}
        told: dict[str, str | None] = {}
        for type_ in types:
            told |= await self._subscribe_on_kick(broadcaster_id, [type_])
        return told

    async def _twitch(self) -> None:
        twitch, connections = self._platforms.twitch, self._platforms.tokens.connections().values()
        listed = by_webhook(await by_app(self._platforms, "twitch", twitch.eventsub_subscriptions))
        wanted = [
            each
            for connection in connections
            if self._callback is not None and connection.platform == "twitch" and connection.state == "connected"
            for each in wanted_on_twitch(connection.platform_id, connection.scopes, webhooks=True)
        ]
        to_do = plan(wanted, listed, self._callback or "", utc_now())
        transport = {"method": "webhook", "callback": self._callback or "", "secret": self._secret}

        async def delete(one: Listed) -> None:
            await by_app(self._platforms, "twitch", lambda token: twitch.eventsub_unsubscribe(token, one.id))

        async def create(each: Wanted) -> None:
            await by_app(self._platforms, "twitch", lambda token: twitch.eventsub_subscribe(token, each, transport))

        problems = await carry_out_on_twitch(to_do, delete, create)
        self._problems |= {wanted: refused.message for wanted, refused in problems.items()}
        self._too_much = any(refused.status == 429 for refused in problems.values())

    def _refused(self, wanted: Wanted, problem: str) -> None:
        self._problems[wanted] = problem
        tell_refused(wanted, problem)


async def ensure_on_session(platforms: Platforms, user_id: int, session_id: str) -> int:
    """Have everything subscribed that the broadcaster granted, with this websocket session and with no other one.

    Gives back how many subscriptions the session has. Raises NotConnected, NeedsReconnect, PlatformAway,
    PlatformTimeout, PlatformRefused, LogUnavailable.
    """
    tokens, twitch = platforms.tokens, platforms.twitch
    token = await tokens.user_token(user_id, "twitch")
    try:
        listed = await twitch.eventsub_subscriptions(token)
    except PlatformRefused as refused:
        if refused.status != 401:
            raise
        token = await tokens.refreshed(user_id, "twitch", refused=token)
        listed = await twitch.eventsub_subscriptions(token)
    connection = tokens.connections().get((user_id, "twitch"))
    if connection is None:
        raise NotConnected(f"Broadcaster {user_id} was disconnected from Twitch meanwhile.")
    wanted = wanted_on_twitch(connection.platform_id, connection.scopes, webhooks=False)
    mine = by_websocket(listed, connection.platform_id)
    to_do = plan(wanted, mine, session_id, utc_now())
    transport = {"method": "websocket", "session_id": session_id}

    async def carry_out(some: Plan) -> dict[Wanted, PlatformRefused]:
        return await carry_out_on_twitch(
            some,
            lambda one: twitch.eventsub_unsubscribe(token, one.id),
            lambda each: twitch.eventsub_subscribe(token, each, transport),
        )

    problems = await carry_out(to_do)
    too_many = [wanted for wanted, refused in problems.items() if refused.status == 429]
    again = without_the_ended(to_do, mine, too_many)
    problems = {wanted: problem for wanted, problem in problems.items() if wanted not in again.create}
    problems |= await carry_out(again)
    return len(to_do.keep) + len(to_do.create) - len(problems)


async def carry_out_on_twitch(
    to_do: Plan, delete: Callable[[Listed], Awaitable[None]], create: Callable[[Wanted], Awaitable[None]]
) -> dict[Wanted, PlatformRefused]:
    """Delete, then create, several at a time; what was refused.

    Each item is refused by itself: too many alike or too dear (429), no scope (403). When the rest has come to its end,
    raises the first error that is not the item's: PlatformAway, PlatformTimeout, a 401 or 5xx.
    """
    slots = asyncio.Semaphore(AT_ONCE)
    problems: dict[Wanted, PlatformRefused] = {}

    async def one_of(item: Listed | Wanted) -> None:
        async with slots:
            try:
                if isinstance(item, Listed):
                    await delete(item)
                    telemetry.SUBSCRIPTIONS_CHANGED.labels("twitch", "deleted").inc()
                else:
                    await create(item)
                    telemetry.SUBSCRIPTIONS_CHANGED.labels("twitch", "created").inc()
            except PlatformRefused as refused:
                if refused.status == 401 or refused.status >= 500:
                    raise
                wanted = item.wanted if isinstance(item, Listed) else item
                problems[wanted] = refused
                tell_refused(wanted, refused.message)

    for items in (to_do.delete, to_do.create):
        await _all_of([one_of(item) for item in items])
    return problems


async def _all_of(works: Iterable[Awaitable[None]]) -> None:
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def by_app(platforms: Platforms, platform: PlatformName, call: Callable[[str], Awaitable[T]]) -> T:
    """`call` with the app's token; once more with another one when it is refused. Raises what `call` and `app_token` do."""
    token = await platforms.tokens.app_token(platform)
    try:
        return await call(token)
    except PlatformRefused as refused:
        if refused.status != 401:
            raise
    return await call(await platforms.tokens.app_token(platform, refused=token))


def tell_refused(wanted: Wanted, problem: str) -> None:
    """One line in the log: what a platform will not subscribe to, and why."""
    telemetry.warn(
        "subscriptions.refused",
        platform=wanted.platform,
        broadcaster_id=wanted.broadcaster_id,
        type=wanted.type,
        why=problem,
    )
