"""The traffic of a stream: every type once, then as often as on real streams; and how a network disturbs it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from streamkit.simulation import kick_scenes as kick
from streamkit.simulation import signing
from streamkit.simulation import twitch_scenes as twitch
from streamkit.simulation.delivery import Delivery, World, ulid_from, uuid_from

Scene = Callable[[World], Iterator[Delivery]]

OPENING: tuple[Scene, ...] = (kick.went_live, twitch.went_live)

SCENES: tuple[tuple[float, Scene], ...] = (
    (36, kick.chat),
    (36, twitch.chat),
    (3, kick.follow),
    (3, twitch.follow),
    (1.5, kick.subscription),
    (1.5, twitch.subscription),
    (1.5, kick.renewal),
    (1.5, twitch.renewal),
    (1, kick.gifts),
    (0.7, twitch.gifts),
    (4, kick.kicks),
    (3, twitch.cheer),
    (0.7, twitch.power_up),
    (1, kick.redemption),
    (1, twitch.redemption),
    (0.3, kick.metadata),
    (0.3, twitch.metadata),
    (0.4, kick.ban),
    (0.4, twitch.ban),
    (0.2, twitch.raid),
    (0.3, twitch.ended),
    (0.05, twitch.revocation),
)


def traffic(seed: int, *, start: datetime, interval: timedelta) -> Iterator[Delivery]:
    """Endless deliveries, `interval` apart from `start` (aware UTC) on: the same for the same arguments."""
    world = World(seed, start, interval)
    for scene in OPENING:
        yield from scene(world)
    for _, scene in SCENES:
        yield from scene(world)
    weights, scenes = zip(*SCENES, strict=True)
    while True:
        yield from world.choose.choices(scenes, weights)[0](world)


def disturb(deliveries: Sequence[Delivery], seed: int, *, repeated: int = 0, shuffle: float = 0.0) -> list[Delivery]:
    """The same facts as a bad network brings them.

    `repeated` of what is given back are repeats: under the same message id, or, where the platform's body tells that
    it is the same fact, under another. A share `shuffle` comes up to 50 places late.
    """
    rng = random.Random(f"{seed} disturbed")
    placed = [(float(place), delivery) for place, delivery in enumerate(deliveries)]
    for place, delivery in rng.choices(placed[:], k=repeated):
        placed.append((place + rng.uniform(0.5, 50), _again(delivery, rng)))
    late = [(place + rng.uniform(1, 50) if rng.random() < shuffle else place, delivery) for place, delivery in placed]
    return [delivery for _, delivery in sorted(late, key=lambda entry: entry[0])]


def _again(delivery: Delivery, rng: random.Random) -> Delivery:
    if not delivery.repeatable or rng.random() < 0.5:
        return delivery
    if delivery.platform == "kick":
        message_id, kind = ulid_from(rng, delivery.sent_at), delivery.headers["Kick-Event-Type"]
        headers = signing.kick_headers(message_id, kind, delivery.sent_at, delivery.body)
    else:
        message_id, kind = uuid_from(rng), delivery.headers["Twitch-Eventsub-Subscription-Type"]
        version = delivery.headers["Twitch-Eventsub-Subscription-Version"]
        headers = signing.twitch_headers(message_id, kind, version, delivery.sent_at, delivery.body)
    return msgspec.structs.replace(delivery, headers=headers, event_id=f"{delivery.platform}:{message_id}")
