"""EventSub's subscriptions and deliveries over both transports: https://dev.twitch.tv/docs/eventsub/."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from streamkit.sandbox.eventsub_sockets import Session, Sockets
from streamkit.sandbox.eventsub_types import EVENT_TYPES, GONE, RAID, SUBJECTS, EventType
from streamkit.sandbox.grants import Access, Clock, Grants
from streamkit.sandbox.helix_answers import Refused
from streamkit.sandbox.postman import Postman, is_on_this_machine
from streamkit.simulation.bodies import Json, rfc3339
from streamkit.simulation.signing import twitch_headers

PENDING = "webhook_callback_verification_pending"
COSTS = {"webhook": 10_000, "websocket": 10}
MOST_ALIKE = 3
MOST_SESSIONS = 3
MOST_OF_A_SESSION = 300


class Transport(Struct, frozen=True, kw_only=True):
    """`secret` and `callback` of a webhook, or the `session_id` of a websocket."""

    method: str
    callback: str = ""
    secret: str = ""
    session_id: str = ""


class Wanted(Struct, frozen=True):
    """The body of a POST."""

    type: str
    version: str
    condition: dict[str, str]
    transport: Transport


class Subscription(Struct, kw_only=True, eq=False):
    """One subscription. `user_id`: whose token made it, for a websocket's; `failed` deliveries in a row."""

    id: str
    wanted: Wanted
    status: str
    created_at: datetime
    cost: int
    user_id: str | None
    failed: int = 0


class EventSub:
    """`retry_after_s`: a webhook that is not answered 2xx is sent again after each of these. After `failures_allowed`
    deliveries in a row that nobody took, the subscription is revoked."""

    def __init__(self, grants: Grants, now: Clock, sockets: Sockets) -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self.retry_after_s: tuple[float, ...] = (1.0, 5.0)
        self.failures_allowed = 3
        self.page_size = 100
        self.postman = Postman()
        self.sockets = sockets
        self._grants = grants
        self._now = now
        sockets.on_end = self._session_ended
        grants.on_revoked.append(self._authorization_revoked)

    def subscribe(self, access: Access, wanted: Wanted) -> Subscription:
        """Raises Refused."""
        user_id = access.grant.person_id if access.grant else None
        session = self._check_transport(wanted.transport, user_id)
        event_type = _known(wanted)
        if not self._is_granted(event_type, wanted.condition):
            raise Refused(403, "subscription missing proper authorization")
        alive = [one for one in self.subscriptions.values() if one.status in ("enabled", PENDING)]
        alike = [one for one in alive if (one.wanted.type, one.wanted.condition) == (wanted.type, wanted.condition)]
        if any(_place(one.wanted.transport) == _place(wanted.transport) for one in alike):
            raise Refused(409, "subscription already exists")
        if len(alike) >= MOST_ALIKE:
            raise Refused(429, "maximum number of subscriptions with this type and condition exceeded")
        cost = 0 if any(self._grants.granted(person) is not None for person in wanted.condition.values()) else 1
        method = wanted.transport.method
        if cost + self.total_cost(method, user_id) > COSTS[method]:
            raise Refused(429, "subscription maximum total cost exceeded")
        made = Subscription(
            id=str(uuid.uuid4()),
            wanted=wanted,
            status="enabled" if session else PENDING,
            created_at=self._now(),
            cost=cost,
            user_id=user_id,
        )
        if session is not None:
            self._bind(session, made)
        self.subscriptions[made.id] = made
        if session is None:
            self.postman.start(self._verify(made))
        return made

    def _check_transport(self, transport: Transport, user_id: str | None) -> Session | None:
        if transport.method not in COSTS or (transport.method == "webhook") != (user_id is None):
            raise Refused(400, "invalid transport and auth combination")
        if transport.method == "webhook":
            # Twitch wants https on port 443; the sandbox posts to this machine alone.
            if not is_on_this_machine(transport.callback):
                raise Refused(400, "invalid callback: the sandbox delivers to this machine only")
            if not 10 <= len(transport.secret) <= 100 or not transport.secret.isascii():
                raise Refused(400, "secret must be between 10 and 100 ASCII characters")
            return None
        session = self.sockets.sessions.get(transport.session_id)
        if session is None:
            raise Refused(400, "websocket transport session does not exist or has already disconnected")
        if session.user_id not in (None, user_id):
            raise Refused(400, "websocket transport cannot have subscriptions created by different users")
        return session

    def _bind(self, session: Session, made: Subscription) -> None:
        of_user = [one for one in self.sockets.sessions.values() if one.user_id == made.user_id and one is not session]
        if session.user_id is None and len(of_user) >= MOST_SESSIONS:
            raise Refused(429, "number of websocket transports limit exceeded")
        held = [one for one in self.subscriptions.values() if one.wanted.transport.session_id == session.id]
        if len(held) >= MOST_OF_A_SESSION:
            raise Refused(429, "number of subscriptions of this websocket transport exceeded")
        session.user_id = made.user_id
        self.sockets.used(session)

    def _is_granted(self, event_type: EventType, condition: Mapping[str, str]) -> bool:
        if not event_type.scopes:
            return True
        granted = self._grants.granted(condition[event_type.granted_by]) or frozenset()
        return bool(granted & set(event_type.scopes))

    def total_cost(self, method: str, user_id: str | None) -> int:
        """Of what the app has under this method, for a websocket of this user."""
        return sum(
            one.cost
            for one in self.subscriptions.values()
            if one.wanted.transport.method == method and one.user_id == user_id and one.status == "enabled"
        )

    def emit(self, kind: str, about: Mapping[str, str], event: Json) -> None:
        """It happened, to the subjects `about` names: every enabled subscription is told under an id of its own."""
        for subscription in list(self.subscriptions.values()):
            condition = subscription.wanted.condition
            subjects = {key: value for key, value in condition.items() if key in SUBJECTS}
            is_about = bool(subjects) and subjects.items() <= about.items()
            if subscription.status == "enabled" and subscription.wanted.type == kind and is_about:
                self._tell(subscription, "notification", {"subscription": shown(subscription), "event": event})

    def revoke(self, subscription_id: str, status: str) -> None:
        """Twitch ends a subscription, and says so."""
        subscription = self.subscriptions[subscription_id]
        subscription.status = status
        self._tell(subscription, "revocation", {"subscription": shown(subscription)})

    def _tell(self, subscription: Subscription, message_type: str, payload: Json) -> None:
        wanted = subscription.wanted
        if wanted.transport.method == "websocket":
            self.sockets.send(wanted.transport.session_id, message_type, wanted.type, wanted.version, payload)
        else:
            self.postman.start(self._deliver(subscription, message_type, msgspec.json.encode(payload)))

    async def _deliver(self, subscription: Subscription, message_type: str, body: bytes) -> None:
        message_id = str(uuid.uuid4())
        for attempt, pause_s in enumerate((*self.retry_after_s, None)):
            status, _ = await self._post(subscription, message_type, message_id, body, attempt)
            if 200 <= status < 300:
                subscription.failed = 0
                return
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        subscription.failed += 1
        if subscription.failed >= self.failures_allowed and subscription.status == "enabled":
            self.revoke(subscription.id, "notification_failures_exceeded")

    async def _verify(self, subscription: Subscription) -> None:
        challenge = secrets.token_urlsafe(32)
        body = msgspec.json.encode({"challenge": challenge, "subscription": shown(subscription)})
        message_type = "webhook_callback_verification"
        status, echoed = await self._post(subscription, message_type, str(uuid.uuid4()), body, 0)
        is_good = 200 <= status < 300 and echoed == challenge.encode()
        if subscription.status == PENDING:
            subscription.status = "enabled" if is_good else "webhook_callback_verification_failed"

    async def _post(
        self, subscription: Subscription, message_type: str, message_id: str, body: bytes, attempt: int
    ) -> tuple[int, bytes]:
        wanted = subscription.wanted
        headers = twitch_headers(
            message_id,
            wanted.type,
            wanted.version,
            self._now(),
            body,
            message_type=message_type,
            secret=wanted.transport.secret.encode(),
        )
        headers["Twitch-Eventsub-Message-Retry"] = str(attempt)
        return await self.postman.post(wanted.transport.callback, headers, body)

    def _session_ended(self, session: Session, status: str) -> None:
        for subscription in self.subscriptions.values():
            if subscription.wanted.transport.session_id == session.id and subscription.status == "enabled":
                subscription.status = status

    def _authorization_revoked(self, person_id: str) -> None:
        for subscription in list(self.subscriptions.values()):
            event_type = EVENT_TYPES[subscription.wanted.type, subscription.wanted.version]
            is_granted = self._is_granted(event_type, subscription.wanted.condition)
            if subscription.status == "enabled" and (not is_granted or subscription.user_id == person_id):
                self.revoke(subscription.id, "authorization_revoked")


def shown(subscription: Subscription) -> dict[str, Any]:
    """As it is listed and delivered; a secret is never told."""
    wanted = subscription.wanted
    return {
        "id": subscription.id,
        "status": subscription.status,
        "type": wanted.type,
        "version": wanted.version,
        "condition": wanted.condition,
        "transport": _place(wanted.transport),
        "created_at": rfc3339(subscription.created_at),
        "cost": subscription.cost,
    }


def _known(wanted: Wanted) -> EventType:
    if (wanted.type, wanted.version) in GONE:
        raise Refused(410, "this subscription type version has been removed")
    event_type = EVENT_TYPES.get((wanted.type, wanted.version))
    if event_type is None:
        raise Refused(400, "invalid subscription type and version")
    if any(not wanted.condition.get(key) for key in event_type.condition):
        raise Refused(400, "invalid condition: a key is missing")
    if event_type is RAID and len(wanted.condition.keys() & set(SUBJECTS)) != 1:
        raise Refused(400, "invalid condition: from_broadcaster_user_id or to_broadcaster_user_id")
    return event_type


def _place(transport: Transport) -> dict[str, str]:
    if transport.method == "webhook":
        return {"method": "webhook", "callback": transport.callback}
    return {"method": "websocket", "session_id": transport.session_id}
