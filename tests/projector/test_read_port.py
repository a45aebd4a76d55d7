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


async def test_positions_of_what_is_owned(log: MemoryLog, port: Client, projector: Projector) -> None:
    position = await put_gift(log, 5)
    await ask(port, min_position=position, wait_s=10)
    body = await (await port.get("/internal/v1/positions", headers=BEARER)).json()
    partition = str(projector.reads.partition_of(USER))
    assert body == {
        "log_id": log.log_id,
        "partitions": 2,
        "positions": {partition: 1},
        "epochs": {partition: 0},
    }


async def test_changes_stream_where_each_partition_stands_and_then_every_commit(
    log: MemoryLog, port: Client, projector: Projector
) -> None:
    answer = await port.get("/internal/v1/changes", headers=BEARER)
    partition = projector.reads.partition_of(USER)
    first = msgspec.json.decode(await answer.content.readline())
    assert first == {"partition": partition, "position": 0, "user_ids": [], "epoch": 0}
    await put_gift(log, 5)
    assert await next_line(answer) == {"partition": partition, "position": 1, "user_ids": [USER], "epoch": 0}
    answer.close()


class Lent:
    """A tenure that the test ends and begins."""

    def __init__(self) -> None:
        self.epoch: int | None = 7
        self.held = True

    def epoch_of(self, partition: int) -> int | None:
        return self.epoch

    def holds(self, partition: int) -> bool:
        return self.held

    def holds_strictly(self, partition: int) -> bool:
        return self.held


@pytest.fixture
async def lent(projector: Projector) -> AsyncIterator[tuple[Lent, Client]]:
    tenure = Lent()
    async with TestClient(TestServer(build_app(projector, TOKEN, tenure))) as client:
        yield tenure, client


async def test_what_is_not_held_is_not_answered(lent: tuple[Lent, Client]) -> None:
    tenure, port = lent
    assert (await ask(port)).status == 200
    tenure.held = False
    answer = await ask(port)
    assert (answer.status, await answer.json()) == (404, {"error": "not_owner"})
    body = await (await port.get("/internal/v1/positions", headers=BEARER)).json()
    assert (body["positions"], body["epochs"]) == ({}, {})


async def test_what_is_lost_while_it_is_being_answered_is_not_answered(
    log: MemoryLog, lent: tuple[Lent, Client]
) -> None:
    tenure, port = lent
    asking = asyncio.create_task(ask(port, min_position=1, wait_s=10))
    assert (await ask(port)).status == 200, "the other question has begun to wait"
    tenure.held = False
    await put_gift(log, 5)
    answer = await asking
    assert (answer.status, await answer.json()) == (404, {"error": "not_owner"})


async def test_a_lease_that_is_not_proven_at_the_moment_makes_no_gap_in_the_changes(
    log: MemoryLog, lent: tuple[Lent, Client]
) -> None:
    tenure, port = lent
    answer = await port.get("/internal/v1/changes", headers=BEARER)
    assert msgspec.json.decode(await answer.content.readline())["epoch"] == 7
    tenure.held = False
    await put_gift(log, 5)
    assert await next_line(answer) == {"partition": 1, "position": 1, "user_ids": [USER], "epoch": 7}
    answer.close()


async def test_the_changes_tell_of_a_partition_that_is_lost_and_of_its_return(
    log: MemoryLog, lent: tuple[Lent, Client]
) -> None:
    tenure, port = lent
    answer = await port.get("/internal/v1/changes", headers=BEARER)
    await answer.content.readline()
    tenure.epoch = None
    assert (await next_line(answer))["epoch"] is None
    tenure.epoch = 9
    await put_gift(log, 5)
    assert (await next_line(answer))["epoch"] == 9
    answer.close()


async def next_line(answer: ClientResponse) -> Any:
    """The next line that says something."""
    async with asyncio.timeout(10):
        while (line := (await answer.content.readline()).strip()) == b"":
            pass
    return msgspec.json.decode(line)
