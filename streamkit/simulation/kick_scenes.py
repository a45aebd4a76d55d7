"""What happens on Kick: each scene gives one or a few deliveries and says what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from streamkit.simulation import bodies
from streamkit.simulation.bodies import Person
from streamkit.simulation.delivery import SUBSCRIPTION_DAYS, Delivery, Fact, World

TEXTS = ("hi chat", "KEKW", "gg wp", "!join", "první zpráva 🎉", "<b>not bold</b> & more", "how long live?", "o7", "  ")
TITLES = ("Ranked grind", "Chill & chat", "Speedrun any%", "Pondělní stream")
CATEGORIES = ("League of Legends", "Just Chatting", "Minecraft", "Music")
GIFTS = ((1, "Hell Yeah"), (10, "Full Send"), (50, "Hype"), (100, "Boom"), (500, "Rage Quit"), (2000, "Moon"))


def _fact(world: World, kind: str, occurred_at: datetime, message_id: str, **more: object) -> Fact:
    return Fact(kind=kind, platform="kick", event_id=f"kick:{message_id}", occurred_at=occurred_at, **more)  # type: ignore[arg-type]


def _by_header(at: datetime) -> datetime:
    """Kick's header time has seconds; it dates the types whose body has no time."""
    return at.replace(microsecond=0)


def chat(world: World) -> Iterator[Delivery]:
    """A chat message."""
    at, message_id, viewer = world.tick(), world.ulid(), world.kick_viewer()
    text = world.choose.choice(TEXTS)
    body = bodies.kick_chat(world.streamer.kick, viewer, world.uuid(), text, at)
    fact = _fact(world, "chat.message.sent", at, message_id, viewer=viewer)
    yield world.kick("chat.message.sent", at, body, fact, message_id, repeatable=True)


def follow(world: World) -> Iterator[Delivery]:
    """A follow; viewers may follow again."""
    at, message_id, viewer = world.tick(), world.ulid(), world.kick_viewer()
    fact = _fact(world, "channel.followed", _by_header(at), message_id, viewer=viewer)
    yield world.kick("channel.followed", at, bodies.kick_follow(world.streamer.kick, viewer), fact, message_id)


def subscription(world: World) -> Iterator[Delivery]:
    """A first subscription."""
    at, message_id, viewer = world.tick(), world.ulid(), world.kick_viewer()
    kind = "channel.subscription.new"
    body = bodies.kick_subscription(world.streamer.kick, viewer, 1, at, at + timedelta(days=SUBSCRIPTION_DAYS))
    fact = _fact(world, kind, at, message_id, viewer=viewer)
    yield world.kick(kind, at, body, fact, message_id, repeatable=True)


def renewal(world: World) -> Iterator[Delivery]:
    """A renewal; its body's `created_at` is when the subscription first began."""
    at, message_id, viewer = world.tick(), world.ulid(), world.kick_viewer()
    kind, months = "channel.subscription.renewal", world.choose.randint(2, 20)
    began = at - timedelta(days=30 * months)
    body = bodies.kick_subscription(world.streamer.kick, viewer, months, began, at + timedelta(days=SUBSCRIPTION_DAYS))
    fact = _fact(world, kind, _by_header(at), message_id, viewer=viewer)
    yield world.kick(kind, at, body, fact, message_id, repeatable=True)


def gifts(world: World) -> Iterator[Delivery]:
    """Gifted subscriptions, one giver in eight anonymous."""
    at, message_id = world.tick(), world.ulid()
    gifter: Person | None = None if world.choose.random() < 0.125 else world.kick_viewer()
    giftees = world.choose.sample(world.kick_viewers, world.choose.choice((1, 1, 1, 2, 5, 10)))
    until = at + timedelta(days=SUBSCRIPTION_DAYS)
    body = bodies.kick_gifts(world.streamer.kick, gifter, giftees, at, until)
    kind = "channel.subscription.gifts"
    fact = _fact(world, kind, at, message_id, viewer=gifter, quantity=len(giftees), receivers=tuple(giftees))
    yield world.kick(kind, at, body, fact, message_id, repeatable=True)


def kicks(world: World) -> Iterator[Delivery]:
    """Kicks."""
    at, message_id, viewer = world.tick(), world.ulid(), world.kick_viewer()
    amount, name = world.choose.choices(GIFTS, (40, 25, 15, 12, 6, 2))[0]
    body = bodies.kick_kicks(world.streamer.kick, viewer, amount, name, "w", at)
    fact = _fact(world, "kicks.gifted", at, message_id, viewer=viewer, quantity=amount)
    yield world.kick("kicks.gifted", at, body, fact, message_id, repeatable=True)


def redemption(world: World) -> Iterator[Delivery]:
    """A channel-point reward, redeemed and then accepted or rejected."""
    viewer, redeemed, redemption_id = world.kick_viewer(), world.tick(), world.ulid()
    kind, outcome = "channel.reward.redemption.updated", world.choose.choice(("accepted", "rejected"))
    for status, at in (("pending", redeemed), (outcome, world.tick())):
        message_id = world.ulid()
        body = bodies.kick_redemption(world.streamer.kick, viewer, redemption_id, status, redeemed)
        occurred = redeemed if status == "pending" else _by_header(at)
        fact = _fact(world, kind, occurred, message_id, viewer=viewer)
        yield world.kick(kind, at, body, fact, message_id, repeatable=True)


def metadata(world: World) -> Iterator[Delivery]:
    """A new title or category: always the full snapshot."""
    at, message_id = world.tick(), world.ulid()
    title, category = world.choose.choice(TITLES), world.choose.choice(CATEGORIES)
    kind = "livestream.metadata.updated"
    fact = _fact(world, kind, _by_header(at), message_id, title=title, category=category)
    yield world.kick(kind, at, bodies.kick_metadata(world.streamer.kick, title, category), fact, message_id)


def ban(world: World) -> Iterator[Delivery]:
    """A timeout or a ban."""
    at, message_id = world.tick(), world.ulid()
    moderator, banned = world.choose.sample(world.kick_viewers, 2)
    until = at + timedelta(minutes=10) if world.choose.random() < 0.7 else None
    body = bodies.kick_ban(world.streamer.kick, moderator, banned, at, until)
    fact = _fact(world, "moderation.banned", at, message_id, viewer=moderator)
    yield world.kick("moderation.banned", at, body, fact, message_id, repeatable=True)


def went_live(world: World) -> Iterator[Delivery]:
    """The start of today's stream, and yesterday's end, which comes late."""
    kind, title = "livestream.status.updated", world.choose.choice(TITLES)
    at, message_id = world.tick(), world.ulid()
    started = at.replace(microsecond=0)
    body = bodies.kick_status(world.streamer.kick, title, started, None)
    fact = _fact(world, kind, started, message_id, is_live=True, title=title)
    yield world.kick(kind, at, body, fact, message_id)
    at, message_id = world.tick(), world.ulid()
    ended = started - timedelta(hours=20)
    body = bodies.kick_status(world.streamer.kick, "Yesterday", started - timedelta(hours=23), ended)
    yield world.kick(kind, at, body, _fact(world, kind, ended, message_id, title="Yesterday"), message_id)
