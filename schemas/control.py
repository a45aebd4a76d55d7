"""Events of `streamkit.control`: who the broadcasters are, who may read what, what operators did. Tagged by `type`.

The log holds only keyed hashes of secrets. The first record in log order for a `user_id` or a (platform, id)
wins; the directory (streamkit/directory.py) folds them. Times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

PlatformName = Literal["kick", "twitch"]
AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time without an offset is refused when decoded: it could not be compared with the others."""


class _Control(Struct, frozen=True, kw_only=True, tag_field="type"):
    at: AwareTime


class LogCreated(_Control, frozen=True, tag="log.created"):
    """The first record of a control topic in Kafka names the log; later ones (two creators at once) mean nothing."""

    log_id: str


class BroadcasterRegistered(_Control, frozen=True, tag="broadcaster.registered"):
    """A broadcaster exists under `user_id`."""

    user_id: int
    name: str
    primary_platform: PlatformName | None = None


class BroadcasterRemoved(_Control, frozen=True, tag="broadcaster.removed"):
    """Its identities are free again, its clients and tokens no longer count."""

    user_id: int


class PlatformConnected(_Control, frozen=True, tag="platform.connected"):
    """`platform_id` (the platform's own user id) is this broadcaster; `username` Kick's username or Twitch's login."""

    user_id: int
    platform: PlatformName
    platform_id: str
    username: str


class PlatformDisconnected(_Control, frozen=True, tag="platform.disconnected"):
    user_id: int
    platform: PlatformName


class ConnectSpent(_Control, frozen=True, tag="connect.spent"):
    """A ticket or state of a consent was used, by the request `by`. The first record that names it stands."""

    id: str
    by: str


class ClientIssued(_Control, frozen=True, tag="client.issued"):
    """An API client. `secret_hash` is the keyed SHA-256 (hex) of the clear secret, `key_id` the key it was made with."""

    client_id: str
    user_id: int
    secret_hash: str
    key_id: str
    scopes: tuple[str, ...]


class ClientSecretRotated(_Control, frozen=True, tag="client.secret_rotated"):
    """A new secret; the one before stays good until `previous_until`."""

    client_id: str
    secret_hash: str
    key_id: str
    previous_until: AwareTime


class ClientRevoked(_Control, frozen=True, tag="client.revoked"):
    client_id: str


class TokenIssued(_Control, frozen=True, tag="token.issued"):
    jti: str
    client_id: str
    user_id: int
    scopes: tuple[str, ...]
    expires_at: AwareTime


class TokenRevoked(_Control, frozen=True, tag="token.revoked"):
    jti: str


class _Commanded(_Control, frozen=True, kw_only=True):
    by: str
    why: str | None = None


class DeadLettersRedriven(_Commanded, frozen=True, kw_only=True, tag="dead_letters.redriven"):
    """What became events of these letters lies on the events log, before this record. `letters` names each as
    `letter_key` (schemas/dead_letter.py) does, `by` who did it. The first record that names a letter stands."""

    letters: tuple[str, ...]


class DeadLettersDropped(_Commanded, frozen=True, kw_only=True, tag="dead_letters.dropped"):
    """These letters will never be events."""

    letters: tuple[str, ...]


class GenerationStarted(_Commanded, frozen=True, kw_only=True, tag="generation.started"):
    """A new generation of read models is being folded, by `versions` of the read models. The first record for a number
    stands; generation 1 is there without any."""

    generation: int
    versions: dict[str, int]


class GenerationPromoted(_Commanded, frozen=True, kw_only=True, tag="generation.promoted"):
    """From now on answers come from this generation: each partition changes over when its file has reached the live
    position. The newest record says which generation is live; a rollback is one, too."""

    generation: int


class GenerationDropped(_Commanded, frozen=True, kw_only=True, tag="generation.dropped"):
    """Every process deletes its files and snapshots of it. Means nothing for the generation that is live then, and for
    one that was never started; what was dropped is not promoted any more."""

    generation: int


class SnapshotWanted(_Commanded, frozen=True, kw_only=True, tag="snapshot.wanted"):
    """Every owner of a partition writes a snapshot of it, which carries the random id `snapshot`."""

    snapshot: str


ControlEvent = (
    LogCreated
    | BroadcasterRegistered
    | BroadcasterRemoved
    | PlatformConnected
    | PlatformDisconnected
    | ConnectSpent
    | ClientIssued
    | ClientSecretRotated
    | ClientRevoked
    | TokenIssued
    | TokenRevoked
    | DeadLettersRedriven
    | DeadLettersDropped
    | GenerationStarted
    | GenerationPromoted
    | GenerationDropped
    | SnapshotWanted
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[ControlEvent] = msgspec.json.Decoder(ControlEvent)


def encode_control(event: ControlEvent) -> bytes:
    """The record's JSON."""
    return _encoder.encode(event)


def decode_control(value: bytes) -> ControlEvent:
    """The typed control event. Raises one of UNREADABLE (schemas/errors.py), also for a type this build does not know."""
    return _decoder.decode(value)
