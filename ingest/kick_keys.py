"""The key that Kick signs with: the one in the settings, or Kick's documented one, refetched when a signature fails.

What may not live here: anything about one delivery but whether its signature holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from ingest.codecs import kick
from ingest.codecs.delivery import Delivery
from schemas.errors import BadSettings
from streamkit import telemetry

REFETCH_INTERVAL_S = 60.0
FETCH_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 16 * 1024


class _Data(Struct):
    public_key: str


class _Answer(Struct):
    data: _Data


class _Kept(Struct):
    """The file's content. A key is begun with only where it came from: another host's, a sandbox's, is not Kick's."""

    fetched_from: str
    public_key: str


_answer = msgspec.json.Decoder(_Answer)


def parse_public_key(pem: str) -> rsa.RSAPublicKey:
    """The RSA key in `pem`. Raises BadSettings for anything else."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise BadSettings("STREAMKIT_KICK_PUBLIC_KEY has to be an RSA public key of 2048 bits or more, in PEM.")
    return key


class KickKeys:
    """Whether Kick signed a delivery, by the newest key we know.

    `pinned_pem`, from the settings, is final: it is never refetched. None: Kick's documented key to begin with; after
    a signature that it does not explain, Kick's own is fetched from `fetch_url`, at most once a minute and once at a
    time, so that forged traffic cannot make us hammer Kick. What was fetched is kept in the file `kept`, and is begun with
    after a restart, which may come while Kick is away. `also_trusted` keys (PEM) count beside it: the sandbox's.
    """

    def __init__(
        self,
        pinned_pem: str | None,
        fetch_url: str | None = None,
        *,
        kept: Path | None = None,
        also_trusted: Sequence[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = parse_public_key(pinned_pem or kick.DOCUMENTED_PUBLIC_KEY)
        self._also_trusted = tuple(parse_public_key(pem) for pem in also_trusted)
        self._fetch_url = fetch_url if pinned_pem is None else None
        self._kept = kept if self._fetch_url is not None else None
        if self._kept is not None:
            self._key = _read(self._kept, self._fetch_url) or self._key
        self._monotonic = monotonic
        self._fetched_at: float | None = None
        self._fetching: asyncio.Task[bool] | None = None

    async def verify(self, delivery: Delivery) -> bool:
        """Whether the signature holds; waits for Kick's key endpoint (at most 5 s) only after one that does not.

        Never raises; cancellation leaves a fetch under way to the others who wait for it.
        """
        if kick.verify(delivery, self._key) or any(kick.verify(delivery, key) for key in self._also_trusted):
            return True
        return await self._refetch() and kick.verify(delivery, self._key)

    async def close(self) -> None:
        """Stop a fetch under way; idempotent."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _refetch(self) -> bool:
        # True when the key may be another one than the caller has tried.
        if self._fetch_url is None:
            return False
        if self._fetching is None or self._fetching.done():
            now = self._monotonic()
            if self._fetched_at is not None and now - self._fetched_at < REFETCH_INTERVAL_S:
                return False
            self._fetched_at = now
            self._fetching = asyncio.create_task(self._fetch(self._fetch_url))
        return await asyncio.shield(self._fetching)

    async def _fetch(self, url: str) -> bool:
        # https://docs.kick.com/events/webhook-security: GET /public/v1/public-key, no authorization.
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)) as session,
                session.get(url, allow_redirects=False) as answer,
            ):
                body = await answer.content.read(MAX_ANSWER_BYTES + 1)
                while len(body) <= MAX_ANSWER_BYTES and (more := await answer.content.read(MAX_ANSWER_BYTES)):
                    body += more
                if answer.status != 200 or len(body) > MAX_ANSWER_BYTES:
                    telemetry.warn("kick_key_not_fetched", status=answer.status, bytes=len(body))
                    return False
            pem = _answer.decode(body).data.public_key
            key = parse_public_key(pem)
        except (
            aiohttp.ClientError,
            TimeoutError,
            msgspec.MsgspecError,
            UnicodeError,
            RecursionError,
            BadSettings,
        ) as e:
            telemetry.warn("kick_key_not_fetched", error=type(e).__name__)
            return False
        changed = key.public_numbers() != self._key.public_numbers()
        self._key = key
        if self._kept is not None and changed:
            await asyncio.to_thread(_write, self._kept, _Kept(fetched_from=url, public_key=pem))
        telemetry.info("kick_key_fetched", changed=changed)
        return changed


def _read(file: Path, fetched_from: str | None) -> rsa.RSAPublicKey | None:
    """The key kept there; None when there is none from this address."""
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
        return parse_public_key(kept.public_key) if kept.fetched_from == fetched_from else None
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeError, BadSettings) as error:
        telemetry.warn("kick_key_not_read", file=str(file), error=type(error).__name__)
        return None


def _write(file: Path, kept: _Kept) -> None:
    partial = file.with_name(f".{file.name}")
    try:
        partial.write_bytes(msgspec.json.encode(kept))
        partial.replace(file)
    except OSError as error:  # it is fetched again
        telemetry.warn("kick_key_not_kept", file=str(file), error=type(error).__name__)
