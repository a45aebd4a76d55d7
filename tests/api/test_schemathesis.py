"""schemathesis, all checks, against the running server from the document it serves: no finding.

A documented 503 is no server error: it is what a position ahead of the log gets. A documented 400 may refuse what no
schema can tell: a cursor that no page gave, a time that is no date. A viewer of any name need not be there.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from projector.run import Projector
from schemas.event import encode_event
from schemas.first_party_route import PUSH_EVENTS
from schemas.kinds import ChatMessage
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS, Record
from tests.api.house import USER, House, serving
from tests.projector.events import event

CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "503"]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "400", "401", "403", "404", "409", "429", "503"]
"""
SEED = "20260606"


async def test_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.kept.MIN_POSITION_WAIT_S", 0.01)
    log = MemoryLog()
    chat = [event(ChatMessage(message_id=str(at), message="x" * at), at=at, user_id=USER) for at in range(60)]
    await log.append(EVENTS, [Record(str(USER), encode_event(each)) for each in chat])
    projector = Projector(log, tmp_path)
    await projector.start()
    try:
        async with serving(House(), reads=projector.reads) as house:
            await projector.reads.ask(USER, (), min_position=len(chat), wait_s=10)
            url, headers = house.server.url, house.triple.headers()
            status, output = await schemathesis(url, headers, tmp_path, "--exclude-path", PUSH_EVENTS.path)
    finally:
        await projector.close()
        await log.close()
    assert status == 0, output


async def schemathesis(
    url: str, credentials: dict[str, str], folder: Path, *options: str, config: str = CONFIG
) -> tuple[int, str]:
    """Run its command line, as a consumer of the API would; gives back the exit code and what it printed."""
    (folder / "schemathesis.toml").write_text(config)
    program = Path(sys.executable).parent / "schemathesis"
    headers = [part for name, value in credentials.items() for part in ("-H", f"{name}: {value}")]
    process = await asyncio.create_subprocess_exec(
        *(str(program), "--config-file", "schemathesis.toml", "run"),
        f"{url}/api/public/openapi?version=v2",
        *("--checks", "all", "--max-examples", "20", "--seed", SEED, "--no-shrink", "--continue-on-failure"),
        *(*headers, *options),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()
