"""Rounds of chaos for as long as STREAMKIT_CHAOS_S says (CI: 150 s; without it one round of each kind), seeds 0, 1, 2, …

`make chaos ROUNDS=N` plays any number of others.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.chaos.plan import KINDS, PARTS, plan
from tests.chaos.play import play, servers
from tests.services import kafka, redis

SECONDS = float(os.environ.get("STREAMKIT_CHAOS_S", "0"))


def test_a_seed_is_a_round_and_every_round_over_kafka_kills_its_broker() -> None:
    rounds = [plan(seed) for seed in range(300)]
    assert rounds == [plan(seed) for seed in range(300)]
    assert len(set(map(repr, rounds))) == 300
    struck = {(round_.kind, fault.part) for round_ in rounds for fault in round_.faults}
    assert struck == {(kind, part) for kind in KINDS for part in (*PARTS[kind], "disk")}
    over_kafka = [round_ for round_ in rounds if round_.kind == "kafka"]
    assert all(any((f.how, f.part) == ("kill", "kafka") for f in round_.faults) for round_ in over_kafka)


@pytest.mark.drill
@pytest.mark.kafka
@pytest.mark.redis
async def test_whatever_is_killed_everything_acknowledged_is_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for service in (kafka, redis):
        if not service.is_available():
            pytest.skip(service.HOW_TO_ENABLE)
    began, played, longest_s = time.monotonic(), 0, 0.0
    with servers(tmp_path) as both:
        while played < len(KINDS) or time.monotonic() - began + longest_s < SECONDS:
            round_, round_began = plan(played), time.monotonic()
            folder = tmp_path / f"round-{round_.seed}"
            folder.mkdir()
            await play(round_, folder, both)
            played += 1
            longest_s = max(longest_s, time.monotonic() - round_began)
    with capsys.disabled():
        print(f" chaos: {played} rounds green in {time.monotonic() - began:.0f} s, seeds 0 to {played - 1}")
