"""First-party events as a caller sends them: one of each kind, and those at the edge of what is taken."""

from __future__ import annotations

from typing import Any

from ingest.codecs.first_party_rules import MAX_SETTINGS_BYTES, MAX_SETTINGS_DEPTH
from schemas.bounds import MAX_PRICE, MAX_QUANTITY
from schemas.first_party_sent import BY_SOMEBODY

VIEWER = {"platform": "kick", "id": "42", "name": "Viewer"}
DATA: dict[str, dict[str, Any]] = {
    "song.requested": {"request_id": "r1", "song_url": "https://youtu.be/x", "title": "Song", "duration_s": 215},
    "song.played": {"request_id": "r1"},
    "song.skipped": {"request_id": "r1"},
    "song.removed": {"request_id": "r1"},
    "song.queue_cleared": {},
    "giveaway.opened": {"giveaway_id": "g1", "title": "Keys", "keyword": "!Join", "prize": {"keys": [1, 2.5, None]}},
    "giveaway.entered": {"giveaway_id": "g1"},
    "giveaway.drawn": {"giveaway_id": "g1", "winner": VIEWER},
    "giveaway.closed": {"giveaway_id": "g1"},
    "wheel.configured": {"title": "Wheel", "segments": ["100 coins", "Hydrate"]},
    "wheel.spun": {"result": "Hydrate"},
    "gamble.played": {"game_type": "coinflip", "outcome": "win", "bet": 10, "payout": 20},
    "coins.adjusted": {"amount": -5, "reason": "spam"},
    "loyalty.rules_set": {"chat_minute": 2, "follow": 0, "subscription": 1, "gift": 1, "kick": 1, "bit": 1},
}


def sent(kind: str = "wheel.spun", *, drop: str | None = None, **fields: Any) -> dict[str, Any]:
    """An event as a caller sends it; `data` is merged into the kind's."""
    data = {**DATA[kind], **fields.pop("data", {})}
    event = {"id": "e1", "type": kind, "data": data} | ({"actor": VIEWER} if kind in BY_SOMEBODY else {}) | fields
    return {name: value for name, value in event.items() if name != drop}


def nested(levels: int) -> Any:
    """A number in so many arrays."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


AT_THE_BOUNDS = (
    sent(id="x" * 128),
    sent(id=" ~"),
    sent("song.requested", data={"song_url": "x" * 2048, "title": "ž" * 500, "duration_s": 0.5}),
    sent("wheel.configured", data={"segments": ["x" * 500] * 100}),
    sent("wheel.configured", data={"title": "", "segments": []}),
    sent("gamble.played", data={"bet": 0, "payout": MAX_QUANTITY}),
    sent("coins.adjusted", data={"amount": -MAX_QUANTITY, "reason": None}),
    sent("loyalty.rules_set", data={"kick": MAX_PRICE}),
    sent("giveaway.drawn", data={"winner": {**VIEWER, "id": "nobody entered"}}),
    sent("wheel.spun", data={"result": "no segment of ours"}),
    sent("wheel.spun", data={"result": "\\u0000 is six characters; \U0001f600"}),
    sent("giveaway.opened", data={"text": "x" * (MAX_SETTINGS_BYTES - 100)}),
    sent("giveaway.opened", data={"n": nested(MAX_SETTINGS_DEPTH)}),
    sent(
        "giveaway.opened", data={"n": [1e308, -5e-324, (1 << 64) - 1, -(1 << 63)], "prize": 1, "Prize": 2, "TITLE": 3}
    ),
    sent("giveaway.opened", data={"": "\x01\x1f\u2028\U0010ffff", "data": {}, "settings": [], "keyword_word": "no"}),
    sent("giveaway.opened", data={"title": "\x01" * 500, "keyword": "İ" * 50}),
)
"""What is taken has to be folded, whatever it is."""
