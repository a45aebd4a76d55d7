"""The data of what no platform sends: songs, giveaways, the wheel, gambles, coins and their rules.

A streamer's own bot or dashboard pushes them (`POST /ingest/v1/events`). Bounds stand on the fields, so that what is
taken in and what is folded are checked by the same declaration. Part of the union in kinds.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from schemas.bounds import MAX_PRICE, MAX_QUANTITY

Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
Title = Annotated[str, Meta(max_length=500)]
Keyword = Annotated[str, Meta(min_length=1, max_length=50, pattern=r"^\S+(?![\s\S])")]
"""Without white space, up to its very end: Python's `$` would let a line feed follow."""
ViewerName = Annotated[str, Meta(min_length=1, max_length=200)]
ViewerPlatform = Literal["kick", "twitch"]
Quantity = Annotated[int, Meta(ge=0, le=MAX_QUANTITY)]
Price = Annotated[int, Meta(ge=0, le=MAX_PRICE)]
Outcome = Literal["win", "lose", "draw"]


class FirstPartyData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all of them are."""


class SongRequested(FirstPartyData, frozen=True):
    """`song.requested`. The actor asked for it. `provider`: `youtube`, `spotify`, `soundcloud`, else the host."""

    request_id: Identifier
    song_url: Annotated[str, Meta(min_length=1, max_length=2048)]
    provider: Annotated[str, Meta(max_length=255)] | None = None
    title: Title | None = None
    duration_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None


class SongPlayed(FirstPartyData, frozen=True):
    """`song.played`: final, whatever its time."""

    request_id: Identifier


class SongSkipped(FirstPartyData, frozen=True):
    """`song.skipped`: final, whatever its time."""

    request_id: Identifier


class SongRemoved(FirstPartyData, frozen=True):
    """`song.removed`: final, whatever its time."""

    request_id: Identifier


class SongQueueCleared(FirstPartyData, frozen=True):
    """`song.queue_cleared`: removes the requests that happened up to its own time."""


class GiveawayOpened(FirstPartyData, frozen=True):
    """`giveaway.opened`. `settings` has every further setting, as it was sent; `keyword_word` is the keyword
    casefolded, as a chat message's `first_word` is."""

    giveaway_id: Identifier
    title: Title
    keyword: Keyword | None = None
    keyword_word: str | None = None
    settings: dict[str, Any] = {}


class GiveawayEntered(FirstPartyData, frozen=True):
    """`giveaway.entered`. The actor enters."""

    giveaway_id: Identifier


class Winner(Struct, frozen=True):
    """Who won, by the streamer's word: a viewer of a platform."""

    platform: ViewerPlatform
    id: Identifier
    name: ViewerName


class GiveawayDrawn(FirstPartyData, frozen=True):
    """`giveaway.drawn`. Ends it."""

    giveaway_id: Identifier
    winner: Winner


class GiveawayClosed(FirstPartyData, frozen=True):
    """`giveaway.closed`. Ends it without a winner."""

    giveaway_id: Identifier


class WheelConfigured(FirstPartyData, frozen=True):
    """`wheel.configured`."""

    title: Title
    segments: Annotated[tuple[Title, ...], Meta(max_length=100)]


class WheelSpun(FirstPartyData, frozen=True):
    """`wheel.spun`. `result` need not be a segment."""

    result: Title


class GamblePlayed(FirstPartyData, frozen=True):
    """`gamble.played`. The actor played. `bet` and `payout` in coins; the balance moves by their difference."""

    game_type: Annotated[str, Meta(min_length=1, max_length=100)]
    outcome: Outcome
    bet: Quantity
    payout: Quantity


class CoinsAdjusted(FirstPartyData, frozen=True):
    """`coins.adjusted`. The actor's balance moves by `amount` coins, which is not zero."""

    amount: Annotated[int, Meta(ge=-MAX_QUANTITY, le=MAX_QUANTITY)]
    reason: Title | None = None


class LoyaltyRulesSet(FirstPartyData, frozen=True):
    """`loyalty.rules_set`. Coins by rule; what is left out stands as it stood."""

    chat_minute: Price | None = None
    follow: Price | None = None
    subscription: Price | None = None
    gift: Price | None = None
    kick: Price | None = None
    bit: Price | None = None


FIRST_PARTY_STRUCTS: dict[str, type[FirstPartyData]] = {
    "song.requested": SongRequested,
    "song.played": SongPlayed,
    "song.skipped": SongSkipped,
    "song.removed": SongRemoved,
    "song.queue_cleared": SongQueueCleared,
    "giveaway.opened": GiveawayOpened,
    "giveaway.entered": GiveawayEntered,
    "giveaway.drawn": GiveawayDrawn,
    "giveaway.closed": GiveawayClosed,
    "wheel.configured": WheelConfigured,
    "wheel.spun": WheelSpun,
    "gamble.played": GamblePlayed,
    "coins.adjusted": CoinsAdjusted,
    "loyalty.rules_set": LoyaltyRulesSet,
}

FirstParty = (
    SongRequested
    | SongPlayed
    | SongSkipped
    | SongRemoved
    | SongQueueCleared
    | GiveawayOpened
    | GiveawayEntered
    | GiveawayDrawn
    | GiveawayClosed
    | WheelConfigured
    | WheelSpun
    | GamblePlayed
    | CoinsAdjusted
    | LoyaltyRulesSet
)
