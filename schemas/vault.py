"""Records of `streamkit.vault`: the tokens of one broadcaster on one platform, encrypted, the whole state in each record.

The topic is compacted by key, so the newest record of a key is all there is to know. What is not secret lies beside the
ciphertext in the clear, bound to it: commands without the secret key can tell who has to connect again.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from schemas.control import AwareTime, PlatformName

GrantState = Literal["connected", "needs_reconnect", "erased"]
Place = tuple[int, PlatformName]
"""Whose tokens: user_id and platform."""

_KEY = re.compile(r"([1-9][0-9]{0,18}):(kick|twitch)")


class VaultRecord(Struct, frozen=True, kw_only=True):
    """`granted_at` names the consent that all later renewals go back to; `changed_at` is this record's own time.

    `needs_reconnect`: the platform refused to renew. `erased`: disconnected, `sealed` is empty. `sealed` opens with the
    key `key_id`, bound to the record's key and to every other field.
    """

    platform_id: str
    state: GrantState
    scopes: tuple[str, ...]
    granted_at: AwareTime
    changed_at: AwareTime
    key_id: str
    sealed: bytes


class HeldTokens(Struct, frozen=True):
    """What is sealed."""

    access_token: str
    refresh_token: str
    expires_at: AwareTime

    def __repr__(self) -> str:
        """Without the tokens."""
        return f"HeldTokens(expires_at={self.expires_at})"


_decoder = msgspec.json.Decoder(VaultRecord)
_held_decoder = msgspec.json.Decoder(HeldTokens)


def vault_key(place: Place) -> str:
    """The record's key."""
    return f"{place[0]}:{place[1]}"


def place_of(key: str) -> Place | None:
    """Whose tokens lie under the key; None for a key that is none of ours."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    (platform,) = (name for name in get_args(PlatformName) if name == found[2])
    return int(found[1]), platform


def encode_vault_record(record: VaultRecord) -> bytes:
    """The record's JSON."""
    return msgspec.json.encode(record)


def decode_vault_record(value: bytes) -> VaultRecord:
    """Raises one of UNREADABLE (schemas/errors.py)."""
    return _decoder.decode(value)


def encode_held(held: HeldTokens) -> bytes:
    """What is encrypted."""
    return msgspec.json.encode(held)


def decode_held(clear: bytes) -> HeldTokens:
    """Raises one of UNREADABLE."""
    return _held_decoder.decode(clear)


def erased(record: VaultRecord, at: datetime) -> VaultRecord:
    """The tombstone that takes the record's place."""
    return VaultRecord(
        platform_id=record.platform_id,
        state="erased",
        scopes=(),
        granted_at=record.granted_at,
        changed_at=at,
        key_id=record.key_id,
        sealed=b"",
    )
