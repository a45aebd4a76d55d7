"""A directory with two broadcasters and credentials over it, for the tests of what opens the door and what does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt as pyjwt
import pytest
from msgspec import Struct

from schemas.control import BroadcasterRegistered, ControlEvent, encode_control
from schemas.errors import Problem
from streamkit.credentials import Credentials, Principal, read_jwt
from streamkit.directory import Directory
from streamkit.issuing import issue_client, issue_token
from streamkit.keys import Keys

KEYS = Keys.derive(b"k" * 32)
START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


class Triple(Struct):
    """What a caller sends."""

    client_id: str | None
    client_secret: str | None
    jwt: str | None


class World:
    """A directory with broadcasters 1 and 2, credentials over it, and a clock that only the test moves."""

    def __init__(self, keys: Keys = KEYS) -> None:
        self.now = START
        self.keys = keys
        self.directory = Directory()
        self.credentials = Credentials(self.directory, keys, now=lambda: self.now.timestamp())
        self.apply(*(BroadcasterRegistered(at=START, user_id=user_id, name="N") for user_id in (1, 2)))

    def apply(self, *events: ControlEvent) -> None:
        for event in events:
            self.directory.apply(encode_control(event))

    def issue(self, user_id: int = 1, *, scopes: tuple[str, ...] = ("read",), lifetime: timedelta = DAY) -> Triple:
        client = issue_client(self.keys, user_id, scopes, at=self.now)
        self.apply(client.record)
        return Triple(
            client.record.client_id,
            client.client_secret,
            self.token(client.record.client_id, user_id, scopes=scopes, lifetime=lifetime),
        )

    def token(
        self, client_id: str | None, user_id: int = 1, *, scopes: tuple[str, ...] = ("read",), lifetime: timedelta = DAY
    ) -> str:
        assert client_id
        token = issue_token(
            self.keys, user_id=user_id, client_id=client_id, scopes=scopes, lifetime=lifetime, at=self.now
        )
        self.apply(token.record)
        return token.jwt

    async def check(self, triple: Triple, scope: str = "read") -> Principal:
        return await self.credentials.check(triple.client_id, triple.client_secret, triple.jwt, scope=scope)

    async def refusal(self, triple: Triple, scope: str = "read") -> str:
        with pytest.raises(Problem) as caught:
            await self.check(triple, scope)
        assert caught.value.status == (403 if caught.value.code == "insufficient_scope" else 401)
        assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
        return caught.value.code

    def cached(self, triple: Triple, scope: str = "read") -> Principal | None:
        return self.credentials.check_cached(triple.client_id, triple.client_secret, triple.jwt, scope=scope)


def jti_of(triple: Triple) -> str:
    assert triple.jwt
    claims = read_jwt(triple.jwt, KEYS)
    assert claims is not None
    return claims.jti


def claims_of(world: World, triple: Triple) -> dict[str, Any]:
    assert triple.jwt
    found: dict[str, Any] = pyjwt.decode(triple.jwt, options={"verify_signature": False})
    return found
