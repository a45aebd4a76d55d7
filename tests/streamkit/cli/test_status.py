"""`streamkit status`: what runs, what does not, and how far everything is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp

from schemas.event import encode_event
from schemas.first_party_kinds import WheelSpun
from schemas.kinds import LivestreamSnapshot
from streamkit.cli.rooms import count_since_start
from streamkit.cli.simulate import story
from streamkit.log import open_log
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, Record
from streamkit.simulation.sender import send
from tests.program import Program, command, run
from tests.projector.events import ANN, event, pushed
from tests.services.process import free_port
from tests.unreadable import UNREADABLE


def test_with_nothing_running(tmp_path: Path) -> None:
    told = command(tmp_path, "status", STREAMKIT_PROJECTOR_URLS=f"http://127.0.0.1:{free_port()}")
    assert told["positions"] is None
    assert told["lag_events"] is None
    assert told["since_start"] is None
    assert told["dead_letters"] == {"open": 0, "by_reason": {}, "count": 0, "bytes": 0}
    assert told["last_event_at"] == {"kick": None, "twitch": None}
    assert told["log"]["ends"]["streamkit.events"] == {"0": 0}


def test_an_address_where_nothing_answers_is_named(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    told = command(tmp_path, "status", "--at", f"{nobody}/", "--at", "nonsense", STREAMKIT_PROJECTOR_URLS=nobody)
    missing = [room for room in told["rooms"] if room["up"] is False]
    reasons = [f"no StreamKit answers at {nobody}", "no StreamKit answers at nonsense"]
    assert [room["reasons"] for room in missing] == [reasons] * len(missing)
    assert "projector" in {room["room"] for room in missing}


def test_a_log_that_is_away_is_exit_3_and_the_rooms_are_told_all_the_same(tmp_path: Path) -> None:
    ran = run(tmp_path, "status", STREAMKIT_LOG_URL=f"kafka://127.0.0.1:{free_port()}")
    assert ran.returncode == 3
    assert "projector" in ran.stdout
    assert "Kafka" in ran.stderr


def test_a_size_that_kafka_does_not_tell_is_null(tmp_path: Path, kafka_log_url: str) -> None:
    settings = {"STREAMKIT_LOG_URL": kafka_log_url, "STREAMKIT_PROJECTOR_URLS": f"http://127.0.0.1:{free_port()}"}
    assert command(tmp_path, "status", **settings)["dead_letters"]["bytes"] is None
    assert "; 0 kept\n" in run(tmp_path, "status", **settings).stdout


async def test_records_that_are_no_events_are_named_and_passed_over(tmp_path: Path) -> None:
    log = await open_log("sqlite:", data_dir=tmp_path / "data")
    for topic in (EVENTS, CONTROL, DEAD_LETTERS):
        await log.append(topic, [Record("1", value) for value in UNREADABLE])
    await log.close()
    ran = await asyncio.to_thread(run, tmp_path, "status", "--json")
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["log"]["ends"]["streamkit.events"] == {"0": len(UNREADABLE)}
    named = ran.stderr.splitlines()
    assert [line.split()[4] for line in named] == [f"0:{position}" for position in range(len(UNREADABLE))]


async def test_up_on_a_port_of_its_own_is_found_and_told(tmp_path: Path) -> None:
    with Program(tmp_path, "up", STREAMKIT_SANDBOX="1") as up:
        sent = await send(up.url, story(5, 120, None, 20 / 120, 0.0))
        assert sent.accepted == 120
        async with aiohttp.ClientSession() as http:
            token = command(tmp_path, "settings", "--show", "STREAMKIT_INTERNAL_TOKEN")["value"]
            ends = None
            while ends is None or ends["lag_events"]:
                async with http.get(f"{up.url}/readyz", headers={"Authorization": f"Bearer {token}"}) as answer:
                    ends = await answer.json()
        told = command(tmp_path, "status")
        here = {room["room"]: room for room in told["rooms"] if room["url"] == up.url}
        assert here.keys() == {"ingest", "projector", "api"}
        assert {room["status"] for room in here.values()} == {"ready"}
        assert told["positions"] == told["log"]["ends"]["streamkit.events"] == ends["ends"]
        assert told["lag_events"] == 0
        assert {one["owner"] for one in told["partitions"].values()} == {up.url}
        assert 0 < sum(told["since_start"]["duplicates"].values()) <= 20  # those that are no event count as none
        assert all(told["last_event_at"].values())
        assert up.url in run(tmp_path, "status").stdout
        await asyncio.to_thread(_with_another_key, tmp_path, up.url)
        await asyncio.to_thread(_with_another_log, tmp_path, up.url)
        up.kill()
    assert up.url not in run(tmp_path, "status").stdout


def _with_another_log(folder: Path, url: str) -> None:
    """Its figures are not this log's, though the key is the same."""
    ours = {"STREAMKIT_SECRET_KEY": command(folder, "settings", "--show", "STREAMKIT_SECRET_KEY")["value"]}
    copy = folder / "copy"
    copy.mkdir()
    command(copy, "accounts", "add", "--name", "Ann")
    told = command(copy, "status", "--at", url, **ours)
    assert {room["up"] for room in told["rooms"] if room["url"] == url} == {None}
    assert (told["positions"], told["since_start"]) == (None, None)
    assert "another log" in run(copy, "status", "--at", url, **ours).stdout


def _with_another_key(folder: Path, url: str) -> None:
    """The folder's processes are known to run; of an address alone nothing is known but that something answers."""
    other = {"STREAMKIT_INTERNAL_TOKEN": "another-token"}
    here = [room for room in command(folder, "status", **other)["rooms"] if room["url"] == url]
    assert {room["room"]: (room["up"], room["status"]) for room in here} == dict.fromkeys(
        ("ingest", "projector", "api"), (True, "ready")
    )
    assert all("the internal token differs" in room["reasons"][0] for room in here)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    there = [room for room in command(elsewhere, "status", "--at", url, **other)["rooms"] if room["url"] == url]
    assert {room["up"] for room in there} == {None}
    ours = {"STREAMKIT_SECRET_KEY": command(folder, "settings", "--show", "STREAMKIT_SECRET_KEY")["value"]}
    there = [room for room in command(elsewhere, "status", "--at", url, **ours)["rooms"] if room["url"] == url]
    assert {room["status"] for room in there} == {"ready"}


def test_what_several_processes_counted_is_added_up() -> None:
    ingest = """# TYPE streamkit_deliveries_total counter
streamkit_deliveries_total{outcome="event",platform="kick"} 100.0
streamkit_deliveries_total{outcome="duplicate",platform="kick"} 3.0
streamkit_deliveries_total{outcome="duplicate",platform="twitch"} 2.0
"""
    projector = """# TYPE streamkit_folded_duplicates_total counter
streamkit_folded_duplicates_total{partition="0"} 4.0
streamkit_folded_duplicates_total{partition="1"} 1.0
# TYPE streamkit_fold_model_seconds_total counter
streamkit_fold_model_seconds_total{model="events"} 0.25
streamkit_fold_model_seconds_total{model="coins"} 1.5
"""
    told = count_since_start([ingest, projector, projector])
    assert told == {"duplicates": {"at_intake": 5, "in_fold": 10}, "settling_s": {"coins": 3.0, "events": 0.5}}
    assert list(told["settling_s"]) == ["coins", "events"]
    assert count_since_start([]) is None


async def test_what_a_bot_pushes_or_a_poll_sees_hides_no_webhook_that_is_dead(tmp_path: Path) -> None:
    log = await open_log("sqlite:", data_dir=tmp_path / "data")
    spun = pushed(WheelSpun(result="Hydrate"), ANN, platform="twitch")
    seen = event(LivestreamSnapshot(is_live=False), None)
    await log.append(EVENTS, [Record("1", encode_event(one)) for one in (spun, seen)])
    await log.close()
    told = await asyncio.to_thread(command, tmp_path, "status")
    assert told["last_event_at"] == {"kick": None, "twitch": None, "streamkit": spun.received_at.isoformat()}
