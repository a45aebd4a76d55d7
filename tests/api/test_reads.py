"""The read routes, over real HTTP: numbers as the read models say them, in the seed's shapes."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from tests.api.house import House, serving

GIFTED_US = 1_780_763_400_999_999  # 2026-06-06T16:30:00.999999Z


async def test_kicks_end_to_end(house: House) -> None:
    house.reads.rows |= {
        "kicks_summary": [(342, 19)],
        "kicks_top": [("viewer999", 55)],
        "kicks_history": [("viewer999", 5, GIFTED_US, "kick:2"), (None, 7, GIFTED_US, "kick:1")],
    }
    reply = await house.get("kicks")
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Streamkit-Position"] == "0:10"
    body = reply.json
    assert body.pop("generated_at").endswith("+00:00")
    assert body == {
        "ok": True,
        "version": "v2",
        "broadcaster": {
            "user_id": 123,
            "name": "Streamer",
            "primary_platform": "twitch",
            "platforms": {
                "kick": {"username": "streamer_name", "id": "84635624"},
                "twitch": {"username": "streamer_tv", "id": "29958160"},
            },
            "kick_username": "streamer_name",
            "kick_user_id": "84635624",
        },
        "next": None,
        "data": {
            "summary": {"total_kicks": 342, "gift_events": 19},
            "top_gifters": [{"username": "viewer999", "kicks": 55}],
            "history": [
                {"actor": "viewer999", "amount": 5, "occurred_at": "2026-06-06T16:30:00+00:00"},
                {"actor": None, "amount": 7, "occurred_at": "2026-06-06T16:30:00+00:00"},
            ],
        },
    }


async def test_times_are_the_deployments_cut_to_the_second() -> None:
    async with serving(House(), timezone=ZoneInfo("Europe/Prague")) as house:
        house.reads.rows["kicks_history"] = [("a", 5, GIFTED_US, "kick:1")]
        body = (await house.get("kicks")).json
    assert body["data"]["history"][0]["occurred_at"] == "2026-06-06T18:30:00+02:00"
    assert body["generated_at"][-6:] in ("+01:00", "+02:00")
