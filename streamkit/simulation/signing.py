"""The platforms' signatures, made with keys that everybody has: the sandbox's.

Only `demo` and a process under STREAMKIT_SANDBOX=1 trust these keys, and neither listens beyond this machine.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

SANDBOX_TWITCH_SECRET = b"streamkit-sandbox-secret"

_KEY_FILE = Path(__file__).with_name("sandbox_kick_key.pem")


@cache
def sandbox_kick_key() -> RSAPrivateKey:
    """The sandbox's stand-in for Kick's private key."""
    key = serialization.load_pem_private_key(_KEY_FILE.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def sandbox_kick_public_key() -> str:
    """Its public half as PEM text, what a receiver in the sandbox trusts."""
    public = sandbox_kick_key().public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def kick_headers(message_id: str, kind: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    """Headers of a Kick delivery: RSA PKCS#1 v1.5 over `id.timestamp.body` (https://docs.kick.com/events/webhooks)."""
    timestamp = sent_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    signature = sandbox_kick_key().sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return {
        "Content-Type": "application/json",
        "User-Agent": "Go-http-client/1.1",
        "Kick-Event-Message-Id": message_id,
        "Kick-Event-Subscription-Id": "01SANDBOX00000000000000000",
        "Kick-Event-Signature": base64.b64encode(signature).decode(),
        "Kick-Event-Message-Timestamp": timestamp,
        "Kick-Event-Type": kind,
        "Kick-Event-Version": "1",
    }


def twitch_headers(
    message_id: str,
    kind: str,
    version: str,
    sent_at: datetime,
    body: bytes,
    *,
    message_type: str = "notification",
    secret: bytes = SANDBOX_TWITCH_SECRET,
) -> dict[str, str]:
    """Headers of a Twitch delivery: HMAC-SHA256 over id, timestamp and body
    (https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#verifying-the-event-message)."""
    timestamp = sent_at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    signature = hmac.new(secret, message_id.encode() + timestamp.encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "Twitch-Eventsub-Message-Id": message_id,
        "Twitch-Eventsub-Message-Retry": "0",
        "Twitch-Eventsub-Message-Type": message_type,
        "Twitch-Eventsub-Message-Signature": f"sha256={signature}",
        "Twitch-Eventsub-Message-Timestamp": timestamp,
        "Twitch-Eventsub-Subscription-Type": kind,
        "Twitch-Eventsub-Subscription-Version": version,
    }
