"""The deployment's keys, all derived from one secret key by HKDF-SHA256, each for one purpose.

Hashes and JWTs name the key they were made with, so a previous key can go on verifying while a new one signs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Literal, get_args

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.errors import BadSettings
from streamkit.setting_values import secret_key as parse_secret_key
from streamkit.settings import Settings

KEY_ID_PREFIX = "skk_"
Purpose = Literal["vault", "connect"]
"""What is sealed: platform tokens at rest; tickets and states of a consent. Each has a key of its own."""

_NONCE_BYTES = 12

SECRET_KEY_FILE = "secret_key"  # noqa: S105 - a file's name


class Keys:
    """What signs, hashes, seals and verifies. The present key does all of it; the previous one only verifies and opens."""

    def __init__(
        self,
        *,
        key_id: str,
        jwt: dict[str, bytes],
        hashing: dict[str, bytes],
        sealing: dict[tuple[Purpose, str], AESGCM],
        internal_token: str,
    ) -> None:
        self.key_id = key_id
        self.internal_token = internal_token
        self._jwt = jwt
        self._hashing = hashing
        self._sealing = sealing

    @classmethod
    def derive(cls, secret_key: bytes, previous: bytes | None = None) -> Keys:
        """All keys of the deployment from its secret key and, during a rotation, the one before."""
        present = _key_id(secret_key)
        known = {present: secret_key} | ({_key_id(previous): previous} if previous else {})
        return cls(
            key_id=present,
            jwt={key_id: _derive(key, "jwt") for key_id, key in known.items()},
            hashing={key_id: _derive(key, "secret-hash") for key_id, key in known.items()},
            sealing={
                (purpose, key_id): AESGCM(_derive(key, purpose))
                for key_id, key in known.items()
                for purpose in get_args(Purpose)
            },
            internal_token="ski_" + _urlsafe(_derive(secret_key, "internal-token")),
        )

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The keys that are known here: the present one, and the previous one where there is."""
        return tuple(self._jwt)

    def jwt_key(self, kid: str) -> bytes | None:
        """The 32-byte HMAC key that a JWT's `kid` names; None when this deployment has no such key."""
        return self._jwt.get(kid)

    def hash_secret(self, clear: str, key_id: str | None = None) -> str | None:
        """The keyed SHA-256 (hex) of a secret under that key (default: the present); None when the key is unknown."""
        key = self._hashing.get(key_id or self.key_id)
        return key and hmac.new(key, clear.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()  # type: ignore[return-value]

    def seal(self, purpose: Purpose, clear: bytes, bound_to: bytes) -> bytes:
        """`clear`, encrypted (AES-256-GCM, random nonce in front) under the present key; it opens with `bound_to` only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._sealing[purpose, self.key_id].encrypt(nonce, clear, bound_to)

    def unseal(self, purpose: Purpose, key_id: str, sealed: bytes, bound_to: bytes) -> bytes | None:
        """What was sealed under that key; None when the key is unknown, or something was changed."""
        key = self._sealing.get((purpose, key_id))
        if key is None or len(sealed) < _NONCE_BYTES:
            return None
        try:
            return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
        except InvalidTag:
            return None


def load_secret_key(data_dir: Path) -> bytes | None:
    """The secret key generated into the data folder, or None. Raises BadSettings when the file holds no key."""
    file = data_dir / SECRET_KEY_FILE
    try:
        return parse_secret_key(file.read_text(encoding="ascii").strip(), data_dir)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        raise BadSettings(
            f"{file} cannot be read as a secret key; restore it, or set STREAMKIT_SECRET_KEY instead."
        ) from None


def load_or_create_secret_key(data_dir: Path) -> bytes:
    """The secret key of the data folder, made (file mode 0600) when there is none.

    Of several processes that start at once one makes it and all get the same. Raises BadSettings when the folder
    cannot be written. Blocks for one fsync.
    """
    found = load_secret_key(data_dir)
    if found is not None:
        return found
    file = data_dir / SECRET_KEY_FILE
    made = data_dir / f".{SECRET_KEY_FILE}.{secrets.token_hex(8)}"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(base64.b64encode(secrets.token_bytes(32)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(made, file)  # fails when another process was first: never replaces a key
        except FileExistsError:
            pass
        finally:
            made.unlink()
    except OSError as error:
        raise BadSettings(
            f"The data folder {data_dir} cannot be written ({error.strerror}); set STREAMKIT_DATA_DIR to one that can."
        ) from None
    key = load_secret_key(data_dir)
    if key is None:
        raise BadSettings(f"{file} was removed while it was made; start again.")
    return key


def keys_of(settings: Settings, *, create: bool) -> Keys:
    """The deployment's keys: from STREAMKIT_SECRET_KEY, else from the data folder, where `create` makes one.

    `up` and `demo` create, being the whole deployment; a room that runs alone does not. Raises BadSettings when there
    is no key.
    """
    key = settings.secret_key or load_secret_key(settings.data_dir)
    if key is None and create:
        key = load_or_create_secret_key(settings.data_dir)
    if key is None:
        raise BadSettings(
            "STREAMKIT_SECRET_KEY is not set and the data folder has no key; set it to the same value in every "
            "process (openssl rand -base64 32 makes one)."
        )
    return Keys.derive(key, settings.secret_key_previous)


def _derive(secret_key: bytes, purpose: str, length: int = 32) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=b"streamkit/1/" + purpose.encode()).derive(secret_key)


def _key_id(secret_key: bytes) -> str:
    return KEY_ID_PREFIX + _derive(secret_key, "key-id", 6).hex()


def _urlsafe(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
