"""`streamkit drift`: what the platforms say now beside what we counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import click
import msgspec
from msgspec import Struct

from schemas.control import PlatformName
from schemas.errors import BadSettings, NotConnected, Retry
from schemas.event import utc_now
from streamkit.addresses import DEFAULT_PROJECTOR_URL
from streamkit.cli.common import EXIT_NOT_DONE, Failure, emit, fail, json_option, run, table
from streamkit.cli.rooms import projector_ports
from streamkit.cli.subscriptions import Asked, asking, told_by
from streamkit.directory import Broadcaster
from streamkit.log.protocol import EventLog
from streamkit.platforms.observed import Observed
from streamkit.reads import Answer, Question
from streamkit.settings import Settings

PLATFORMS: tuple[PlatformName, ...] = ("kick", "twitch")


class Reads(Protocol):
    """The read models, wherever they are served."""

    async def start(self) -> None:
        """Before `ask`."""

    async def close(self) -> None:
        """After it."""

    async def ask(self, user_id: int, questions: Sequence[Question]) -> Answer:
        """Raises Retry when no projector answers."""


class Row(Struct, frozen=True):
    """One number. `equal` None: not compared, and `why` not."""

    platform: PlatformName
    what: str
    platform_says: Any
    counted: Any
    equal: bool | None
    why: str | None = None


def drift_command(reads: Callable[[Sequence[str], str, EventLog], Reads]) -> click.Command:
    """The command; `reads` makes what asks the projectors at these addresses, with the internal token."""

    @click.command("drift")
    @click.option("--user-id", type=int, required=True, help="The broadcaster.")
    @json_option
    def drift(user_id: int, as_json: bool) -> None:
        """What Kick and Twitch say now beside what we counted: exit 1 when it differs.

        \b
        Active subscribers, live or not, the title, and how many watch (shown, and not compared: it never stands still).
        A projector (or `up`) has to run. Exit 3 when it, or a platform, is not reached.
        Example:
          streamkit drift --user-id 1
        """

        async def work(settings: Settings) -> list[Row]:
            async with asking(settings) as asked:
                broadcaster = asked.directory.broadcaster(user_id)
                if broadcaster is None:
                    raise Failure(
                        f"There is no broadcaster {user_id}; `streamkit accounts list` shows those there are."
                    )
                counted = await _counted(asked, broadcaster, reads)
                rows: list[Row] = []
                for platform in PLATFORMS:
                    if platform in broadcaster.platforms and asked.tokens.configured(platform):
                        rows += await _compared(asked, broadcaster, platform, *counted)
                return rows

        rows = run(work, as_json=as_json)
        equal = all(row.equal is not False for row in rows)
        shown = [
            (row.platform, row.what, row.platform_says, row.counted, row.why or ("equal" if row.equal else "differs"))
            for row in rows
        ]
        document = {"equal": equal, "rows": msgspec.to_builtins(rows)}
        emit(document, table(("PLATFORM", "WHAT", "PLATFORM SAYS", "COUNTED", ""), shown), as_json=as_json)
        if not equal:
            fail("What was counted is not what the platform says.", EXIT_NOT_DONE, as_json=False)

    return drift


async def _counted(
    asked: Asked, broadcaster: Broadcaster, reads: Callable[[Sequence[str], str, EventLog], Reads]
) -> tuple[dict[str, Any], dict[str, int]]:
    """The stream's row and the number of active subscribers, by platform."""
    urls, token = projector_ports(asked.settings)
    if token is None:
        raise BadSettings("This command needs the STREAMKIT_SECRET_KEY (or STREAMKIT_INTERNAL_TOKEN) of the services.")
    models = reads(urls or (DEFAULT_PROJECTOR_URL,), token, asked.log)
    now_us = int(utc_now().timestamp() * 1_000_000)
    active = Question("active_totals", {"now_us": now_us, "platforms": sorted(broadcaster.platforms)})
    try:
        await models.start()
        answer = await models.ask(broadcaster.user_id, [Question("stream_status"), active])
    finally:
        await models.close()
    streams, totals = answer.rows
    return {row.platform: row for row in streams}, {row.platform: row.active_total for row in totals}


async def _compared(
    asked: Asked,
    broadcaster: Broadcaster,
    platform: PlatformName,
    streams: dict[str, Any],
    active: dict[str, int],
) -> list[Row]:
    broadcaster_id = broadcaster.platforms[platform].id
    name = platform.capitalize()
    token = await told_by(name, asked.tokens.app_token(platform))
    look = asked.kick.channels if platform == "kick" else asked.twitch.streams
    observed = (await told_by(name, look(token, [broadcaster_id]))).get(broadcaster_id)
    if observed is None:
        raise Failure(f"{name} does not know the channel {broadcaster_id}.")
    subscribers, why = observed.subscribers, None
    if platform == "twitch":
        subscribers, why = await _on_twitch(asked, broadcaster.user_id, broadcaster_id)
    return [
        _row(platform, "subscribers", subscribers, active.get(platform, 0), why),
        *_stream(platform, observed, streams),
    ]


def _stream(platform: PlatformName, observed: Observed, streams: dict[str, Any]) -> list[Row]:
    row = streams.get(platform)
    is_live, viewers = (row.is_live, row.viewer_count) if row is not None else (False, None)
    return [
        _row(platform, "is_live", observed.is_live, is_live),
        _row(platform, "title", observed.title, None if row is None else row.title, "not told while it is not live"),
        Row(platform, "viewer_count", observed.viewer_count, viewers, None, "not compared"),
    ]


async def _on_twitch(asked: Asked, user_id: int, broadcaster_id: str) -> tuple[int | None, str | None]:
    try:
        token = await told_by("Twitch", asked.tokens.user_token(user_id, "twitch"))
    except NotConnected as lost:
        return None, str(lost)
    found = await told_by("Twitch", asked.twitch.subscribers(token, broadcaster_id))
    if not found.complete:
        raise Retry("Twitch's list of subscribers is longer than what is read of it.")
    return len(found.viewers), None


def _row(platform: PlatformName, what: str, says: Any, counted: Any, why: str | None = None) -> Row:
    """Compared, unless the platform says nothing."""
    if says is None:
        return Row(platform, what, says, counted, None, why)
    return Row(platform, what, says, counted, says == counted)
