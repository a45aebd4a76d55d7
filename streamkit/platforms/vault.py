"""The vault topic, folded: the newest record of each broadcaster and platform; and how its tokens are sealed and opened.

What may not live here: when to renew a token, and what it is used for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from schemas.errors import UNREADABLE, LogUnavailable
from schemas.vault import (
    GrantState,
    HeldTokens,
    Place,
    VaultRecord,
    decode_held,
    decode_vault_record,
    encode_held,
    encode_vault_record,
    place_of,
    vault_key,
)
from streamkit import telemetry
from streamkit.keys import Keys
from streamkit.log.protocol import VAULT, Batch, EventLog, Record

_FOLLOW_WAIT_S = 5.0
_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 5.0


def seal(keys: Keys, place: Place, record: VaultRecord, held: HeldTokens) -> VaultRecord:
    """The record with `held` in it, under the present key."""
    named = replace(record, key_id=keys.key_id, sealed=b"")
    return replace(named, sealed=keys.seal("vault", encode_held(held), _bound(place, named)))


def unseal(keys: Keys, place: Place, record: VaultRecord) -> HeldTokens | None:
    """The tokens of a record; None when the key is unknown, or the record was changed or moved to another place."""
    clear = keys.unseal("vault", record.key_id, record.sealed, _bound(place, replace(record, sealed=b"")))
    try:
        return None if clear is None else decode_held(clear)
    except UNREADABLE:
        return None


def new_record(
    place: Place, keys: Keys, held: HeldTokens, *, platform_id: str, scopes: tuple[str, ...], at: datetime
) -> VaultRecord:
    """The first record of a consent given `at`."""
    empty = VaultRecord(
        platform_id=platform_id,
        state="connected",
        scopes=scopes,
        granted_at=at,
        changed_at=at,
        key_id=keys.key_id,
        sealed=b"",
    )
    return seal(keys, place, empty, held)


def next_record(
    place: Place, keys: Keys, before: VaultRecord, held: HeldTokens, *, state: GrantState, at: datetime
) -> VaultRecord:
    """What follows `before` in the same grant."""
    return seal(keys, place, replace(before, state=state, changed_at=at), held)


class Vault:
    """The folded topic. One per process and event loop. `records` holds erased ones too."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._position = 0
        self._callbacks: list[Callable[[], None]] = []
        self._moved = asyncio.Event()
        self.records: dict[Place, VaultRecord] = {}

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` (on the event loop, must not block) after each batch that had records."""
        self._callbacks.append(callback)

    async def catch_up(self) -> None:
        """Read to the topic's present end. Raises LogUnavailable, LogClosed."""
        (end,) = await self._log.ends(VAULT)
        while self._position < end:
            self._apply(await self._log.read(VAULT, 0, self._position, wait_s=_FOLLOW_WAIT_S))

    async def append(self, place: Place, record: VaultRecord) -> None:
        """Durable, and folded here, on return. Raises LogUnavailable (it may have been appended), LogClosed."""
        await self._log.append(VAULT, [Record(vault_key(place), encode_vault_record(record))])
        await self.catch_up()

    async def follow(self) -> None:
        """Keep up with the topic until cancelled; a log that is away is tried again, every 5 s at last.

        Raises LogClosed.
        """
        pause_s = _RETRY_FIRST_S
        while True:
            try:
                self._apply(await self._log.read(VAULT, 0, self._position, wait_s=_FOLLOW_WAIT_S))
                pause_s = _RETRY_FIRST_S
            except LogUnavailable as away:
                telemetry.warn("vault.log_unavailable", reason=str(away), retry_in_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _RETRY_LAST_S)

    async def changed(self, place: Place, record: VaultRecord | None, wait_s: float) -> bool:
        """Wait until another record than `record` stands at the place; False when it still does after `wait_s`.

        Needs `follow` to run.
        """
        try:
            async with asyncio.timeout(wait_s):
                while self.records.get(place) == record:
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    def _apply(self, batch: Batch) -> None:
        before = self._position
        for position, key, value in zip(batch.positions, batch.keys, batch.values, strict=True):
            if position >= self._position:
                self._fold(key, value)
        self._position = max(self._position, batch.next_position)
        if self._position != before:
            self._moved.set()
            self._moved = asyncio.Event()
            for callback in self._callbacks:
                callback()

    def _fold(self, key: str, value: bytes) -> None:
        place = place_of(key)
        if place is None:
            return
        try:
            self.records[place] = decode_vault_record(value)
        except UNREADABLE:
            self.records.pop(place, None)  # a bare tombstone, or nothing that can be used


def _bound(place: Place, record: VaultRecord) -> bytes:
    """Everything beside the ciphertext: it is of no use in another place or under another state."""
    return vault_key(place).encode() + b"\n" + encode_vault_record(record)
