"""What each Twitch EventSub type is made into. https://dev.twitch.tv/docs/eventsub/eventsub-subscription-types.

Most bodies carry no time: then it is the message's own. That time may change when a message is sent again, so it is
never part of a natural key.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from ingest.codecs import twitch_bodies as bodies
from ingest.codecs.delivery import Ignored, IgnoredWhy
from ingest.codecs.facts import Fact
from ingest.codecs.values import Id, Unfit, id_text, instant, instant_or_none, not_ahead
from schemas import kinds
from schemas.event import first_word

# Twitch's own command-line client sends this user instead of null for an anonymous gift.
ANONYMOUS_GIFTER: Final = "274598607"

TIERS: Final = {"1000": 1, "2000": 2, "3000": 3}


Read = Callable[[Any, datetime, bodies.Subscription], Fact | Ignored]
"""(typed event, the message's time, its subscription) → what it says."""


def _viewer(user_id: Id | None, login: str | None, name: str | None) -> kinds.Viewer | None:
    if user_id is None or user_id == "":
        return None
    viewer_id = id_text(user_id)
    return kinds.Viewer(viewer_id, name or login or viewer_id, login or None)


def _user(body: bodies.OfUser) -> kinds.Viewer | None:
    return _viewer(body.user_id, body.user_login, body.user_name)


def _text(message: bodies.Text | None) -> str | None:
    return (message.text or None) if message else None


def _emotes(fragments: list[bodies.Fragment] | None) -> tuple[kinds.Emote, ...]:
    # Twitch gives fragments instead of offsets: an emote's place is what the texts before it add up to.
    emotes, begin = [], 0
    for fragment in fragments or ():
        end = begin + len(fragment.text)
        if fragment.emote is not None and fragment.text:
            emotes.append(kinds.Emote(fragment.emote.id, begin, end - 1))
        begin = end
    return tuple(emotes)


def _chat(body: bodies.Chat, sent_at: datetime, subscription: bodies.Subscription) -> Fact | Ignored:
    broadcaster = id_text(body.broadcaster_user_id)
    source = body.source_broadcaster_user_id
    if source and id_text(source) != broadcaster:
        return Ignored("shared_chat_copy")
    text = body.message.text
    chatter = _viewer(body.chatter_user_id, body.chatter_user_login, body.chatter_user_name)
    data = kinds.ChatMessage(
        message_id=body.message_id,
        message=text,
        first_word=first_word(text),
        by_broadcaster=chatter is not None and chatter.id == broadcaster,
        reply_to=body.reply.parent_message_id if body.reply else None,
        color=body.color or None,
        badges=tuple([kinds.Badge(badge.set_id, badge.info or badge.id or None) for badge in body.badges or ()]),
        emotes=_emotes(body.message.fragments),
    )
    return Fact(broadcaster, chatter, sent_at, f"twitch:chat.message.sent:{broadcaster}:{body.message_id}", data)


def _follow(body: bodies.Follow, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    broadcaster, follower = id_text(body.broadcaster_user_id), _user(body)
    key = f"twitch:channel.followed:{broadcaster}:{follower.id if follower else ''}:{body.followed_at}"
    occurred_at = not_ahead(instant_or_none(body.followed_at), sent_at)
    return Fact(broadcaster, follower, occurred_at, key, kinds.Followed())


def _subscribe(body: bodies.Subscribe, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    # A gift of N sends N of these beside its own message: they say who has a subscription now, never that one was sold.
    kind = kinds.SubscriptionGiftReceived if body.is_gift else kinds.SubscriptionNew
    data = kind(tier=TIERS.get(body.tier), tier_id=body.tier)
    return Fact(id_text(body.broadcaster_user_id), _user(body), sent_at, None, data)


def _subscription_end(body: bodies.Subscribe, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    data = kinds.SubscriptionEnded(tier=TIERS.get(body.tier), tier_id=body.tier, is_gift=body.is_gift)
    return Fact(id_text(body.broadcaster_user_id), _user(body), sent_at, None, data)


def _gift(body: bodies.SubscriptionGift, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    broadcaster, gifter = id_text(body.broadcaster_user_id), _user(body)
    if body.total == 0:
        raise Unfit("a gift of no subscriptions")
    if body.is_anonymous or (gifter is not None and gifter.id == ANONYMOUS_GIFTER):
        gifter = None
    key = None
    if gifter is not None and body.cumulative_total:  # null when hidden, and 0 has been sent for null
        key = f"twitch:channel.subscription.gifts:{broadcaster}:{gifter.id}:{body.cumulative_total}"
    data = kinds.SubscriptionGifts(
        count=body.total,
        tier=TIERS.get(body.tier),
        tier_id=body.tier,
        cumulative_total=body.cumulative_total if gifter is not None else None,
    )
    return Fact(broadcaster, gifter, sent_at, key, data)


def _subscription_message(
    body: bodies.SubscriptionMessage, sent_at: datetime, subscription: bodies.Subscription
) -> Fact:
    broadcaster, user = id_text(body.broadcaster_user_id), _user(body)
    key = None
    if user is not None and body.cumulative_months:
        key = f"twitch:channel.subscription.renewal:{broadcaster}:{user.id}:{body.cumulative_months}"
    data = kinds.SubscriptionRenewal(
        tier=TIERS.get(body.tier),
        tier_id=body.tier,
        months=body.duration_months,
        cumulative_months=body.cumulative_months,
        streak_months=body.streak_months,
        message=_text(body.message),
    )
    return Fact(broadcaster, user, sent_at, key, data)


def _cheer(body: bodies.Cheer, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    cheerer = None if body.is_anonymous else _user(body)
    data = kinds.Cheered(amount=body.bits, message=body.message or None)
    return Fact(id_text(body.broadcaster_user_id), cheerer, sent_at, None, data)


def _bits_use(body: bodies.BitsUse, sent_at: datetime, subscription: bodies.Subscription) -> Fact | Ignored:
    if body.type == "cheer":
        return Ignored("cheer_counts_from_channel_cheer")
    power_up = body.power_up or body.custom_power_up
    data = kinds.BitsUsed(
        amount=body.bits,
        use=body.type,
        power_up=(power_up.type or power_up.title or None) if power_up else None,
        message=_text(body.message),
    )
    return Fact(id_text(body.broadcaster_user_id), _user(body), sent_at, None, data)


def _online(body: bodies.StreamOnline, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    started_at = instant_or_none(body.started_at)
    data = kinds.LivestreamStatus(
        is_live=True, stream_id=str(body.id), stream_type=body.type or None, started_at=started_at
    )
    return Fact(id_text(body.broadcaster_user_id), None, not_ahead(started_at, sent_at), None, data)


def _offline(body: bodies.StreamOffline, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    stream_id = None if body.id in (None, "") else str(body.id)
    data = kinds.LivestreamStatus(is_live=False, stream_id=stream_id)
    return Fact(id_text(body.broadcaster_user_id), None, sent_at, None, data)


def _update(body: bodies.ChannelUpdate, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    has_category = body.category_id not in (None, "", "0")
    data = kinds.LivestreamMetadata(
        title=body.title,
        language=body.language or None,
        category_id=body.category_id if has_category else None,
        category_name=(body.category_name or None) if has_category else None,
        content_labels=tuple(body.content_classification_labels or ()),
    )
    return Fact(id_text(body.broadcaster_user_id), None, sent_at, None, data)


_STATUSES: Final[dict[str, Literal["pending", "accepted", "rejected"]]] = {
    "unfulfilled": "pending",
    "fulfilled": "accepted",
    "canceled": "rejected",
}


def _redemption(body: bodies.Redemption, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    broadcaster, reward = id_text(body.broadcaster_user_id), body.reward
    redeemed_at = instant_or_none(body.redeemed_at)
    data = kinds.RedemptionUpdated(
        redemption_id=body.id,
        reward_id=reward.id,
        reward_title=reward.title,
        cost=reward.cost,
        status=_STATUSES.get(body.status, "pending"),
        status_known=body.status in _STATUSES,
        user_input=body.user_input or None,
        reward_description=reward.prompt or None,
        redeemed_at=redeemed_at,
    )
    key = f"twitch:channel.reward.redemption.updated:{broadcaster}:{body.id}:{body.status}"
    added = subscription.type.endswith(".add")
    return Fact(broadcaster, _user(body), not_ahead(redeemed_at, sent_at) if added else sent_at, key, data)


def _moderator(body: bodies.Unban) -> kinds.Viewer | None:
    return _viewer(body.moderator_user_id, body.moderator_user_login, body.moderator_user_name)


def _target(body: bodies.Unban) -> kinds.Viewer:
    target = _user(body)
    if target is None:
        raise Unfit("a ban names nobody")
    return target


def _ban(body: bodies.Ban, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    broadcaster, target = id_text(body.broadcaster_user_id), _target(body)
    banned_at = instant(body.banned_at)
    ends_at = None if body.is_permanent else instant_or_none(body.ends_at)
    data = kinds.Banned(
        target=target,
        reason=body.reason or None,
        duration_s=None if ends_at is None else max(0, int((ends_at - banned_at).total_seconds())),
        ends_at=ends_at,
    )
    key = f"twitch:moderation.banned:{broadcaster}:{target.id}:{body.banned_at}"
    return Fact(broadcaster, _moderator(body), not_ahead(banned_at, sent_at), key, data)


def _unban(body: bodies.Unban, sent_at: datetime, subscription: bodies.Subscription) -> Fact:
    data = kinds.Unbanned(target=_target(body))
    return Fact(id_text(body.broadcaster_user_id), _moderator(body), sent_at, None, data)


def _raid(body: bodies.Raid, sent_at: datetime, subscription: bodies.Subscription) -> Fact | Ignored:
    # One raid is told to both sides where both are subscribed; the condition says which side this message is for.
    if subscription.condition is None or not subscription.condition.to_broadcaster_user_id:
        return Ignored("outgoing_raid")
    raider = _viewer(body.from_broadcaster_user_id, body.from_broadcaster_user_login, body.from_broadcaster_user_name)
    broadcaster = id_text(subscription.condition.to_broadcaster_user_id)
    return Fact(broadcaster, raider, sent_at, None, kinds.Raided(viewers=body.viewers))


def _authorization_revoke(
    body: bodies.AuthorizationRevoke, sent_at: datetime, subscription: bodies.Subscription
) -> Fact:
    data = kinds.PlatformSubscriptionRevoked(status="authorization_revoked", subscription_id=subscription.id)
    return Fact(id_text(body.user_id), None, sent_at, None, data)


_subscribe_decoder = msgspec.json.Decoder(bodies.Subscribe)
_redemption_decoder = msgspec.json.Decoder(bodies.Redemption)

TYPES: Final[dict[tuple[str, str], tuple[msgspec.json.Decoder[Any], Read]]] = {
    ("channel.chat.message", "1"): (msgspec.json.Decoder(bodies.Chat), _chat),
    ("channel.follow", "2"): (msgspec.json.Decoder(bodies.Follow), _follow),
    ("channel.subscribe", "1"): (_subscribe_decoder, _subscribe),
    ("channel.subscription.end", "1"): (_subscribe_decoder, _subscription_end),
    ("channel.subscription.gift", "1"): (msgspec.json.Decoder(bodies.SubscriptionGift), _gift),
    ("channel.subscription.message", "1"): (msgspec.json.Decoder(bodies.SubscriptionMessage), _subscription_message),
    ("channel.cheer", "1"): (msgspec.json.Decoder(bodies.Cheer), _cheer),
    ("channel.bits.use", "1"): (msgspec.json.Decoder(bodies.BitsUse), _bits_use),
    ("stream.online", "1"): (msgspec.json.Decoder(bodies.StreamOnline), _online),
    ("stream.offline", "1"): (msgspec.json.Decoder(bodies.StreamOffline), _offline),
    ("channel.update", "2"): (msgspec.json.Decoder(bodies.ChannelUpdate), _update),
    ("channel.channel_points_custom_reward_redemption.add", "1"): (_redemption_decoder, _redemption),
    ("channel.channel_points_custom_reward_redemption.update", "1"): (_redemption_decoder, _redemption),
    ("channel.ban", "1"): (msgspec.json.Decoder(bodies.Ban), _ban),
    ("channel.unban", "1"): (msgspec.json.Decoder(bodies.Unban), _unban),
    ("channel.raid", "1"): (msgspec.json.Decoder(bodies.Raid), _raid),
    ("user.authorization.revoke", "1"): (msgspec.json.Decoder(bodies.AuthorizationRevoke), _authorization_revoke),
}
"""(signed type, signed version) → its event and what it says."""

IGNORED_TYPES: Final[dict[tuple[str, str], IgnoredWhy]] = {
    ("channel.chat.notification", "1"): "chat_notification_repeats_others",
    ("channel.channel_points_automatic_reward_redemption.add", "1"): "automatic_reward",
    ("channel.channel_points_automatic_reward_redemption.add", "2"): "automatic_reward",
}
"""Types of which every event is ignored: others tell the same fact. Cheers in `channel.bits.use`, shared-chat copies
and outgoing raids are ignored above, where their bodies are read."""
