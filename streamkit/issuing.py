"""Making credentials: the control records to append, and what is shown to the caller once.

Recognisable by prefix, for people and secret scanners: client ids `skc_`, secrets `sks_`, token ids `skt_`, key ids
`skk_`. A JWT cannot carry one, but since its header begins with `alg` and then our `kid`, every token of ours begins
with JWT_PREFIX. What may not live here: I/O, and the checking (streamkit/credentials.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

import jwt as pyjwt
from msgspec import Struct

from schemas.control import ClientIssued, ClientSecretRotated, TokenIssued
from streamkit.credentials import JWT_ALGORITHM, JWT_AUDIENCE, JWT_ISSUER, JWT_TYPE, SCOPES
from streamkit.keys import Keys

CLIENT_ID_PREFIX = "skc_"
SECRET_PREFIX = "sks_"  # noqa: S105 - what secrets begin with
TOKEN_ID_PREFIX = "skt_"  # noqa: S105 - what token ids begin with
JWT_PREFIX = "eyJhbGciOiJIUzI1NiIsImtpZCI6InNra1"
"""Base64 of `{"alg":"HS256","kid":"skk_`, as far as it does not depend on what follows."""


class NewSecret(Struct, frozen=True):
    """A client's record and its clear secret, which exists nowhere else."""

    record: ClientIssued
    client_secret: str


class RotatedSecret(Struct, frozen=True):
    """A rotation's record and the new clear secret."""

    record: ClientSecretRotated
    client_secret: str


class NewToken(Struct, frozen=True):
    """A token's record and the signed JWT."""

    record: TokenIssued
    jwt: str


def parse_scopes(text: str) -> tuple[str, ...]:
    """Scopes separated by spaces or commas, each once, in their own order. Raises ValueError naming the known ones."""
    wanted = text.replace(",", " ").split()
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        what = f"no such scope: {' '.join(unknown)}" if unknown else "no scope given"
        raise ValueError(f"{what}; there are {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in wanted)


def issue_client(keys: Keys, user_id: int, scopes: Sequence[str], *, at: datetime) -> NewSecret:
    """A new client of the broadcaster, with a 256-bit random secret."""
    clear, digest = _new_secret(keys)
    record = ClientIssued(
        at=at,
        client_id=CLIENT_ID_PREFIX + secrets.token_hex(12),
        user_id=user_id,
        secret_hash=digest,
        key_id=keys.key_id,
        scopes=tuple(scopes),
    )
    return NewSecret(record, clear)


def rotate_secret(keys: Keys, client_id: str, *, overlap: timedelta, at: datetime) -> RotatedSecret:
    """A new secret; the present one stays good for `overlap`."""
    clear, digest = _new_secret(keys)
    record = ClientSecretRotated(
        at=at, client_id=client_id, secret_hash=digest, key_id=keys.key_id, previous_until=at + overlap
    )
    return RotatedSecret(record, clear)


def issue_token(
    keys: Keys, *, user_id: int, client_id: str, scopes: Sequence[str], lifetime: timedelta, at: datetime
) -> NewToken:
    """A JWT of the client, good from `at` (cut to the second) for `lifetime`; a lifetime of 0 gives an expired one."""
    issued_at = at.replace(microsecond=0)
    expires_at = issued_at + lifetime
    record = TokenIssued(
        at=at,
        jti=TOKEN_ID_PREFIX + secrets.token_hex(16),
        client_id=client_id,
        user_id=user_id,
        scopes=tuple(scopes),
        expires_at=expires_at,
    )
    return NewToken(record, sign_jwt(record, issued_at, keys))


def sign_jwt(record: TokenIssued, issued_at: datetime, keys: Keys) -> str:
    """The JWT of a token record, signed with the deployment's present key (RFC 9068's claims)."""
    key = keys.jwt_key(keys.key_id)
    assert key is not None, "the present key is always known"
    claims = {
        "iss": JWT_ISSUER,
        "aud": JWT_AUDIENCE,
        "sub": str(record.user_id),
        "client_id": record.client_id,
        "jti": record.jti,
        "iat": int(issued_at.timestamp()),
        "exp": int(record.expires_at.timestamp()),
        "scope": " ".join(record.scopes),
    }
    return pyjwt.encode(claims, key, algorithm=JWT_ALGORITHM, headers={"kid": keys.key_id, "typ": JWT_TYPE})


def _new_secret(keys: Keys) -> tuple[str, str]:
    clear = SECRET_PREFIX + secrets.token_urlsafe(32)
    digest = keys.hash_secret(clear)
    assert digest is not None, "the present key is always known"
    return clear, digest
