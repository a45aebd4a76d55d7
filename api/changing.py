"""The command "update my stream's title and category", carried out on the primary platform.

Asked for and done are events on the log; what the API shows changes when the platform's own event says so. What may not
live here: the request and its answer as HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import msgspec
from msgspec import UNSET, Struct

from schemas.answers import StreamInfo, StreamInfoChange
from schemas.control import PlatformName
from schemas.errors import (
    LogUnavailable,
    NotConnected,
    PlatformAway,
    PlatformRefused,
    PlatformTimeout,
    Problem,
    Retry,
)
from schemas.event import Event, utc_now
from schemas.kinds import StreamInfoApplied, StreamInfoFailed, StreamInfoRequested, kind_of
from streamkit import telemetry
from streamkit.credentials import Principal
from streamkit.directory import Directory
from streamkit.log.events import record_of
from streamkit.log.protocol import EVENTS, EventLog
from streamkit.platforms.categories import Category, meant, suggested
from streamkit.platforms.parts import Platforms
from streamkit.redis import SoftState

T = TypeVar("T")

WITHIN_S = 13.0
"""For everything a platform is asked, so that the answer comes within 15 s."""
LOOK_EVERY_S = 0.2

SCOPES: dict[PlatformName, str] = {"kick": "channel:write", "twitch": "channel:manage:broadcast"}


class _Done(Struct, frozen=True):
    """What an Idempotency-Key stands for: the request, and its answer."""

    asked: str
    answer: StreamInfo


_done = msgspec.json.Decoder(_Done)


class Changing:
    """One per process. Everything here ends within 15 s."""

    def __init__(self, log: EventLog, directory: Directory, soft: SoftState, platforms: Platforms) -> None:
        self._log = log
        self._directory = directory
        self._soft = soft
        self._platforms = platforms
        self._under_way: dict[str, tuple[str, asyncio.Task[StreamInfo]]] = {}

    async def change(self, who: Principal, change: StreamInfoChange, key: str | None) -> StreamInfo:
        """What is changed now. With the Idempotency-Key `key`, what was answered to the same request of this client
        within a day is answered again, and nothing is sent.

        Raises Problem 409, 422, 403, 429, 502, 504; Retry while the log is away: then nothing was sent.
        """
        if key is None:
            return await self._command(who, change).run()
        name = f"idempotency:{who.client_id}:{hashlib.sha256(key.encode()).hexdigest()}"
        asked = hashlib.sha256(msgspec.json.encode(change)).hexdigest()
        before, running = self._under_way.get(name, (asked, None))
        if before != asked:
            _key_of_another_request()
        if running is None:
            running = asyncio.create_task(self._once(name, asked, who, change), name="stream-info")
            self._under_way[name] = asked, running
            running.add_done_callback(lambda _: self._under_way.pop(name, None))
        return await asyncio.shield(running)

    async def close(self) -> None:
        """Let commands under way come to their end; idempotent."""
        await asyncio.gather(*(task for _, task in self._under_way.values()), return_exceptions=True)

    async def _once(self, name: str, asked: str, who: Principal, change: StreamInfoChange) -> StreamInfo:
        """Another process may be at it: then its answer is waited for. Only what is done is kept: what failed may be sent
        again under the same key, and a title that is set twice is set."""
        deadline_s = asyncio.get_running_loop().time() + WITHIN_S
        while True:
            kept = await self._soft.known(name)
            if kept is not None:
                done = _done.decode(kept)
                return done.answer if done.asked == asked else _key_of_another_request()
            if await self._soft.acquire(name, WITHIN_S + 2):
                break
            if asyncio.get_running_loop().time() > deadline_s:
                raise Retry("A request with this Idempotency-Key is under way at another process; ask again.")
            await asyncio.sleep(LOOK_EVERY_S)
        try:
            answer = await self._command(who, change).run()
            self._soft.remember(name, msgspec.json.encode(_Done(asked, answer)).decode())
            return answer
        finally:
            await self._soft.release(name)

    def _command(self, who: Principal, change: StreamInfoChange) -> _Command:
        broadcaster = self._directory.broadcaster(who.user_id)
        platform = broadcaster.primary_platform if broadcaster is not None else None
        if platform is None:
            raise _not_connected("No platform is connected; connect the broadcaster's account first.")
        on: PlatformName = "kick" if platform == "kick" else "twitch"
        return _Command(self._log, self._platforms, who, on, change)


class _Command:
    """One command on one platform: from its record to the record of what became of it."""

    def __init__(
        self, log: EventLog, platforms: Platforms, who: Principal, platform: PlatformName, change: StreamInfoChange
    ) -> None:
        self._log = log
        self._platforms = platforms
        self._who = who
        self._platform = platform
        self._change = change
        self._id = secrets.token_hex(16)
        self._sent = False

    async def run(self) -> StreamInfo:
        """Raises as Changing.change."""
        title = None if self._change.title is UNSET else self._change.title
        wanted = None if self._change.category is UNSET else self._change.category
        self._check_connection()
        command_id, platform = self._id, self._platform
        await self._tell(
            StreamInfoRequested(command_id=command_id, client_id=self._who.client_id, title=title, category=wanted)
        )
        try:
            async with asyncio.timeout(WITHIN_S):
                category = None if wanted is None else await self._category(wanted)
                await self._with_token(lambda token: self._send(token, title, category))
        except (Problem, NotConnected, PlatformAway, PlatformTimeout, PlatformRefused, TimeoutError) as error:
            problem = self._problem(error)
            await self._tell_outcome(StreamInfoFailed(command_id=command_id, error=problem.code, why=problem.message))
            raise problem from error
        name = None if category is None else category.name
        category_id = None if category is None else category.id
        await self._tell_outcome(
            StreamInfoApplied(command_id=command_id, title=title, category=name, category_id=category_id)
        )
        telemetry.info("stream_info.applied", user_id=self._who.user_id, platform=platform, command_id=command_id)
        return StreamInfo(updated=True, title=title, category=name)

    def _check_connection(self) -> None:
        """What is known to fail is no command: nothing is told of it."""
        connection = self._platforms.tokens.connections().get((self._who.user_id, self._platform))
        if connection is None or not self._platforms.tokens.configured(self._platform):
            raise _not_connected(
                f"{self._platform.capitalize()}, the primary platform, is not connected for writing; connect the "
                "broadcaster's account first."
            )
        if connection.state == "needs_reconnect":
            raise _not_connected(f"{self._platform.capitalize()} takes the connection no more; connect it again.")
        if SCOPES[self._platform] not in connection.scopes:
            raise _no_scope(self._platform)

    async def _category(self, wanted: str) -> Category:
        async def find(token: str) -> list[Category]:
            if self._platform == "kick":
                return await self._platforms.kick.find_categories(token, wanted)
            return await self._platforms.twitch.find_categories(token, wanted)

        found = await self._with_token(find)
        category = meant(wanted, found)
        if category is None:
            message = suggested(found)
            errors = [{"path": "$.category", "message": message}]
            raise Problem(422, "invalid_body", message, errors=errors)
        return category

    async def _send(self, token: str, title: str | None, category: Category | None) -> None:
        self._sent = True
        id = None if category is None else category.id
        if self._platform == "kick":
            await self._platforms.kick.change_channel(token, title=title, category_id=id)
        else:
            place = self._who.user_id, self._platform
            channel_id = self._platforms.tokens.connections()[place].platform_id
            await self._platforms.twitch.change_channel(token, channel_id, title=title, category_id=id)

    async def _with_token(self, call: Callable[[str], Awaitable[T]]) -> T:
        """The call, and once more with another token when the platform answers 401."""
        tokens, who = self._platforms.tokens, self._who.user_id
        token = await self._token(tokens.user_token(who, self._platform))
        try:
            return await call(token)
        except PlatformRefused as refused:
            if refused.status != 401 or _is_about_scope(refused):
                raise
        self._sent = False
        token = await self._token(tokens.refreshed(who, self._platform, refused=token))
        return await call(token)

    async def _token(self, asking: Awaitable[str]) -> str:
        try:
            return await asking
        except PlatformRefused as refused:  # of the app, or of so many calls: nothing is said about the change
            if refused.status == 429:
                raise
            raise PlatformAway(f"{refused}; nothing was changed.", refused.retry_after_s or 1) from refused

    def _problem(self, error: Exception) -> Problem:
        platform = self._platform.capitalize()
        match error:
            case Problem():
                return error
            case NotConnected():
                return Problem(409, "no_connected_platform", str(error))
            case PlatformRefused():
                return _refused(error)
            case PlatformTimeout() | TimeoutError() if self._sent:
                return Problem(
                    504,
                    "outcome_unknown",
                    f"{platform} did not answer in time: the change may have been made. It is safe to send it again.",
                )
            case _:
                after = {"Retry-After": str(error.retry_after_s)} if isinstance(error, Retry) else None
                return Problem(502, "platform_error", f"{platform} is not reached; nothing was changed.", headers=after)

    async def _tell(self, data: StreamInfoRequested | StreamInfoApplied | StreamInfoFailed) -> None:
        now, kind = utc_now(), kind_of(data)
        event = Event(
            event_id=f"command:{self._id}:{kind}",
            natural_key=None,
            type=kind,
            platform=self._platform,
            user_id=self._who.user_id,
            actor=None,
            occurred_at=now,
            received_at=now,
            data=data,
        )
        await self._log.append(EVENTS, [record_of(event)])

    async def _tell_outcome(self, data: StreamInfoApplied | StreamInfoFailed) -> None:
        """What is done is done, whether the log takes the record or not."""
        try:
            await self._tell(data)
        except LogUnavailable as error:
            telemetry.warn("stream_info.outcome_not_kept", command_id=self._id, reason=str(error))


def _refused(error: PlatformRefused) -> Problem:
    platform: PlatformName = "kick" if error.platform == "kick" else "twitch"
    if error.status == 429:
        seconds = str(error.retry_after_s or 1)
        message = f"{platform.capitalize()} asks to be left alone for a moment; nothing was changed."
        return Problem(429, "rate_limited", message, headers={"Retry-After": seconds})
    if error.status in (401, 403):
        return _no_scope(platform)
    if 400 <= error.status < 500 and error.status != 404:
        errors = [{"path": "$", "message": error.message}]
        return Problem(422, "invalid_body", f"{platform.capitalize()} refuses this: {error.message}", errors=errors)
    return Problem(502, "platform_error", f"{error}. Nothing is known to have been changed.")


def _is_about_scope(refused: PlatformRefused) -> bool:
    return "scope" in refused.message.casefold()


def _no_scope(platform: PlatformName) -> Problem:
    return Problem(
        403,
        "insufficient_platform_scope",
        f"The connection to {platform.capitalize()} does not allow this (scope {SCOPES[platform]}); connect it again.",
    )


def _not_connected(message: str) -> Problem:
    return Problem(409, "no_connected_platform", message)


def _key_of_another_request() -> NoReturn:
    message = "This Idempotency-Key stands for another request; send a new one with it."
    raise Problem(422, "invalid_body", message, errors=[{"path": "Idempotency-Key", "message": message}])
