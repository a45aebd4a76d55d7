"""A real broker is killed, hung and started again under `up` and `ingest`: every delivery is 2xx, and counted once."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import aiohttp
import pytest

from schemas.event import decode_event
from streamkit.cli.simulate import story
from streamkit.keys import Keys
from streamkit.simulation.delivery import Delivery
from tests.drill import Platforms, Push, check_numbers, log_records, pushes, readiness_of, sandbox_reader
from tests.program import Program, command, run
from tests.services.kafka import KafkaBroker
from tests.services.process import free_port
from tests.signing import KickSigner
from tests.test_story import STREAMER_ON_KICK, kicks_gifted

KEY = bytes(range(32))
TOKEN = Keys.derive(KEY).internal_token
DEADLINE_S = 60.0


def settings_of(broker: KafkaBroker) -> dict[str, str]:
    return {
        "STREAMKIT_LOG_URL": f"kafka://{broker.bootstrap}",
        "STREAMKIT_SECRET_KEY": base64.b64encode(KEY).decode(),
        "STREAMKIT_SANDBOX": "1",
        "STREAMKIT_RATE_LIMIT": "0",
    }


@pytest.mark.drill
@pytest.mark.parametrize("how", ["killed", "hung"])
async def test_up_takes_everything_while_the_broker_is_away_also_when_it_is_killed_itself(
    tmp_path: Path, kafka_broker: KafkaBroker, how: str
) -> None:
    settings = settings_of(kafka_broker)
    sent = story(31, 500, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        with Program(tmp_path, "up", port=free_port(), **settings) as up:
            user_id, reader = sandbox_reader(http, up.url, tmp_path, **settings)
            traffic: list[Delivery | Push] = [*sent, *pushes(32, 100, reader.headers)]
            parts = [traffic[n::4] for n in range(4)]

            async def deliver(part: list[Delivery | Push]) -> None:
                platforms = Platforms(http, lambda: up.url, part)
                await platforms.deliver()
                assert platforms.retries == 0, "a delivery was refused"

            await deliver(parts[0])
            before = await reader.get("overview")
            if how == "killed":
                await asyncio.to_thread(kafka_broker.kill)
            else:
                kafka_broker.process.suspend()
            await deliver(parts[1])
            assert (await reader.get("overview"))["events"]["total"] >= before["events"]["total"], "reads go on"
            waiting = await readiness_of(http, up, TOKEN, lambda now: now["status"] == "degraded")
            assert waiting["spool"]["events"] > 50
            assert waiting["spool"]["bytes"] > 10_000
            assert waiting["spool"]["oldest_s"] > 0
            assert any("wait in the spool for the event log" in reason for reason in waiting["reasons"])

            await asyncio.to_thread(up.kill)
            await asyncio.to_thread(up.start)
            reader.url = up.url
            again = await readiness_of(http, up, TOKEN, lambda now: "spool" in now)
            assert again["spool"]["events"] == waiting["spool"]["events"]
            assert any("those of the copy" in reason for reason in again["reasons"])
            await deliver(parts[2])
            assert await reader.status() == 200, "read models are served"

            if how == "killed":
                await asyncio.to_thread(kafka_broker.start)
            else:
                kafka_broker.process.resume()
            await deliver(parts[3])
            await readiness_of(http, up, TOKEN, lambda now: now["spool"]["events"] == 0 and now["status"] == "ready")
            ends = (await readiness_of(http, up, TOKEN, lambda now: now["lag_events"] == 0))["ends"]
            at_least = ",".join(f"{partition}:{end}" for partition, end in ends.items())
            await check_numbers(reader, user_id, tmp_path, sent, at_least, 100, **settings)


@pytest.mark.drill
async def test_ingest_judges_whom_it_does_not_know_when_the_log_is_back(
    tmp_path: Path, kafka_broker: KafkaBroker
) -> None:
    signer = KickSigner()
    settings = settings_of(kafka_broker) | {"STREAMKIT_KICK_PUBLIC_KEY": signer.public_pem}
    ran = run(tmp_path, "ingest", "--port", "0", **settings | {"STREAMKIT_LOG_URL": f"kafka://127.0.0.1:{free_port()}"})
    assert (ran.returncode, "Kafka" in ran.stderr) == (3, True), "a first start needs the log"
    with Program(tmp_path, "ingest", port=0, **settings):
        pass
    account = command(tmp_path, "accounts", "add", "--name", "Late", "--kick", f"late:{STREAMER_ON_KICK}", **settings)
    kafka_broker.kill()
    program = Program(tmp_path, "ingest", port=free_port(), **settings)
    async with aiohttp.ClientSession() as http:

        async def post(body: bytes, type_: str = "kicks.gifted") -> None:
            headers = signer.headers(type_, body)
            async with http.post(f"{program.url}/webhooks/kick", data=body, headers=headers) as answer:
                assert (answer.status, answer.headers.get("Streamkit-Position")) == (200, None)

        await asyncio.to_thread(program.start)
        try:
            gift = kicks_gifted(sender="early", amount=500)
            await post(gift)
            await post(gift.replace(str(STREAMER_ON_KICK).encode(), b"424242"))
            await post(b"{}", "no.such.type")
            waiting = await readiness_of(http, program, TOKEN, lambda now: True)
            assert waiting["spool"]["events"] == 3
            (status, shown) = [
                await asyncio.to_thread(run, tmp_path, "status", *how, "--at", program.url, **settings)
                for how in (["--json"], [])
            ]
            assert status.returncode == shown.returncode == 3, "the log does not answer"
            assert json.loads(status.stdout)["spool"]["events"] == 3
            assert "spool           3 events (" in shown.stdout
            await asyncio.to_thread(program.kill)
            left = await asyncio.to_thread(run, tmp_path, "status", "--json", **settings)
            assert json.loads(left.stdout)["spool_left_behind"] == 3
            await asyncio.to_thread(program.start)
            await asyncio.to_thread(kafka_broker.start)
            await readiness_of(
                http, program, TOKEN, lambda now: now["status"] == "ready" and now["spool"]["events"] == 0
            )
        finally:
            await asyncio.to_thread(program.stop)
    assert [decode_event(value).user_id for value in log_records(tmp_path, **settings)] == [account["user_id"]]
    letters = command(tmp_path, "dead-letters", "list", **settings)
    assert sorted(letter["reason"] for letter in letters) == ["unknown_broadcaster", "unknown_type"]
