"""The whole of StreamKit in one story. Read this file first.

A viewer gives kicks on Kick; Kick tells us by a signed webhook; the streamer's overlay asks our API how many kicks
there were. Then everything goes wrong that may go wrong, and the number stays the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.program import Program, Reader, command
from tests.signing import KickSigner

STREAMER_ON_KICK = 84635624


@pytest.fixture(scope="module")
def kick() -> KickSigner:
    """Kick, as far as we can tell: whoever holds the private half of the key that we trust."""
    return KickSigner()


@pytest.fixture
def up(tmp_path: Path, kick: KickSigner) -> Iterator[Program]:
    """`streamkit up`: the whole program in one process, on a data folder of its own."""
    with Program(tmp_path, "up", STREAMKIT_KICK_PUBLIC_KEY=kick.public_pem) as program:
        yield program


async def test_webhook_in_number_out(up: Program, kick: KickSigner, tmp_path: Path) -> None:
    # The operator registers the streamer, and issues credentials for the overlay.
    account = command(tmp_path, "accounts", "add", "--name", "Streamer", "--kick", f"streamer_name:{STREAMER_ON_KICK}")
    issued = command(tmp_path, "credentials", "issue", "--user-id", str(account["user_id"]))

    async with aiohttp.ClientSession() as http:
        overlay = Reader(http, up.url, issued)
        assert (await overlay.get("kicks"))["summary"] == {"total_kicks": 0, "gift_events": 0}

        # A viewer gives 500 kicks. Kick's delivery is answered only when the log has it, with the position behind it.
        body = kicks_gifted(sender="generous", amount=500)
        delivery = kick.headers("kicks.gifted", body)
        position = await post(http, up.url, body, delivery)

        # Whoever has seen that answer reads its own write: ask for that position or later.
        kicks = await overlay.get("kicks", at_least=position)
        assert kicks["summary"] == {"total_kicks": 500, "gift_events": 1}
        assert kicks["top_gifters"] == [{"username": "generous", "kicks": 500}]

        # Kick sends the same delivery again, as it does. It is welcome, and counts for nothing.
        assert await post(http, up.url, body, delivery) == position
        # And once more as another delivery of the same gift: other id, other signature, same fact.
        again = await post(http, up.url, body, kick.headers("kicks.gifted", body))
        assert await overlay.get("kicks", at_least=again) == kicks

        # Nobody but Kick can say such things.
        forged = KickSigner().headers("kicks.gifted", body)
        async with http.post(f"{up.url}/webhooks/kick", data=body, headers=forged) as answer:
            assert answer.status == 401
        overview = await overlay.get("overview")
        assert overview["kicks"]["total_kicks"] == 500

        # The program stops, politely, and starts again: it goes on where it was.
        assert up.stop() == 0
        up.start()
        overlay.url = up.url
        assert await overlay.get("kicks", at_least=again) == kicks
        assert await overlay.get("overview", at_least=again) == overview

        # The log is the only truth: with every folded table deleted, the next start folds them anew from nothing.
        assert up.stop() == 0
        folded = list((tmp_path / "data").rglob("*.duckdb*"))
        assert folded
        for file in folded:
            file.unlink()
        up.start()
        overlay.url = up.url
        assert await overlay.get("kicks", at_least=again) == kicks
        assert await overlay.get("overview", at_least=again) == overview

        # Even now the old delivery is known, and a new one counts.
        assert await post(http, up.url, body, delivery)
        more = kicks_gifted(sender="another", amount=10, created_at="2026-11-24T09:00:01.500Z")
        position = await post(http, up.url, more, kick.headers("kicks.gifted", more))
        assert (await overlay.get("kicks", at_least=position))["summary"] == {"total_kicks": 510, "gift_events": 2}


async def post(http: aiohttp.ClientSession, url: str, body: bytes, headers: dict[str, str]) -> str:
    """Deliver as Kick does; the position that the answer carries."""
    async with http.post(f"{url}/webhooks/kick", data=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers["Streamkit-Position"]


def kicks_gifted(*, sender: str, amount: int, created_at: str = "2026-11-24T09:00:00.250Z") -> bytes:
    """The body of a `kicks.gifted` webhook: https://docs.kick.com/events/event-types#kicks-gifted."""
    broadcaster: dict[str, Any] = {"user_id": STREAMER_ON_KICK, "username": "streamer_name", "is_verified": True}
    giver: dict[str, Any] = {"user_id": 1000 + amount, "username": sender, "is_verified": False}
    for person in (broadcaster, giver):
        person |= {"profile_picture": "", "channel_slug": person["username"].replace("_", "-")}
    gift = {"amount": amount, "name": "Rage Quit", "type": "LEVEL_UP", "tier": "MID", "message": "w"}
    gift["pinned_time_seconds"] = 600
    return json.dumps(
        {"broadcaster": broadcaster, "sender": giver, "gift": gift, "created_at": created_at}, separators=(",", ":")
    ).encode()
