"""The totals that `simulate` prints are what the codecs and the oracle make of the same deliveries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from ingest.codecs import kick, twitch
from ingest.codecs.delivery import Delivery as Received
from streamkit.simulation.signing import SANDBOX_TWITCH_SECRET, sandbox_kick_key
from streamkit.simulation.totals import totals
from streamkit.simulation.traffic import disturb, traffic
from tests.oracle import Oracle
from tests.simulated import event_of, events_of, told

START = datetime(2026, 11, 24, 23, 58, 30, tzinfo=UTC)


@pytest.mark.parametrize("seed", range(6))
def test_totals_agree_with_codecs_and_oracle(seed: int) -> None:
    fresh = list(islice(traffic(seed, start=START, interval=timedelta(milliseconds=150)), 1_500))
    sent = disturb(fresh, seed, repeated=250, shuffle=0.4)
    shown, oracle = totals(told(sent)), Oracle(events_of(sent, 1))
    now = sent[-1].sent_at + timedelta(minutes=5)
    platforms = ("kick", "twitch")
    overview = oracle.overview(1, platforms, now)
    summary = oracle.subscriptions_summary(1, platforms, now)
    subscriptions = shown.subscriptions
    assert subscriptions.active == summary["active"]
    assert (subscriptions.new, subscriptions.resubs, subscriptions.gifted, subscriptions.all) == tuple(
        summary[key] for key in ("new", "resubs", "gifted", "all")
    )
    assert subscriptions.history_count == summary["history_count"]
    assert (shown.coins.total_coins, shown.coins.users_count) == tuple(overview["coins"].values())
    assert shown.kicks.total_kicks == overview["kicks"]["total_kicks"]
    assert shown.kicks.gift_events == oracle.kicks(1)["summary"]["gift_events"]
    assert shown.events.total == overview["events"]["total"]
    status = overview["stream_status"]["platforms"]
    assert {platform: status[platform]["stream_title"] for platform in platforms} == shown.stream_titles


def test_every_delivery_is_signed_and_carries_the_id_and_time_it_says() -> None:
    for delivery in islice(traffic(9, start=START, interval=timedelta(milliseconds=150)), 400):
        headers = {name.lower(): value for name, value in delivery.headers.items()}
        received = Received(headers, delivery.body, delivery.sent_at)
        if delivery.platform == "kick":
            assert kick.verify(received, sandbox_kick_key().public_key())
            assert kick.event_id(received) == delivery.event_id
        else:
            assert twitch.verify(received, (SANDBOX_TWITCH_SECRET,))
            assert twitch.event_id(received) == delivery.event_id
        event = event_of(delivery, 1)
        if event is not None:
            assert delivery.fact is not None
            told = (delivery.fact.kind, delivery.fact.occurred_at, delivery.fact.viewer and delivery.fact.viewer.id)
            assert (event.type, event.occurred_at, event.actor and event.actor.id) == told
