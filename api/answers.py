"""Rows into the `data` of each answer: pure functions, one per route.

Each takes `Asked` and then the rows of the route's questions, in their order (api/routes.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from msgspec import Struct

from api.parameters import Parameters
from schemas import answers
from schemas.errors import Problem
from schemas.read_models.active_subscriptions import ActivePreviewRow, ActiveTotalRow
from schemas.read_models.coins import CoinsLeaderRow, CoinsSummaryRow, CoinsViewerRow
from schemas.read_models.events import EventRow, EventsTotalRow
from schemas.read_models.kicks import KicksHistoryRow, KicksSummaryRow, KicksTopRow
from schemas.read_models.loyalty_rules import LoyaltyRulesRow
from schemas.read_models.stream_status import StreamStatusRow
from schemas.read_models.subscription_history import SubscriptionHistoryRow
from schemas.read_models.subscription_totals import SubscriptionTotalsRow
from streamkit.directory import Broadcaster
from streamkit.envelope import time_text


class Asked(Struct, frozen=True):
    """One question of a consumer. `now_us` (epoch microseconds) is the answer's generated_at."""

    broadcaster: Broadcaster
    parameters: Parameters
    now_us: int
    timezone: tzinfo

    @property
    def platforms(self) -> list[str]:
        """The connected platforms, in the order of their names."""
        return sorted(self.broadcaster.platforms)

    def time(self, epoch_us: int) -> str:
        """An instant as answers write it."""
        return time_text(epoch_us, self.timezone)


def stream_status(asked: Asked, rows: Sequence[StreamStatusRow]) -> answers.StreamStatus:
    """Connected platforms only; one without rows is offline."""
    known = {row.platform: row for row in rows}
    platforms = {platform: _platform_status(known.get(platform)) for platform in asked.platforms}
    return answers.StreamStatus(any(status.is_live for status in platforms.values()), platforms)


def _platform_status(row: StreamStatusRow | None) -> answers.PlatformStatus:
    if row is None or not row.is_live:
        return answers.PlatformStatus(False)
    return answers.PlatformStatus(True, row.viewer_count, row.title, row.category_name)


def subscription_summary(
    asked: Asked, totals: Sequence[SubscriptionTotalsRow], active: Sequence[ActiveTotalRow]
) -> answers.SubscriptionSummary:
    """The counters; `active` is the sum over the connected platforms."""
    row = totals[0]
    counted = {each.platform: each.active_total for each in active}
    by_platform = {platform: answers.PlatformActive(counted.get(platform, 0)) for platform in asked.platforms}
    return answers.SubscriptionSummary(
        active=sum(each.active_total for each in by_platform.values()),
        gifted=row.gifted,
        new=row.new,
        resubs=row.resubs,
        all=row.gifted + row.new + row.resubs,
        by_platform=by_platform,
        history_count=row.history_count,
    )


def overview(
    asked: Asked,
    status: Sequence[StreamStatusRow],
    totals: Sequence[SubscriptionTotalsRow],
    active: Sequence[ActiveTotalRow],
    coins_rows: Sequence[CoinsSummaryRow],
    kicks_rows: Sequence[KicksSummaryRow],
    events: Sequence[EventsTotalRow],
) -> answers.Overview:
    """Everything at a glance."""
    summary = subscription_summary(asked, totals, active)
    return answers.Overview(
        stream_status(asked, status),
        answers.SubscriptionCounts(
            summary.active, summary.gifted, summary.new, summary.resubs, summary.all, summary.by_platform
        ),
        answers.CoinsSummary(coins_rows[0].total_coins, coins_rows[0].users_count),
        answers.KicksTotal(kicks_rows[0].total_kicks),
        answers.EventsTotal(events[0].total),
    )


def subscriptions_active(
    asked: Asked, totals: Sequence[ActiveTotalRow], preview: Sequence[ActivePreviewRow]
) -> answers.ActiveSubscriptions:
    """How many subscriptions are active, and those that expire next."""
    connected = asked.broadcaster.platforms
    return answers.ActiveSubscriptions(
        sum(row.active_total for row in totals if row.platform in connected),
        [answers.ActiveSubscriber(row.username, asked.time(row.expires_us), row.platform) for row in preview],
    )


def subscriptions_history(asked: Asked, rows: Sequence[SubscriptionHistoryRow]) -> list[answers.SubscriptionRecord]:
    """Newest first."""
    return [
        answers.SubscriptionRecord(row.type, row.platform, row.actor, row.count, asked.time(row.received_us))
        for row in rows
    ]


def coins(asked: Asked, leaders: Sequence[CoinsLeaderRow]) -> answers.Coins:
    """Totals and the leaderboard."""
    summary = (
        answers.CoinsSummary(leaders[0].total_coins, leaders[0].users_count) if leaders else answers.CoinsSummary(0, 0)
    )
    return answers.Coins(
        summary,
        [answers.CoinsLeader(row.username, row.coins, row.platform) for row in leaders],
    )


def kicks(
    asked: Asked,
    summary: Sequence[KicksSummaryRow],
    top: Sequence[KicksTopRow],
    history: Sequence[KicksHistoryRow],
) -> answers.Kicks:
    """Totals, top gifters, history."""
    return answers.Kicks(
        answers.KicksSummary(summary[0].total_kicks, summary[0].gift_events),
        [answers.TopGifter(row.username, row.kicks) for row in top],
        [answers.KicksGift(row.actor, row.amount, asked.time(row.occurred_us)) for row in history],
    )


def coins_viewer(asked: Asked, rows: Sequence[CoinsViewerRow]) -> answers.CoinsViewer:
    """One viewer. Raises Problem 404 `not_found` when nobody is called so."""
    if not rows:
        raise Problem(404, "not_found", f"No viewer on {asked.parameters.platform} is called so now.")
    (row,) = rows
    earned = answers.CoinsEarned(
        row.chat_minute, row.follow, row.subscription, row.gift, row.kick, row.bit, row.adjustment, row.gamble
    )
    return answers.CoinsViewer(row.username, row.platform, row.viewer_id, row.coins, row.rank, earned)


def loyalty_rules(asked: Asked, rows: Sequence[LoyaltyRulesRow]) -> answers.LoyaltyRules:
    """The rules as they stand."""
    (row,) = rows
    return answers.LoyaltyRules(row.chat_minute, row.follow, row.subscription, row.gift, row.kick, row.bit)


def events_history(asked: Asked, rows: Sequence[EventRow]) -> list[answers.StoredEvent]:
    """Newest first."""
    return [
        answers.StoredEvent(row.type, row.platform, row.actor, row.message, asked.time(row.received_us)) for row in rows
    ]
