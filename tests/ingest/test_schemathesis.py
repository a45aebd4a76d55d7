"""schemathesis, all checks, on the path that the ingest room adds to the API's document: no finding.

A documented 422 may refuse what no schema can tell: a time outside its window, NUL in a text.
"""

from __future__ import annotations

from pathlib import Path

import aiohttp

from schemas.first_party_route import PUSH_EVENTS
from tests.api.test_schemathesis import schemathesis
from tests.program import Program, Reader, command

CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx"]

[checks.positive_data_acceptance]
expected-statuses = ["200", "422"]
"""


async def test_nothing_is_found(tmp_path: Path) -> None:
    with Program(tmp_path, "up", STREAMKIT_RATE_LIMIT="0") as up:
        account = command(tmp_path, "accounts", "add", "--name", "Streamer")
        user_id = str(account["user_id"])
        issued = command(tmp_path, "credentials", "issue", "--user-id", user_id, "--scopes", "read events:write")
        async with aiohttp.ClientSession() as http:
            bot = Reader(http, up.url, issued)
            path = ("--include-path", PUSH_EVENTS.path)
            status, output = await schemathesis(up.url, bot.headers, tmp_path, *path, config=CONFIG)
            assert status == 0, output
            # What was taken on the way is folded: it may be anything that the document allows.
            total = (await bot.get("overview"))["events"]["total"]
            assert total > 0
            assert command(tmp_path, "dead-letters", "list") == []
