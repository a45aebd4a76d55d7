"""Who streams on a fake platform, and what each channel shows. Both platforms keep their channels in this shape."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from streamkit.simulation.bodies import Person
from streamkit.simulation.delivery import SANDBOX_STREAMER


class Category(Struct, frozen=True):
    """A game or topic; `id` is a number on Kick, its digits on Twitch."""

    id: int
    name: str


CATEGORIES = (
    Category(15, "Just Chatting"),
    Category(31, "Music"),
    Category(8, "League of Legends"),
    Category(77, "Minecraft"),
    Category(78, "Minecraft Dungeons"),
    Category(13, "Grand Theft Auto V"),
    Category(4688, "Miniature Wargaming"),
)


class Subscriber(Struct, frozen=True, kw_only=True):
    """One who subscribes now; `gifter` None: paid by oneself."""

    person: Person
    tier: str = "1000"
    gifter: Person | None = None


class Live(Struct, frozen=True):
    """A stream that runs. `id` is Twitch's; Kick tells streams apart by their start alone."""

    id: str
    started_at: datetime


class Channel(Struct, kw_only=True):
    """A streamer's channel as the platform knows it now. `category` None: none chosen."""

    person: Person
    title: str = "Hello from the sandbox"
    category: Category | None = CATEGORIES[0]
    live: Live | None = None
    viewers: int = 0
    subscribers: list[Subscriber] = []
    canceled_subscribers: int = 0

    @property
    def slug(self) -> str:
        """The name in addresses."""
        return self.person.name.lower().replace("_", "-")

    @property
    def login(self) -> str:
        """Twitch's name in addresses."""
        return self.person.name.lower()


def channels_of(people: Iterable[Person]) -> dict[str, Channel]:
    """A channel for each of `people`, by platform id."""
    return {person.id: Channel(person=person) for person in people}


KICK_PEOPLE = (SANDBOX_STREAMER.kick, Person("900101", "night_owl"))
TWITCH_PEOPLE = (SANDBOX_STREAMER.twitch, Person("900201", "Night_Owl"))
