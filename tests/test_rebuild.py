"""Generations from outside: rebuilt, promoted, gone back from and killed, while platforms deliver and consumers read.

Every read is answered 200, no number that only rises goes back, and in the end every number is right.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import structs

from projector.database import file_of, open_file
from schemas.read_models import READ_MODELS
from streamkit.cli.simulate import story
from streamkit.log.sqlite import SqliteLog
from tests.drill import Platforms, check_numbers, sandbox_reader
from tests.program import API, STREAMKIT, Program, Reader, command, run
from tests.services.process import free_port
from tests.streamkit.cli.running import environment

SETTINGS = {"STREAMKIT_SANDBOX": "1", "STREAMKIT_RATE_LIMIT": "0"}
DEADLINE_S = 60.0


class Consumers:
    """Read on and on. `failed` are the answers that were none, `answered` counts the others."""

    def __init__(self, http: aiohttp.ClientSession, reader: Reader) -> None:
        self._http = http
        self._reader = reader
        self.answered = 0
        self.failed: list[Any] = []
        self.stopped = False

    async def read(self, path: str = "overview") -> None:
        """Until `stopped`. The total of events never goes back."""
        newest = 0
        while not self.stopped:
            try:
                async with self._http.get(self._reader.url + API + path, headers=self._reader.headers) as answer:
                    document = await answer.json()
                    if answer.status == 200 and document["data"]["events"]["total"] >= newest:
                        newest = document["data"]["events"]["total"]
                        self.answered += 1
                    else:
                        self.failed.append((answer.status, newest, document))
            except aiohttp.ClientError as error:
                self.failed.append(repr(error))


@asynccontextmanager
async def reading(http: aiohttp.ClientSession, reader: Reader) -> AsyncIterator[Consumers]:
    consumers = Consumers(http, reader)
    tasks = [asyncio.create_task(consumers.read()) for _ in range(3)]
    yield consumers
    consumers.stopped = True
    await asyncio.gather(*tasks)


def rebuild(folder: Path, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    """Started; it tells JSON lines."""
    return subprocess.Popen(
        [*STREAMKIT, "rebuild", *arguments, "--json"],
        env=environment(folder, **SETTINGS, **settings),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def listed(folder: Path) -> dict[int, Any]:
    return {one["id"]: one for one in command(folder, "generations", "list")}


@pytest.mark.drill
async def test_rebuilt_killed_promoted_and_gone_back_from_under_load(tmp_path: Path) -> None:
    sent = story(7, 1_500, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        with Program(tmp_path, "up", port=free_port(), **SETTINGS) as up:
            user_id, reader = sandbox_reader(http, up.url, tmp_path)
            platforms = Platforms(http, lambda: up.url, sent, pause_s=0.1)
            delivering = asyncio.create_task(platforms.deliver())
            await platforms.reached(200)
            async with reading(http, reader) as consumers:
                for number in (signal.SIGKILL, signal.SIGINT):
                    broken_off = await asyncio.to_thread(rebuild, tmp_path)
                    assert (await asyncio.to_thread(first_line, broken_off))["generation"] == 2
                    broken_off.send_signal(number)
                    await asyncio.to_thread(broken_off.communicate)
                    assert broken_off.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
                    assert (await asyncio.to_thread(listed, tmp_path))[2]["state"] == "interrupted"
                whole = await asyncio.to_thread(rebuild, tmp_path, "--promote")
                out, err = await asyncio.to_thread(whole.communicate)
                assert whole.returncode == 0, err
                last = json.loads(out.splitlines()[-1])
                assert (last["generation"], last["promoted"], last["done"]) == (2, True, True)
                assert last["events"] >= 200
                for _ in range(2):  # back, and forth again
                    await asyncio.to_thread(command, tmp_path, "generations", "rollback")
                await delivering
            assert not consumers.failed
            assert consumers.answered > 50
            await check_numbers(reader, user_id, tmp_path, sent, platforms.min_position)
            found = await asyncio.to_thread(listed, tmp_path)
            assert [(one["id"], one["live"], one["answers"]) for one in found.values()] == [
                (1, False, []),
                (2, True, [0]),
            ]
            compared = await asyncio.to_thread(command, tmp_path, "generations", "compare", "1", "2")
            assert (compared["equal"], compared["differences"]) == (True, [])
            await asyncio.to_thread(command, tmp_path, "generations", "drop", "1")
            assert not file_of(tmp_path / "data", 1, 0).exists()


@pytest.mark.drill
async def test_kill_9_in_a_promotion_ends_on_the_new_generation(tmp_path: Path) -> None:
    sent = story(8, 600, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        with Program(tmp_path, "up", port=free_port(), **SETTINGS) as up:
            user_id, reader = sandbox_reader(http, up.url, tmp_path)
            platforms = Platforms(http, lambda: up.url, sent, pause_s=0.05)
            delivering = asyncio.create_task(platforms.deliver())
            for generation in (2, 3):
                await platforms.reached(generation * 100)
                promoting = await asyncio.to_thread(rebuild, tmp_path, "--promote", STREAMKIT_GENERATIONS_KEPT="1")
                while "generation_promoted" not in up.output():
                    await asyncio.sleep(0.001)
                await asyncio.to_thread(up.kill)
                await asyncio.to_thread(up.start)
                assert promoting.wait(DEADLINE_S) == 0
                up.log.write_text("")
                promoting.communicate()
            await delivering
            await check_numbers(reader, user_id, tmp_path, sent, platforms.min_position)
            found = await asyncio.to_thread(listed, tmp_path)
            assert [(one["id"], one["answers"]) for one in found.values()] == [(3, [0])]
            assert sorted(path.name for path in (tmp_path / "data" / "generations").iterdir()) == ["3", "served-0.json"]


async def older_files(folder: Path) -> None:
    """Replace the read models by empty ones of a build before this one, which had no kicks."""
    log = await SqliteLog.open(folder / "data" / "log.sqlite")
    path = file_of(folder / "data", 1, 0)
    path.unlink()
    older = tuple(structs.replace(model, version=model.version - 1) for model in READ_MODELS if model.name != "kicks")
    open_file(path, log_id=log.log_id, partition=0, models=older).close()
    await log.close()


@pytest.mark.drill
@pytest.mark.parametrize("how", ["auto", "manual"])
async def test_a_build_whose_read_models_have_risen_serves_the_old_ones_and_replaces_them(
    tmp_path: Path, how: str
) -> None:
    sent, port = story(9, 300, rate=None, duplicates=0.1, shuffle=0.2), free_port()
    async with aiohttp.ClientSession() as http:
        with Program(tmp_path, "up", port=port, **SETTINGS) as up:
            user_id, reader = sandbox_reader(http, up.url, tmp_path)
            platforms = Platforms(http, lambda: up.url, sent)
            await platforms.deliver()
        await older_files(tmp_path)
        with Program(tmp_path, "up", port=port, **SETTINGS, STREAMKIT_REBUILD=how):
            if how == "manual":
                await reader.get("events-history", at_least=platforms.min_position)  # what old tables can answer
                async with http.get(reader.url + API + "kicks", headers=reader.headers) as answer:
                    assert answer.status == 503
                    assert "Retry-After" in answer.headers
                done = await asyncio.to_thread(run, tmp_path, "rebuild", "--promote")
                assert "It is the live one." in done.stdout, done.stderr
            async with asyncio.timeout(DEADLINE_S):
                while (await asyncio.to_thread(listed, tmp_path)).get(2, {}).get("answers") != [0]:
                    await asyncio.sleep(0.05)
            await check_numbers(reader, user_id, tmp_path, sent, platforms.min_position)
