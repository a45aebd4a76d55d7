"""Logs built line by line, for examples worked out by hand: given these events, then exactly these numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.event import Event, first_word
from schemas.first_party_kinds import FirstParty
from schemas.kinds import ChatMessage, KindData, Viewer, kind_of
from tests.oracle import Oracle

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
US = timedelta(microseconds=1)
T = datetime(2024, 1, 31, 12, 0, tzinfo=UTC)
BOTH = ("kick", "twitch")
ANN, BEA, CAT = Viewer("1", "Ann"), Viewer("2", "Bea"), Viewer("3", "Cat")


def chat(text: str, *, by_broadcaster: bool = False) -> ChatMessage:
    """A message as a codec makes it."""
    return ChatMessage(message_id="m", message=text, first_word=first_word(text), by_broadcaster=by_broadcaster)


class Log:
    """`log.kick(data, …)`, `log.twitch(data, …)`, `log.sent(data, …)`: by Ann at T, unless told otherwise."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def kick(self, data: KindData, **fields: Any) -> Log:
        return self._add("kick", data, **fields)

    def twitch(self, data: KindData, **fields: Any) -> Log:
        return self._add("twitch", data, **fields)

    def sent(self, data: FirstParty, *, by: Viewer | None = ANN, platform: str = "twitch", **fields: Any) -> Log:
        """A first-party event; `id` is the caller's."""
        user_id = fields.get("user_id", 1)
        event_id = f"streamkit:{user_id}:{fields.pop('id', len(self.events))}"
        return self._add("streamkit" if by is None else platform, data, actor=by, event_id=event_id, **fields)

    def _add(self, platform: Any, data: KindData, **fields: Any) -> Log:
        at = fields.pop("at", T)
        event: dict[str, Any] = {
            "event_id": f"{platform}:{len(self.events):03d}",
            "natural_key": None,
            "type": kind_of(data),
            "platform": platform,
            "user_id": 1,
            "actor": ANN,
            "occurred_at": at,
            "received_at": at,
            "data": data,
        }
        self.events.append(Event(**{**event, **fields}))
        return self

    @property
    def oracle(self) -> Oracle:
        return Oracle(self.events)

    def summary(self, now: datetime = T) -> dict[str, Any]:
        """Of subscriptions."""
        return self.oracle.subscriptions_summary(1, BOTH, now)

    def preview(self, now: datetime = T) -> list[tuple[str, str]]:
        """Active subscribers: name and expiry."""
        rows = self.oracle.subscriptions_active(1, BOTH, now)["preview"]
        return [(row["username"], row["expires_at"]) for row in rows]

    def board(self) -> list[tuple[str, int]]:
        """The coins leaderboard."""
        return [(row["username"], row["coins"]) for row in self.oracle.coins(1)["leaderboard"]]

    def live(self, platform: str = "twitch") -> bool:
        return bool(self.oracle.stream_status(1, [platform])["is_live"])

    def queue(self) -> list[str]:
        """The addresses of the songs that wait."""
        return [row["song_url"] for row in self.oracle.song_request(1)]

    def entries(self) -> list[tuple[str, str]]:
        """Of the open or latest giveaway: name and platform."""
        return [(row["username"], row["platform"]) for row in self.oracle.giveaway(1)["entries"]]
