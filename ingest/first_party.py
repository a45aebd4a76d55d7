"""`POST /ingest/v1/events`: what a streamer's own bot or dashboard pushes. docs/first-party.md tells each answer.

What may not live here: what a body means (codecs/first_party.py), and the way onto the log (intake.py).
"""

from __future__ import annotations

import time
from datetime import tzinfo

from aiohttp import web

from ingest.codecs import first_party
from ingest.intake import Intake
from ingest.webhooks import POSITION_HEADER
from schemas.errors import Problem
from schemas.event import utc_now
from schemas.first_party_route import PUSH_EVENTS
from schemas.first_party_sent import Accepted
from streamkit.directory import Directory
from streamkit.envelope import JSON_TYPE, success_body
from streamkit.front import Front
from streamkit.request_body import read_body

BODY_MAX_BYTES = 1 << 20


class FirstParty:
    """The handler of the address. `timezone` is that of the times in answers."""

    def __init__(self, intake: Intake, directory: Directory, front: Front, *, timezone: tzinfo) -> None:
        self._intake = intake
        self._directory = directory
        self._front = front
        self._timezone = timezone

    def add_routes(self, app: web.Application) -> None:
        """Register the address."""
        handler = self._front.handler(PUSH_EVENTS.name, PUSH_EVENTS.methods, self.events)
        app.router.add_route("*", PUSH_EVENTS.path, handler)

    async def events(self, request: web.Request) -> web.Response:
        """200 once the log (with the position) or the spool has all events of the body. Raises Problem, LogUnavailable, LogClosed for the front."""
        principal, left, _ = await self._front.admit(request, "events:write")
        body = await read_body(request, max_bytes=BODY_MAX_BYTES)
        broadcaster = self._directory.broadcaster(principal.user_id)
        if broadcaster is None:  # removed since the credentials were checked
            raise Problem(401, "invalid_credentials", "Unknown client_id, or the client_secret is not this client's.")
        events = first_party.decode(body, principal.user_id, utc_now())
        position = await self._intake.take_own(events)
        accepted = Accepted(len(events))
        response = web.Response(
            body=success_body(broadcaster, accepted, now_us=time.time_ns() // 1000, timezone=self._timezone),
            content_type=JSON_TYPE,
            headers={
                **({} if position is None else {POSITION_HEADER: position}),
                "Cache-Control": "no-store",
                **self._front.allowance.headers(left),
            },
        )
        self._front.allow_origin(request, response)
        return response
