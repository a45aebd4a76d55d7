"""The two webhook addresses: the platforms' HTTP in front of the intake. docs/webhooks.md tells each answer.

What may not live here: what a body means, and what becomes of a delivery that is verified.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import msgspec
from aiohttp import web

from ingest.codecs import kick, twitch
from ingest.intake import Intake
from ingest.kick_keys import KickKeys
from ingest.receive import BODY_TIMEOUT_S, BadRequestBody, receive
from ingest.refusals import Refusals
from schemas.errors import LogClosed, Refuse, Retry
from streamkit import telemetry
from streamkit.connection import SERVER, hang_up
from streamkit.wire import DateHeader, Ready, is_plain

POSITION_HEADER = "Streamkit-Position"
_HEADS = {
    200: f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: {SERVER}\r\n",
    204: f"HTTP/1.1 204 No Content\r\nServer: {SERVER}\r\n",
}
_SECONDS = {platform: telemetry.DELIVERY_SECONDS.labels(platform) for platform in ("kick", "twitch")}


class Webhooks:
    """Handlers of `POST /webhooks/kick` and `POST /webhooks/twitch`."""

    def __init__(
        self,
        intake: Intake,
        *,
        twitch_secrets: Sequence[bytes],
        kick_keys: KickKeys,
        kick_webhook_token: str | None,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._intake = intake
        self._twitch_secrets = tuple(twitch_secrets)
        self._kick_keys = kick_keys
        self._kick_token = None if kick_webhook_token is None else kick_webhook_token.encode()
        self._body_timeout_s = body_timeout_s
        self._date = DateHeader()
        self._refusals = {platform: Refusals(platform) for platform in ("kick", "twitch")}

    def close(self) -> None:
        """Tell of the refusals that no line has told yet."""
        for refusals in self._refusals.values():
            refusals.tell()

    def add_routes(self, app: web.Application) -> None:
        """Register the addresses; other methods than POST get 405."""
        for path, handler in (
            ("/webhooks/kick", self.kick),
            ("/webhooks/kick/{token}", self.kick),
            ("/webhooks/twitch", self.twitch),
        ):
            resource = app.router.add_resource(path)
            resource.add_route("POST", handler)
            resource.add_route("*", _method_not_allowed)

    async def kick(self, request: web.Request) -> web.StreamResponse:
        """200, empty, once the delivery's outcome is durable."""
        return await self._answer("kick", request, self._take_kick)

    async def twitch(self, request: web.Request) -> web.StreamResponse:
        """204 once the message's outcome is durable; a challenge is echoed."""
        return await self._answer("twitch", request, self._take_twitch)

    async def _take_kick(self, request: web.Request) -> web.StreamResponse:
        token = request.match_info.get("token")
        if (token is None) != (self._kick_token is None) or (
            token is not None and not hmac.compare_digest(token.encode("utf-8", "replace"), self._kick_token or b"")
        ):
            raise Refuse(404, "not_found", "There is nothing at this address.")
        delivery = await receive(
            request,
            kick.HEADERS,
            kick.REQUIRED,
            exactly_once=(kick.VERSION,),
            body_timeout_s=self._body_timeout_s,
        )
        complete_at = time.perf_counter()
        if not await self._kick_keys.verify(delivery):
            raise Refuse(401, "bad_signature", "Kick-Event-Signature is not Kick's signature of this delivery.")
        taken = await self._intake.take("kick", kick.event_id(delivery), delivery, kick.decode)
        _SECONDS["kick"].observe(time.perf_counter() - complete_at)
        return self._taken(request, 200, taken.position)

    async def _take_twitch(self, request: web.Request) -> web.StreamResponse:
        if not self._twitch_secrets:
            raise Retry("Set STREAMKIT_TWITCH_WEBHOOK_SECRET to the secret of the subscriptions.", retry_after_s=60)
        delivery = await receive(request, twitch.HEADERS, twitch.REQUIRED, body_timeout_s=self._body_timeout_s)
        complete_at = time.perf_counter()
        if not twitch.verify(delivery, self._twitch_secrets):
            raise Refuse(
                403, "bad_signature", "Twitch-Eventsub-Message-Signature does not fit this body and our secret."
            )
        twitch.check_age(delivery)
        taken = await self._intake.take("twitch", twitch.event_id(delivery), delivery, twitch.decode)
        _SECONDS["twitch"].observe(time.perf_counter() - complete_at)
        if taken.challenge is not None:
            # https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#responding-to-a-challenge-request
            headers = {"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff"}
            return web.Response(status=200, body=taken.challenge.encode(), headers=headers)
        return self._taken(request, 204, taken.position)

    def _taken(self, request: web.Request, status: int, position: str | None) -> web.StreamResponse:
        if not is_plain(request):
            return web.Response(status=status, headers=None if position is None else {POSITION_HEADER: position})
        told = "" if position is None else f"{POSITION_HEADER}: {position}\r\n"
        return Ready(f"{_HEADS[status]}{told}{self._date.line()}\r\n".encode("ascii"), status=status)

    async def _answer(
        self,
        platform: Literal["kick", "twitch"],
        request: web.Request,
        take: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        try:
            return await take(request)
        except Refuse as refusal:
            telemetry.DELIVERIES.labels(platform, "refused").inc()
            telemetry.DELIVERIES_REFUSED.labels(platform, refusal.reason).inc()
            self._refusals[platform].count(refusal.reason)
            answer = _problem(refusal.status, refusal.reason, refusal.message)
            if isinstance(refusal, BadRequestBody):
                answer.force_close()
                if refusal.status == 408:
                    await hang_up(request, answer)
            return answer
        except (Retry, LogClosed) as error:
            telemetry.DELIVERIES.labels(platform, "unavailable").inc()
            retry_after_s = error.retry_after_s if isinstance(error, Retry) else 1
            return _problem(503, "unavailable", str(error), {"Retry-After": str(retry_after_s)})


def _problem(status: int, error: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode({"ok": False, "error": error, "message": message})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


async def _method_not_allowed(request: web.Request) -> web.Response:
    return _problem(405, "method_not_allowed", "Deliveries come by POST.", {"Allow": "POST"})
