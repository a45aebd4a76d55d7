"""Pages: `next` begins the next page, and a cursor is one of its own path or is refused."""

from __future__ import annotations

import base64

import pytest

from api import cursors
from tests.api.house import House

PATH = "/api/public/v2/gamble"


@pytest.mark.parametrize("place", [(1_780_763_400_999_999, "streamkit:7:a"), (0, 12), (-5, "\u96ea")])
def test_a_place_comes_back(place: tuple[int, int | str]) -> None:
    by_position = isinstance(place[1], int)
    assert cursors.decode(PATH, cursors.encode(PATH, place), by_position=by_position) == place
    assert cursors.decode(PATH, cursors.encode(PATH, place), by_position=not by_position) is None


@pytest.mark.parametrize("event_id", ["kick:" + "\\" * 2048, "streamkit:9223372036854775807:" + '"' * 128])
def test_the_place_of_the_longest_event_id_comes_back(event_id: str) -> None:
    path = "/api/public/v2/song-request/history"
    text = cursors.encode(path, (1_780_763_400_999_999, event_id))
    assert cursors.decode(path, text, by_position=False) == (1_780_763_400_999_999, event_id)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "*",
        "\u96ea",
        "A" * 1000,
        "e30",
        base64.urlsafe_b64encode(b'["/api/public/v2/gamble",1e99,"a"]').decode(),
    ],
)
def test_what_is_no_cursor(text: str) -> None:
    assert cursors.decode(PATH, text, by_position=False) is None


async def test_the_next_page_is_asked_for_after_the_last_row_shown(house: House) -> None:
    house.reads.rows["gamble_history"] = [
        ("Ann", "dice", "win", 1, 2, "kick", at, f"streamkit:7:{at}") for at in (30, 20, 10)
    ]
    first = (await house.get("gamble?limit=2")).json
    assert [row["played_at"] for row in first["data"]] == ["1970-01-01T00:00:00+00:00"] * 2
    assert (await house.get(f"gamble?limit=3&cursor={first['next']}")).json["next"] is None
    assert house.reads.asked[-1][1][0].parameters == {"limit": 4, "before": (20, "streamkit:7:20")}
    other = await house.get(f"wheel/history?cursor={first['next']}")
    assert (other.status, other.json["error"]) == (400, "invalid_parameter")
    assert "next" not in (await house.get("coins")).json


@pytest.mark.parametrize(
    "query",
    [
        "events-history?since=yesterday",
        "events-history?until=2026-06-06",
        "events-history?since=2026-06-06T10:00:00",
        "events-history?since=2026-13-06T10:00:00Z",
        "events-history?platform=youtube",
        "events-history?cursor=",
        "events-history?actor=a&actor=b",
        "coins/viewer?platform=kick",
        "coins/viewer?username=ann",
        "coins/viewer?platform=kick&username=",
    ],
)
async def test_what_a_parameter_may_not_be(house: House, query: str) -> None:
    reply = await house.get(query)
    assert (reply.status, reply.json["error"]) == (400, "invalid_parameter")
