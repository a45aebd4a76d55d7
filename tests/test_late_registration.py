"""A broadcaster registered late: what came before waits in the dead letters, and counts once, at its own time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from tests.program import Program, Reader, command
from tests.signing import KickSigner, TwitchSigner
from tests.test_story import STREAMER_ON_KICK, kicks_gifted, post

CHEER = (
    b'{"subscription":{"id":"s","type":"channel.cheer","version":"1","status":"enabled","cost":0,'
    b'"condition":{"broadcaster_user_id":"8001"},"created_at":"2026-11-24T08:00:00Z"},"event":{"is_anonymous":false,'
    b'"user_id":"9","user_login":"bob","user_name":"Bob","broadcaster_user_id":"8001","broadcaster_user_login":"s",'
    b'"broadcaster_user_name":"S","message":"Cheer100","bits":100}}'
)


async def test_parked_over_http_registered_redriven_and_answered(tmp_path: Path) -> None:
    kick, twitch = KickSigner(), TwitchSigner()
    settings = {
        "STREAMKIT_KICK_PUBLIC_KEY": kick.public_pem,
        "STREAMKIT_TWITCH_WEBHOOK_SECRET": twitch.secret.decode(),
    }
    gift = kicks_gifted(sender="early", amount=500)
    gift_headers = kick.headers("kicks.gifted", gift)
    cheer_headers = twitch.headers("channel.cheer", CHEER)

    with Program(tmp_path, "up", port=0, **settings) as up:
        async with aiohttp.ClientSession() as http:
            for _ in range(2):  # the platforms repeat themselves; one letter each
                async with http.post(f"{up.url}/webhooks/kick", data=gift, headers=gift_headers) as answer:
                    assert (answer.status, answer.headers.get("Streamkit-Position")) == (200, None)
                async with http.post(f"{up.url}/webhooks/twitch", data=CHEER, headers=cheer_headers) as answer:
                    assert (answer.status, answer.headers.get("Streamkit-Position")) == (204, None)
            status = command(tmp_path, "status")
            assert status["dead_letters"]["open"] == 2
            assert status["dead_letters"]["by_reason"] == {"unknown_broadcaster": 2}
            listed = command(tmp_path, "dead-letters", "list", "--platform", "kick")
            assert [one["broadcaster_id"] for one in listed] == [str(STREAMER_ON_KICK)]
            shown = command(tmp_path, "dead-letters", "show", str(listed[0]["position"]))
            assert shown["body"] == gift.decode()

            accounts = ("--kick", f"streamer_name:{STREAMER_ON_KICK}", "--twitch", "s:8001")
            account = command(tmp_path, "accounts", "add", "--name", "Streamer", *accounts)
            reader = Reader(
                http, up.url, command(tmp_path, "credentials", "issue", "--user-id", str(account["user_id"]))
            )
            assert (await reader.get("overview"))["events"] == {"total": 0}

            redrive = ("dead-letters", "redrive", "--reason", "unknown_broadcaster", "--why", "registered late")
            report = command(tmp_path, *redrive)
            assert (report["redriven"], report["put_back"]) == (2, 0)
            kicks = await reader.get("kicks", at_least=report["events_end"])
            assert kicks["summary"] == {"total_kicks": 500, "gift_events": 1}
            at = datetime.fromisoformat(kicks["history"][0]["occurred_at"])
            assert at == datetime(2026, 11, 24, 9, tzinfo=UTC)
            assert (await reader.get("overview"))["events"] == {"total": 2}

            # Redriven once more, delivered once more, killed, folded from nothing: once.
            assert command(tmp_path, *redrive)["redriven"] == 0
            position = await post(http, up.url, gift, gift_headers)
            assert await reader.get("kicks", at_least=position) == kicks
            up.kill()
            for file in (tmp_path / "data").rglob("*.duckdb*"):
                file.unlink()
            up.start()
            reader.url = up.url
            assert await reader.get("kicks", at_least=position) == kicks
            assert (await reader.get("overview"))["events"] == {"total": 2}
            status = command(tmp_path, "status")
            assert (status["dead_letters"]["open"], status["dead_letters"]["count"]) == (0, 2)
