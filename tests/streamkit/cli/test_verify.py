"""`streamkit verify`: a row that is not what the log says is found, and nothing else is."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from projector import staging
from projector.database import file_of
from projector.run import Projector
from schemas.control import DeadLettersRedriven, encode_control
from schemas.dead_letter import decode_dead_letter, encode_dead_letter, letter_key
from schemas.event import Event, encode_event, utc_now
from schemas.kinds import KicksGifted
from streamkit.__main__ import cli
from streamkit.keys import Keys
from streamkit.log import open_log
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, EventLog, Record
from tests.letters import unfolded
from tests.program import Program, run
from tests.projector.events import event
from tests.services.process import free_port
from tests.strategies import seeded_log
from tests.streamkit.cli.running import Ran, invoke

KEY = bytes(range(32))
TOKEN = Keys.derive(KEY).internal_token
DEADLINE_S = 30.0


@pytest.fixture(autouse=True)
def as_nice_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gives way to all else; the tests of this process do not."""
    monkeypatch.setattr(os, "nice", lambda _: 0)


async def opened(folder: Path, settings: dict[str, str]) -> EventLog:
    """The log of the folder."""
    url = settings.get("STREAMKIT_LOG_URL", "sqlite:")
    return await open_log(url, data_dir=folder / "data", partitions=int(settings["STREAMKIT_PARTITIONS"]))


async def put(log: EventLog, events: Sequence[Event]) -> None:
    """Append them to their broadcasters' partitions."""
    await log.append(EVENTS, [Record(key=str(one.user_id), value=encode_event(one)) for one in events])


async def folded(log: EventLog, folder: Path) -> None:
    """Fold all there is, and stop."""
    projector = Projector(log, folder / "data")
    await projector.start()
    async with asyncio.timeout(DEADLINE_S):
        while (await projector.lag()).lag_events:
            await asyncio.sleep(0.01)
    await projector.close()


def given(folder: Path, events: Sequence[Event], *, partitions: int = 1) -> dict[str, str]:
    """A folder with these events on its log, folded, where nothing runs; its settings."""
    settings = {"STREAMKIT_PARTITIONS": str(partitions)}

    async def make() -> None:
        log = await opened(folder, settings)
        await put(log, events)
        await folded(log, folder)
        await log.close()

    asyncio.run(make())
    return settings


def verify(folder: Path, settings: dict[str, str]) -> Ran:
    """`streamkit verify --json`, with no services where this machine's usually are."""
    return invoke(
        cli, "verify", "--json", folder=folder, STREAMKIT_PROJECTOR_URLS=f"http://127.0.0.1:{free_port()}", **settings
    )


def corrupt(folder: Path, statement: str, partition: int = 0) -> None:
    """Change a closed file of read models."""
    with duckdb.connect(str(file_of(folder / "data", 1, partition))) as connection:
        assert connection.execute(statement).fetchall() == [(1,)]


ONE_KICK_MORE = "UPDATE kicks SET amount = amount + 1 WHERE position = (SELECT min(position) FROM kicks)"


def gifts(*amounts: int) -> list[Event]:
    return [event(KicksGifted(amount=amount)) for amount in amounts]


def test_what_was_folded_is_what_the_log_says(tmp_path: Path) -> None:
    settings = given(tmp_path, seeded_log(4, 600), partitions=3)
    ran = verify(tmp_path, settings)
    assert ran.exit_code == 0, ran.err
    assert ran.document["equal"] is True
    assert [one["partition"] for one in ran.document["partitions"]] == [0, 1, 2]
    assert sum(one["position"] for one in ran.document["partitions"]) == 600
    assert list((tmp_path / "data" / "verify").iterdir()) == []


def test_the_drill_a_row_is_corrupted_while_nothing_runs_and_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projector.fold.SETTLED_EVERY", 64)
    settings = given(tmp_path, seeded_log(4, 600))
    corrupt(tmp_path, ONE_KICK_MORE)
    ran = verify(tmp_path, settings)
    assert (ran.exit_code, ran.document["equal"]) == (1, False)
    (row,) = ran.document["differences"]
    assert (row["partition"], row["model"], row["table"]) == (0, "kicks", "kicks")
    assert row["served"]["amount"] == row["log"]["amount"] + 1
    assert row["key"]["position"] == row["log"]["position"]
    assert "What is served is not what the log says." in ran.err
    text = invoke(cli, "verify", folder=tmp_path, **settings)
    assert f"served  amount={row['served']['amount']}" in text.out
    assert text.exit_code == 1


def test_rows_too_many_and_too_few_are_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projector.fold.SETTLED_EVERY", 64)
    settings = given(tmp_path, seeded_log(4, 600))
    corrupt(tmp_path, "DELETE FROM events_rarer WHERE position = (SELECT min(position) FROM events_rarer)")
    corrupt(tmp_path, "INSERT INTO events_chat SELECT * FROM events_chat ORDER BY position LIMIT 1")
    ran = verify(tmp_path, settings)
    rows = {row["table"]: (row["served"] is None, row["log"] is None) for row in ran.document["differences"]}
    assert rows == {"events_rarer": (True, False), "events_chat": (False, True)}
    assert "no such row" in invoke(cli, "verify", folder=tmp_path, **settings).out


def failed_once(folder: Path, *, redriven: bool) -> dict[str, str]:
    """A log whose second event could not be folded when it came, as an older build would have it; and perhaps was redriven."""
    settings = {"STREAMKIT_PARTITIONS": "1"}
    events = gifts(1, 2, 4)

    async def make() -> None:
        log = await opened(folder, settings)
        await put(log, events)
        read_heads, culprit = staging.read_heads, events[1].event_id.encode()

        def fails(positions: Sequence[int], values: Sequence[bytes]) -> staging.Heads:
            for position, value in zip(positions, values, strict=True):
                if culprit in value and position == 1:
                    raise staging.BadRecord(position, "an older build")
            return read_heads(positions, values)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(staging, "read_heads", fails)
            await folded(log, folder)
        if redriven:
            (value,) = (await log.read(DEAD_LETTERS, 0, 0)).values
            await put(log, [events[1]])
            keys = (letter_key(decode_dead_letter(value)),)
            control = encode_control(DeadLettersRedriven(at=utc_now(), by="me", letters=keys))
            await log.append(CONTROL, [Record(key="dead-letters", value=control)])
            await folded(log, folder)
        await log.close()

    asyncio.run(make())
    return settings


def test_an_event_that_could_not_be_folded_when_it_came_is_no_corruption(tmp_path: Path) -> None:
    settings = failed_once(tmp_path, redriven=False)
    ran = verify(tmp_path, settings)
    assert ran.exit_code == 0, ran.out
    assert ran.document["partitions"][0]["passed_over"] == [1]
    assert "1 events are not in it" in invoke(cli, "verify", folder=tmp_path, **settings).out
    corrupt(tmp_path, "UPDATE recent SET amount = 7 WHERE position = 0")
    ran = verify(tmp_path, settings)
    assert (ran.exit_code, [row["key"]["position"] for row in ran.document["differences"]]) == (1, [0])


def test_an_event_that_was_redriven_lies_where_it_was_put_back(tmp_path: Path) -> None:
    ran = verify(tmp_path, failed_once(tmp_path, redriven=True))
    assert ran.exit_code == 0, ran.out
    assert ran.document["partitions"][0] | {"generation": 1} == {
        "partition": 0,
        "generation": 1,
        "position": 4,
        "equal": True,
        "different_rows": 0,
        "passed_over": [],
    }


def test_a_letter_that_is_not_of_this_place_in_this_log_means_nothing(tmp_path: Path) -> None:
    """It was imported with another log's positions, or the file was folded anew by a build that could fold the event."""
    events = gifts(1, 2)
    settings = given(tmp_path, events)

    async def park() -> None:
        log = await opened(tmp_path, settings)
        letters = [unfolded(gifts(9)[0], 0), unfolded(events[1], 1), unfolded(events[1], 77)]
        await log.append(DEAD_LETTERS, [Record(key="x", value=encode_dead_letter(letter)) for letter in letters])
        await log.close()

    asyncio.run(park())
    ran = verify(tmp_path, settings)
    assert (ran.exit_code, ran.document["partitions"][0]["passed_over"]) == (0, []), ran.out


def test_without_read_models_a_part_is_missing(tmp_path: Path) -> None:
    settings = given(tmp_path, gifts(1))
    file_of(tmp_path / "data", 1, 0).unlink()
    ran = verify(tmp_path, settings)
    assert ran.exit_code == 3
    assert "no read models of partition 0" in ran.document["error"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    settings = given(tmp_path, gifts(1))
    file_of(tmp_path / "data", 1, 0).write_bytes(b"not a database" * 1000)
    ran = verify(tmp_path, settings)
    assert ran.exit_code == 3
    assert "partition-0.duckdb cannot be copied" in ran.document["error"]


def test_what_a_killed_command_left_goes_with_the_next(tmp_path: Path) -> None:
    settings = given(tmp_path, gifts(1))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / "data" / "verify" / str(ended.pid)
    left.mkdir(parents=True)
    (left / "partition-0.duckdb").write_bytes(b"half")
    assert verify(tmp_path, settings).exit_code == 0
    assert not left.exists()


@pytest.fixture(params=["sqlite", "kafka"])
def shared(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of a deployment whose projector runs, of four partitions."""
    settings = {
        "STREAMKIT_PARTITIONS": "4",
        "STREAMKIT_SECRET_KEY": base64.b64encode(KEY).decode(),
    }
    if request.param == "kafka":
        settings["STREAMKIT_LOG_URL"] = request.getfixturevalue("kafka_log_url")
    return settings


def test_a_running_projector_gives_copies_and_goes_on(tmp_path: Path, shared: dict[str, str]) -> None:
    events = seeded_log(6, 400)

    async def append(events: Sequence[Event]) -> None:
        log = await opened(tmp_path, shared)
        await put(log, events)
        await log.close()

    asyncio.run(append(events))
    port = free_port()
    settings = shared | {"STREAMKIT_PROJECTOR_URLS": f"http://127.0.0.1:{port}"}
    with Program(tmp_path, "projector", port=port, **settings) as projector:
        until_folded(tmp_path, settings)
        ran = run(tmp_path, "verify", "--json", **settings)
        assert ran.returncode == 0, ran.stderr + ran.stdout
        document = json.loads(ran.stdout)
        assert [one["partition"] for one in document["partitions"]] == [0, 1, 2, 3]
        assert sum(one["position"] for one in document["partitions"]) >= 400
        assert list((tmp_path / "data").rglob("*.json")) == list((tmp_path / "data" / "generations").rglob("*.json"))
        asyncio.run(append(gifts(5)))
        until_folded(tmp_path, settings)
        projector.stop()
        corrupted = next(
            p for p in range(4) if holds(tmp_path, "SELECT count(*) FROM recent WHERE type = 'kicks.gifted'", p)
        )
        corrupt(
            tmp_path,
            "UPDATE recent SET amount = amount + 1 WHERE position ="
            " (SELECT min(position) FROM recent WHERE type = 'kicks.gifted')",
            corrupted,
        )
        projector.start()
        ran = run(tmp_path, "verify", "--json", **settings)
        assert ran.returncode == 1, ran.stderr
        assert {row["partition"] for row in json.loads(ran.stdout)["differences"]} == {corrupted}


def holds(folder: Path, question: str, partition: int) -> Any:
    """The number that the closed file gives."""
    with duckdb.connect(str(file_of(folder / "data", 1, partition)), read_only=True) as connection:
        return connection.execute(question).fetchall()[0][0]


def until_folded(folder: Path, settings: dict[str, str]) -> None:
    """Returns when `status` shows no lag; fails the test after a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        told = json.loads(run(folder, "status", "--json", **settings).stdout)
        if told["positions"] is not None and len(told["positions"]) == 4 and told["lag_events"] == 0:
            return
        assert time.monotonic() < deadline, told
