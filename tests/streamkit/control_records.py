"""Control records in one line each, for the tests of the directory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from schemas.control import (
    BroadcasterRegistered,
    BroadcasterRemoved,
    ClientIssued,
    ClientSecretRotated,
    ControlEvent,
    PlatformConnected,
    PlatformDisconnected,
    PlatformName,
    TokenIssued,
    encode_control,
)
from streamkit.directory import Directory
from streamkit.log.protocol import CONTROL, EventLog, Record

AT = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def registered(user_id: int, name: str = "N", primary: PlatformName | None = None) -> ControlEvent:
    return BroadcasterRegistered(at=AT, user_id=user_id, name=name, primary_platform=primary)


def connected(user_id: int, platform: PlatformName, platform_id: str, username: str = "u") -> ControlEvent:
    return PlatformConnected(at=AT, user_id=user_id, platform=platform, platform_id=platform_id, username=username)


def disconnected(user_id: int, platform: PlatformName) -> ControlEvent:
    return PlatformDisconnected(at=AT, user_id=user_id, platform=platform)


def removed(user_id: int) -> ControlEvent:
    return BroadcasterRemoved(at=AT, user_id=user_id)


def client(client_id: str, user_id: int) -> ControlEvent:
    return ClientIssued(at=AT, client_id=client_id, user_id=user_id, secret_hash="h0", key_id="k", scopes=("read",))


def rotated(client_id: str, secret_hash: str, at_s: int, overlap_s: int) -> ControlEvent:
    at = AT + timedelta(seconds=at_s)
    return ClientSecretRotated(
        at=at,
        client_id=client_id,
        secret_hash=secret_hash,
        key_id="k",
        previous_until=at + timedelta(seconds=overlap_s),
    )


def token(jti: str, client_id: str, user_id: int) -> ControlEvent:
    return TokenIssued(
        at=AT, jti=jti, client_id=client_id, user_id=user_id, scopes=("read",), expires_at=AT + timedelta(days=1)
    )


def folded(*events: ControlEvent) -> Directory:
    directory = Directory()
    for event in events:
        directory.apply(encode_control(event))
    return directory


async def append(log: EventLog, *events: ControlEvent) -> None:
    await log.append(CONTROL, [Record("any", encode_control(event)) for event in events])
