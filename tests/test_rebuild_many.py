"""A generation built in one folder, promoted over projectors that have folders of their own, one of them then killed."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streamkit.cli.simulate import story
from tests.drill import Platforms, check_numbers, sandbox_reader
from tests.program import command, run
from tests.test_many_processes import PARTITIONS, Site, Watcher, fresh


@pytest.mark.drill
async def test_projectors_change_over_each_by_itself_and_nothing_fails(tmp_path: Path, kafka_log_url: str) -> None:
    site = Site(tmp_path, kafka_log_url)
    projectors = dict(list(site.projectors.items())[:2])
    sent = story(33, 600, rate=None, duplicates=0.1, shuffle=0.2)

    def listed() -> dict[int, Any]:
        return {one["id"]: one for one in command(site.folder, "generations", "list", "--no-digests", **site.settings)}

    async with aiohttp.ClientSession() as http:
        with ExitStack() as stack:
            for program in (site.ingests[0], *projectors.values(), site.apis[0]):
                stack.enter_context(program)
            owners = await site.all_owned(http, by=2)
            user_id, reader = sandbox_reader(http, site.apis[0].url, site.folder, **site.settings)
            first = Platforms(http, lambda: site.ingests[0].url, sent[:300])
            await first.deliver()
            await fresh(http, first.min_position, reader)
            watcher = Watcher(http, [reader])
            watching = asyncio.create_task(watcher.run())
            second = Platforms(http, lambda: site.ingests[0].url, sent[300:], pause_s=0.1)
            delivering = asyncio.create_task(second.deliver())
            ran = await asyncio.to_thread(run, site.folder, "rebuild", "--promote", **site.settings)
            assert "It is the live one." in ran.stdout, ran.stderr
            await delivering
            assert (await asyncio.to_thread(listed))[2]["answers"] == list(range(PARTITIONS))
            await fresh(http, second.min_position, reader)

            projectors[owners[0]].kill()  # whoever takes its partitions takes them in the generation that is live
            await site.all_owned(http, by=1)
            await fresh(http, second.min_position, reader)
            assert (await asyncio.to_thread(listed))[2]["answers"] == list(range(PARTITIONS))
            assert not watching.done()
            watching.cancel()
            await asyncio.wait([watching])
            assert watcher.answers > 20
            await check_numbers(reader, user_id, site.folder, sent, second.min_position, **site.settings)
