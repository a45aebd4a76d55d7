from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from projector.read_port import build_app
from projector.run import Projector
from schemas.event import encode_event
from schemas.kinds import KicksGifted
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS, Record
from tests.projector.events import ANN, USER, event

TOKEN = "the-internal-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SUMMARY = {"name": "kicks_summary"}

Client = TestClient[Any, Any]


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    log = MemoryLog(partitions=2)
    yield log
    await log.close()


@pytest.fixture
async def projector(log: MemoryLog, tmp_path: Path) -> AsyncIterator[Projector]:
    """Owns the partition of USER alone."""
    owned = Projector(log, tmp_path, partitions=()).reads.partition_of(USER)
    projector = Projector(log, tmp_path, partitions=[owned])
    await projector.start()
    yield projector
    await projector.close()


@pytest.fixture
async def port(projector: Projector) -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_app(projector, TOKEN))) as client:
        yield client


async def put_gift(log: MemoryLog, amount: int) -> int:
    value = encode_event(event(KicksGifted(amount=amount), ANN))
    (appended,) = await log.append(EVENTS, [Record(key=str(USER), value=value)])
    return appended.position


async def ask(port: Client, **body: Any) -> ClientResponse:
    return await port.post("/internal/v1/ask", json={"user_id": USER, "questions": [SUMMARY], **body}, headers=BEARER)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}], ids=str)
@pytest.mark.parametrize("path", ["positions", "changes"])
async def test_nothing_without_the_token(port: Client, path: str, headers: dict[str, str]) -> None:
    answer = await port.get(f"/internal/v1/{path}", headers=headers)
    assert (answer.status, await answer.json()) == (401, {"error": "unauthorized"})
    answer = await port.post("/internal/v1/ask", json={"user_id": USER, "questions": []}, headers=headers)
    assert answer.status == 401


async def test_rows_with_the_position_they_reflect(log: MemoryLog, port: Client, projector: Projector) -> None:
    position = await put_gift(log, 5)
    history = {"name": "kicks_history", "parameters": {"limit": 1, "before": None}}
    answer = await ask(port, questions=[SUMMARY, history], min_position=position, wait_s=10)
    body = await answer.json()
    assert answer.status == 200
    assert (body["partition"], body["position"]) == (projector.reads.partition_of(USER), position)
    assert body["rows"][0] == [[5, 1]]
    assert body["rows"][1][0][:2] == ["Ann", 5]


async def test_a_position_that_does_not_come_is_behind(port: Client) -> None:
    answer = await ask(port, min_position=9, wait_s=0.01)
    assert (answer.status, await answer.json()) == (503, {"error": "behind", "position": 0})


async def test_another_partition_is_not_owned(port: Client, projector: Projector) -> None:
    mine = projector.reads.partition_of(USER)
    elsewhere = next(user for user in range(100) if projector.reads.partition_of(user) != mine)
    answer = await ask(port, user_id=elsewhere)
    assert (answer.status, await answer.json()) == (404, {"error": "not_owner"})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"questions": [{"name": "drop_everything"}]}, "unknown_query"),
        ({"questions": [{"name": "kicks_top"}]}, "bad_parameters"),
        ({"questions": [{"name": "kicks_history", "parameters": {"limit": "many", "before": None}}]}, "bad_parameters"),
        ({"user_id": "seven"}, "malformed"),
        ({"questions": None}, "malformed"),
    ],
    ids=str,
)
async def test_a_question_that_is_none_is_refused(port: Client, body: dict[str, Any], error: str) -> None:
    answer = await ask(port, **body)
    assert (answer.status, (await answer.json())["error"]) == (400, error)


async def test_positions_beside_the_ends(log: MemoryLog, port: Client, projector: Projector) -> None:
    position = await put_gift(log, 5)
    await ask(port, min_position=position, wait_s=10)
    body = await (await port.get("/internal/v1/positions", headers=BEARER)).json()
    partition = str(projector.reads.partition_of(USER))
    assert body == {
        "log_id": log.log_id,
        "partitions": 2,
        "positions": {partition: 1},
        "ends": {partition: 1},
        "lag_events": 0,
        "lag_s": 0.0,
    }


async def test_changes_stream_where_each_partition_stands_and_then_every_commit(
    log: MemoryLog, port: Client, projector: Projector
) -> None:
    answer = await port.get("/internal/v1/changes", headers=BEARER)
    partition = projector.reads.partition_of(USER)
    first = msgspec.json.decode(await answer.content.readline())
    assert first == {"partition": partition, "position": 0, "user_ids": []}
    await put_gift(log, 5)
    async with asyncio.timeout(10):
        while (line := (await answer.content.readline()).strip()) == b"":
            pass
    assert msgspec.json.decode(line) == {"partition": partition, "position": 1, "user_ids": [USER]}
    answer.close()
