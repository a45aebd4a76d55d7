"""What one round does, drawn from its seed: the same seed is the same traffic and the same faults, in the same order.

When a fault strikes depends on how fast the machine is. What may not live here: any process.
"""

from __future__ import annotations

import random
from typing import Literal

from msgspec import Struct

How = Literal["kill", "pause", "slow disk"]
Kind = Literal["up", "split", "kafka"]

KINDS: tuple[Kind, ...] = ("up", "kafka", "split")
"""All rooms in one process over SQLite, rooms of their own over Kafka and Redis, rooms of their own over SQLite."""

PARTS: dict[Kind, tuple[str, ...]] = {
    "up": ("up",),
    "split": ("ingest-0", "projector-0", "api-0"),
    "kafka": ("ingest-0", "ingest-1", "projector-0", "projector-1", "api-0", "kafka", "redis"),
}
"""The processes of a deployment, `ROOM-NUMBER` or a server's name."""

DISK = "disk"
FAULTS = {"up": 4, "split": 5, "kafka": 5}


class Fault(Struct, frozen=True):
    """`part` is killed (`kill -9`) or paused (SIGSTOP) for `lasts_s`, then started again or resumed; or the disk is slow
    for that long. It strikes when the share `at` of the requests is answered."""

    how: How
    part: str
    at: float
    lasts_s: float


class Plan(Struct, frozen=True):
    """One round. `deliveries` come from the platforms, repeats included, `pushes` are the events of a bot; `duplicates` and
    `shuffle` as `streamkit simulate` has them."""

    seed: int
    kind: Kind
    deliveries: int
    pushes: int
    duplicates: float
    shuffle: float
    faults: tuple[Fault, ...]


def plan(seed: int, kind: Kind | None = None) -> Plan:
    """The round of this seed. A round over Kafka has its broker killed."""
    drawn = random.Random(f"chaos {seed}")
    kind = kind or KINDS[seed % len(KINDS)]
    faults = [_fault(drawn, kind) for _ in range(drawn.randint(2, FAULTS[kind]))]
    if kind == "kafka":
        faults[0] = Fault("kill", "kafka", faults[0].at, round(drawn.uniform(0.5, 4), 1))
    return Plan(
        seed=seed,
        kind=kind,
        deliveries=drawn.randint(300, 600),
        pushes=drawn.randint(50, 150),
        duplicates=round(drawn.uniform(0, 0.3), 2),
        shuffle=round(drawn.uniform(0, 0.5), 2),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
    )


def _fault(drawn: random.Random, kind: Kind) -> Fault:
    part = drawn.choice((*PARTS[kind], *PARTS[kind], DISK))
    how: How = "slow disk" if part == DISK else "kill" if part == "redis" else drawn.choice(("kill", "kill", "pause"))
    # now and then a pause is longer than what a group of projectors waits for one of them
    longest_s = 9.0 if how == "pause" and part.startswith("projector") and drawn.random() < 0.3 else 3.0
    return Fault(how, part, round(drawn.uniform(0.02, 0.9), 2), round(drawn.uniform(0.1, longest_s), 1))
