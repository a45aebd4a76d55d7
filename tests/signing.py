"""Sign deliveries as Kick and Twitch do: shared by the tests of every room.

What lives here: the platforms' side of the signature and their delivery headers. Keys are the caller's, or made here
and never the platforms' own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TWITCH_SECRET: Final = b"streamkit-tests-secret"


def ulid(at: datetime | None = None) -> str:
    """A fresh ULID (26 characters) whose first 48 bits are `at` (default: now) in milliseconds."""
    moment = at or datetime.now(UTC)
    number = int(moment.timestamp() * 1000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def rfc3339(at: datetime | None = None) -> str:
    """`at` (default: now) as the platforms' headers spell it: UTC, whole seconds, `Z`."""
    return (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class KickSigner:
    """Signs as Kick: RSASSA-PKCS1-v1_5 with SHA-256 over `id.timestamp.body`.

    Without a key it makes one of its own; `public_pem` is what the receiver trusts.
    """

    def __init__(self, private_key: rsa.RSAPrivateKey | None = None) -> None:
        self.private_key = private_key or rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_pem(self) -> str:
        """The public half, PEM."""
        return (
            self.private_key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def headers(
        self, type: str, body: bytes, *, message_id: str | None = None, timestamp: str | None = None
    ) -> dict[str, str]:
        """All delivery headers for `body`; a fresh ULID and the present unless given."""
        message_id = ulid() if message_id is None else message_id
        timestamp = rfc3339() if timestamp is None else timestamp
        signature = self.private_key.sign(
            b".".join((message_id.encode(), timestamp.encode(), body)), padding.PKCS1v15(), hashes.SHA256()
        )
        return {
            "Content-Type": "application/json",
            "User-Agent": "Go-http-client/1.1",
            "Kick-Event-Message-Id": message_id,
            "Kick-Event-Subscription-Id": ulid(),
            "Kick-Event-Signature": base64.b64encode(signature).decode(),
            "Kick-Event-Message-Timestamp": timestamp,
            "Kick-Event-Type": type,
            "Kick-Event-Version": "1",
        }


class TwitchSigner:
    """Signs as Twitch EventSub: `sha256=` and the hex HMAC-SHA256 over `id timestamp body`, nothing between."""

    def __init__(self, secret: bytes = TWITCH_SECRET) -> None:
        self.secret = secret

    def headers(
        self,
        type: str,
        body: bytes,
        *,
        message_id: str | None = None,
        timestamp: str | None = None,
        version: str = "1",
        message_type: str = "notification",
    ) -> dict[str, str]:
        """All delivery headers for `body`. `type` and `version` are the unsigned subscription headers."""
        message_id = secrets.token_urlsafe(24) if message_id is None else message_id
        timestamp = rfc3339() if timestamp is None else timestamp
        digest = hmac.new(self.secret, message_id.encode() + timestamp.encode() + body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/json",
            "Twitch-Eventsub-Message-Id": message_id,
            "Twitch-Eventsub-Message-Retry": "0",
            "Twitch-Eventsub-Message-Type": message_type,
            "Twitch-Eventsub-Message-Signature": f"sha256={digest}",
            "Twitch-Eventsub-Message-Timestamp": timestamp,
            "Twitch-Eventsub-Subscription-Type": type,
            "Twitch-Eventsub-Subscription-Version": version,
        }
