"""The traffic generator: the same for the same seed, every type, signed as the platforms sign."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from streamkit.simulation.delivery import Delivery
from streamkit.simulation.signing import sandbox_kick_key, sandbox_kick_public_key
from streamkit.simulation.totals import totals
from streamkit.simulation.traffic import disturb, traffic
from tests.simulated import told

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def _some(seed: int, count: int, start: datetime = START) -> list[Delivery]:
    return list(islice(traffic(seed, start=start, interval=timedelta(milliseconds=10)), count))


def test_the_same_seed_and_start_give_the_same_bytes() -> None:
    assert _some(3, 200) == _some(3, 200)
    assert _some(3, 200) != _some(4, 200)


def test_another_start_tells_the_same_story_about_other_people() -> None:
    first, second = _some(3, 200), _some(3, 200, START + timedelta(hours=1))
    assert [d.fact.kind if d.fact else None for d in first] == [d.fact.kind if d.fact else None for d in second]
    assert not {d.event_id for d in first} & {d.event_id for d in second}
    viewers = [{d.fact.viewer.id for d in run if d.fact and d.fact.viewer} for run in (first, second)]
    assert not viewers[0] & viewers[1]


def test_the_first_hundred_hold_every_type_of_both_platforms() -> None:
    kinds = Counter((d.platform, d.fact.kind if d.fact else "ignored") for d in _some(1, 100))
    both = (
        "chat.message.sent channel.followed channel.subscription.new channel.subscription.renewal "
        "channel.subscription.gifts channel.reward.redemption.updated livestream.status.updated "
        "livestream.metadata.updated moderation.banned"
    )
    twitch = (
        "channel.subscription.gift_received channel.subscription.ended channel.cheered channel.bits.used "
        "moderation.unbanned channel.raided platform.subscription.revoked ignored"
    )
    wanted = {(platform, kind) for platform in ("kick", "twitch") for kind in both.split()}
    wanted |= {("twitch", kind) for kind in twitch.split()} | {("kick", "kicks.gifted")}
    assert kinds.keys() == wanted


def test_the_public_key_is_the_private_ones_half() -> None:
    assert load_pem_public_key(sandbox_kick_public_key().encode()) == sandbox_kick_key().public_key()


@pytest.mark.parametrize("repeated", [0, 100, 900])
def test_disturbed_traffic_tells_the_same_facts(repeated: int) -> None:
    fresh = _some(5, 900)
    disturbed = disturb(fresh, 5, repeated=repeated, shuffle=0.3)
    assert len(disturbed) == 900 + repeated
    assert {d.event_id for d in fresh} <= {d.event_id for d in disturbed}
    assert totals(told(disturbed)) == totals(told(fresh))
    if repeated:
        assert len({d.event_id for d in disturbed}) < len(disturbed), "the same id again"
        assert len({d.event_id for d in disturbed}) > len(fresh), "the same fact under another id"


def test_totals_by_hand() -> None:
    run = _some(2, 400)
    facts = [d.fact for d in run if d.fact]
    gifts = [f for f in facts if f.kind == "channel.subscription.gifts"]
    shown = totals(facts)
    assert shown.kicks.total_kicks == sum(f.quantity for f in facts if f.kind == "kicks.gifted") > 0
    assert shown.subscriptions.gifted == sum(f.quantity for f in gifts) > len(gifts)
    assert shown.subscriptions.all == shown.subscriptions.new + shown.subscriptions.resubs + shown.subscriptions.gifted
    assert shown.events.total < len(facts)
