"""What a consent carries from the command line to a browser to the platform and back: a ticket, then a state.

Both are sealed with the deployment's key, so any ingest process can read what another made, and nobody else can make,
read or change one. That each is used once is the control topic's to say (`connect.spent`). Pure; times are arguments.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec
from msgspec import Struct

from schemas.control import AwareTime, PlatformName
from schemas.errors import UNREADABLE
from streamkit.keys import Keys

GOOD_FOR = timedelta(minutes=10)

_MAX_CHARACTERS = 4096


class Ticket(Struct, frozen=True, array_like=True):
    """Lets one browser begin one consent. `base_url` is where it begins and where the platform sends it back to."""

    id: str
    user_id: int
    platform: PlatformName
    base_url: str
    expires_at: AwareTime

    @property
    def redirect_uri(self) -> str:
        """Where the platform sends the browser back to; it has to be in the settings of the platform's app."""
        return redirect_uri(self.base_url, self.platform)


class State(Struct, frozen=True, array_like=True):
    """A consent under way. `browser` is the SHA-256 (hex) of the cookie of the browser that began it, `verifier` PKCE's."""

    id: str
    user_id: int
    platform: PlatformName
    redirect_uri: str
    verifier: str
    browser: str
    expires_at: AwareTime

    @property
    def cookie_name(self) -> str:
        """A cookie for each consent: two at once in one browser do not disturb each other."""
        return f"streamkit_connect_{self.id[:16]}"

    def began_in(self, cookie: str | None) -> bool:
        """Whether the browser with this cookie began it."""
        return cookie is not None and hmac.compare_digest(self.browser, _hash(cookie))


_T = TypeVar("_T", Ticket, State)


def redirect_uri(base_url: str, platform: PlatformName) -> str:
    """The callback's address."""
    return f"{base_url}/connect/{platform}/callback"


def issue_ticket(keys: Keys, user_id: int, platform: PlatformName, base_url: str, *, now: datetime) -> str:
    """The ticket's text, for the query of `/connect/{platform}`."""
    return _seal(keys, Ticket(secrets.token_hex(16), user_id, platform, base_url, now + GOOD_FOR))


def read_ticket(keys: Keys, text: str, platform: PlatformName, *, now: datetime) -> Ticket | None:
    """None when it is none of ours, of another platform, or its time is over."""
    ticket = _unseal(keys, text, Ticket)
    return ticket if ticket is not None and ticket.platform == platform and now < ticket.expires_at else None


def begin(keys: Keys, ticket: Ticket, *, now: datetime) -> tuple[State, str, str]:
    """The state of a consent that begins with this ticket, its text, and the browser's cookie."""
    cookie = secrets.token_urlsafe(32)
    state = State(
        secrets.token_hex(16),
        ticket.user_id,
        ticket.platform,
        ticket.redirect_uri,
        secrets.token_urlsafe(32),
        _hash(cookie),
        now + GOOD_FOR,
    )
    return state, _seal(keys, state), cookie


def read_state(keys: Keys, text: str, platform: PlatformName, *, now: datetime) -> State | None:
    """None when it is none of ours, of another platform, or its time is over."""
    state = _unseal(keys, text, State)
    return state if state is not None and state.platform == platform and now < state.expires_at else None


def _seal(keys: Keys, what: Ticket | State) -> str:
    sealed = keys.seal("connect", msgspec.json.encode(what), type(what).__name__.encode())
    return f"{keys.key_id}.{base64.urlsafe_b64encode(sealed).rstrip(b'=').decode()}"


def _unseal(keys: Keys, text: str, type_: type[_T]) -> _T | None:
    key_id, _, packed = text.partition(".")
    if len(text) > _MAX_CHARACTERS or not text.isascii():
        return None
    try:
        sealed = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        clear = keys.unseal("connect", key_id, sealed, type_.__name__.encode())
        return None if clear is None else msgspec.json.decode(clear, type=type_)
    except (binascii.Error, *UNREADABLE):
        return None


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()
