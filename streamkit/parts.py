"""What every room of a process stands on: the log, the directory, the soft state, the keys. Opened once a process.

What may not live here: anything that knows a room.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from msgspec import Struct

from streamkit import telemetry
from streamkit.cli.common import opened_log
from streamkit.credentials import Credentials, other_key
from streamkit.directory import Directory
from streamkit.front import Front
from streamkit.keys import Keys
from streamkit.lifecycle import Watch
from streamkit.log.late import LateLog
from streamkit.log.protocol import Batch, EventLog
from streamkit.platforms.parts import Platforms, open_platforms
from streamkit.settings import Settings
from streamkit.simulation.sandbox import register_sandbox
from streamkit.transfer.unfinished import refuse_unfinished

if TYPE_CHECKING:
    from streamkit.redis import SoftState
    from streamkit.standby import StandbyFile


class Parts(Struct, frozen=True):
    """The directory follows the control topic until the stack closes. `standby` is what a process that takes
    deliveries goes on with when the log is away; None: it does not, or the log is a file itself."""

    settings: Settings
    keys: Keys
    token: str
    log: EventLog
    directory: Directory
    soft: SoftState
    front: Front
    standby: StandbyFile | None
    platforms: Platforms

    @property
    def copy(self) -> Callable[[], AsyncIterator[Batch]] | None:
        """The control topic as it was, to begin from while the log is away; None when the log was there at the start."""
        standby = self.standby
        if standby is None or not isinstance(self.log, LateLog):
            return None
        from streamkit.standby import copied

        return lambda: copied(standby.log)


async def open_parts(
    stack: AsyncExitStack, settings: Settings, keys: Keys, watch: Watch, *, takes_deliveries: bool = False
) -> Parts:
    """Open them in order, to be closed with `stack`.

    Raises LogUnavailable when the log is away and nothing here stands in for it; LogMisconfigured, BadSettings, Stop.
    """
    from streamkit.redis import open_soft_state

    log: EventLog
    directory, standby, late = Directory(), None, False
    if takes_deliveries:
        from streamkit.standby import open_standing

        standing = await open_standing(stack, settings, watch)
        log, standby, directory, late = standing.log, standing.file, standing.directory, standing.late
    else:
        log = await stack.enter_async_context(opened_log(settings))
    refuse_unfinished(settings.data_dir, log.log_id)
    if settings.sandbox and takes_deliveries and not late:
        await directory.catch_up(log)
        await register_sandbox(log, directory)
    watch.start(stack, "directory", directory.follow(log))
    if not late:
        await directory.ready()
    soft = await open_soft_state(settings.redis_url, log.log_id)
    stack.push_async_callback(soft.close)
    other = other_key(directory, keys)
    if other is not None:
        telemetry.warn("credentials.made_with_another_key", key_id=other, own_key_id=keys.key_id)
    front = Front(Credentials(directory, keys), rate_limit=settings.rate_limit, cors_origins=settings.cors_origins)
    if soft.shared and settings.rate_limit:
        watch.start(stack, "shared rate limit", front.share(soft))
    token = settings.internal_token or keys.internal_token
    platforms = await open_platforms(stack, settings, keys, log, directory, soft, watch)
    return Parts(settings, keys, token, log, directory, soft, front, standby, platforms)


def soft_reasons(soft: SoftState) -> Callable[[], list[str]]:
    """Why the soft state degrades a process, a sentence each."""
    return lambda: [] if soft.connected else ["Redis is away: duplicates are known from the fold alone."]


def account_reasons(parts: Parts) -> Callable[[], list[str]]:
    """Why what is known of accounts and credentials degrades a process, a sentence each."""

    def reasons() -> list[str]:
        late = parts.log.reasons() if isinstance(parts.log, LateLog) else []
        other = other_key(parts.directory, parts.keys)
        if other is None:
            return late
        return [
            *late,
            f"The newest client was made with the secret key {other}, and this process has {parts.keys.key_id}: clients "
            "of that key are refused. Set STREAMKIT_SECRET_KEY (or STREAMKIT_SECRET_KEY_PREVIOUS) to it, or revoke them.",
        ]

    return reasons
