"""The body of `POST /ingest/v1/events`: what is taken, what is made of it, and every mistake with its path."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs.first_party import decode
from ingest.codecs.first_party_mistakes import MAX_MISTAKES, find_mistakes
from ingest.codecs.first_party_rules import MAX_SETTINGS_BYTES, MAX_SETTINGS_DEPTH, provider_of
from schemas.bounds import MAX_PRICE, MAX_QUANTITY
from schemas.errors import Problem
from schemas.event import Event, decode_event, encode_event
from schemas.first_party_kinds import FIRST_PARTY_STRUCTS
from schemas.first_party_sent import BY_SOMEBODY, MAX_EVENTS
from tests.first_party import AT_THE_BOUNDS, DATA, VIEWER, nested, sent

NOW = datetime(2026, 6, 6, 12, 0, 0, 123456, UTC)
USER_ID = 7


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


# What is taken


@pytest.mark.parametrize("kind", FIRST_PARTY_STRUCTS)
def test_every_kind_becomes_its_event(kind: str) -> None:
    (event,) = made(sent(kind, occurred_at="2026-06-06T13:00:00.5+02:00"))
    acted = kind in BY_SOMEBODY
    assert (event.event_id, event.natural_key, event.type, event.user_id) == ("streamkit:7:e1", None, kind, USER_ID)
    assert event.platform == ("kick" if acted else "streamkit")
    assert (event.actor.id, event.actor.name) == ("42", "Viewer") if event.actor else not acted
    assert event.occurred_at == datetime(2026, 6, 6, 11, 0, 0, 500000, UTC)
    assert event.received_at == NOW
    assert type(event.data) is FIRST_PARTY_STRUCTS[kind]
    kept = {name: getattr(event.data, name) for name in DATA[kind] if name in type(event.data).__struct_fields__}
    told = json.loads(json.dumps(kept, default=lambda winner: {each: getattr(winner, each) for each in VIEWER}))
    assert told == {name: value for name, value in DATA[kind].items() if name in kept}


@pytest.mark.parametrize("kind", FIRST_PARTY_STRUCTS)
def test_an_actor_is_needed_where_the_kind_is_nothing_without(kind: str) -> None:
    assert made(sent(kind, actor={**VIEWER, "platform": "twitch"}))[0].platform == "twitch"
    for body in (sent(kind, drop="actor"), sent(kind, actor=None)):
        if kind in BY_SOMEBODY:
            assert paths(body) == ["$.actor"]
        else:
            assert made(body)[0].actor is None


def test_the_time_left_out_is_now() -> None:
    assert made(sent(drop="occurred_at"))[0].occurred_at == NOW
    assert made(sent(occurred_at=None))[0].occurred_at == NOW


@pytest.mark.parametrize("value", [timedelta(days=-30), timedelta(minutes=5)])
def test_the_window_of_time_includes_its_ends(value: timedelta) -> None:
    beyond = timedelta(microseconds=1 if value > timedelta(0) else -1)
    assert made(sent(occurred_at=(NOW + value).isoformat()))[0].occurred_at == NOW + value
    assert paths(sent(occurred_at=(NOW + value + beyond).isoformat())) == ["$.occurred_at"]


def test_an_array_keeps_its_order_and_its_repeated_ids() -> None:
    events = made(sent(id="b"), sent("song.played", id="a"), sent(id="b", data={"result": "other"}))
    assert [event.event_id[12:] for event in events] == ["b", "a", "b"]
    assert len(made(*[sent(id=str(number)) for number in range(MAX_EVENTS)])) == MAX_EVENTS


def test_data_may_be_left_out_where_there_is_none() -> None:
    for body in (sent("song.queue_cleared", drop="data"), sent("song.queue_cleared") | {"data": None}):
        assert made(body)[0].type == "song.queue_cleared"
    assert paths(sent("loyalty.rules_set", drop="data")) == ["$.data"]
    assert made(sent("loyalty.rules_set") | {"data": {}})[0].type == "loyalty.rules_set"


def test_null_is_left_out() -> None:
    (song,) = made(sent("song.requested", data={"provider": None, "title": None, "duration_s": None}))
    assert song.data.provider == "youtube"  # type: ignore[union-attr]
    (rules,) = made(sent("loyalty.rules_set", data={"kick": None}))
    assert rules.data.kick is None  # type: ignore[union-attr]


def test_the_last_of_a_repeated_key_counts() -> None:
    body = b'{"id":"\\u0000","id":"e2","type":"wheel.configured","type":"wheel.spun","data":1,"data":{"result":"x"}}'
    (event,) = decode(body, USER_ID, NOW)
    assert (event.event_id, event.type) == ("streamkit:7:e2", "wheel.spun")


def test_settings_of_a_giveaway_are_kept_as_they_are() -> None:
    further = {
        "prize": "Key",
        "Prize": [{"a": 1, "A": 2.5}, "ž", None, True],
        "settings": {"x": {}},
        "keyword_word": "no",
        "most": (1 << 64) - 1,
        "least": -(1 << 63),
    }
    (event,) = made(sent("giveaway.opened", data=further))
    data: Any = event.data
    del further["prize"]
    assert data.settings == further | {"prize": "Key"}
    assert (data.title, data.keyword, data.keyword_word) == ("Keys", "!Join", "!join")


@pytest.mark.parametrize(
    ("keyword", "word"), [("STRAẞE", "strasse"), ("!join", "!join"), (None, None), ("x" * 50, "x" * 50)]
)
def test_a_keyword_is_casefolded_as_chat_is(keyword: str | None, word: str | None) -> None:
    data: Any = made(sent("giveaway.opened", data={"keyword": keyword}))[0].data
    assert (data.keyword, data.keyword_word) == (keyword, word)


@pytest.mark.parametrize(
    ("song_url", "provider"),
    [
        ("https://www.youtube.com/watch?v=1", "youtube"),
        ("https://music.youtube.com/watch?v=1", "youtube"),
        ("HTTPS://YouTu.BE:443/1", "youtube"),
        ("youtu.be/1?x=https://vimeo.com", "youtube"),
        ("//youtube.com./1", "youtube"),
        (" https://open.spotify.com/track/1", "spotify"),
        ("https://on.soundcloud.com/1", "soundcloud"),
        ("https://user:secret@soundcloud.com/1", "soundcloud"),
        ("https://notyoutube.com/1", "notyoutube.com"),
        ("https://youtube.com.evil.example/1", "youtube.com.evil.example"),
        ("https://youtube.com@evil.example/1", "evil.example"),
        ("https://Vimeo.com:8443/1", "vimeo.com"),
        ("http://localhost/1", "localhost"),
        ("http://[2001:DB8::1]:80/1", "2001:db8::1"),
        ("never gonna give you up", "unknown"),
        ("spotify:track:1", "unknown"),
        ("song", "unknown"),
        ("http://[", "unknown"),
        ("http://[nonsense]/", "unknown"),
        ("https:///x", "unknown"),
        ("https://a b/x", "unknown"),
        ("x" * 2048, "unknown"),
        ("https://" + "x" * 2040, "unknown"),
        ("https://℀.example/", "unknown"),
    ],
)
def test_the_provider_is_told_by_the_host(song_url: str, provider: str) -> None:
    assert provider_of(song_url) == provider
    data: Any = made(sent("song.requested", data={"song_url": song_url}))[0].data
    assert (data.song_url, data.provider) == (song_url, provider)


def test_a_provider_that_is_given_stands() -> None:
    data: Any = made(sent("song.requested", data={"provider": "Bandcamp"}))[0].data
    assert data.provider == "Bandcamp"


@pytest.mark.parametrize("body", AT_THE_BOUNDS, ids=lambda body: str(body)[:60])
def test_what_is_just_within_bounds_is_taken(body: dict[str, Any]) -> None:
    made(body)


# What is refused


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
