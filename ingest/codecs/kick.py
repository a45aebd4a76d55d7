"""Kick's webhooks: bytes in, an outcome out. https://docs.kick.com/events/webhook-security, .../event-types.

The type and version headers are not signed, so the body has to have the shape of the type the header names. No I/O,
no clock, no state.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ingest.codecs import kick_bodies as bodies
from ingest.codecs.delivery import BroadcasterOf, Delivery, Outcome, Parked
from ingest.codecs.facts import Fact, to_event
from ingest.codecs.values import UNFIT, Unfit, id_text, instant, instant_or_none, not_ahead, ulid_at, why_unfit
from schemas import kinds
from schemas.event import first_word

MESSAGE_ID: Final = "kick-event-message-id"
TIMESTAMP: Final = "kick-event-message-timestamp"
SIGNATURE: Final = "kick-event-signature"
TYPE: Final = "kick-event-type"
VERSION: Final = "kick-event-version"
REQUIRED: Final = (MESSAGE_ID, TIMESTAMP, SIGNATURE, TYPE)
HEADERS: Final = (*REQUIRED, VERSION, "kick-event-subscription-id")

HEADER_TIME_AHEAD: Final = timedelta(days=1)
"""A header's time further in the future than this gives way to that of receipt: the newest event of a stream, a reward or
a name would stand against every one after it. Nearer ones are clocks, and stand."""

SUBSCRIPTION_TIME_BACK: Final = timedelta(days=1)
"""A new subscription's own time stands when it lies at most this long before the header's."""

# https://docs.kick.com/events/webhook-security: the key that every Kick app's deliveries are signed with.
DOCUMENTED_PUBLIC_KEY: Final = """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAq/+l1WnlRrGSolDMA+A8
6rAhMbQGmQ2SapVcGM3zq8ANXjnhDWocMqfWcTd95btDydITa10kDvHzw9WQOqp2
MZI7ZyrfzJuz5nhTPCiJwTwnEtWft7nV14BYRDHvlfqPUaZ+1KR4OCaO/wWIk/rQ
L/TjY0M70gse8rlBkbo2a8rKhu69RQTRsoaf4DVhDPEeSeI5jVrRDGAMGL3cGuyY
6CLKGdjVEM78g3JfYOvDU/RvfqD7L89TZ3iN94jrmWdGz34JNlEI5hqK8dd7C5EF
BEbZ5jgB8s8ReQV8H+MkuffjdAj3ajDDX3DOJMIut1lBrUVD1AaSrGCKHooWoL2e
twIDAQAB
-----END PUBLIC KEY-----
"""

_PADDING = padding.PKCS1v15()
_SHA256 = hashes.SHA256()


def verify(delivery: Delivery, key: rsa.RSAPublicKey) -> bool:
    """Whether Kick signed exactly these bytes: RSASSA-PKCS1-v1_5, SHA-256, over `id.timestamp.body`.

    All Kick apps share one key: true says that Kick sent it to some app. A late delivery is as good as any.
    """
    headers = delivery.headers
    try:
        signature = base64.b64decode(headers[SIGNATURE], validate=True)
        signed = b"%b.%b.%b" % (headers[MESSAGE_ID].encode(), headers[TIMESTAMP].encode(), delivery.body)
        key.verify(signature, signed, _PADDING, _SHA256)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def event_id(delivery: Delivery) -> str:
    """The delivery key."""
    return f"kick:{delivery.headers[MESSAGE_ID]}"


def decode(delivery: Delivery, broadcaster_of: BroadcasterOf) -> Outcome:
    """What a verified delivery is: an Event, or Parked for the first reason that holds. Never raises."""
    headers = delivery.headers
    type_ = headers[TYPE]
    known = TYPES.get(type_)
    if known is None or headers.get(VERSION, "1") != "1":
        return Parked("unknown_type", "this build does not know the type or its version", type_)
    decoder, read = known
    message_id = headers[MESSAGE_ID]
    try:
        sent_at = instant(headers[TIMESTAMP])
        if sent_at - delivery.received_at > HEADER_TIME_AHEAD:
            sent_at = delivery.received_at
        fact = read(decoder.decode(delivery.body), sent_at, message_id)
    except UNFIT as error:
        return Parked("malformed", why_unfit(error), type_)
    return to_event(fact, delivery, "kick", message_id, type_, broadcaster_of)


def _viewer(user: bodies.User | None) -> kinds.Viewer | None:
    # Anonymous gifts have come with is_anonymous false: a missing id says so too (KickDevDocs issue 340).
    if user is None or user.is_anonymous or user.user_id is None:
        return None
    viewer_id = id_text(user.user_id)
    return kinds.Viewer(viewer_id, user.username or user.channel_slug or viewer_id)


def _natural_key(created: datetime | None, prefix: str, *parts: str) -> str | None:
    # Without a time of its own two equal facts could not be told apart: then the delivery key has to do.
    return None if created is None else ":".join((prefix, *parts))


def _chat(body: bodies.Chat, sent_at: datetime, message_id: str) -> Fact:
    broadcaster, sender = id_text(body.broadcaster.user_id), _viewer(body.sender)
    identity = body.sender.identity if body.sender else None
    emotes = [
        kinds.Emote(str(emote.emote_id), position.s, position.e)
        for emote in body.emotes or ()
        for position in emote.positions or ()
    ]
    return Fact(
        broadcaster,
        sender,
        not_ahead(instant_or_none(body.created_at) or ulid_at(message_id), sent_at),
        f"kick:chat.message.sent:{broadcaster}:{body.message_id}",
        kinds.ChatMessage(
            message_id=body.message_id,
            message=body.content,
            first_word=first_word(body.content),
            by_broadcaster=sender is not None and sender.id == broadcaster,
            reply_to=body.replies_to.message_id if body.replies_to else None,
            color=(identity.username_color or None) if identity else None,
            badges=_badges(identity.badges) if identity and identity.badges else (),
            emotes=tuple(emotes),
        ),
    )


def _badges(badges: list[bodies.Badge]) -> tuple[kinds.Badge, ...]:
    return tuple([kinds.Badge(badge.type, None if badge.count is None else str(badge.count)) for badge in badges])


def _followed(body: bodies.Followed, sent_at: datetime, message_id: str) -> Fact:
    return Fact(id_text(body.broadcaster.user_id), _viewer(body.follower), sent_at, None, kinds.Followed())


def _subscription_key(body: bodies.Subscription, broadcaster: str, subscriber: kinds.Viewer | None) -> str | None:
    # New and renewal share one prefix: their bodies have one shape, and the header that tells them apart is unsigned.
    return _natural_key(
        instant_or_none(body.created_at),
        "kick:subscription",
        broadcaster,
        subscriber.id if subscriber else "",
        body.created_at or "",
        body.expires_at or "",
        str(body.duration),
    )


def _new(body: bodies.Subscription, sent_at: datetime, message_id: str) -> Fact:
    broadcaster, subscriber = id_text(body.broadcaster.user_id), _viewer(body.subscriber)
    created_at = instant_or_none(body.created_at)
    sane = created_at is not None and sent_at - created_at <= SUBSCRIPTION_TIME_BACK
    data = kinds.SubscriptionNew(
        months=body.duration, started_at=created_at, expires_at=instant_or_none(body.expires_at)
    )
    occurred_at = not_ahead(created_at if sane else None, sent_at)
    return Fact(broadcaster, subscriber, occurred_at, _subscription_key(body, broadcaster, subscriber), data)


def _renewal(body: bodies.Subscription, sent_at: datetime, message_id: str) -> Fact:
    # created_at is when the subscription first began, months ago: only the header says when it was renewed.
    broadcaster, subscriber = id_text(body.broadcaster.user_id), _viewer(body.subscriber)
    data = kinds.SubscriptionRenewal(
        months=body.duration,
        started_at=instant_or_none(body.created_at),
        expires_at=instant_or_none(body.expires_at),
    )
    return Fact(broadcaster, subscriber, sent_at, _subscription_key(body, broadcaster, subscriber), data)


def _gifts(body: bodies.Gifts, sent_at: datetime, message_id: str) -> Fact:
    broadcaster, gifter = id_text(body.broadcaster.user_id), _viewer(body.gifter)
    if not body.giftees:
        raise Unfit("a gift has no giftees")
    giftee_ids = sorted("" if giftee.user_id is None else id_text(giftee.user_id) for giftee in body.giftees)
    created_at = instant_or_none(body.created_at)
    key = _natural_key(
        created_at,
        "kick:channel.subscription.gifts",
        broadcaster,
        gifter.id if gifter else "",
        body.created_at or "",
        hashlib.sha256(",".join(giftee_ids).encode()).hexdigest()[:32],
    )
    giftees = tuple(viewer for giftee in body.giftees if (viewer := _viewer(giftee)) is not None)
    data = kinds.SubscriptionGifts(
        count=len(body.giftees), giftees=giftees, started_at=created_at, expires_at=instant_or_none(body.expires_at)
    )
    return Fact(broadcaster, gifter, not_ahead(created_at, sent_at), key, data)


_STATUSES: dict[str, Literal["pending", "accepted", "rejected"]] = {
    "pending": "pending",
    "accepted": "accepted",
    "rejected": "rejected",
}


def _redemption(body: bodies.Redemption, sent_at: datetime, message_id: str) -> Fact:
    broadcaster, reward = id_text(body.broadcaster.user_id), body.reward
    redeemed_at = instant_or_none(body.redeemed_at)
    data = kinds.RedemptionUpdated(
        redemption_id=body.id,
        reward_id=reward.id,
        reward_title=reward.title,
        cost=reward.cost,
        status=_STATUSES.get(body.status, "pending"),
        status_known=body.status in _STATUSES,
        user_input=body.user_input or None,
        reward_description=reward.description or None,
        redeemed_at=redeemed_at,
    )
    # redeemed_at is the creation: of a change of status only the header tells the time.
    occurred_at = not_ahead(redeemed_at, sent_at) if body.status == "pending" else sent_at
    key = f"kick:channel.reward.redemption.updated:{broadcaster}:{body.id}:{body.status}"
    return Fact(broadcaster, _viewer(body.redeemer), occurred_at, key, data)


def _status(body: bodies.Status, sent_at: datetime, message_id: str) -> Fact:
    started_at, ended_at = instant_or_none(body.started_at), instant_or_none(body.ended_at)
    if body.is_live and started_at is None:
        raise Unfit("a stream starts without a started_at, which is its only name")
    data = kinds.LivestreamStatus(
        is_live=body.is_live, title=body.title or None, started_at=started_at, ended_at=ended_at
    )
    occurred_at = not_ahead(started_at if body.is_live else ended_at, sent_at)
    return Fact(id_text(body.broadcaster.user_id), None, occurred_at, None, data)


def _metadata(body: bodies.Metadata, sent_at: datetime, message_id: str) -> Fact:
    metadata = body.metadata
    category = metadata.category or metadata.category_again
    category_id = None if category is None or category.id is None else id_text(category.id)
    named = category if category_id not in (None, "0") else None
    data = kinds.LivestreamMetadata(
        title=metadata.title,
        language=metadata.language or None,
        category_id=category_id if named else None,
        category_name=(named.name or None) if named else None,
        is_mature=metadata.has_mature_content,
    )
    return Fact(id_text(body.broadcaster.user_id), None, sent_at, None, data)


def _banned(body: bodies.Banned, sent_at: datetime, message_id: str) -> Fact:
    broadcaster, target = id_text(body.broadcaster.user_id), _viewer(body.banned_user)
    if target is None:
        raise Unfit("a ban names nobody")
    metadata = body.metadata
    created_at, ends_at = instant_or_none(metadata.created_at), instant_or_none(metadata.expires_at)
    occurred_at = not_ahead(created_at, sent_at)
    data = kinds.Banned(
        target=target,
        reason=metadata.reason or None,
        duration_s=None if ends_at is None else max(0, int((ends_at - (created_at or sent_at)).total_seconds())),
        ends_at=ends_at,
    )
    key = _natural_key(created_at, "kick:moderation.banned", broadcaster, target.id, metadata.created_at or "")
    return Fact(broadcaster, _viewer(body.moderator), occurred_at, key, data)


def _kicks(body: bodies.KicksGifted, sent_at: datetime, message_id: str) -> Fact:
    broadcaster, sender, gift = id_text(body.broadcaster.user_id), _viewer(body.sender), body.gift
    created_at = instant_or_none(body.created_at)
    key = _natural_key(
        created_at,
        "kick:kicks.gifted",
        broadcaster,
        sender.id if sender else "",
        body.created_at or "",
        str(gift.amount),
        gift.name or "",
    )
    data = kinds.KicksGifted(
        amount=gift.amount,
        gift_name=gift.name or None,
        gift_type=gift.type or None,
        gift_tier=gift.tier or None,
        message=gift.message or None,
        pinned_s=gift.pinned_time_seconds,
    )
    return Fact(broadcaster, sender, not_ahead(created_at, sent_at), key, data)


_Reader = Callable[[Any, datetime, str], Fact]

TYPES: Final[dict[str, tuple[msgspec.json.Decoder[Any], _Reader]]] = {
    "chat.message.sent": (msgspec.json.Decoder(bodies.Chat), _chat),
    "channel.followed": (msgspec.json.Decoder(bodies.Followed), _followed),
    "channel.subscription.new": (msgspec.json.Decoder(bodies.Subscription), _new),
    "channel.subscription.renewal": (msgspec.json.Decoder(bodies.Subscription), _renewal),
    "channel.subscription.gifts": (msgspec.json.Decoder(bodies.Gifts), _gifts),
    "channel.reward.redemption.updated": (msgspec.json.Decoder(bodies.Redemption), _redemption),
    "livestream.status.updated": (msgspec.json.Decoder(bodies.Status), _status),
    "livestream.metadata.updated": (msgspec.json.Decoder(bodies.Metadata), _metadata),
    "moderation.banned": (msgspec.json.Decoder(bodies.Banned), _banned),
    "kicks.gifted": (msgspec.json.Decoder(bodies.KicksGifted), _kicks),
}
"""Kick's type → its body and what it is made into; the canonical type has the same name."""
