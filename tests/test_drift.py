"""From outside: what was there before a streamer connected is counted by polls, and `streamkit drift` says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from streamkit.platforms.subscriptions import TWITCH_TYPES
from streamkit.sandbox.cast import Subscriber
from streamkit.simulation.bodies import Person
from tests.fakes.faults import Drop
from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER, Platforms
from tests.program import Program
from tests.test_connect import KEY, told
from tests.test_outreach import BY_HAND, DEADLINE_S

DRIFT = ("drift", "--user-id", "1")


async def test_what_was_there_before_is_counted_and_drift_tells_what_is_not(
    tmp_path: Path, platforms: Platforms
) -> None:
    settings: dict[str, Any] = {**platforms.settings(), "STREAMKIT_SECRET_KEY": KEY}
    channel = platforms.twitch.channels[TWITCH_STREAMER.id]
    channel.subscribers = [Subscriber(person=Person(str(id_), f"fan_{id_}")) for id_ in range(1000, 1130)]
    platforms.twitch.go_live(TWITCH_STREAMER.id)
    channel.viewers = 70
    with Program(tmp_path, "up", **settings):
        await told(tmp_path, "accounts", "add", "--name", "S", "--kick", f"s:{KICK_STREAMER.id}", **settings)
        scopes = sorted({each.scope for each in TWITCH_TYPES if each.scope})
        grants = platforms.twitch.grants
        issued = grants.redeem(grants.code(TWITCH_STREAMER.id, scopes, "x", None), "x", None)
        code, document = await told(tmp_path, *BY_HAND, "twitch", stdin=f"{issued.refresh_token}\n", **settings)
        assert code == 0, document
        async with asyncio.timeout(DEADLINE_S):
            while (answer := await told(tmp_path, *DRIFT, **settings))[0] != 0:
                assert answer[0] == 1, answer
        found = [
            (row["platform"], row["what"], row["platform_says"], row["counted"], row["equal"])
            for row in answer[1]["rows"]
        ]
        title = "Hello from the sandbox"
        assert found == [
            ("kick", "subscribers", 0, 0, True),
            ("kick", "is_live", False, False, True),
            ("kick", "title", title, title, True),
            ("kick", "viewer_count", None, None, None),
            ("twitch", "subscribers", 130, 130, True),
            ("twitch", "is_live", True, True, True),
            ("twitch", "title", title, title, True),
            ("twitch", "viewer_count", 70, 70, None),
        ]
        channel.subscribers = channel.subscribers[1:]
        code, document = await told(tmp_path, *DRIFT, **settings)
        assert code == 1
        (differing,) = [row for row in document["rows"] if row["equal"] is False]
        assert (differing["platform_says"], differing["counted"]) == (129, 130)
        platforms.twitch_faults.next("GET", "/helix/streams", Drop(), times=9)
        code, document = await told(tmp_path, *DRIFT, **settings)
        assert code == 3, document


async def test_nobody_and_no_projector(tmp_path: Path, platforms: Platforms) -> None:
    settings: dict[str, Any] = {**platforms.settings(), "STREAMKIT_SECRET_KEY": KEY}
    await told(tmp_path, "accounts", "add", "--name", "S", **settings)
    assert (await told(tmp_path, "drift", "--user-id", "2", **settings))[0] == 1
    code, document = await told(tmp_path, *DRIFT, **{**settings, "STREAMKIT_PROJECTOR_URLS": "http://127.0.0.1:9"})
    assert code == 3, document
