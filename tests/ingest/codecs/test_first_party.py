"""The body of `POST /ingest/v1/events`: what is taken, and what is made of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.codecs.first_party import decode
from ingest.codecs.first_party_rules import provider_of
from schemas.first_party_kinds import FIRST_PARTY_STRUCTS
from schemas.first_party_sent import BY_SOMEBODY, MAX_EVENTS
from tests.first_party import AT_THE_BOUNDS, DATA, NOW, USER_ID, VIEWER, made, paths, sent


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
