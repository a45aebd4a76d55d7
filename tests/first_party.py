"""First-party events as a caller sends them: one of each kind, those at the edge of what is taken, and what the codec
makes of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.codecs.first_party import decode
from ingest.codecs.first_party_rules import MAX_SETTINGS_BYTES, MAX_SETTINGS_DEPTH
from schemas.bounds import MAX_PRICE, MAX_QUANTITY
from schemas.errors import Problem
from schemas.event import Event, decode_event, encode_event
from schemas.first_party_sent import BY_SOMEBODY

NOW = datetime(2026, 6, 6, 12, 0, 0, 123456, UTC)
USER_ID = 7
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


def made(*events: dict[str, Any]) -> list[Event]:
    """The events of one body, as they come back from the log."""
    body = events[0] if len(events) == 1 else list(events)
    return [decode_event(encode_event(event)) for event in decode(json.dumps(body).encode(), USER_ID, NOW)]


def refused(body: Any) -> Problem:
    """What the body is refused with; bytes are sent as they are."""
    with pytest.raises(Problem) as caught:
        decode(body if isinstance(body, bytes) else json.dumps(body).encode(), USER_ID, NOW)
    return caught.value


def paths(body: Any) -> list[str]:
    """Where its mistakes are."""
    problem = refused(body)
    assert (problem.status, problem.code) == (422, "invalid_body")
    assert problem.errors is not None
    count = len(problem.errors)
    assert problem.message.startswith(f"The body has {count} mistake")
    for error in problem.errors:
        assert error.keys() == {"path", "message"}
        assert error["message"]
        json.dumps(error, ensure_ascii=False).encode()
    return [error["path"] for error in problem.errors]
