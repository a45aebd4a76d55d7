"""Twitch EventSub: bytes in, an outcome out. https://dev.twitch.tv/docs/eventsub/handling-webhook-events.

The signed body says what a message is (`subscription.type`, `.version`); the message-type header is not signed, so
the body has to have its shape. What each type is made into stands in twitch_facts.py. No I/O, no clock, no state.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import UNSET

from ingest.codecs.delivery import BroadcasterOf, Challenge, Delivery, Ignored, Outcome, Parked
from ingest.codecs.facts import Fact, to_event
from ingest.codecs.twitch_bodies import Message
from ingest.codecs.twitch_facts import IGNORED_TYPES, TYPES
from ingest.codecs.values import UNFIT, Unfit, id_text, instant, why_unfit
from schemas import kinds
from schemas.errors import Refuse

MESSAGE_ID: Final = "twitch-eventsub-message-id"
TIMESTAMP: Final = "twitch-eventsub-message-timestamp"
SIGNATURE: Final = "twitch-eventsub-message-signature"
MESSAGE_TYPE: Final = "twitch-eventsub-message-type"
SUBSCRIPTION_TYPE: Final = "twitch-eventsub-subscription-type"
SUBSCRIPTION_VERSION: Final = "twitch-eventsub-subscription-version"
REQUIRED: Final = (MESSAGE_ID, TIMESTAMP, SIGNATURE, MESSAGE_TYPE)
HEADERS: Final = (*REQUIRED, SUBSCRIPTION_TYPE, SUBSCRIPTION_VERSION, "twitch-eventsub-message-retry")

MAX_AGE: Final = timedelta(minutes=10)
"""A message older or newer than this is refused, as Twitch's documentation asks."""

_message = msgspec.json.Decoder(Message)


def verify(delivery: Delivery, secrets: Sequence[bytes]) -> bool:
    """Whether Twitch signed exactly these bytes with one of `secrets`: HMAC-SHA256 over id, timestamp, body."""
    headers = delivery.headers
    signed = headers[MESSAGE_ID].encode() + headers[TIMESTAMP].encode() + delivery.body
    given = headers[SIGNATURE].encode()
    for secret in secrets:
        expected = "sha256=" + hmac.digest(secret, signed, "sha256").hex()
        if hmac.compare_digest(expected.encode(), given):
            return True
    return False


def check_age(delivery: Delivery) -> None:
    """Raises Refuse (403 `stale`) for a message whose signed time is more than 10 minutes from its receipt."""
    try:
        sent_at = instant(delivery.headers[TIMESTAMP])
    except Unfit:
        raise Refuse(403, "stale", "Twitch-Eventsub-Message-Timestamp is not an RFC 3339 time.") from None
    if abs(delivery.received_at - sent_at) > MAX_AGE:
        raise Refuse(
            403, "stale", "The message is more than 10 minutes old, or from the future; check this machine's clock."
        )


def event_id(delivery: Delivery) -> str:
    """The delivery key."""
    return f"twitch:{delivery.headers[MESSAGE_ID]}"


def decode(delivery: Delivery, broadcaster_of: BroadcasterOf) -> Outcome:
    """What a verified message is: Event, Challenge, Ignored, or Parked for the first reason that holds. Never raises."""
    headers = delivery.headers
    message_type = headers[MESSAGE_TYPE]
    type_ = headers.get(SUBSCRIPTION_TYPE)
    if message_type not in ("notification", "webhook_callback_verification", "revocation"):
        return Parked("unknown_type", "this build does not know the message type", type_)
    try:
        message = _message.decode(delivery.body)
        type_ = message.subscription.type
        sent_at = instant(headers[TIMESTAMP])
        if message_type == "notification":
            return _notification(delivery, message, sent_at, broadcaster_of)
        if message_type == "revocation":
            return _revocation(delivery, message, sent_at, broadcaster_of)
        _require_shape(message, challenge=True, event=False)
        return Challenge(str(message.challenge))
    except UNFIT as error:
        return Parked("malformed", why_unfit(error), type_)


def _require_shape(message: Message, *, challenge: bool, event: bool) -> None:
    # The message type is not signed: what a captured message may pass for is decided by its body alone.
    has_challenge = isinstance(message.challenge, str)
    has_event = bytes(message.event) != b"null"
    if has_challenge != challenge or has_event != event or (message.challenge is not UNSET and not challenge):
        raise Unfit("the body does not have the shape of its message type")


def _notification(delivery: Delivery, message: Message, sent_at: datetime, broadcaster_of: BroadcasterOf) -> Outcome:
    subscription = message.subscription
    versioned = (subscription.type, subscription.version)
    if (why := IGNORED_TYPES.get(versioned)) is not None:
        return Ignored(why)
    known = TYPES.get(versioned)
    if known is None:
        return Parked("unknown_type", "this build does not know the type or its version", subscription.type)
    _require_shape(message, challenge=False, event=True)
    decoder, read = known
    fact = read(decoder.decode(message.event), sent_at, subscription)
    if isinstance(fact, Ignored):
        return fact
    return to_event(fact, delivery, "twitch", delivery.headers[MESSAGE_ID], subscription.type, broadcaster_of)


def _revocation(delivery: Delivery, message: Message, sent_at: datetime, broadcaster_of: BroadcasterOf) -> Outcome:
    # https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#revoking-your-subscription: of any type, known or not.
    _require_shape(message, challenge=False, event=False)
    subscription = message.subscription
    condition = subscription.condition
    broadcaster = condition and (
        condition.broadcaster_user_id
        or condition.to_broadcaster_user_id
        or condition.from_broadcaster_user_id
        or condition.user_id
    )
    if not broadcaster:
        return Parked("unknown_broadcaster", "the condition names no broadcaster", subscription.type)
    data = kinds.PlatformSubscriptionRevoked(
        status=subscription.status or "unknown", subscription_id=subscription.id, subscribed_type=subscription.type
    )
    fact = Fact(id_text(broadcaster), None, sent_at, None, data)
    return to_event(fact, delivery, "twitch", delivery.headers[MESSAGE_ID], subscription.type, broadcaster_of)
