"""The ingest room: its parts, its routes, how it starts and stops."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from aiohttp import web

from ingest.first_party import FirstParty
from ingest.intake import Intake
from ingest.kick_keys import KickKeys
from ingest.parking import DeadLetterBox
from ingest.receive import BODY_TIMEOUT_S
from ingest.webhooks import Webhooks
from streamkit.directory import Directory
from streamkit.front import Front
from streamkit.log.protocol import EventLog
from streamkit.redis import SoftState


class IngestRoom:
    """Everything between a delivery and the log. `twitch_secrets`: the present one, then the previous where there is.

    The log, the directory (which the caller follows the control topic with) and the soft state are the caller's.
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
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._kick_keys = kick_keys
        self.letters = DeadLetterBox(log, dead_letter_max_bytes)
        self.intake = Intake(log, directory, soft, self.letters)
        self._webhooks = Webhooks(
            self.intake,
            twitch_secrets=twitch_secrets,
            kick_keys=kick_keys,
            kick_webhook_token=kick_webhook_token,
            body_timeout_s=body_timeout_s,
        )
        self._first_party = FirstParty(self.intake, directory, front, timezone=timezone)

    def add_routes(self, app: web.Application) -> None:
        """Register the room's addresses."""
        self._webhooks.add_routes(app)
        self._first_party.add_routes(app)

    async def start(self) -> None:
        """Learn what the dead letters hold already. Raises LogUnavailable, LogClosed."""
        await self.letters.start()

    async def close(self) -> None:
        """Finish what is under way; idempotent. Requests have ended before."""
        self._webhooks.close()
        await self._kick_keys.close()
        await self.letters.close()

    def readiness(self) -> list[str]:
        """Why the room is degraded, a sentence each; empty when it is not."""
        reasons = []
        if self.intake.log_away:
            reasons.append("The event log did not take the last event.")
        if self.letters.dropped:
            reasons.append(f"{self.letters.dropped} deliveries went over the limits of the dead letters.")
        return reasons


def build_app(room: IngestRoom) -> web.Application:
    """An application with this room's addresses alone."""
    app = web.Application()
    room.add_routes(app)
    return app
