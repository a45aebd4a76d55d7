"""One broadcaster's EventSub session over websockets, as a state machine: fed with frames, ends and times, it says what
to do next. https://dev.twitch.tv/docs/eventsub/handling-websocket-events.

A session runs over one link after another, and over two while Twitch moves it. The shell (ingest/eventsub.py) opens and
closes links under the numbers given here. No I/O, no clock, no randomness: times are arguments, in seconds of any
monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct

from ingest.codecs import twitch
from ingest.codecs.delivery import Delivery
from schemas.errors import UNREADABLE
from streamkit.setting_values import is_loopback

OPEN_S: Final = 15.0
"""From asking for a link to its welcome."""

MOVE_S: Final = 30.0
"""From Twitch's word that a session moves to the welcome at its new address; afterwards it closes the old one (4004)."""

SLACK_S: Final = 5.0
"""What a keepalive may be late."""

HEALTHY_S: Final = 60.0
"""A session that lasted so long was no failure: the next one is opened at once."""

BACKOFF_LAST_S: Final = 60.0
SUBSCRIBED_FAILURES: Final = 2
"""A session that could be subscribed with counts as so many failures at most: the next one is opened within 4 s."""

REVIVE_FIRST_S: Final = 1.0
REVIVE_EVERY_S: Final = 60.0

_KEEPALIVE_S = (1, 600)
_ID_CHARACTERS = 2048


class Open(Struct, frozen=True):
    """Open `url`, exactly as it is, as link `link`; tell of its frames and, once, of its end (or that it never opened)."""

    link: int
    url: str


class Close(Struct, frozen=True):
    """Close link `link`, reading it to its end: what still comes counts."""

    link: int


class Subscribe(Struct, frozen=True):
    """Make every subscription that is missing with `session_id`, now: Twitch gives 10 s (else 4003). Then tell
    `subscribed` or `not_subscribed`."""

    link: int
    session_id: str


class Deliver(Struct, frozen=True):
    """A notification or revocation, as a delivery like a webhook's: take it in."""

    delivery: Delivery


class Unreadable(Struct, frozen=True):
    """A frame that is none of Twitch's messages; there is nothing to keep it by."""


Action = Open | Close | Subscribe | Deliver | Unreadable


class _Metadata(Struct):
    message_id: str
    message_type: str
    message_timestamp: str
    subscription_type: str | None = None
    subscription_version: str | None = None


class _Frame(Struct):
    metadata: _Metadata
    payload: Raw = Raw(b"{}")


class _SessionFields(Struct):
    id: str
    keepalive_timeout_seconds: float | None = None
    reconnect_url: str | None = None


class _SessionPayload(Struct):
    session: _SessionFields


class _Told(Struct):
    """A notification's payload, as far as the session reads it."""

    event: Raw = Raw(b"null")


class _Link(Struct):
    """`session_id` None: not welcomed yet. `quiet_since`: when the last frame came, or the shell began to wait."""

    number: int
    give_up_at: float
    session_id: str | None = None
    keepalive_s: float = 10.0
    quiet_since: float = 0.0

    def fails_at(self) -> float:
        """When it is given up unless something comes."""
        return self.give_up_at if self.session_id is None else self.quiet_since + self.keepalive_s + SLACK_S


_frame = msgspec.json.Decoder(_Frame)
_session = msgspec.json.Decoder(_SessionPayload)
_told = msgspec.json.Decoder(_Told)


class Session:
    """Call `start` first, `tick` when `due_at` has come, `waits` whenever the shell waits for input again, and do the
    actions that each gives back, in order. `jitter` gives numbers from 0 to 1."""

    def __init__(self, url: str, *, jitter: Callable[[], float]) -> None:
        self._url = url
        self._jitter = jitter
        self._number = 0
        self._link: _Link | None = None
        self._next: _Link | None = None
        self._old: _Link | None = None
        self._subscribed = False
        self._open_at: float | None = None
        self._revive_at: float | None = None
        self._revived_at: float | None = None
        self._up_since: float | None = None
        self._failures = 0
        self._stopped = False

    @property
    def session_id(self) -> str | None:
        """The session that Twitch knows us by; None while there is none."""
        return self._link.session_id if self._link else None

    @property
    def is_subscribed(self) -> bool:
        """Whether the session that stands, or moves, has subscriptions."""
        return self._subscribed

    @property
    def links(self) -> int:
        """How many links are open or being opened: two at most, where Twitch allows three."""
        return len(self._all())

    def due_at(self) -> float | None:
        """When `tick` has something to do; None after `stop`."""
        times = [link.fails_at() for link in self._all()]
        times += [at for at in (self._open_at, self._revive_at) if at is not None]
        return min(times, default=None)

    def start(self, now: float) -> list[Action]:
        """Open the first link."""
        return self._open_fresh(now)

    def stop(self) -> list[Action]:
        """Close everything, for good: nothing is opened afterwards."""
        closes: list[Action] = [Close(link.number) for link in self._all()]
        self._link = self._next = self._old = None
        self._open_at = self._revive_at = None
        self._subscribed = False
        self._stopped = True
        return closes

    def waits(self, now: float) -> None:
        """The shell was busy and waits for frames from now on: silence before says nothing about Twitch."""
        for link in self._all():
            link.quiet_since = max(link.quiet_since, now)

    def frame(self, number: int, text: str | bytes, received_at: datetime, now: float) -> list[Action]:
        """A frame came on a link. What it delivers counts on any link, one that was closed too."""
        link = next((link for link in self._all() if link.number == number), None)
        if link is not None:
            link.quiet_since = now
        try:
            frame = _frame.decode(text)
        except UNREADABLE:
            return [Unreadable()]
        match frame.metadata.message_type:
            case "session_welcome":
                return self._welcomed(link, frame, now)
            case "session_reconnect":
                return self._moves(link, frame, now)
            case "notification" | "revocation":
                return self._deliver(frame, received_at, now)
        return []  # a keepalive, or a message of tomorrow's Twitch: the link lives

    def ended(self, number: int, now: float) -> list[Action]:
        """A link ended, whoever closed it and why, or never opened. Its close code changes nothing that is done, since
        whatever it is (4000 to 4007, https://dev.twitch.tv/docs/eventsub/handling-websocket-events/#close-message),
        a session is lost with its last link and all is to be made anew; and a moved one waits for its next link."""
        if self._old is not None and self._old.number == number:
            self._old = None
        if self._link is not None and self._link.number == number:
            self._link = None
            # While it moves: whether its subscriptions survived the end of their link is looked at after the welcome.
            self._subscribed = False
            return [] if self._next is not None else self._lost(now)
        if self._next is not None and self._next.number == number:
            return self._move_failed(now)
        return []

    def subscribed(self, number: int) -> None:
        """The session of this link has subscriptions."""
        if self._link is not None and self._link.number == number:
            self._subscribed = True
            self._failures = min(self._failures, SUBSCRIBED_FAILURES)

    def not_subscribed(self, number: int, now: float) -> list[Action]:
        """It has none: the link is of no use, and another one is tried later."""
        if self._link is None or self._link.number != number or self._next is not None:
            return []
        self._link = None
        return [Close(number), *self._lost(now)]

    def revive(self, now: float) -> None:
        """Look at the subscriptions once more, at the next `tick`: some may be missing."""
        if self.session_id is not None:
            self._revive_at = now

    def tick(self, now: float) -> list[Action]:
        """Time has passed: give up what is overdue, open what was put off."""
        actions: list[Action] = []
        if self._old is not None and self._old.fails_at() <= now:
            actions += self._close_old()
        if self._next is not None and self._next.fails_at() <= now:
            actions += [Close(self._next.number), *self._move_failed(now)]
        if self._link is not None and self._link.fails_at() <= now:
            actions.append(Close(self._link.number))
            self._link = None
            self._subscribed = False
            actions += [] if self._next is not None else self._lost(now)
        if self._open_at is not None and self._open_at <= now:
            actions += self._open_fresh(now)
        if self._revive_at is not None and self._revive_at <= now:
            self._revive_at = None
            if self._link is not None and self._link.session_id is not None:
                self._revived_at = now
                actions.append(Subscribe(self._link.number, self._link.session_id))
        return actions

    def _all(self) -> list[_Link]:
        return [link for link in (self._link, self._next, self._old) if link is not None]

    def _open(self, url: str, give_up_at: float) -> tuple[_Link, list[Action]]:
        self._number += 1
        return _Link(self._number, give_up_at), [Open(self._number, url)]

    def _open_fresh(self, now: float) -> list[Action]:
        self._open_at = None
        self._link, actions = self._open(self._url, now + OPEN_S)
        return actions

    def _welcomed(self, link: _Link | None, frame: _Frame, now: float) -> list[Action]:
        session = _session_of(frame)
        if link is None or link.session_id is not None or session is None:
            return []
        link.session_id = session.id
        lowest, highest = _KEEPALIVE_S
        link.keepalive_s = min(highest, max(lowest, session.keepalive_timeout_seconds or 10))
        if link is self._link:
            self._up_since = now
            # One session at a time has subscriptions: two would tell each fact twice, under two message ids.
            return [*self._close_old(), Subscribe(link.number, session.id)]
        # Its subscriptions moved with the session: the link before has nothing more to say.
        self._old, self._link, self._next = self._link, link, None
        closing = self._close_old()
        return closing if self._subscribed else [*closing, Subscribe(link.number, session.id)]

    def _moves(self, link: _Link | None, frame: _Frame, now: float) -> list[Action]:
        session = _session_of(frame)
        if link is None or link is not self._link or link.session_id is None or self._next is not None:
            return []
        url = session.reconnect_url if session is not None else None
        if url is None or not may_move_to(url, self._url):
            return self._leave(now)
        self._next, actions = self._open(url, now + MOVE_S)
        return actions

    def _move_failed(self, now: float) -> list[Action]:
        self._next = None
        return self._lost(now) if self._link is None else self._leave(now)

    def _leave(self, now: float) -> list[Action]:
        """Begin a new session. The link there is delivers until that is welcomed, or until Twitch ends it."""
        actions = self._close_old()
        self._old, self._link = self._link, None
        return [*actions, *self._lost(now)]

    def _close_old(self) -> list[Action]:
        old, self._old = self._old, None
        return [] if old is None else [Close(old.number)]

    def _lost(self, now: float) -> list[Action]:
        """No session any more: begin another one, the later the oftener it went wrong."""
        if self._up_since is not None and now - self._up_since >= HEALTHY_S:
            self._failures = 0
        self._up_since = self._revive_at = None
        self._subscribed = False
        delay_s = min(BACKOFF_LAST_S, 2.0**self._failures) * (0.5 + self._jitter() / 2)
        self._failures = min(self._failures + 1, 10)
        self._open_at = now + delay_s
        return []

    def _deliver(self, frame: _Frame, received_at: datetime, now: float) -> list[Action]:
        metadata = frame.metadata
        is_revocation = metadata.message_type == "revocation" or _has_no_event(frame)
        headers = {
            twitch.MESSAGE_ID: metadata.message_id,
            twitch.TIMESTAMP: metadata.message_timestamp,
            twitch.MESSAGE_TYPE: "revocation" if is_revocation else metadata.message_type,
            twitch.SUBSCRIPTION_TYPE: metadata.subscription_type or "",
            twitch.SUBSCRIPTION_VERSION: metadata.subscription_version or "",
        }
        if not metadata.message_id or not all(_travels(value) for value in headers.values()):
            return [Unreadable()]
        if is_revocation and not self._stopped:
            # Once a minute at most: a subscription that is revoked as soon as it is made would go round for ever.
            earliest = now + REVIVE_FIRST_S
            last = self._revived_at
            self._revive_at = earliest if last is None else max(earliest, last + REVIVE_EVERY_S)
        given = {name: value for name, value in headers.items() if value}
        return [Deliver(Delivery(given, bytes(frame.payload), received_at))]


def may_move_to(url: str, configured: str) -> bool:
    """Whether a session may be moved to `url`: to the configured host or a subdomain of it, by wss. Where the configured
    host is this machine: ws too, and any port."""
    try:
        there, here = urlsplit(url), urlsplit(configured)
        port, own_port = there.port, here.port
    except ValueError:
        return False
    host, own_host = (there.hostname or "").rstrip("."), here.hostname or ""
    if not host or not own_host or there.username is not None or not url.isascii() or not url.isprintable():
        return False
    if is_loopback(own_host):
        return is_loopback(host) and there.scheme in ("ws", "wss")
    own = host == own_host or host.endswith(f".{own_host}")
    return own and there.scheme == "wss" and (port or 443) == (own_port or 443)


def _session_of(frame: _Frame) -> _SessionFields | None:
    try:
        return _session.decode(frame.payload).session
    except UNREADABLE:
        return None


def _has_no_event(frame: _Frame) -> bool:
    """Then it is a revocation: Twitch's command-line client tells it as a notification, in a revocation's shape."""
    try:
        return bytes(_told.decode(frame.payload).event) == b"null"
    except UNREADABLE:
        return False


def _travels(value: str) -> bool:
    return len(value) <= _ID_CHARACTERS and value.isascii() and (value.isprintable() or not value)
