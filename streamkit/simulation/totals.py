"""What the API must show for simulated deliveries, added up from what each one means.

The rules are the API's, in the plainest form that holds for one simulated run: it lasts less than a month, so that
no subscription expires and a newcomer's renewal message always tells of the subscription that counted already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from streamkit.simulation.delivery import Fact

NOT_STORED = {"channel.subscription.gift_received", "platform.subscription.revoked"}
COINS = {"channel.followed": 10, "channel.subscription.new": 100, "channel.subscription.renewal": 100}
COINS_EACH = {"channel.subscription.gifts": 50, "kicks.gifted": 1, "channel.cheered": 1}


class Subscriptions(Struct, frozen=True):
    """`GET subscriptions-summary`."""

    active: int
    gifted: int
    new: int
    resubs: int
    all: int
    history_count: int


class Coins(Struct, frozen=True):
    """The summary of `GET coins`."""

    total_coins: int
    users_count: int


class Kicks(Struct, frozen=True):
    """The summary of `GET kicks`."""

    total_kicks: int
    gift_events: int


class Events(Struct, frozen=True):
    """Of `GET overview`."""

    total: int


class Totals(Struct, frozen=True):
    """The numbers by the API's own names, as in `GET /api/public/v2/overview` and its neighbours."""

    subscriptions: Subscriptions
    coins: Coins
    kicks: Kicks
    events: Events
    stream_titles: dict[str, str | None]


def totals(told: Iterable[Fact]) -> Totals:
    """The totals for the facts of deliveries that a receiver took in; a fact that comes again counts once."""
    facts = {id(fact): fact for fact in told}.values()
    by_kind: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_kind[fact.kind].append(fact)
    new = by_kind["channel.subscription.new"]
    newcomers = {_viewer(fact) for fact in new if fact.platform == "twitch"}
    resubs = [fact for fact in by_kind["channel.subscription.renewal"] if _viewer(fact) not in newcomers]
    given = by_kind["channel.subscription.gifts"]
    gifted = sum(fact.quantity for fact in given)
    kicks = by_kind["kicks.gifted"]
    return Totals(
        subscriptions=Subscriptions(
            active=_active(facts),
            gifted=gifted,
            new=len(new),
            resubs=len(resubs),
            all=gifted + len(new) + len(resubs),
            history_count=len(new) + len(resubs) + len(given),
        ),
        coins=_coins(
            [
                *by_kind["chat.message.sent"],
                *by_kind["channel.followed"],
                *new,
                *resubs,
                *given,
                *kicks,
                *by_kind["channel.cheered"],
            ]
        ),
        kicks=Kicks(sum(fact.quantity for fact in kicks), len(kicks)),
        events=Events(sum(fact.kind not in NOT_STORED for fact in facts)),
        stream_titles={platform: _title(facts, platform) for platform in ("kick", "twitch")},
    )


def _viewer(fact: Fact) -> tuple[str, str] | None:
    return None if fact.viewer is None else (fact.platform, fact.viewer.id)


def _active(facts: Iterable[Fact]) -> int:
    """Viewers with a subscription later than their last end."""
    subscribed: dict[tuple[str, str], object] = {}
    for fact in sorted(facts, key=lambda fact: fact.occurred_at):
        viewer = _viewer(fact)
        if fact.kind in (
            "channel.subscription.new",
            "channel.subscription.renewal",
            "channel.subscription.gift_received",
        ):
            assert viewer is not None
            subscribed[viewer] = True
        elif fact.kind == "channel.subscription.ended":
            assert viewer is not None
            subscribed.pop(viewer, None)
        for receiver in fact.receivers:
            subscribed[(fact.platform, receiver.id)] = True
    return len(subscribed)


def _coins(facts: Iterable[Fact]) -> Coins:
    balances: dict[tuple[str, str], int] = defaultdict(int)
    paid: set[tuple[object, ...]] = set()
    for fact in facts:
        viewer = _viewer(fact)
        if viewer is None:
            continue
        if fact.kind == "chat.message.sent":
            once: tuple[object, ...] = (viewer, fact.occurred_at.replace(second=0, microsecond=0))
            earned = 1
        elif fact.kind == "channel.followed":
            once, earned = (viewer, "follow"), COINS[fact.kind]
        else:
            once, earned = (fact.event_id,), COINS.get(fact.kind, 0) + COINS_EACH.get(fact.kind, 0) * fact.quantity
        if once not in paid:
            paid.add(once)
            balances[viewer] += earned
    return Coins(sum(balances.values()), len(balances))


def _title(facts: Iterable[Fact], platform: str) -> str | None:
    told = [fact for fact in facts if fact.platform == platform and fact.title is not None]
    return max(told, key=lambda fact: (fact.occurred_at, fact.event_id)).title if told else None
