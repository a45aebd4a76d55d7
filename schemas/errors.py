"""The error tree, named by what to do next. A verified delivery that is no event is no error: ingest parks it.

    StreamkitError
    ├── Refuse          the sender's fault: answer 4xx, keep nothing
    │   └── Problem     a refusal of the public API, with its machine code
    ├── Retry           ours, and passing: answer 503, try again
    │   ├── LogUnavailable
    │   ├── PlatformAway    a platform is not reached: nothing was sent
    │   └── PlatformTimeout what was sent may have taken effect
    ├── PlatformRefused a platform answered that it will not
    ├── NotConnected    no tokens for this broadcaster there: the streamer has to connect
    │   └── NeedsReconnect  there were, and the platform takes them no more
    ├── ForbiddenHost   a bug: a call to a host that no setting names
    └── Stop            ours, and an operator must act: say what and how, exit
        ├── LogClosed
        ├── LogMisconfigured
        └── BadSettings

What lives here: exceptions only. What may not: anything that answers, logs or counts them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

ParkReason = Literal["unknown_type", "malformed", "unknown_broadcaster", "fold_failed"]


UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What decoding a record raises when its bytes are not what they should be, whatever they are instead."""


class StreamkitError(Exception):
    """Base of all errors raised on purpose; its text is a sentence fit for users."""


class Refuse(StreamkitError):
    """The sender is at fault. `status` is the HTTP answer, `reason` a short metric label."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class Problem(Refuse):
    """A refusal of the public API. `code` is the machine code of the answer's `error` key.

    `headers` go into the answer (`Retry-After`, `Allow`); `errors` lists each mistake of a body as
    `{"path": "$[3].data.song_url", "message": "…"}`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(status, code, message)
        self.code = code
        self.headers = headers or {}
        self.errors = errors


class Retry(StreamkitError):
    """Something of ours is away for the moment; the same request may succeed in `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LogUnavailable(Retry):
    """The event log did not take or give records (broker away, disk full, lock held too long)."""


class PlatformAway(Retry):
    """A platform is not reached, or was not for a while (its circuit breaker is open): nothing was sent."""


class PlatformTimeout(Retry):
    """A platform did not answer in time, or not to the end: what was sent may have taken effect."""


class PlatformRefused(StreamkitError):
    """A platform answered with an error. `status` is its HTTP status, `message` its own words (never a secret, 300
    characters at most), `retry_after_s` how long it asks to be left alone (None: it does not say)."""

    def __init__(self, platform: str, status: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(f"{platform.capitalize()} answered {status}: {message}")
        self.platform = platform
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


class NotConnected(StreamkitError):
    """There are no tokens to act with: the broadcaster (or, for an app token, the deployment) is not connected."""


class NeedsReconnect(NotConnected):
    """The platform refused to refresh the tokens; nothing is sent until the streamer connects again."""


class ForbiddenHost(StreamkitError):
    """A call to a host that no setting names was stopped before anything was sent."""


class Stop(StreamkitError):
    """An operator must act; the text says what is wrong and what to do. `exit_code` is the process's."""

    exit_code = 3


class LogClosed(Stop):
    """The log was closed; nothing was appended."""


class LogMisconfigured(Stop):
    """The log exists with other settings than asked for (partitions, retention, identity)."""


class BadSettings(Stop):
    """One or more settings are wrong; the text names them all."""

    exit_code = 2


class RecordTooLarge(Refuse):
    """A record or batch is larger than the log takes; nothing of it was appended."""

    def __init__(self, message: str) -> None:
        super().__init__(413, "too_large", message)
