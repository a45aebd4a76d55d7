"""Every mistake in a body of first-party events, each by its path, and what is no JSON at all."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs.first_party import decode
from ingest.codecs.first_party_mistakes import MAX_MISTAKES, find_mistakes
from ingest.codecs.first_party_rules import MAX_SETTINGS_BYTES, MAX_SETTINGS_DEPTH
from schemas.bounds import MAX_PRICE, MAX_QUANTITY
from schemas.errors import Problem
from schemas.event import decode_event, encode_event
from schemas.first_party_sent import MAX_EVENTS
from tests.first_party import DATA, NOW, USER_ID, VIEWER, made, nested, paths, refused, sent


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"NaN",
        b'{"id":Infinity}',
        b"\xef\xbb\xbf{}",
        json.dumps(sent()).encode("utf-16"),
        json.dumps(sent()).encode().replace(b"e1", b"\xff"),
        json.dumps(sent()).encode().replace(b"e1", b"\xed\xa0\x80"),
        json.dumps(sent()).encode().replace(b"e1", b"\x00"),
        json.dumps(sent()).encode() + b"{}",
        b"[" * 500_000,
        b'{"data":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_body_that_is_no_json_in_utf8_is_malformed(body: bytes) -> None:
    problem = refused(body)
    assert (problem.status, problem.code, problem.errors) == (400, "malformed_body", None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([], ["$"]),
        ([sent()] * (MAX_EVENTS + 1), ["$"]),
        (None, ["$"]),
        ("x", ["$"]),
        (1, ["$"]),
        ([1, sent(), []], ["$[0]", "$[2]"]),
        ({}, ["$.type", "$.id"]),
        (sent(type="song.sung"), ["$.type"]),
        (sent(type="chat.message.sent"), ["$.type"]),
        (sent(type=1, id=1), ["$.type", "$.id"]),
        (sent(drop="id"), ["$.id"]),
        (sent(id=""), ["$.id"]),
        (sent(id="x" * 129), ["$.id"]),
        (sent(id="é"), ["$.id"]),
        (sent(id="a\tb"), ["$.id"]),
        (sent(id="a\n"), ["$.id"]),
        (sent(id=5), ["$.id"]),
        (sent(id=None), ["$.id"]),
        (sent(user_id=8), ["$.user_id"]),
        (sent() | {"we ird": 1, 'a"b': 2}, ['$["we ird"]', '$["a\\"b"]']),
        (sent(occurred_at="yesterday"), ["$.occurred_at"]),
        (sent(occurred_at="2026-06-06T12:00:00"), ["$.occurred_at"]),
        (sent(occurred_at=1780747200), ["$.occurred_at"]),
        (sent(occurred_at="9" * 100_000), ["$.occurred_at"]),
        (sent(actor=[]), ["$.actor"]),
        (sent(actor={}), ["$.actor.platform", "$.actor.id", "$.actor.name"]),
        (sent(actor={"id": "1", "name": "x"}), ["$.actor.platform"]),
        (sent(actor={**VIEWER, "platform": "streamkit"}), ["$.actor.platform"]),
        (sent(actor={**VIEWER, "platform": 1}), ["$.actor.platform"]),
        (sent(actor={**VIEWER, "id": 42}), ["$.actor.id"]),
        (sent(actor={**VIEWER, "id": ""}), ["$.actor.id"]),
        (sent(actor={**VIEWER, "name": "x" * 201}), ["$.actor.name"]),
        (sent(actor={**VIEWER, "login": "viewer"}), ["$.actor.login"]),
        (sent() | {"data": None}, ["$.data"]),
        (sent() | {"data": []}, ["$.data"]),
        (sent() | {"data": {}}, ["$.data.result"]),
        (sent(data={"segment": "x"}), ["$.data.segment"]),
        (sent("song.queue_cleared", data={"request_id": "r"}), ["$.data.request_id"]),
        (sent("song.requested", data={"song_url": "x" * 2049}), ["$.data.song_url"]),
        (sent("song.requested", data={"song_url": ""}), ["$.data.song_url"]),
        (sent("song.requested", data={"title": "x" * 501}), ["$.data.title"]),
        (sent("song.requested", data={"provider": "x" * 256}), ["$.data.provider"]),
        (sent("song.requested", data={"duration_s": -1}), ["$.data.duration_s"]),
        (sent("song.requested", data={"duration_s": True}), ["$.data.duration_s"]),
        (sent("song.requested", data={"request_id": "x" * 129}), ["$.data.request_id"]),
        (sent("giveaway.opened", data={"keyword": ""}), ["$.data.keyword"]),
        (sent("giveaway.opened", data={"keyword": "x" * 51}), ["$.data.keyword"]),
        (sent("giveaway.opened", data={"keyword": "a b"}), ["$.data.keyword"]),
        (sent("giveaway.opened", data={"keyword": "join\n"}), ["$.data.keyword"]),
        (sent("giveaway.opened", data={"keyword": "a\u2003b"}), ["$.data.keyword"]),
        (sent("giveaway.opened", data={"title": None}), ["$.data.title"]),
        (sent("giveaway.opened", data={"text": "x" * MAX_SETTINGS_BYTES}), ["$.data"]),
        (sent("giveaway.opened", data={"n": [1 << 64, -(1 << 63) - 1]}), ["$.data.n[0]", "$.data.n[1]"]),
        (sent("giveaway.opened", data={"a": {"\0": "\0"}}), ['$.data.a["\\u0000"]']),
        (sent("giveaway.drawn", data={"winner": None}), ["$.data.winner"]),
        (sent("giveaway.drawn", data={"winner": {"id": "1", "name": "x"}}), ["$.data.winner.platform"]),
        (sent("giveaway.drawn", data={"winner": {**VIEWER, "entered": True}}), ["$.data.winner.entered"]),
        (sent("wheel.configured", data={"segments": ["x"] * 101}), ["$.data.segments"]),
        (sent("wheel.configured", data={"segments": "x"}), ["$.data.segments"]),
        (
            sent("wheel.configured", data={"segments": ["x", 1, "x" * 501]}),
            ["$.data.segments[1]", "$.data.segments[2]"],
        ),
        (sent("gamble.played", data={"bet": -1}), ["$.data.bet"]),
        (sent("gamble.played", data={"payout": MAX_QUANTITY + 1}), ["$.data.payout"]),
        (sent("gamble.played", data={"bet": 1.5}), ["$.data.bet"]),
        (sent("gamble.played", data={"bet": 1.0}), ["$.data.bet"]),
        (sent("gamble.played", data={"bet": "10"}), ["$.data.bet"]),
        (sent("gamble.played", data={"bet": True}), ["$.data.bet"]),
        (sent("gamble.played", data={"outcome": "won"}), ["$.data.outcome"]),
        (sent("coins.adjusted", data={"amount": 0}), ["$.data.amount"]),
        (sent("coins.adjusted", data={"amount": MAX_QUANTITY + 1}), ["$.data.amount"]),
        (sent("coins.adjusted", data={"amount": 10**90}), ["$.data.amount"]),
        (sent("loyalty.rules_set", data={"kick": -1}), ["$.data.kick"]),
        (sent("loyalty.rules_set", data={"kick": MAX_PRICE + 1}), ["$.data.kick"]),
        (sent("loyalty.rules_set", data={"raid": 1}), ["$.data.raid"]),
    ],
    ids=lambda value: str(value)[:80],
)
def test_each_mistake_is_named_by_its_path(body: Any, expected: list[str]) -> None:
    assert paths(body) == expected


def test_every_mistake_of_every_event_is_named_at_once() -> None:
    body = [
        sent("song.requested", id="", drop="actor", data={"song_url": 1, "title": 2, "mood": 3}),
        sent(),
        sent("coins.adjusted", occurred_at="never", actor={}, data={"amount": 0}),
    ]
    assert paths(body) == [
        "$[0].id",
        "$[0].data.song_url",
        "$[0].data.title",
        "$[0].data.mood",
        "$[0].actor",
        "$[2].actor.platform",
        "$[2].actor.id",
        "$[2].actor.name",
        "$[2].occurred_at",
        "$[2].data.amount",
    ]


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800", "a\udfffb", "\udc00\ud800"])
def test_nul_and_half_a_surrogate_pair_are_refused_wherever_they_stand(text: str) -> None:
    assert paths(sent(data={"result": text})) == ["$.data.result"]
    assert paths(sent(id=text)) == ["$.id"]
    assert paths(sent(type=text)) == ["$.type"]
    assert paths(sent(actor={**VIEWER, "name": text, "id": text})) == ["$.actor.id", "$.actor.name"]
    assert paths(sent("wheel.configured", data={"segments": [text]})) == ["$.data.segments[0]"]
    assert paths(sent("giveaway.opened", data={"a": [text]})) == ["$.data.a[0]"]
    (path,) = paths(sent("giveaway.opened", data={text: 1}))
    assert path.startswith('$.data["')
    (path,) = paths(sent() | {text: 1})
    assert path.startswith('$["')


def test_settings_have_so_many_levels() -> None:
    made(sent("giveaway.opened", data={"n": nested(MAX_SETTINGS_DEPTH)}))
    assert paths(sent("giveaway.opened", data={"n": nested(MAX_SETTINGS_DEPTH + 1)})) == [
        "$.data.n" + "[0]" * MAX_SETTINGS_DEPTH
    ]


def test_numbers_beyond_all_bounds_are_refused() -> None:
    for digits in (b"1" * 5000, b"1e400", b"-1e400"):
        for kind, name in (("coins.adjusted", "amount"), ("song.requested", "duration_s"), ("giveaway.opened", "n")):
            body = json.dumps(sent(kind, data={name: 123454321})).encode().replace(b"123454321", digits)
            assert paths(body) == [f"$.data.{name}"]


def test_an_endless_list_of_mistakes_is_cut() -> None:
    body = [sent() | {f"x{number}": 1 for number in range(MAX_MISTAKES)}, sent(id=1)]
    problem = refused(body)
    assert problem.errors is not None
    assert len(problem.errors) == MAX_MISTAKES
    assert "or more" in problem.message


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["kick", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted({*(name for data in DATA.values() for name in data), "id", "type", "actor", "x"}))


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A good body of which some values are others, some are gone, and some are there that should not be."""
    body: Any = deepcopy([sent(draw(st.sampled_from(sorted(DATA)))) for _ in range(draw(st.integers(1, 2)))])
    for _ in range(draw(st.integers(0, 3))):
        at: Any = body[draw(st.integers(0, len(body) - 1))]
        while isinstance(at, dict) and at:
            name = draw(st.sampled_from(sorted(at)))
            if isinstance(at[name], dict) and at[name] and draw(st.booleans()):
                at = at[name]
                continue
            match draw(st.sampled_from(["other", "gone", "more"])):
                case "other":
                    at[name] = draw(JSON)
                case "gone":
                    del at[name]
                case "more":
                    at[draw(NAMES)] = draw(JSON)
            break
    return body if draw(st.booleans()) else body[0]


@settings(max_examples=500, deadline=None, derandomize=True)
@given(damaged())
def test_a_body_decodes_or_has_mistakes_and_never_both(body: Any) -> None:
    found = find_mistakes(body, NOW)
    if found:
        problem = refused(body)
        assert (problem.status, problem.errors) == (422, found)
    else:
        assert made(*(body if isinstance(body, list) else [body]))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(DATA)), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3))
def test_bytes_that_are_other_bytes_are_an_event_or_a_problem(kind: str, others: list[tuple[int, int]]) -> None:
    body = bytearray(json.dumps(sent(kind)).encode())
    for at, byte in others:
        body[at % len(body)] = byte
    try:
        (event,) = decode(bytes(body), USER_ID, NOW)
    except Problem as problem:
        told = (problem.status, problem.code)
        assert told in ((400, "malformed_body"), (422, "invalid_body"))
    else:
        assert decode_event(encode_event(event)).user_id == USER_ID
