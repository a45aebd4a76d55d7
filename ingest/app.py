"""The ingest room: its parts, its routes, how it starts and stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import tzinfo

from aiohttp import web

from ingest.connect import Connect
from ingest.drain import Drain
from ingest.first_party import FirstParty
from ingest.intake import Intake
from ingest.kick_keys import KickKeys
from ingest.parking import DeadLetterBox
from ingest.receive import BODY_TIMEOUT_S
from ingest.spool import Spool
from ingest.webhooks import Webhooks
from schemas.errors import LogUnavailable
from streamkit.directory import Directory
from streamkit.front import Front
from streamkit.health import Spooled
from streamkit.log.protocol import EventLog
from streamkit.redis import SoftState
from streamkit.standby import StandbyFile


class IngestRoom:
    """Everything between a delivery and the log. `twitch_secrets`: the present one, then the previous where there is.

    The log, the directory (which the caller follows the control topic with), the soft state and `standby` (where what
    the log does not take is spooled; None: it is refused) are the caller's. Without `connect` nobody can consent here.
    """

    def __init__(
        self,
        log: EventLog,
        directory: Directory,
        soft: SoftState,
        front: Front,
        *,
        timezone: tzinfo,
        twitch_secrets: Sequence[bytes],
        kick_keys: KickKeys,
        kick_webhook_token: str | None,
        dead_letter_max_bytes: int,
        standby: StandbyFile | None = None,
        spool_max_bytes: int = 0,
        connect: Connect | None = None,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._kick_keys = kick_keys
        self.letters = DeadLetterBox(log, dead_letter_max_bytes)
        self.spool = None if standby is None else Spool(standby.log, spool_max_bytes)
        self.intake = Intake(log, directory, soft, self.letters, self.spool)
        self._drain = (
            None
            if standby is None or self.spool is None
            else Drain(self.spool, standby, log, directory, self.letters, self.intake.drained)
        )
        self._webhooks = Webhooks(
            self.intake,
            twitch_secrets=twitch_secrets,
            kick_keys=kick_keys,
            kick_webhook_token=kick_webhook_token,
            body_timeout_s=body_timeout_s,
        )
        self._first_party = FirstParty(self.intake, directory, front, timezone=timezone)
        self._connect = connect
        self.complaints: list[Callable[[], list[str]]] = []
        """Of what runs beside the room, for `readiness`."""

    def add_routes(self, app: web.Application) -> None:
        """Register the room's addresses."""
        self._webhooks.add_routes(app)
        self._first_party.add_routes(app)
        if self._connect is not None:
            self._connect.add_routes(app)

    async def start(self) -> None:
        """Learn what the dead letters and the spool hold already. Raises LogUnavailable, LogClosed."""
        if self.spool is None:
            await self.letters.start()
            return
        with suppress(LogUnavailable):  # each letter looks again
            await self.letters.start()
        await self.spool.start()

    async def drain(self) -> None:
        """Bring what is spooled to the log, until cancelled. A task of the process: what it raises must end that."""
        if self._drain is not None:
            await self._drain.run()

    async def close(self) -> None:
        """Finish what is under way; idempotent. Requests have ended before."""
        self._webhooks.close()
        await self._kick_keys.close()
        await self.letters.close()

    def spooled(self) -> Spooled | None:
        """What waits in the spool; None when there is no spool."""
        return None if self.spool is None else self.spool.told()

    def readiness(self) -> list[str]:
        """Why the room is degraded, a sentence each; empty when it is not."""
        reasons = []
        if self.spool is not None and self.spool.events:
            reasons.append(_waiting(self.spool.told()))
        if self.intake.refusing:
            reasons.append(
                "The event log did not take the last event."
                if self.spool is None
                else "Neither the event log nor the spool took the last event: platforms get 503."
            )
        if self.letters.dropped:
            reasons.append(f"{self.letters.dropped} deliveries went over the limits of the dead letters.")
        return [*reasons, *(reason for complaint in self.complaints for reason in complaint())]


def _waiting(spool: Spooled) -> str:
    return (
        f"{spool.events} deliveries ({spool.bytes} bytes) wait in the spool for the event log, the oldest for "
        f"{spool.oldest_s:.0f} s."
    )


def build_app(room: IngestRoom) -> web.Application:
    """An application with this room's addresses alone."""
    app = web.Application()
    room.add_routes(app)
    return app
