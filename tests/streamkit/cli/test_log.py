"""`streamkit log`: positions and events, while services run or not."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from schemas.event import Event, encode_event
from schemas.kinds import ChatMessage
from streamkit.cli.log import log
from streamkit.log import open_log
from streamkit.log.protocol import EVENTS, Record
from streamkit.simulation.traffic import traffic
from tests.program import STREAMKIT
from tests.projector.events import event
from tests.simulated import events_of
from tests.streamkit.cli.running import Ran, environment, invoke
from tests.unreadable import UNREADABLE

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def run(folder: Path, *arguments: str) -> Ran:
    return invoke(log, *arguments, folder=folder)


def fill(folder: Path, count: int, *, user_ids: tuple[int, ...] = (1, 2), partitions: int = 1) -> list[Event]:
    """So many deliveries' events for each broadcaster on the folder's log, as they come in."""
    sent = list(islice(traffic(1, start=START, interval=timedelta(seconds=1)), count))
    events = [event for delivery in sent for user_id in user_ids for event in events_of([delivery], user_id)]

    async def append() -> None:
        log = await open_log("sqlite:", data_dir=folder / "data", partitions=partitions)
        try:
            await log.append(EVENTS, [Record(str(event.user_id), encode_event(event)) for event in events])
        finally:
            await log.close()

    asyncio.run(append())
    return events


def lines(ran: Ran) -> list[dict[str, Any]]:
    assert (ran.exit_code, ran.err) == (0, "")
    return [json.loads(line) for line in ran.out.splitlines()]


def test_info_tells_every_topics_extent(tmp_path: Path) -> None:
    events = fill(tmp_path, 50)
    told = run(tmp_path, "info", "--json").document
    assert len(told["log_id"]) >= 32
    extents = {(p["topic"], p["partition"]): (p["start"], p["end"]) for p in told["partitions"]}
    assert extents[EVENTS, 0] == (0, len(events))
    assert {topic for topic, _ in extents} == {f"streamkit.{name}" for name in ("events", "control", "vault", "dead-letters")}  # fmt: skip
    assert "streamkit.events" in run(tmp_path, "info").out


def test_tail_jsonl_tells_the_whole_log_with_positions(tmp_path: Path) -> None:
    events = fill(tmp_path, 60)
    told = lines(run(tmp_path, "tail", "--jsonl"))
    assert [one["event_id"] for one in told] == [event.event_id for event in events]
    assert [(one["partition"], one["position"]) for one in told] == [(0, n) for n in range(len(events))]


def test_tail_begins_with_the_newest_of_all_partitions(tmp_path: Path) -> None:
    events = fill(tmp_path, 60, user_ids=(1, 2, 3, 4), partitions=3)
    newest = sorted(event.received_at for event in events)[-8:]
    told = run(tmp_path, "tail", "--last", "8", "--json").document
    assert [datetime.fromisoformat(one["received_at"]) for one in told] == newest
    assert len(run(tmp_path, "tail").out.splitlines()) == 20


def test_tail_gives_an_event_one_line_whatever_a_viewer_wrote(tmp_path: Path) -> None:
    said = ChatMessage(message_id="m", message="hi\n\x1b]0;pwned\x07")

    async def append() -> None:
        log = await open_log("sqlite:", data_dir=tmp_path / "data")
        await log.append(EVENTS, [Record("1", encode_event(event(said)))])
        await log.close()

    asyncio.run(append())
    [line] = run(tmp_path, "tail").out.splitlines()
    assert line.endswith("hi\\n\\x1b]0;pwned\\x07")


def test_tail_chooses_by_broadcaster_and_type(tmp_path: Path) -> None:
    events = fill(tmp_path, 200, partitions=4)
    told = lines(run(tmp_path, "tail", "--jsonl", "--user-id", "2", "--type", "kicks.gifted"))
    assert told
    assert [one["event_id"] for one in told] == [
        event.event_id for event in events if event.user_id == 2 and event.type == "kicks.gifted"
    ]
    assert lines(run(tmp_path, "tail", "--jsonl", "--type", "no.such")) == []


def test_tail_of_an_empty_log(tmp_path: Path) -> None:
    assert run(tmp_path, "tail", "--json").document == []
    assert run(tmp_path, "tail").out == ""


def spoil(folder: Path, values: Sequence[bytes]) -> None:
    """Append records that are no events."""

    async def append() -> None:
        log = await open_log("sqlite:", data_dir=folder / "data")
        try:
            await log.append(EVENTS, [Record("1", value) for value in values])
        finally:
            await log.close()

    asyncio.run(append())


@pytest.mark.parametrize("options", [(), ("--last", "100"), ("--jsonl",), ("--json", "--last", "100")])
def test_a_record_that_is_no_event_is_named_and_passed_over(tmp_path: Path, options: tuple[str, ...]) -> None:
    before = fill(tmp_path, 3, user_ids=(1,))
    spoil(tmp_path, UNREADABLE)
    after = fill(tmp_path, 2, user_ids=(1,))
    ran = run(tmp_path, "tail", *options)
    assert ran.exit_code == 0
    told = ran.document if "--json" in options else ran.out.splitlines()
    assert len(told) == len(before + after)
    for position, line in enumerate(ran.err.splitlines(), len(before)):
        assert f" 0:{position} of streamkit.events " in line
    assert len(ran.err.splitlines()) == len(UNREADABLE)


def test_follow_goes_on_past_a_record_that_is_no_event(tmp_path: Path) -> None:
    fill(tmp_path, 1, user_ids=(1,))
    with _tail(tmp_path, "--follow", "--last", "1", "--jsonl") as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        position = json.loads(tail.stdout.readline())["position"]
        spoil(tmp_path, UNREADABLE[:1])
        fill(tmp_path, 1, user_ids=(7,))
        assert json.loads(tail.stdout.readline())["position"] == position + 2
        tail.send_signal(signal.SIGINT)
        assert tail.wait(10) == 130
        assert f" 0:{position + 1} of streamkit.events " in tail.stderr.read()


def test_one_document_and_endless_lines_exclude_each_other(tmp_path: Path) -> None:
    for other in ("--follow", "--jsonl"):
        assert run(tmp_path, "tail", "--json", other).exit_code == 2


def test_follow_goes_on_with_what_comes_until_interrupted(tmp_path: Path) -> None:
    fill(tmp_path, 5, user_ids=(1,))
    with _tail(tmp_path, "--follow", "--last", "1", "--jsonl") as tail:
        assert tail.stdout is not None
        first = json.loads(tail.stdout.readline())
        later = fill(tmp_path, 7, user_ids=(7,))
        told = [json.loads(tail.stdout.readline()) for _ in later]
        assert [one["position"] for one in told] == [first["position"] + 1 + n for n in range(len(later))]
        tail.send_signal(signal.SIGINT)
        assert tail.wait(10) == 130
        assert tail.stderr is not None
        assert tail.stderr.read() == ""


@pytest.mark.parametrize("options", [("--jsonl",), ("--last", "5000")])
def test_a_reader_that_hangs_up_is_no_error_to_speak_of(tmp_path: Path, options: tuple[str, ...]) -> None:
    fill(tmp_path, 4000, user_ids=(1,))
    with _tail(tmp_path, *options) as tail:
        assert tail.stdout is not None
        assert tail.stdout.readline()
        tail.stdout.close()
        tail.wait(10)
        assert tail.stderr is not None
        assert tail.stderr.read() == ""


def _tail(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*STREAMKIT, "log", "tail", *arguments],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
