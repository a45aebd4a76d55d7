"""Random event logs in which the boundaries are hit: few broadcasters, few viewers, clustered times.

`logs()` draws a log in log order: out of order by `occurred_at`, ties in `received_at`, the same viewer ids and names
on both platforms, renames, anonymous actors, duplicates by delivery key and by natural key (also in chains: B shares
an id with A and a natural key with C)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from hypothesis import strategies as st

from schemas.event import Event, first_word
from schemas.first_party_kinds import FIRST_PARTY_STRUCTS
from schemas.first_party_sent import BY_SOMEBODY
from schemas.kinds import (
    KINDS,
    Banned,
    BitsUsed,
    ChatMessage,
    Cheered,
    Followed,
    KicksGifted,
    KindData,
    LivestreamMetadata,
    LivestreamSnapshot,
    LivestreamStatus,
    PlatformSubscriptionRevoked,
    Raided,
    RedemptionUpdated,
    StreamInfoApplied,
    StreamInfoFailed,
    StreamInfoRequested,
    SubscriptionEnded,
    SubscriptionGiftReceived,
    SubscriptionGifts,
    SubscriptionNew,
    SubscriptionRenewal,
    SubscriptionSnapshot,
    Unbanned,
    Viewer,
)
from tests.strategies_first_party import CHATS, first_party_data
from tests.strategies_hand import BASES, NUDGES, PLATFORMS, TEXTS, USERS, Hand, PlatformName

__all__ = ["BASES", "NUDGES", "PLATFORMS", "USERS", "logs", "seeded_log"]

# Rare kinds once, those that the numbers turn on more often.
_FROM_PLATFORMS = tuple(kind for kind in KINDS if kind not in FIRST_PARTY_STRUCTS) + 2 * (
    "chat.message.sent",
    "channel.subscription.new",
    "channel.subscription.new",
    "channel.subscription.renewal",
    "channel.subscription.renewal",
    "channel.subscription.gifts",
    "channel.subscription.gift_received",
    "channel.subscription.ended",
    "livestream.status.updated",
    "livestream.status.updated",
    "livestream.metadata.updated",
    "channel.followed",
    "kicks.gifted",
    "channel.cheered",
)
_FIRST_PARTY = (*FIRST_PARTY_STRUCTS, "chat.message.sent", "channel.followed")
_SONGS = (*(kind for kind in FIRST_PARTY_STRUCTS if kind.startswith("song.")), *2 * ("song.requested",))
_GIVEAWAYS = (
    *2 * ("giveaway.opened", "chat.message.sent"),
    *3 * ("giveaway.entered", "chat.message.sent"),
    *("giveaway.drawn", "giveaway.closed"),
)
_COINS = (
    *2 * ("loyalty.rules_set", "chat.message.sent"),
    *("channel.followed", "channel.subscription.new", "channel.subscription.renewal", "channel.subscription.gifts"),
    *("kicks.gifted", "channel.cheered", "coins.adjusted", "gamble.played"),
)
_STREAMS = (*3 * ("livestream.status.updated", "livestream.snapshot"), "livestream.metadata.updated")
_THEMES = (
    _STREAMS,
    _FROM_PLATFORMS,
    _FROM_PLATFORMS,
    _FROM_PLATFORMS + _FIRST_PARTY,
    _FIRST_PARTY,
    _SONGS,
    _GIVEAWAYS,
    _GIVEAWAYS,
    _COINS,
)
"""What a log is about: thirty events of all kinds would hit the boundaries of none."""
_ONLY: dict[str, PlatformName] = {
    "kicks.gifted": "kick",
    "channel.cheered": "twitch",
    "channel.bits.used": "twitch",
    "channel.raided": "twitch",
    "channel.subscription.gift_received": "twitch",
    "channel.subscription.ended": "twitch",
    "channel.subscription.snapshot": "twitch",
    "moderation.unbanned": "twitch",
}
_NOBODY = (
    "stream_info.requested",
    "stream_info.applied",
    "stream_info.failed",
    "livestream.status.updated",
    "livestream.metadata.updated",
    "livestream.snapshot",
    "channel.subscription.snapshot",
)


@st.composite
def logs(draw: st.DrawFn, *, max_size: int = 30, duplicates: bool = True) -> list[Event]:
    """A log of up to `max_size` events. Without `duplicates` every event stands."""
    hand = Hand(lambda low, high: draw(st.integers(low, high)))
    kinds, size = hand.pick(_THEMES), max(hand.number(0, max_size), hand.number(0, max_size))
    return [_event(hand, kinds, index, ids=max(4, size) if duplicates else None) for index in range(size)]


def seeded_log(seed: int, size: int) -> list[Event]:
    """A log of `size` events with duplicates, always the same for one seed: for sizes that hypothesis is too slow at."""
    viewer_ids = [str(id) for id in range(90, 90 + 3 + size // 20)]
    hand = Hand(random.Random(seed).randint, viewer_ids, ids=3 + size // 40)
    return [_event(hand, _FROM_PLATFORMS + _FIRST_PARTY, index, ids=size) for index in range(size)]


def _event(hand: Hand, kinds: Sequence[str], index: int, *, ids: int | None) -> Event:
    kind = hand.pick(kinds)
    return (_first_party if kind in FIRST_PARTY_STRUCTS else _platforms)(hand, kind, index, ids)


def _first_party(hand: Hand, kind: str, index: int, ids: int | None) -> Event:
    user_id = hand.pick(USERS)
    anonymous = kind not in BY_SOMEBODY and hand.chance(2)
    return Event(
        event_id=f"streamkit:{user_id}:{index if ids is None else hand.number(0, 3 * ids)}",
        natural_key=None,
        type=kind,
        platform="streamkit" if anonymous else hand.pick(PLATFORMS),
        user_id=user_id,
        actor=None if anonymous else hand.viewer(),
        occurred_at=hand.time(),
        received_at=_received_at(hand),
        data=first_party_data(hand, kind),
    )


def _platforms(hand: Hand, kind: str, index: int, ids: int | None) -> Event:
    platform = _ONLY[kind] if kind in _ONLY else hand.pick(PLATFORMS)
    user_id = hand.pick(USERS)
    number = index if ids is None else hand.number(0, 3 * ids)
    natural = None if ids is None or hand.chance(2) else hand.number(0, 3 * ids)
    occurred_at = hand.time()
    actor = None if kind in _NOBODY or kind.startswith("platform.") or hand.chance(8) else hand.viewer()
    return Event(
        event_id=f"{platform}:{number:03d}",
        natural_key=None if natural is None else f"{platform}:{kind}:{user_id}:{natural}",
        type=kind,
        platform=platform,
        user_id=user_id,
        actor=actor,
        occurred_at=occurred_at,
        received_at=_received_at(hand),
        data=_data(hand, kind, platform, occurred_at, actor),
    )


def _received_at(hand: Hand) -> datetime:
    return BASES[0] + timedelta(microseconds=400_000 * hand.number(0, 8))


def _data(hand: Hand, kind: str, platform: PlatformName, occurred_at: datetime, actor: Viewer | None) -> KindData:
    kick = platform == "kick"
    match kind:
        case "chat.message.sent":
            text = hand.pick(TEXTS + 2 * CHATS) or ""
            return ChatMessage(message_id="m", message=text, first_word=first_word(text), by_broadcaster=hand.chance(4))
        case "channel.followed":
            return Followed()
        case "channel.subscription.new":
            return SubscriptionNew(months=1 if kick else None, expires_at=hand.maybe_time() if kick else None)
        case "channel.subscription.renewal":
            return SubscriptionRenewal(
                months=hand.pick((1, 3, 12)) if kick else hand.pick((None, 1, 3, 12)),
                cumulative_months=hand.pick((None, 1, 2, 5)),  # Kick has none; if it had, it would mean nothing
                message=None if kick else hand.pick(TEXTS),
                started_at=hand.time() if kick else None,
                expires_at=hand.maybe_time() if kick else None,
            )
        case "channel.subscription.gifts":
            return _gifts(hand, kick=kick, gifter=actor)
        case "channel.subscription.gift_received":
            return SubscriptionGiftReceived(tier=1, tier_id="1000")
        case "channel.subscription.ended":
            return SubscriptionEnded(is_gift=hand.chance(2))
        case "channel.subscription.snapshot":
            return SubscriptionSnapshot(total=3, complete=not hand.chance(4), subscribers=hand.viewers())
        case "kicks.gifted":
            return KicksGifted(amount=hand.pick((1, 5, 100, 500)), message=hand.pick(TEXTS))
        case "channel.cheered":
            return Cheered(amount=hand.pick((0, 1, 10, 100)), message=hand.pick(TEXTS))
        case "channel.bits.used":
            return BitsUsed(amount=7, use="power_up", power_up="gigantify_an_emote", message=hand.pick(TEXTS))
        case "livestream.status.updated":
            return _status(hand, occurred_at, kick=kick)
        case "livestream.snapshot":
            return _poll(hand, kick=kick)
        case "livestream.metadata.updated":
            return LivestreamMetadata(title=hand.pick((None, "T1", "T2")), category_name=hand.pick((None, "C1", "C2")))
        case "channel.reward.redemption.updated":
            status: tuple[Literal["pending", "accepted"], ...] = ("pending", "accepted")
            return RedemptionUpdated(
                redemption_id="r", reward_id="w", reward_title="W", cost=5, status=hand.pick(status), user_input="in"
            )
        case "moderation.banned":
            return Banned(target=hand.viewer(), reason="spam")
        case "moderation.unbanned":
            return Unbanned(target=hand.viewer())
        case "channel.raided":
            return Raided(viewers=3)
        case "platform.subscription.revoked":
            return PlatformSubscriptionRevoked(status="authorization_revoked")
        case "stream_info.requested":
            return StreamInfoRequested(command_id="c", client_id="skc_1", title="T1", category=hand.pick((None, "C1")))
        case "stream_info.applied":
            return StreamInfoApplied(command_id="c", title="T1", category=hand.pick((None, "C1")), category_id="1")
        case "stream_info.failed":
            return StreamInfoFailed(command_id="c", error="platform_error", why="Kick is not reached.")
    raise AssertionError(f"no strategy for kind {kind}")


def _gifts(hand: Hand, *, kick: bool, gifter: Viewer | None) -> SubscriptionGifts:
    if not kick:
        return SubscriptionGifts(count=hand.pick((1, 5)), tier=1, tier_id="1000")
    # one name per viewer in one event: nobody is called two things by one delivery
    giftees = tuple(gifter if gifter and g.id == gifter.id else g for g in hand.viewers())
    return SubscriptionGifts(count=len(giftees), giftees=giftees, expires_at=hand.maybe_time())


def _status(hand: Hand, occurred_at: datetime, *, kick: bool) -> LivestreamStatus:
    is_live = hand.chance(2)
    title = hand.pick((None, "S1", "S2")) if kick else None
    if kick and is_live:
        return LivestreamStatus(is_live=True, title=title, started_at=occurred_at)
    if kick:
        return LivestreamStatus(is_live=False, title=title, started_at=hand.time(), ended_at=occurred_at)
    if is_live:
        stream_id = hand.pick(("41", "42", "43"))
        return LivestreamStatus(is_live=True, stream_id=stream_id, stream_type="live", started_at=occurred_at)
    return LivestreamStatus(is_live=False, stream_id=hand.pick((None, None, None, "41")))


def _poll(hand: Hand, *, kick: bool) -> LivestreamSnapshot:
    title, category_name = hand.pick((None, "P1")), hand.pick((None, "C1", "C3"))
    if not hand.chance(2):
        return LivestreamSnapshot(is_live=False, title=title, category_name=category_name)
    return LivestreamSnapshot(
        is_live=True,
        stream_id=None if kick else hand.pick(("41", "42", "43")),
        started_at=hand.time(),
        title=title,
        category_name=category_name,
        viewer_count=hand.pick((None, 0, 7, 900)),
    )
