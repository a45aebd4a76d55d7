"""The oracle's coins: what each viewer earned, by rule, at the prices in force where the event lies in the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime

from schemas.event import Event
from schemas.first_party_kinds import CoinsAdjusted, GamblePlayed, LoyaltyRulesSet
from schemas.kinds import (
    ChatMessage,
    Cheered,
    Followed,
    KicksGifted,
    SubscriptionGifts,
    SubscriptionNew,
    SubscriptionRenewal,
)
from tests.oracle_log import Log, ViewerKey, viewer_of

DEFAULT_RULES = {"chat_minute": 1, "follow": 10, "subscription": 100, "gift": 50, "kick": 1, "bit": 1}
SOURCES = (*DEFAULT_RULES, "adjustment", "gamble")


def rules(log: Log) -> dict[str, int]:
    """Coins by rule, as they stand after `log`."""
    standing = DEFAULT_RULES
    for _, event in log:
        standing = _governed(standing, event)
    return standing


def earned(log: Log, suppressed: Collection[str]) -> dict[ViewerKey, dict[str, int]]:
    """What each viewer has from each of SOURCES. `suppressed`: the event ids of the renewals that do not count."""
    accounts: dict[ViewerKey, dict[str, int]] = defaultdict(lambda: dict.fromkeys(SOURCES, 0))
    minutes: set[tuple[ViewerKey, datetime]] = set()
    followers: set[ViewerKey] = set()
    price = DEFAULT_RULES
    for _, event in log:
        price = _governed(price, event)
        viewer = viewer_of(event)
        if viewer is None:
            continue
        account = accounts[viewer]
        match event.data:
            case ChatMessage():
                minute = event.occurred_at.astimezone(UTC).replace(second=0, microsecond=0)
                if (viewer, minute) not in minutes:
                    minutes.add((viewer, minute))
                    account["chat_minute"] += price["chat_minute"]
            case Followed():
                if viewer not in followers:
                    followers.add(viewer)
                    account["follow"] += price["follow"]
            case SubscriptionNew():
                account["subscription"] += price["subscription"]
            case SubscriptionRenewal() if event.event_id not in suppressed:
                account["subscription"] += price["subscription"]
            case SubscriptionGifts() as gifts:
                account["gift"] += price["gift"] * gifts.count
            case KicksGifted() as gift:
                account["kick"] += price["kick"] * gift.amount
            case Cheered() as cheer:
                account["bit"] += price["bit"] * cheer.amount
            case CoinsAdjusted() as adjusted:
                account["adjustment"] += adjusted.amount
            case GamblePlayed() as played:
                account["gamble"] += played.payout - played.bet
    return accounts


def _governed(standing: dict[str, int], event: Event) -> dict[str, int]:
    """The rules for what comes after `event` in the log."""
    if not isinstance(event.data, LoyaltyRulesSet):
        return standing
    return standing | {rule: coins for rule in standing if (coins := getattr(event.data, rule)) is not None}
