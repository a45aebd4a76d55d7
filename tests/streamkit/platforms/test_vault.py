"""The vault: what is sealed opens in its own place only; the newest record of a place is all there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from schemas.control import PlatformName
from schemas.event import utc_now
from schemas.vault import HeldTokens, decode_vault_record, encode_vault_record, erased, place_of, vault_key
from streamkit.keys import Keys
from streamkit.log import open_log
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import VAULT, Record
from streamkit.platforms.vault import Vault, new_record, next_record, unseal
from tests.fakes.platforms import Platforms
from tests.streamkit.platforms.world import World

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
PLACE: tuple[int, PlatformName] = (1, "kick")
HELD = HeldTokens("access-secret", "refresh-secret", utc_now())
RECORD = new_record(PLACE, Keys.derive(OLD), HELD, platform_id="77", scopes=("a",), at=utc_now())


def test_tokens_come_back_and_stand_nowhere_in_the_clear() -> None:
    value = encode_vault_record(RECORD)
    assert b"secret" not in value
    assert unseal(Keys.derive(OLD), PLACE, decode_vault_record(value)) == HELD
    assert "secret" not in f"{RECORD!r} {HELD!r}"


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECORD, platform_id="78"),
        replace(RECORD, state="needs_reconnect"),
        replace(RECORD, scopes=("a", "b")),
        replace(RECORD, granted_at=utc_now()),
        replace(RECORD, key_id="skk_000000000000"),
        replace(RECORD, sealed=RECORD.sealed[:-1]),
        replace(RECORD, sealed=b""),
    ],
)
def test_a_record_that_was_changed_does_not_open(changed: object) -> None:
    assert unseal(Keys.derive(OLD), PLACE, changed) is None  # type: ignore[arg-type]


def test_nor_does_one_that_was_moved_to_another_place() -> None:
    assert unseal(Keys.derive(OLD), (2, "kick"), RECORD) is None
    assert unseal(Keys.derive(OLD), (1, "twitch"), RECORD) is None


def test_the_previous_key_opens_and_the_present_one_seals() -> None:
    both = Keys.derive(NEW, OLD)
    assert unseal(both, PLACE, RECORD) == HELD
    after = next_record(PLACE, both, RECORD, HELD, state="needs_reconnect", at=utc_now())
    assert (after.key_id, after.granted_at, after.state) == (both.key_id, RECORD.granted_at, "needs_reconnect")
    assert unseal(Keys.derive(NEW), PLACE, after) == HELD
    assert unseal(Keys.derive(OLD), PLACE, after) is None


@pytest.mark.parametrize("key", ["", "1", "kick:1", "0:kick", "-1:kick", "1:youtube", "1:kick ", "01:kick"])
def test_keys_that_are_none_of_ours(key: str) -> None:
    assert place_of(key) is None


def test_keys_of_ours() -> None:
    assert place_of(vault_key(PLACE)) == PLACE
    assert place_of("9007199254740991:twitch") == (9007199254740991, "twitch")


async def test_the_newest_record_of_each_place_stands() -> None:
    log = MemoryLog()
    vault = Vault(log)
    await vault.append(PLACE, RECORD)
    await vault.append((2, "twitch"), RECORD)
    gone = erased(RECORD, utc_now())
    await log.append(VAULT, [Record(vault_key(PLACE), encode_vault_record(gone)), Record("nonsense", b"{}")])
    await log.append(VAULT, [Record("2:twitch", b"")])  # as another program would delete it
    await vault.catch_up()
    assert vault.records == {PLACE: gone}
    assert (gone.sealed, gone.scopes) == (b"", ())


async def test_over_kafka(kafka_log_url: str, platforms: Platforms, tmp_path: Path) -> None:
    log = await open_log(kafka_log_url, data_dir=tmp_path)
    world = World(platforms, tmp_path, log)
    await world.register(1)
    process = await world.process()
    await process.connect("kick")
    platforms.clock.advance(hours=3)
    token = await process.tokens.user_token(1, "kick")
    later = await world.process()
    assert await later.tokens.user_token(1, "kick") == token
    await world.close()
    await log.close()
