"""What happens on Twitch: each scene gives one or a few deliveries and says what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from streamkit.simulation import bodies
from streamkit.simulation.bodies import Person
from streamkit.simulation.delivery import Delivery, Fact, World
from streamkit.simulation.kick_scenes import CATEGORIES, TEXTS, TITLES

TIERS = ("1000", "1000", "1000", "2000", "3000")


def _fact(kind: str, occurred_at: datetime, message_id: str, **more: object) -> Fact:
    return Fact(kind=kind, platform="twitch", event_id=f"twitch:{message_id}", occurred_at=occurred_at, **more)  # type: ignore[arg-type]


def chat(world: World) -> Iterator[Delivery]:
    """A chat message; one in thirty is a shared chat's copy, which belongs to another channel."""
    at, message_id, viewer = world.tick(), world.uuid(), world.twitch_viewer()
    text, shared = world.choose.choice(TEXTS), world.choose.random() < 1 / 30
    source = Person("900999", "Neighbour") if shared else None
    event = bodies.twitch_chat(world.streamer.twitch, viewer, world.uuid(), text, source)
    fact = None if shared else _fact("chat.message.sent", at, message_id, viewer=viewer)
    condition = {"broadcaster_user_id": world.streamer.twitch.id, "user_id": world.streamer.twitch.id}
    yield world.twitch(
        "channel.chat.message", "1", at, event, fact, message_id, repeatable=not shared, condition=condition
    )


def follow(world: World) -> Iterator[Delivery]:
    """A follow."""
    at, message_id, viewer = world.tick(), world.uuid(), world.twitch_viewer()
    event = bodies.twitch_event(world.streamer.twitch, viewer, followed_at=bodies.rfc3339(at))
    fact = _fact("channel.followed", at, message_id, viewer=viewer)
    yield world.twitch("channel.follow", "2", at, event, fact, message_id, repeatable=True)


def subscription(world: World) -> Iterator[Delivery]:
    """A first subscription, of someone who announced no renewal before."""
    viewer = world.twitch_viewer()
    if viewer.id in world.twitch_renewals and viewer.id not in world.twitch_newcomers:
        yield from chat(world)
        return
    world.twitch_newcomers[viewer.id] = viewer
    at, message_id = world.tick(), world.uuid()
    event = bodies.twitch_event(world.streamer.twitch, viewer, tier=world.choose.choice(TIERS), is_gift=False)
    fact = _fact("channel.subscription.new", at, message_id, viewer=viewer)
    yield world.twitch("channel.subscribe", "1", at, event, fact, message_id)


def renewal(world: World) -> Iterator[Delivery]:
    """A renewal shared in chat. A newcomer's tells of the subscription that counted already."""
    newcomers = list(world.twitch_newcomers.values())
    viewer = world.choose.choice(newcomers) if newcomers and world.choose.random() < 0.2 else world.twitch_viewer()
    is_newcomer = viewer.id in world.twitch_newcomers
    months = world.twitch_renewals.get(viewer.id, 0 if is_newcomer else world.choose.randint(1, 30)) + 1
    world.twitch_renewals[viewer.id] = months
    at, message_id = world.tick(), world.uuid()
    event = bodies.twitch_event(
        world.streamer.twitch,
        viewer,
        tier=world.choose.choice(TIERS),
        message={"text": "still here", "emotes": None},
        cumulative_months=months,
        streak_months=None,
        duration_months=1,
    )
    fact = _fact("channel.subscription.renewal", at, message_id, viewer=viewer)
    yield world.twitch("channel.subscription.message", "1", at, event, fact, message_id, repeatable=True)


def gifts(world: World) -> Iterator[Delivery]:
    """A gift of N: one delivery that counts, and N that tell who received."""
    at, message_id = world.tick(), world.uuid()
    gifter = None if world.choose.random() < 0.125 else world.twitch_viewer()
    count, tier, given = world.choose.choice((1, 1, 2, 3, 5)), world.choose.choice(TIERS), None
    if gifter is not None:
        given = world.twitch_given[gifter.id] = world.twitch_given.get(gifter.id, 0) + count
    event = bodies.twitch_event(
        world.streamer.twitch, gifter, total=count, tier=tier, cumulative_total=given, is_anonymous=gifter is None
    )
    fact = _fact("channel.subscription.gifts", at, message_id, viewer=gifter, quantity=count)
    yield world.twitch("channel.subscription.gift", "1", at, event, fact, message_id, repeatable=gifter is not None)
    for receiver in world.choose.sample(world.twitch_viewers, count):
        at, message_id = world.tick(), world.uuid()
        event = bodies.twitch_event(world.streamer.twitch, receiver, tier=tier, is_gift=True)
        fact = _fact("channel.subscription.gift_received", at, message_id, viewer=receiver)
        yield world.twitch("channel.subscribe", "1", at, event, fact, message_id)


def ended(world: World) -> Iterator[Delivery]:
    """A subscription that ran out."""
    at, message_id, viewer = world.tick(), world.uuid(), world.twitch_viewer()
    event = bodies.twitch_event(world.streamer.twitch, viewer, tier="1000", is_gift=False)
    fact = _fact("channel.subscription.ended", at, message_id, viewer=viewer)
    yield world.twitch("channel.subscription.end", "1", at, event, fact, message_id)


def cheer(world: World) -> Iterator[Delivery]:
    """Bits: `channel.cheer` counts, and `channel.bits.use` says the same again."""
    at, message_id = world.tick(), world.uuid()
    viewer = None if world.choose.random() < 0.1 else world.twitch_viewer()
    bits, streamer = world.choose.choice((1, 50, 100, 100, 500)), world.streamer.twitch
    event = bodies.twitch_event(streamer, viewer, is_anonymous=viewer is None, message=f"cheer{bits}", bits=bits)
    fact = _fact("channel.cheered", at, message_id, viewer=viewer, quantity=bits)
    yield world.twitch("channel.cheer", "1", at, event, fact, message_id)
    if viewer is not None:
        message = {"text": f"cheer{bits}", "fragments": []}
        event = bodies.twitch_event(streamer, viewer, bits=bits, type="cheer", power_up=None, message=message)
        yield world.twitch("channel.bits.use", "1", world.tick(), event, None, world.uuid())


def power_up(world: World) -> Iterator[Delivery]:
    """Bits spent on a power-up."""
    at, message_id, viewer = world.tick(), world.uuid(), world.twitch_viewer()
    spent = {"type": "celebration", "emote": None, "message_effect_id": None}
    event = bodies.twitch_event(world.streamer.twitch, viewer, bits=300, type="power_up", power_up=spent, message=None)
    fact = _fact("channel.bits.used", at, message_id, viewer=viewer, quantity=300)
    yield world.twitch("channel.bits.use", "1", at, event, fact, message_id)


def redemption(world: World) -> Iterator[Delivery]:
    """A channel-point reward, redeemed and then fulfilled or canceled."""
    viewer, redeemed, redemption_id = world.twitch_viewer(), world.tick(), world.uuid()
    outcome = world.choose.choice(("fulfilled", "canceled"))
    for verb, status, at in (("add", "unfulfilled", redeemed), ("update", outcome, world.tick())):
        message_id = world.uuid()
        event = bodies.twitch_event(
            world.streamer.twitch,
            viewer,
            id=redemption_id,
            user_input="pogchamp",
            status=status,
            reward={"id": "92af127c-7326-4483-a52b-b0da0be61c01", "title": "Hydrate", "cost": 500, "prompt": "Drink"},
            redeemed_at=bodies.rfc3339(redeemed),
        )
        fact = _fact("channel.reward.redemption.updated", at, message_id, viewer=viewer)
        kind = f"channel.channel_points_custom_reward_redemption.{verb}"
        yield world.twitch(kind, "1", at, event, fact, message_id, repeatable=True)


def metadata(world: World) -> Iterator[Delivery]:
    """A new title or category: always the full snapshot."""
    at, message_id = world.tick(), world.uuid()
    title, category = world.choose.choice(TITLES), world.choose.choice(CATEGORIES)
    event = {
        **bodies.twitch_person("broadcaster_", world.streamer.twitch),
        "title": title,
        "language": "en",
        "category_id": "12453",
        "category_name": category,
        "content_classification_labels": [],
    }
    fact = _fact("livestream.metadata.updated", at, message_id, title=title, category=category)
    yield world.twitch("channel.update", "2", at, event, fact, message_id)


def ban(world: World) -> Iterator[Delivery]:
    """A timeout, and its early end."""
    moderator, banned = world.choose.sample(world.twitch_viewers, 2)
    at, message_id = world.tick(), world.uuid()
    event = bodies.twitch_event(
        world.streamer.twitch,
        banned,
        **bodies.twitch_person("moderator_", moderator),
        reason="spam",
        banned_at=bodies.rfc3339(at),
        ends_at=bodies.rfc3339(at + timedelta(minutes=10)),
        is_permanent=False,
    )
    fact = _fact("moderation.banned", at, message_id, viewer=moderator)
    yield world.twitch("channel.ban", "1", at, event, fact, message_id, repeatable=True)
    at, message_id = world.tick(), world.uuid()
    event = bodies.twitch_event(world.streamer.twitch, banned, **bodies.twitch_person("moderator_", moderator))
    fact = _fact("moderation.unbanned", at, message_id, viewer=moderator)
    yield world.twitch("channel.unban", "1", at, event, fact, message_id)


def raid(world: World) -> Iterator[Delivery]:
    """Another broadcaster brings viewers."""
    at, message_id, raider = world.tick(), world.uuid(), world.twitch_viewer()
    event = {
        **bodies.twitch_person("from_broadcaster_", raider),
        **bodies.twitch_person("to_broadcaster_", world.streamer.twitch),
        "viewers": world.choose.randint(1, 500),
    }
    fact = _fact("channel.raided", at, message_id, viewer=raider)
    condition = {"to_broadcaster_user_id": world.streamer.twitch.id}
    yield world.twitch("channel.raid", "1", at, event, fact, message_id, condition=condition)


def revocation(world: World) -> Iterator[Delivery]:
    """Twitch stops one of our subscriptions."""
    at, message_id = world.tick(), world.uuid()
    fact = _fact("platform.subscription.revoked", at, message_id)
    yield world.twitch("channel.cheer", "1", at, None, fact, message_id, status="notification_failures_exceeded")


def went_live(world: World) -> Iterator[Delivery]:
    """The start of today's stream, and the end of one whose start was never told."""
    at, message_id, streamer = world.tick(), world.uuid(), world.streamer.twitch
    person = bodies.twitch_person("broadcaster_", streamer)
    stream_id = str(world.ids.randrange(10**10, 10**11))
    event = {"id": stream_id, **person, "type": "live", "started_at": bodies.rfc3339_seconds(at)}
    started = at.replace(microsecond=0)
    fact = _fact("livestream.status.updated", started, message_id, is_live=True)
    yield world.twitch("stream.online", "1", at, event, fact, message_id)
    at, message_id = world.tick(), world.uuid()
    fact = _fact("livestream.status.updated", at, message_id)
    yield world.twitch("stream.offline", "1", at, {"id": "1", **person}, fact, message_id)
