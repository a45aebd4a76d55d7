"""Keys: derived, separate, named; the generated file."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest

from schemas.errors import BadSettings
from streamkit.keys import SECRET_KEY_FILE, Keys, keys_of, load_or_create_secret_key, load_secret_key
from streamkit.settings import load_settings

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
SEALED = "bd5ec2f703724076753aba211b197196047a503e44e3df9888a0bc616ccbc8a6a4"


def test_what_is_derived_stays_as_it_is() -> None:
    """Stored: a change of any label would shut out every client and token of every deployment."""
    keys = Keys.derive(OLD)
    assert keys.key_id == "skk_c213a2ab8683"
    jwt_key = keys.jwt_key(keys.key_id)
    assert jwt_key is not None
    assert jwt_key.hex() == "6b5ef5355ecd7e986c5026ac2f65d43daa4c01049f70de61fc3998eea1bf8743"
    assert keys.hash_secret("sks_example") == "69487bf0a156368aaaecf742aa6da22f80ba63825605ea39c0d3a7b5adb6a5ce"
    assert keys.internal_token == "ski_zoQBTH1T9oUawyiI3svW6k5qJPw8RVs3H_8-o5R4ONU"


def test_each_purpose_and_each_secret_key_has_its_own() -> None:
    old, new = Keys.derive(OLD), Keys.derive(NEW)
    assert old.key_id != new.key_id
    assert old.internal_token != new.internal_token
    assert old.hash_secret("s") != new.hash_secret("s")
    assert old.jwt_key(old.key_id) != new.jwt_key(new.key_id)


def test_the_previous_key_verifies_and_does_not_sign() -> None:
    old, new, both = Keys.derive(OLD), Keys.derive(NEW), Keys.derive(NEW, OLD)
    assert both.key_id == new.key_id
    assert both.hash_secret("s") == new.hash_secret("s")
    assert both.hash_secret("s", old.key_id) == old.hash_secret("s")
    assert both.jwt_key(old.key_id) == old.jwt_key(old.key_id)
    assert new.hash_secret("s", old.key_id) is None
    assert new.jwt_key(old.key_id) is None
    assert new.jwt_key("") is None


def test_text_that_is_no_unicode_is_hashed_too() -> None:
    assert Keys.derive(OLD).hash_secret("\udcff") is not None


def test_the_generated_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert load_secret_key(folder) is None
    key = load_or_create_secret_key(folder)
    assert len(key) == 32
    assert load_or_create_secret_key(folder) == load_secret_key(folder) == key
    assert [file.name for file in folder.iterdir()] == [SECRET_KEY_FILE]
    assert stat.S_IMODE((folder / SECRET_KEY_FILE).stat().st_mode) == 0o600


def test_processes_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        keys = pool.map(load_or_create_secret_key, [tmp_path / "data"] * 16, chunksize=1)
    assert len(set(keys)) == 1


def test_a_file_that_holds_no_key_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / SECRET_KEY_FILE).write_text("gone wrong\n")
    with pytest.raises(BadSettings, match="restore it"):
        load_or_create_secret_key(tmp_path)
    assert (tmp_path / SECRET_KEY_FILE).read_text() == "gone wrong\n"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSettings, match="STREAMKIT_DATA_DIR"):
        load_or_create_secret_key(tmp_path / "file" / "data")


def test_where_the_key_comes_from(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    with pytest.raises(BadSettings, match="STREAMKIT_SECRET_KEY"):
        keys_of(settings, create=False)
    made = keys_of(settings, create=True)
    assert keys_of(settings, create=False).key_id == made.key_id
    text = "A" * 44
    assert keys_of(load_settings({"STREAMKIT_SECRET_KEY": text}, tmp_path), create=True).key_id != made.key_id


def test_what_is_sealed_opens_with_its_key_its_purpose_and_what_it_is_bound_to() -> None:
    old, both = Keys.derive(OLD), Keys.derive(NEW, OLD)
    sealed = old.seal("vault", b"token", b"1:kick")
    assert b"token" not in sealed
    assert old.seal("vault", b"token", b"1:kick") != sealed
    assert both.unseal("vault", old.key_id, sealed, b"1:kick") == b"token"
    assert both.unseal("vault", both.key_id, sealed, b"1:kick") is None
    assert Keys.derive(NEW).unseal("vault", old.key_id, sealed, b"1:kick") is None
    assert old.unseal("connect", old.key_id, sealed, b"1:kick") is None
    assert old.unseal("vault", old.key_id, sealed, b"2:kick") is None
    assert old.unseal("vault", old.key_id, sealed[:11], b"1:kick") is None
    assert old.unseal("vault", old.key_id, sealed[:-1] + bytes([sealed[-1] ^ 1]), b"1:kick") is None


def test_what_was_sealed_stays_readable() -> None:
    """Stored: a change of the label would lose every streamer's tokens."""
    keys = Keys.derive(OLD)
    assert keys.unseal("vault", keys.key_id, bytes.fromhex(SEALED), b"bound") == b"clear"
