"""The three credentials of the read API: client id, client secret, JWT (RFC 8725).

`Credentials.check` answers in the order that the API promises: missing_credentials, invalid_credentials, invalid_jwt,
expired_jwt, revoked_jwt, credential_mismatch, insufficient_scope. Verified triples are remembered for a minute at most,
under a keyed hash; refused ones are not remembered at all. What may not live here: HTTP, and making credentials
(streamkit/issuing.py).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Any

import jwt as pyjwt
from msgspec import Struct

from schemas.errors import Problem
from streamkit.directory import Client, Directory, Token
from streamkit.keys import Keys

SCOPES = ("read", "stream-info:write", "events:write")
JWT_ALGORITHM = "HS256"
JWT_TYPE = "at+jwt"
JWT_ISSUER = "streamkit"
JWT_AUDIENCE = "streamkit-api-v2"

CACHE_S = 60.0
CACHE_ENTRIES = 10_000

_CLAIMS = ("iss", "aud", "sub", "client_id", "jti", "iat", "exp")


class Principal(Struct, frozen=True):
    """Who asks: the broadcaster whose data it is, the client, the token, and what the token may do."""

    user_id: int
    client_id: str
    jti: str
    scopes: frozenset[str]


class Claims(Struct, frozen=True):
    """The claims of a JWT that this deployment signed. `iat` and `exp` in epoch seconds, compared with no clock yet."""

    sub: str
    client_id: str
    jti: str
    iat: int
    exp: int


def other_key(directory: Directory, keys: Keys) -> str | None:
    """The id of the key that the newest client's secret was made with, when it is none of `keys`; else None.

    What is issued with `keys` would be refused by the services that this client knows, and the other way about.
    """
    newest = next((client for client in reversed(list(directory.clients())) if not client.revoked), None)
    if newest is None or newest.secrets[0].key_id in keys.key_ids:
        return None
    return newest.secrets[0].key_id


class _Verified(Struct, frozen=True):
    principal: Principal
    until: float


class Credentials:
    """Checks triples against the directory. One per process; `now` gives epoch seconds."""

    def __init__(self, directory: Directory, keys: Keys, *, now: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._keys = keys
        self._now = now
        self._cache: dict[bytes, _Verified] = {}
        self._cache_version = directory.version
        self._cache_key = secrets.token_bytes(32)

    def check_cached(
        self, client_id: str | None, client_secret: str | None, jwt: str | None, *, scope: str
    ) -> Principal | None:
        """The principal when this triple was verified a moment ago and has the scope; None: ask `check`.

        Costs one hash and one look-up; never waits, never raises.
        """
        if not client_id or not client_secret or not jwt:
            return None
        verified = self._lookup(self._fingerprint(client_id, client_secret, jwt))
        return verified if verified is not None and scope in verified.scopes else None

    async def check(
        self, client_id: str | None, client_secret: str | None, jwt: str | None, *, scope: str
    ) -> Principal:
        """Who asks, when all three credentials hold and the token has `scope`.

        Raises Problem with the first reason that holds, in the order above; with 503 `unavailable` when something is
        unknown here and the log cannot be asked. Waits for the log on a miss only, 1 s at most. Cancellation is safe.
        """
        if not client_id or not client_secret or not jwt:
            raise _refused("missing_credentials", "Missing client_id, client_secret, or JWT token.")
        fingerprint = self._fingerprint(client_id, client_secret, jwt)
        principal = self._lookup(fingerprint)
        if principal is None:
            principal = await self._verify(client_id, client_secret, jwt, fingerprint)
        if scope not in principal.scopes:
            raise Problem(
                403,
                "insufficient_scope",
                f"This token lacks the scope {scope}; issue one that has it.",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            )
        return principal

    async def _verify(self, client_id: str, client_secret: str, jwt: str, fingerprint: bytes) -> Principal:
        client, secret_until = await self._client(client_id, client_secret)
        claims = read_jwt(jwt, self._keys)
        if claims is None or claims.iat > self._now():
            raise _refused("invalid_jwt", "The JWT is not one that this deployment issued.", "invalid_token")
        token = await self._token(claims.jti)
        now = self._now()
        if claims.exp <= now or token.expires_at.timestamp() <= now:
            raise _refused("expired_jwt", "The JWT has expired; issue a new one.", "invalid_token")
        if token.revoked:
            raise _refused(
                "revoked_jwt", "JWT token was revoked. Generate a new one in the dashboard.", "invalid_token"
            )
        bound = (claims.client_id, claims.sub, token.client_id, token.user_id)
        if bound != (client.client_id, str(client.user_id), client.client_id, client.user_id):
            raise _refused("credential_mismatch", "The JWT belongs to another client.", "invalid_token")
        principal = Principal(client.user_id, client.client_id, token.jti, frozenset(token.scopes))
        self._remember(fingerprint, principal, min(now + CACHE_S, claims.exp, secret_until))
        return principal

    async def _client(self, client_id: str, client_secret: str) -> tuple[Client, float]:
        """The client whose secret this is, and until when it is. One answer for everything that may be wrong."""
        found = self._matching_client(client_id, client_secret)
        if found is None:
            await self._refresh()
            found = self._matching_client(client_id, client_secret)
        if found is None:
            raise _refused("invalid_credentials", "Unknown client_id, or the client_secret is not this client's.")
        return found

    def _matching_client(self, client_id: str, client_secret: str) -> tuple[Client, float] | None:
        client = self._directory.client(client_id)
        until: float | None = None
        if client is None:
            # As much work as for a client that exists: how long it takes must not tell.
            hmac.compare_digest(self._keys.hash_secret(client_secret) or "", "0" * 64)
            return None
        for secret in client.secrets:
            digest = self._keys.hash_secret(client_secret, secret.key_id)
            valid_until = secret.valid_until.timestamp() if secret.valid_until else float("inf")
            if digest is not None and hmac.compare_digest(digest, secret.hash) and valid_until > self._now():
                until = valid_until
        if until is None or client.revoked or self._directory.broadcaster(client.user_id) is None:
            return None
        return client, until

    async def _token(self, jti: str) -> Token:
        token = self._directory.token(jti)
        if token is None:
            await self._refresh()
            token = self._directory.token(jti)
        if token is None:
            raise _refused("invalid_jwt", "The JWT is not one that this deployment issued.", "invalid_token")
        return token

    async def _refresh(self) -> None:
        if not await self._directory.refresh():
            raise Problem(
                503,
                "unavailable",
                "These credentials are not known here yet and the event log cannot be asked; try again.",
                headers={"Retry-After": "1"},
            )

    def _fingerprint(self, client_id: str, client_secret: str, jwt: str) -> bytes:
        triple = f"{len(client_id)} {len(client_secret)} {client_id}{client_secret}{jwt}"
        return hashlib.blake2b(triple.encode("utf-8", "surrogatepass"), digest_size=32, key=self._cache_key).digest()

    def _lookup(self, fingerprint: bytes) -> Principal | None:
        if self._cache_version != self._directory.version:
            self._cache.clear()
            self._cache_version = self._directory.version
        verified = self._cache.get(fingerprint)
        if verified is None:
            return None
        if verified.until <= self._now():
            del self._cache[fingerprint]
            return None
        return verified.principal

    def _remember(self, fingerprint: bytes, principal: Principal, until: float) -> None:
        if self._cache_version != self._directory.version:
            return
        if len(self._cache) >= CACHE_ENTRIES:
            del self._cache[next(iter(self._cache))]
        self._cache[fingerprint] = _Verified(principal, until)


def _refused(code: str, message: str, bearer_error: str | None = None) -> Problem:
    """401 with the challenge of RFC 6750."""
    challenge = f'Bearer error="{bearer_error}"' if bearer_error else "Bearer"
    return Problem(401, code, message, headers={"WWW-Authenticate": challenge})


def read_jwt(jwt: str, keys: Keys) -> Claims | None:
    """The claims of a JWT that one of the deployment's keys signed, as RFC 8725 and RFC 9068 want it; else None.

    Checked: HS256 and nothing else, `kid` one of ours, `typ`, `iss`, `aud`, and that every claim has its type.
    Not compared with a clock: `exp`, `iat`.
    """
    try:
        # A header that came in as other bytes than ASCII is no JWT, and surrogates cannot be encoded.
        header = pyjwt.get_unverified_header(jwt) if jwt.isascii() else {}
        key = keys.jwt_key(str(header.get("kid")))
        if key is None or header.get("typ") != JWT_TYPE:
            return None
        if "=" in jwt:  # RFC 7515 has no padding, and PyJWT overlooks it
            return None
        claims: dict[str, Any] = pyjwt.decode(
            jwt,
            key,
            algorithms=[JWT_ALGORITHM],
            audience=JWT_AUDIENCE,
            issuer=JWT_ISSUER,
            options={
                "require": list(_CLAIMS),
                "strict_aud": True,
                "enforce_minimum_key_length": True,
                "verify_exp": False,
                "verify_iat": False,
            },
        )
    except pyjwt.PyJWTError:
        return None
    exp, iat = claims["exp"], claims["iat"]
    if type(exp) is not int or type(iat) is not int or not isinstance(claims["client_id"], str):
        return None
    return Claims(sub=claims["sub"], client_id=claims["client_id"], jti=claims["jti"], exp=exp, iat=iat)
