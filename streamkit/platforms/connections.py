"""Who is connected by tokens: the vault's records beside the directory. Needs no secret key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from schemas.control import PlatformName
from schemas.vault import Place, VaultRecord
from streamkit.directory import Directory

State = Literal["connected", "needs_reconnect"]


class Connection(Struct, frozen=True):
    """A broadcaster whose tokens for a platform we hold. `needs_reconnect`: the platform refuses to renew them.

    `granted_at`: when the streamer consented. `changed_at`: when the tokens were renewed, or refused, last.
    """

    user_id: int
    platform: PlatformName
    platform_id: str
    state: State
    scopes: tuple[str, ...]
    granted_at: datetime
    changed_at: datetime


def connections_of(records: Mapping[Place, VaultRecord], directory: Directory) -> dict[Place, Connection]:
    """Those records that count: not erased, and of the identity that the directory has connected at their place."""
    return {
        place: Connection(
            place[0],
            place[1],
            record.platform_id,
            record.state,
            record.scopes,
            record.granted_at,
            record.changed_at,
        )
        for place, record in records.items()
        if record.state != "erased" and directory.broadcaster_of(place[1], record.platform_id) == place[0]
    }
