"""`streamkit subscriptions`: what Kick and Twitch have subscribed for this deployment, and what is missing and why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import TypeVar

import click
import msgspec
from msgspec import Struct

from schemas.control import PlatformName
from schemas.errors import BadSettings, NotConnected, PlatformRefused, Retry
from schemas.event import utc_now
from streamkit.cli.common import emit, json_option, opened_log, run, table
from streamkit.directory import Directory
from streamkit.keys import keys_of
from streamkit.log.protocol import EventLog
from streamkit.platforms.connections import Connection
from streamkit.platforms.kick import KickApi
from streamkit.platforms.parts import configured_platforms, platforms_of
from streamkit.platforms.scopes import twitch_uses_webhooks
from streamkit.platforms.subscriptions import (
    PENDING,
    Listed,
    Wanted,
    by_webhook,
    by_websocket,
    not_granted,
    plan,
    twitch_callback,
    wanted_on_kick,
    wanted_on_twitch,
)
from streamkit.platforms.tokens import Tokens
from streamkit.platforms.twitch import TwitchApi
from streamkit.settings import Settings

T = TypeVar("T")

_MISSING = (
    "not subscribed; ingest makes it at its start and every 15 minutes, and its log says why a platform refuses "
    "(subscriptions.refused)"
)
_TWICE = "there twice; ingest deletes it within 15 minutes"
_ELSEWHERE = "delivers somewhere else; ingest deletes it within 15 minutes"
_UNVERIFIED = "Twitch has not reached the callback yet; it has to lead to ingest"


class Row(Struct, frozen=True):
    """One subscription. `status`: the platform's word, or `missing`; `problem` None: it is as it should be."""

    platform: PlatformName
    user_id: int | None
    broadcaster_id: str
    type: str
    version: str
    status: str
    transport: str
    since: datetime | None
    id: str | None
    problem: str | None


class Asked(Struct, frozen=True):
    """The log, who is connected, and both platforms."""

    settings: Settings
    log: EventLog
    directory: Directory
    tokens: Tokens
    kick: KickApi
    twitch: TwitchApi


@click.group()
def subscriptions() -> None:
    """The event subscriptions that StreamKit keeps at Kick and Twitch.

    \b
    Example:
      streamkit subscriptions list
    """


@subscriptions.command("list")
@json_option
def list_subscriptions(as_json: bool) -> None:
    """What the platforms have subscribed for us, and what is missing.

    \b
    Asks the platforms themselves; the services need not run. Exit 3 when a platform does not answer.
    Example:
      streamkit subscriptions list --json
    """

    async def work(settings: Settings) -> list[Row]:
        async with asking(settings) as asked:
            rows = []
            if asked.tokens.configured("kick"):
                rows += await _kick(asked)
            if asked.tokens.configured("twitch"):
                rows += await _twitch(asked)
            return rows

    rows = run(work, as_json=as_json)
    shown = [
        (
            row.platform,
            row.user_id,
            row.type,
            row.status,
            row.transport,
            None if row.since is None else row.since.isoformat(timespec="seconds"),
            row.problem,
        )
        for row in rows
    ]
    headers = ("PLATFORM", "USER ID", "TYPE", "STATUS", "TRANSPORT", "SINCE", "PROBLEM")
    emit(msgspec.to_builtins(rows), table(headers, shown), as_json=as_json)


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[Asked]:
    """Open them for one command. BadSettings: no platform has an app."""
    from streamkit.redis import open_soft_state

    if not configured_platforms(settings):
        raise BadSettings(
            "No platform has an app: set STREAMKIT_KICK_CLIENT_ID and STREAMKIT_KICK_CLIENT_SECRET, or those of Twitch."
        )
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(opened_log(settings, create=False))
        keys, directory = keys_of(settings, create=False), Directory()
        await directory.catch_up(log)
        soft = await open_soft_state(settings.redis_url, log.log_id)
        stack.push_async_callback(soft.close)
        platforms = platforms_of(settings, keys, log, directory, soft)
        stack.push_async_callback(platforms.outgoing.close)
        stack.push_async_callback(platforms.tokens.close)
        await platforms.tokens.start()
        yield Asked(settings, log, directory, platforms.tokens, platforms.kick, platforms.twitch)


async def _kick(asked: Asked) -> list[Row]:
    token = await told_by("Kick", asked.tokens.app_token("kick"))
    rows: list[Row] = []
    for broadcaster in asked.directory.broadcasters():
        identity = broadcaster.platforms.get("kick")
        if identity is not None:
            listed = await told_by("Kick", asked.kick.event_subscriptions(token, identity.id))
            rows += _rows(asked, wanted_on_kick(identity.id), listed, "", {})
    return rows


async def _twitch(asked: Asked) -> list[Row]:
    webhooks = twitch_uses_webhooks(asked.settings)
    connections = [each for each in asked.tokens.connections().values() if each.platform == "twitch"]
    token = await told_by("Twitch", asked.tokens.app_token("twitch"))
    listed = by_webhook(await told_by("Twitch", asked.twitch.eventsub_subscriptions(token)))
    callback = twitch_callback(asked.settings) if webhooks else "none"
    wanted: list[Wanted] = []
    problems: dict[Wanted, str] = {}
    rows: list[Row] = []
    for connection in connections:
        granted = wanted_on_twitch(connection.platform_id, connection.scopes, webhooks=webhooks)
        lacking = _lacking(connection, webhooks=webhooks)
        if webhooks:
            wanted += [*granted, *lacking]
            problems |= lacking
        else:
            rows += await _sessions(asked, connection, [*granted, *lacking], lacking)
    return [*_rows(asked, wanted, listed, callback, problems), *rows]


async def _sessions(
    asked: Asked, connection: Connection, wanted: Collection[Wanted], problems: Mapping[Wanted, str]
) -> list[Row]:
    """What a broadcaster's websocket carries: of sessions the one that has most is the one that stands."""
    try:
        token = await asked.tokens.user_token(connection.user_id, "twitch")
        listed = await told_by("Twitch", asked.twitch.eventsub_subscriptions(token))
    except NotConnected as lost:
        return _rows(asked, wanted, [], "", dict.fromkeys(wanted, str(lost)))
    alive = [one for one in by_websocket(listed, connection.platform_id) if one.status == "enabled"]
    places = sorted({one.place for one in alive}, key=lambda place: -sum(one.place == place for one in alive))
    return _rows(asked, wanted, alive, places[0] if places else "none", problems)


def _lacking(connection: Connection, *, webhooks: bool) -> dict[Wanted, str]:
    again = f"`streamkit accounts connect --user-id {connection.user_id} --platform twitch`"
    missing = not_granted(connection.platform_id, connection.scopes, webhooks=webhooks)
    return {
        wanted: f"the streamer has not granted {' '.join(scopes)}: {again} asks again"
        for wanted, scopes in missing.items()
    }


def _rows(
    asked: Asked, wanted: Collection[Wanted], listed: list[Listed], place: str, problems: Mapping[Wanted, str]
) -> list[Row]:
    to_do = plan(wanted, listed, place, utc_now())
    kept = {one.id for one in to_do.keep.values()}
    deleted = {one.id for one in to_do.delete}
    rows = []
    for one in listed:
        problem = None
        if one.id in kept:
            problem = _UNVERIFIED if one.status == PENDING else None
        elif one.id in deleted:
            problem = _ELSEWHERE if one.place != place else _TWICE if one.status == "enabled" else one.status
        rows.append(_row(asked, one.wanted, one.status, one.method, one.created_at, one.id, problem))
    method = "webhook" if place.startswith("http") or place == "" else "websocket"
    rows += [_row(asked, each, "missing", method, None, None, problems.get(each, _MISSING)) for each in to_do.create]
    return rows


def _row(
    asked: Asked,
    wanted: Wanted,
    status: str,
    transport: str,
    since: datetime | None,
    id_: str | None,
    problem: str | None,
) -> Row:
    user_id = asked.directory.broadcaster_of(wanted.platform, wanted.broadcaster_id)
    return Row(
        wanted.platform,
        user_id,
        wanted.broadcaster_id,
        wanted.type,
        wanted.version,
        status,
        transport,
        since,
        id_,
        problem,
    )


async def told_by(platform: str, asking: Awaitable[T]) -> T:
    """The platform's answer. Raises Retry (exit 3) for one that does not come, or that refuses everything."""
    try:
        return await asking
    except PlatformRefused as refused:
        raise Retry(f"{platform} refuses to tell it ({refused.status}: {refused.message}).") from None
