"""Forged tokens (RFC 8725): whatever this deployment did not sign as it signs is `invalid_jwt`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from streamkit.credentials import read_jwt
from streamkit.issuing import issue_token
from streamkit.keys import Keys
from tests.streamkit.credential_world import DAY, KEYS, START, Triple, World, claims_of


@pytest.fixture
def world() -> World:
    return World()


def signed(claims: dict[str, Any], header: dict[str, Any] | None = None, key: bytes | None = None) -> str:
    own = KEYS.jwt_key(KEYS.key_id)
    assert own is not None
    standard = {"alg": "HS256", "kid": KEYS.key_id, "typ": "at+jwt"} | (header or {})
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (standard, claims)]
    body = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(str(standard["alg"]), hashlib.sha256)
    signature = b"" if standard["alg"] == "none" else hmac.new(key or own, body, digest).digest()
    return (body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_the_forger_makes_good_tokens_too(world: World) -> None:
    """Else the cases below would show nothing."""
    assert read_jwt(signed(claims_of(world, world.issue())), KEYS) is not None


def test_padding_is_no_part_of_a_token(world: World) -> None:
    assert read_jwt(signed(claims_of(world, world.issue())) + "=", KEYS) is None


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS384"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": None},
        {"kid": "skk_other"},
        {"kid": None},
        {"kid": 1},
        {"kid": ["a"]},
        {"kid": "../../dev/null"},
        {"typ": "JWT"},
        {"typ": "AT+JWT"},
        {"typ": None},
        {"crit": ["exp"]},
        {"b64": False},
        {"zip": "DEF", "alg": "none"},
        {"jwk": {"kty": "oct", "k": "AAAA"}, "alg": "none"},
    ],
)
async def test_headers_that_are_not_ours(world: World, header: dict[str, Any]) -> None:
    triple = world.issue()
    triple.jwt = signed(claims_of(world, triple), header)
    assert await world.refusal(triple) == "invalid_jwt"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"iss": ["streamkit"]},
        {"aud": "streamkit-api-v1"},
        {"aud": ["streamkit-api-v2"]},
        {"sub": 1},
        {"client_id": 1},
        {"client_id": None},
        {"jti": 7},
        {"jti": "skt_unknown"},
        {"exp": "4000000000"},
        {"exp": 1e300},
        {"exp": True},
        {"exp": None},
        {"iat": None},
        {"iat": "x"},
        {"iat": int(START.timestamp()) + 5},
        {"nbf": 99_999_999_999},
        {"nbf": "x"},
    ],
)
async def test_claims_that_are_not_ours(world: World, changes: dict[str, Any]) -> None:
    triple = world.issue()
    triple.jwt = signed(claims_of(world, triple) | changes)
    assert await world.refusal(triple) == "invalid_jwt"


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "client_id", "jti", "iat", "exp"])
async def test_every_claim_is_required(world: World, claim: str) -> None:
    triple = world.issue()
    claims = claims_of(world, triple)
    del claims[claim]
    triple.jwt = signed(claims)
    assert await world.refusal(triple) == "invalid_jwt"


async def test_a_token_stretched_with_the_right_key_does_not_outlive_its_record(world: World) -> None:
    triple = world.issue(lifetime=timedelta(seconds=5))
    triple.jwt = signed(claims_of(world, triple) | {"exp": 4_000_000_000})
    world.now += timedelta(seconds=5)
    assert await world.refusal(triple) == "expired_jwt"


async def test_another_subject_under_the_same_client(world: World) -> None:
    triple = world.issue()
    triple.jwt = signed(claims_of(world, triple) | {"sub": "2"})
    assert await world.refusal(triple) == "credential_mismatch"


def tampered(jwt: str) -> Iterator[str]:
    header, claims, signature = jwt.split(".")
    wider = base64.urlsafe_b64encode(b'{"sub":"2"}').rstrip(b"=").decode()
    yield f"{header}.{wider}.{signature}"
    yield f"{header}.{claims}."
    yield f"{header}.{claims}"
    yield f"{header}.{claims}.{signature}.{signature}"
    yield f"{header}..{signature}"
    yield f"{header}.{claims}.{signature[::-1]}"
    yield f"Bearer {jwt}"
    yield jwt.replace("-", "+").replace("_", "/") + "!"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    yield from (jwt[:-1] + last for last in alphabet if last != jwt[-1])


async def test_any_other_text_is_another_token(world: World) -> None:
    triple = world.issue()
    assert triple.jwt
    for text in (*tampered(triple.jwt), "x", "..", "a.b.c", "{}", "e30.e30.e30", "." * 5000, "A" * 8000):
        assert await world.refusal(Triple(triple.client_id, triple.client_secret, text)) == "invalid_jwt"


async def test_a_token_of_another_deployment(world: World) -> None:
    triple = world.issue()
    elsewhere = Keys.derive(b"e" * 32)
    record = issue_token(
        elsewhere, user_id=1, client_id=str(triple.client_id), scopes=("read",), lifetime=DAY, at=START
    )
    world.apply(record.record)
    triple.jwt = record.jwt
    assert await world.refusal(triple) == "invalid_jwt"
    triple.jwt = signed(claims_of(world, triple), key=elsewhere.jwt_key(elsewhere.key_id))
    assert await world.refusal(triple) == "invalid_jwt"
