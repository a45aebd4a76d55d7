"""What no platform sends, at random: data of every first-party kind, with the words that keywords turn on."""

from __future__ import annotations

from typing import Any

from schemas.first_party_kinds import (
    CoinsAdjusted,
    FirstParty,
    GamblePlayed,
    GiveawayClosed,
    GiveawayDrawn,
    GiveawayEntered,
    GiveawayOpened,
    LoyaltyRulesSet,
    Outcome,
    SongPlayed,
    SongQueueCleared,
    SongRemoved,
    SongRequested,
    SongSkipped,
    WheelConfigured,
    WheelSpun,
    Winner,
)
from tests.strategies_hand import PLATFORMS, Hand

KEYWORDS = (None, "!join", "!join", "!JOIN", "straße", "STRASSE", "İ", "ﬁ")
"""Casefolding makes two of `ß`, `İ` and `ﬁ`: no `lower` finds that these are each other's."""

CHATS = (
    "!join",
    "!Join now",
    "!JOIN",
    "\u2003!join\u001cnow",
    "!joinnow",
    "now !join",
    "STRASSE",
    "straße x",
    "i\u0307",
    "FI",
)
"""Messages that enter a giveaway, and messages that nearly do."""

_TITLES = ("", "T", 'q"\\\n', "雪" * 500)
_SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"max_entries": 100, "subscribers_only": True, "prizes": ["a", {"b": None}]},
    {"Prize": 1, "prize": 2, "title ": "straße\U0001f600", "": 0.1},
)
_SEGMENTS = ((), ("100 coins", "Hydrate"), ("Hydrate", "", "Hydrate"), tuple(f"s{n}" for n in range(100)))
_OUTCOMES: tuple[Outcome, ...] = ("win", "lose", "draw")
_PRICES = (None, None, None, 0, 1, 3, 1000)


def first_party_data(hand: Hand, kind: str) -> FirstParty:
    """The data of an event of `kind`."""
    match kind:
        case "song.requested":
            host = hand.pick(("youtube", "spotify", "soundcloud", "songs.example"))
            return SongRequested(
                request_id=hand.id(4),
                song_url=f"https://{host}/{hand.number(1, 9)}",
                provider=host,
                title=hand.pick((None, *_TITLES)),
                duration_s=hand.pick((None, 0, 212, 0.25)),
            )
        case "song.played":
            return SongPlayed(request_id=hand.id(4))
        case "song.skipped":
            return SongSkipped(request_id=hand.id(4))
        case "song.removed":
            return SongRemoved(request_id=hand.id(4))
        case "song.queue_cleared":
            return SongQueueCleared()
        case "giveaway.opened":
            keyword = hand.pick(KEYWORDS)
            return GiveawayOpened(
                giveaway_id=hand.id(),
                title=hand.pick(_TITLES),
                keyword=keyword,
                keyword_word=None if keyword is None else keyword.casefold(),
                settings=hand.pick(_SETTINGS),
            )
        case "giveaway.entered":
            return GiveawayEntered(giveaway_id=hand.id())
        case "giveaway.drawn":
            viewer = hand.viewer()
            return GiveawayDrawn(giveaway_id=hand.id(), winner=Winner(hand.pick(PLATFORMS), viewer.id, viewer.name))
        case "giveaway.closed":
            return GiveawayClosed(giveaway_id=hand.id())
        case "wheel.configured":
            return WheelConfigured(title=hand.pick(_TITLES), segments=hand.pick(_SEGMENTS))
        case "wheel.spun":
            return WheelSpun(result=hand.pick(("Hydrate", "100 coins", "no segment", "")))
        case "gamble.played":
            bet = hand.pick((0, 1, 50, 500))
            payout = hand.pick((0, 0, bet, 2 * bet, 7))
            return GamblePlayed(
                game_type=hand.pick(("coinflip", "slots")), outcome=hand.pick(_OUTCOMES), bet=bet, payout=payout
            )
        case "coins.adjusted":
            return CoinsAdjusted(amount=hand.pick((-1000, -100, -10, -1, 1, 10, 1000)), reason=hand.pick((None, "why")))
        case "loyalty.rules_set":
            return LoyaltyRulesSet(**{rule: hand.pick(_PRICES) for rule in LoyaltyRulesSet.__struct_fields__})
    raise AssertionError(f"no strategy for kind {kind}")
