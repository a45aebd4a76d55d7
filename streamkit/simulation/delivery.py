"""A simulated delivery and what it means; the cast they are about."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from msgspec import Struct

from streamkit.simulation import signing
from streamkit.simulation.bodies import Json, Person, encode, twitch_body

SUBSCRIPTION_DAYS = 30
VIEWERS = 150


class Streamer(Struct, frozen=True):
    """The broadcaster on both platforms."""

    kick: Person
    twitch: Person


SANDBOX_STREAMER = Streamer(Person("900100", "sandbox_streamer"), Person("900200", "Sandbox_Streamer"))


class Fact(Struct, frozen=True, kw_only=True):
    """What the API must make of a delivery: canonical `kind`, when, who (None: anonymous), how much.

    `quantity` in the kind's unit: subscriptions given, kicks, bits, else 1. `receivers` are Kick's giftees.
    """

    kind: str
    platform: str
    event_id: str
    occurred_at: datetime
    viewer: Person | None = None
    quantity: int = 1
    receivers: tuple[Person, ...] = ()
    is_live: bool | None = None
    title: str | None = None
    category: str | None = None


class Delivery(Struct, frozen=True, kw_only=True):
    """One POST. `fact` None: a type that would count something twice, which a receiver ignores.

    `repeatable`: the same fact may come again under another message id, and must count once all the same.
    """

    platform: str
    event_id: str
    sent_at: datetime
    headers: dict[str, str]
    body: bytes
    fact: Fact | None
    repeatable: bool = False

    @property
    def path(self) -> str:
        """Where it is posted."""
        return f"/webhooks/{self.platform}"


class World:
    """The state a simulation draws on: a clock that advances by `interval` a delivery, viewers, ids.

    What happens comes from `seed` alone; who is who also from `start`, so that a second run with one seed is the same
    story about other people and its numbers add to the first run's.
    """

    def __init__(self, seed: int, start: datetime, interval: timedelta) -> None:
        self.choose = random.Random(seed)
        self.ids = random.Random(f"{seed} {start.isoformat()}")
        self.at = start
        self.interval = interval
        self.streamer = SANDBOX_STREAMER
        self.kick_viewers = [self._person(number) for number in range(VIEWERS)]
        self.twitch_viewers = [self._person(number) for number in range(VIEWERS)]
        self.twitch_newcomers: dict[str, Person] = {}
        self.twitch_renewals: dict[str, int] = {}
        self.twitch_given: dict[str, int] = {}

    def _person(self, number: int) -> Person:
        first = self.choose.choice(("Happy", "sleepy", "Turbo", "quiet", "Mega", "lucky", "Ztracená", "retro"))
        second = self.choose.choice(("Otter", "panda", "Comet", "noodle", "Falcon", "byte", "Kočka", "pixel"))
        return Person(str(self.ids.randrange(10**8, 10**10)), f"{first}_{second}{number}")

    def tick(self) -> datetime:
        """The moment of the next delivery."""
        self.at += self.interval
        return self.at

    def kick_viewer(self) -> Person:
        """Someone on Kick; a few are far more active than most."""
        return self.kick_viewers[min(int(self.choose.expovariate(0.03)), len(self.kick_viewers) - 1)]

    def twitch_viewer(self) -> Person:
        """Someone on Twitch."""
        return self.twitch_viewers[min(int(self.choose.expovariate(0.03)), len(self.twitch_viewers) - 1)]

    def kick(
        self, kind: str, at: datetime, body: Json, fact: Fact | None, message_id: str, *, repeatable: bool = False
    ) -> Delivery:
        """The signed Kick delivery of `body`."""
        data = encode(body)
        return Delivery(
            platform="kick",
            event_id=f"kick:{message_id}",
            sent_at=at,
            headers=signing.kick_headers(message_id, kind, at, data),
            body=data,
            fact=fact,
            repeatable=repeatable,
        )

    def twitch(
        self,
        kind: str,
        version: str,
        at: datetime,
        event: Json | None,
        fact: Fact | None,
        message_id: str,
        *,
        repeatable: bool = False,
        condition: Json | None = None,
        status: str = "enabled",
    ) -> Delivery:
        """The signed Twitch delivery of `event`; None is a revocation with `status`."""
        data = encode(twitch_body(kind, version, self.streamer.twitch, event, condition=condition, status=status))
        message_type = "notification" if event is not None else "revocation"
        return Delivery(
            platform="twitch",
            event_id=f"twitch:{message_id}",
            sent_at=at,
            headers=signing.twitch_headers(message_id, kind, version, at, data, message_type=message_type),
            body=data,
            fact=fact,
            repeatable=repeatable,
        )

    def uuid(self) -> str:
        """A random UUID, Twitch's kind of id."""
        return uuid_from(self.ids)

    def ulid(self) -> str:
        """A ULID of the present moment, Kick's kind of id."""
        return ulid_from(self.ids, self.at)


def uuid_from(rng: random.Random) -> str:
    """A version 4 UUID."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def ulid_from(rng: random.Random, at: datetime) -> str:
    """A ULID: 48 bits of milliseconds, 80 random ones, in Crockford's base 32."""
    number = (int(at.timestamp() * 1000) << 80) | rng.getrandbits(80)
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(number >> shift) & 31] for shift in range(125, -5, -5))
