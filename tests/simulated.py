"""Simulated deliveries as the codecs and the oracle see them: the expected answers of a whole run, without a log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from ingest.codecs import kick, twitch
from ingest.codecs.delivery import Delivery as Received
from schemas.event import Event
from streamkit.simulation.delivery import SANDBOX_STREAMER, Delivery, Fact, Streamer

CODECS = {"kick": kick, "twitch": twitch}


def event_of(delivery: Delivery, user_id: int, streamer: Streamer = SANDBOX_STREAMER) -> Event | None:
    """The event a receiver makes of it; None for one of the ignored types. An assertion fails for anything else."""
    ids = {("kick", streamer.kick.id): user_id, ("twitch", streamer.twitch.id): user_id}
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    received = Received(headers, delivery.body, delivery.sent_at + timedelta(milliseconds=5))
    outcome = CODECS[delivery.platform].decode(received, lambda platform, id: ids.get((platform, id)))
    if delivery.fact is None:
        assert type(outcome).__name__ == "Ignored", outcome
        return None
    assert isinstance(outcome, Event), outcome
    return outcome


def events_of(deliveries: Iterable[Delivery], user_id: int) -> list[Event]:
    """The events of all deliveries, repeats included, in their order."""
    events = (event_of(delivery, user_id) for delivery in deliveries)
    return [event for event in events if event is not None]


def told(deliveries: Iterable[Delivery]) -> list[Fact]:
    """The facts of all deliveries, repeats included."""
    return [delivery.fact for delivery in deliveries if delivery.fact is not None]
