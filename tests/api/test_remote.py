"""RemoteReadModels against real projectors behind real read ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from api.remote import RemoteReadModels
from projector import read_port
from projector.run import Projector
from schemas.errors import Retry
from schemas.event import encode_event
from schemas.kinds import KicksGifted
from schemas.read_models.kicks import KicksHistoryRow, KicksSummaryRow
from streamkit.lifecycle import Server, serve
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS, Record
from streamkit.log.shares import Sole, Tenure
from streamkit.reads import Change, Question
from tests.api.house import House, serving
from tests.projector.events import event

SOLE = Sole()
TOKEN = "a token"
PARTITIONS = 2
ZERO, ONE = 2, 1
"""Broadcasters whose events lie in partition 0 and in partition 1."""
SUMMARY, HISTORY = Question("kicks_summary"), Question("kicks_history", {"limit": 5, "before": None})


class Site:
    """A log of two partitions and the projectors that serve it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = MemoryLog(PARTITIONS)
        self.stack = AsyncExitStack()
        self.remote: RemoteReadModels
        self.changes: list[Change] = []

    async def projector(
        self, *partitions: int, port: int = 0, log: MemoryLog | None = None, tenure: Tenure = SOLE
    ) -> Server:
        """A projector of these partitions behind a read port; both end with the site."""
        name = f"{len(list(self.folder.iterdir()))}"
        projector = Projector(log or self.log, self.folder / name, partitions=partitions)
        await projector.start()
        server = await serve(read_port.build_app(projector, TOKEN, tenure), "127.0.0.1", port, grace_s=0.2)

        async def stop() -> None:
            await server.close()
            await projector.close()

        self.stack.push_async_callback(stop)
        return server

    async def connect(self, *urls: str, token: str = TOKEN) -> RemoteReadModels:
        """The client of these read ports."""
        self.remote = RemoteReadModels(urls, token, partitions=PARTITIONS, log_id=self.log.log_id)
        self.remote.on_change(self.changes.append)
        await self.remote.start()
        self.stack.push_async_callback(self.remote.close)
        return self.remote

    async def gift(self, user_id: int, amount: int) -> int:
        """Append a gift of kicks; gives back the position after it."""
        value = encode_event(event(KicksGifted(amount=amount), user_id=user_id))
        (appended,) = await self.log.append(EVENTS, [Record(str(user_id), value)])
        return appended.position


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """An empty site; everything started in it is stopped."""
    site = Site(tmp_path)
    async with site.stack:
        yield site
    await site.log.close()


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait for a condition, turn by turn."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def test_rows_come_as_their_structs_at_a_position(site: Site) -> None:
    server = await site.projector(0, 1)
    remote = await site.connect(server.url)
    position = await site.gift(ZERO, 5)
    answer = await remote.ask(ZERO, [SUMMARY, HISTORY], min_position=position, wait_s=5)
    assert (answer.partition, answer.position) == (0, position)
    assert answer.rows[0] == [KicksSummaryRow(5, 1)]
    assert isinstance(answer.rows[1][0], KicksHistoryRow)


async def test_each_partition_is_asked_where_it_lies(site: Site) -> None:
    first = await site.projector(0)
    second = await site.projector(1)
    remote = await site.connect(first.url, second.url)
    for user_id, partition in ((ZERO, 0), (ONE, 1)):
        assert remote.partition_of(user_id) == partition
        position = await site.gift(user_id, 3)
        answer = await remote.ask(user_id, [SUMMARY], min_position=position, wait_s=5)
        assert (answer.partition, answer.rows) == (partition, [[KicksSummaryRow(3, 1)]])


async def test_a_position_not_reached_is_retry(site: Site) -> None:
    server = await site.projector(0, 1)
    remote = await site.connect(server.url)
    with pytest.raises(Retry, match="position"):
        await remote.ask(ZERO, [SUMMARY], min_position=99, wait_s=0.05)


async def test_no_projector_is_retry(site: Site) -> None:
    server = await site.projector(0, 1)
    await server.close()
    remote = await site.connect(server.url)
    with pytest.raises(Retry, match="not reachable"):
        await remote.ask(ZERO, [SUMMARY])
    assert remote.readiness()
    assert not remote.following(0)


async def test_a_wrong_token_reads_nothing(site: Site) -> None:
    server = await site.projector(0, 1)
    remote = await site.connect(server.url, token="another")
    with pytest.raises(Retry):
        await remote.ask(ZERO, [SUMMARY])


async def test_a_projector_of_another_log_is_not_asked(site: Site) -> None:
    other = MemoryLog(PARTITIONS)
    server = await site.projector(0, 1, log=other)
    remote = await site.connect(server.url)
    with pytest.raises(Retry):
        await remote.ask(ZERO, [SUMMARY])
    await other.close()


async def test_an_owner_that_changed_is_found_again(site: Site) -> None:
    first = await site.projector(0)
    second = await site.projector(1)
    third = await site.projector(0)
    remote = await site.connect(first.url, second.url, third.url)
    assert (await remote.ask(ZERO, [SUMMARY])).partition == 0
    await first.close()
    position = await site.gift(ZERO, 4)
    answer = await remote.ask(ZERO, [SUMMARY], min_position=position, wait_s=5)
    assert answer.rows == [[KicksSummaryRow(4, 1)]]


class Since:
    """Owned since this epoch, until the test takes it back."""

    def __init__(self, epoch: int) -> None:
        self.epoch: int | None = epoch

    def epoch_of(self, partition: int) -> int | None:
        return self.epoch

    def holds(self, partition: int) -> bool:
        return self.epoch is not None

    def holds_strictly(self, partition: int) -> bool:
        return self.epoch is not None


@pytest.mark.parametrize("newer_first", [True, False])
async def test_of_two_that_say_they_own_it_the_later_epoch_is_asked(site: Site, newer_first: bool) -> None:
    """Also when the older one is ahead, and whichever is heard first."""
    older, newer = Since(5), Since(6)
    position = await site.gift(ZERO, 4)
    urls = {}
    for tenure in (newer, older) if newer_first else (older, newer):
        urls[tenure.epoch] = (await site.projector(0, 1, tenure=tenure)).url
    remote = await site.connect(*urls.values())
    await until(lambda: remote.following(0))
    await remote.ask(ZERO, [SUMMARY], min_position=position, wait_s=5)
    await until(lambda: remote._owners[0].epoch == 6)
    assert remote._owners[0].url == urls[6]


async def test_a_partition_that_moves_is_asked_for_at_its_new_owner_within_the_wait(site: Site) -> None:
    before, after = Since(5), Since(6)
    after.epoch = None
    first = await site.projector(0, 1, tenure=before)
    second = await site.projector(0, 1, tenure=after)
    remote = await site.connect(first.url, second.url)
    position = await site.gift(ZERO, 4)
    await remote.ask(ZERO, [SUMMARY], min_position=position, wait_s=5)
    before.epoch = None
    asking = asyncio.create_task(remote.ask(ZERO, [SUMMARY], min_position=position, wait_s=10))
    await until(lambda: not remote.following(0))
    assert not asking.done()
    after.epoch = 6
    assert (await asking).rows == [[KicksSummaryRow(4, 1)]]


async def test_commits_of_an_owner_that_was_are_not_told(site: Site) -> None:
    first = await site.projector(0, 1, tenure=Since(5))
    second = await site.projector(0, 1, tenure=Since(6))
    remote = await site.connect(first.url, second.url)
    await until(lambda: remote.following(1) and remote._owners[1].epoch == 6)
    site.changes.clear()
    position = await site.gift(ZERO, 5)
    await until(lambda: any(change.position == position for change in site.changes))
    again = await site.gift(ZERO, 5)
    await until(lambda: any(change.position == again for change in site.changes))
    assert [change.position for change in site.changes] == [position, again]


async def test_commits_are_told_and_the_first_word_is_a_gap(site: Site) -> None:
    server = await site.projector(0, 1)
    remote = await site.connect(server.url)
    await until(lambda: remote.following(0) and remote.following(1))
    assert {(change.partition, change.user_ids) for change in site.changes} == {(0, None), (1, None)}
    assert not remote.readiness()
    position = await site.gift(ZERO, 5)
    await until(lambda: Change(0, position, frozenset({ZERO})) in site.changes)


async def test_a_projector_that_comes_back_is_followed_again(site: Site) -> None:
    server = await site.projector(0, 1)
    remote = await site.connect(server.url)
    await until(lambda: remote.following(0))
    port = int(server.url.rsplit(":", 1)[1])
    await server.close()
    await until(lambda: not remote.following(0))
    site.changes.clear()
    await site.projector(0, 1, port=port)
    await until(lambda: remote.following(0))
    assert Change(0, 0, None) in site.changes
    assert (await remote.ask(ZERO, [SUMMARY])).rows == [[KicksSummaryRow(0, 0)]]


@asynccontextmanager
async def silent_port() -> AsyncIterator[str]:
    """A read port that takes every question and never answers."""

    over = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hang)
    server = await serve(app, "127.0.0.1", 0, grace_s=0.1)
    try:
        yield server.url
    finally:
        over.set()
        await server.close()


async def test_a_projector_that_hangs_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.remote.ANSWER_S", 0.1)
    async with silent_port() as url:
        remote = await site.connect(url)
        with pytest.raises(Retry):
            await remote.ask(ZERO, [SUMMARY])
        await remote.close()


async def test_a_stream_that_falls_silent_is_taken_for_dead(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.feed.SILENCE_S", 0.2)
    server = await site.projector(0, 1)  # whose keepalive comes once a second
    remote = await site.connect(server.url)
    await until(lambda: remote.following(0))
    await until(lambda: not remote.following(0))


async def test_the_api_serves_stale_while_the_projector_is_away(site: Site) -> None:
    """Also: it is fresh again as soon as the projector is back."""
    server = await site.projector(0, 1)
    remote = await site.connect(server.url)
    async with serving(House(), reads=remote) as house:
        partition = remote.partition_of(123)
        position = await site.gift(123, 7)
        asked = {"Streamkit-Min-Position": f"{partition}:{position}"}
        assert (await house.get("kicks", headers=asked)).json["data"]["summary"]["total_kicks"] == 7
        assert house.room.readiness() == []
        port = int(server.url.rsplit(":", 1)[1])
        await server.close()
        house.room._answers._now_s = lambda: asyncio.get_running_loop().time() + 10
        stale = await house.get("kicks", headers=asked)
        assert (stale.status, stale.json["data"]["summary"]["total_kicks"]) == (200, 7)
        assert int(stale.headers["Age"]) >= 9
        assert (await house.get("coins")).status == 503
        assert house.room.readiness()
        await site.projector(0, 1, port=port)
        newer = await site.gift(123, 1)
        asked = {"Streamkit-Min-Position": f"{partition}:{newer}"}
        reply = await house.get("kicks", headers=asked)
        assert (reply.status, reply.json["data"]["summary"]["total_kicks"]) == (200, 8)
