"""The command on real HTTP against the fake platforms: what is sent, what each answer of theirs becomes, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import UNSET

from api import changing as module
from api.changing import Changing
from schemas.answers import StreamInfo, StreamInfoChange
from schemas.control import BroadcasterRegistered, PlatformName, encode_control
from schemas.errors import LogUnavailable, Problem
from schemas.event import Event, decode_event, utc_now
from schemas.kinds import StreamInfoApplied, StreamInfoFailed, StreamInfoRequested
from streamkit.credentials import Principal
from streamkit.log.protocol import CONTROL, EVENTS, Record
from streamkit.platforms.parts import Platforms as Parts
from streamkit.platforms.tokens import HOLD_S
from tests.fakes.faults import Answer, Drop, Fault, Hang
from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER, Platforms
from tests.streamkit.platforms.world import Process, World

PATCHED: dict[PlatformName, str] = {"kick": "/public/v1/channels", "twitch": "/helix/channels"}
BOTH: tuple[PlatformName, ...] = ("kick", "twitch")


def who(user_id: int) -> Principal:
    return Principal(user_id=user_id, client_id="skc_1", jti="j", scopes=frozenset({"stream-info:write"}))


class Desk:
    """One broadcaster of the world whose primary platform is `platform`, both connected, and the command."""

    def __init__(self, platforms: Platforms, process: Process, platform: PlatformName) -> None:
        self.platforms = platforms
        self.process = process
        self.platform = platform
        self.user_id = {"kick": 11, "twitch": 12}[platform]
        parts = Parts(process.outgoing, process.kick, process.twitch, process.tokens)
        self.changing = Changing(process.log, process.directory, process.soft, parts)

    @property
    def faults(self) -> Any:
        return self.platforms.kick_faults if self.platform == "kick" else self.platforms.twitch_faults

    @property
    def channel(self) -> Any:
        if self.platform == "kick":
            return self.platforms.kick.channels[KICK_STREAMER.id]
        return self.platforms.twitch.channels[TWITCH_STREAMER.id]

    async def change(self, title: str | None = None, category: str | None = None, key: str | None = None) -> StreamInfo:
        wanted = StreamInfoChange(title=title or UNSET, category=category or UNSET)
        return await self.changing.change(who(self.user_id), wanted, key)

    async def refused(self, title: str | None = "T", category: str | None = None) -> Problem:
        with pytest.raises(Problem) as caught:
            await self.change(title, category)
        return caught.value

    def meets(self, fault: Fault, *, times: int = 1) -> None:
        """The next changes of the channel."""
        self.faults.next("PATCH", PATCHED[self.platform], fault, times=times)

    def patches(self) -> tuple[int, int]:
        """How often Kick's and Twitch's channels were to be changed."""
        kick = self.platforms.kick_faults.count("PATCH", PATCHED["kick"])
        return kick, self.platforms.twitch_faults.count("PATCH", PATCHED["twitch"])

    async def told(self) -> list[Event]:
        """The events on the log."""
        return [decode_event(value) for value in (await self.process.log.read(EVENTS, 0, 0)).values]


@pytest.fixture(params=BOTH)
async def desk(request: pytest.FixtureRequest, world: World, platforms: Platforms) -> AsyncIterator[Desk]:
    platform: PlatformName = request.param
    process = await world.process()
    desk = Desk(platforms, process, platform)
    event = BroadcasterRegistered(at=utc_now(), user_id=desk.user_id, name="B", primary_platform=platform)
    await world.log.append(CONTROL, [Record("x", encode_control(event))])
    await process.directory.refresh()
    for each in BOTH:
        await process.connect(each, desk.user_id)
    yield desk
    await desk.changing.close()


async def test_title_and_category_are_changed_and_told(desk: Desk) -> None:
    assert await desk.change("New title", "minecraft") == StreamInfo(True, "New title", "Minecraft")
    assert (desk.channel.title, desk.channel.category.name) == ("New title", "Minecraft")
    asked, done = await desk.told()
    assert isinstance(asked.data, StreamInfoRequested)
    assert isinstance(done.data, StreamInfoApplied)
    assert (asked.data.title, asked.data.category, asked.data.client_id) == ("New title", "minecraft", "skc_1")
    assert (done.data.category, done.data.category_id) == ("Minecraft", "77")
    assert asked.data.command_id == done.data.command_id
    assert (done.type, done.platform, done.user_id) == ("stream_info.applied", desk.platform, desk.user_id)
    assert sorted(desk.patches()) == [0, 1], "the other platform is left alone"


async def test_what_is_not_asked_for_stays(desk: Desk) -> None:
    before = desk.channel.category
    assert await desk.change("Only the title") == StreamInfo(True, "Only the title", None)
    assert desk.channel.category == before
    assert await desk.change(category="Music") == StreamInfo(True, None, "Music")
    assert desk.channel.title == "Only the title"


@pytest.mark.parametrize("wanted", ["13", "Grand Theft Auto V", "GRAND THEFT auto v"])
async def test_a_category_is_meant_by_id_or_name(desk: Desk, wanted: str) -> None:
    assert (await desk.change(category=wanted)).category == "Grand Theft Auto V"


async def test_an_exact_name_comes_before_one_that_has_it_in_it(desk: Desk) -> None:
    assert (await desk.change(category="Minecraft")).category == "Minecraft"


@pytest.mark.parametrize(
    ("wanted", "words"), [("Minecra", "Minecraft, Minecraft Dungeons"), ("Nothing such", "no cat")]
)
async def test_a_category_that_is_none_is_refused_with_suggestions(desk: Desk, wanted: str, words: str) -> None:
    problem = await desk.refused("T", wanted)
    assert (problem.status, problem.code) == (422, "invalid_body")
    assert words in problem.message
    assert problem.errors is not None
    assert problem.errors[0]["path"] == "$.category"
    assert desk.patches() == (0, 0)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Answer(400), 422, "invalid_body"),
        (Answer(403), 403, "insufficient_platform_scope"),
        (Answer(429, retry_after_s=7), 429, "rate_limited"),
        (Answer(500), 502, "platform_error"),
        (Answer(503), 502, "platform_error"),
        (Drop(after=True), 504, "outcome_unknown"),
    ],
)
async def test_each_answer_of_the_platform_has_its_own(desk: Desk, fault: Fault, status: int, code: str) -> None:
    desk.meets(fault)
    problem = await desk.refused()
    assert (problem.status, problem.code) == (status, code)
    assert problem.headers.get("Retry-After") == ("7" if status == 429 else None)
    asked, failed = await desk.told()
    assert isinstance(asked.data, StreamInfoRequested)
    assert isinstance(failed.data, StreamInfoFailed)
    assert (failed.data.error, failed.data.why) == (code, problem.message)
    assert sorted(desk.patches()) == [0, 1]


async def test_a_refusal_has_the_platforms_words(desk: Desk) -> None:
    document = {"data": "Title is too long.", "message": "Bad request"}
    desk.meets(Answer(400, document if desk.platform == "kick" else {"status": 400, "message": "Title is too long."}))
    assert "Title is too long." in (await desk.refused()).message


async def test_a_platform_that_hangs_leaves_the_outcome_unknown_in_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WITHIN_S", 0.5)
    desk.meets(Hang())
    assert (await desk.refused()).code == "outcome_unknown"


async def test_a_platform_that_is_not_reached_changed_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WITHIN_S", 0.5)
    search = "/public/v2/categories" if desk.platform == "kick" else "/helix/search"
    desk.faults.next("GET", search, Hang(), times=2)
    problem = await desk.refused("T", "Music")
    assert (problem.status, problem.code) == (502, "platform_error")
    assert desk.patches() == (0, 0)


async def test_a_token_that_is_not_taken_is_renewed_once(desk: Desk) -> None:
    desk.meets(Answer(401))
    assert (await desk.change("Again")).title == "Again"
    assert sorted(desk.patches()) == [0, 2]
    desk.meets(Answer(401), times=2)
    assert (await desk.refused()).code == "insufficient_platform_scope"
    assert sorted(desk.patches()) == [0, 4]


async def test_while_no_token_is_asked_for_it_is_told_how_long(desk: Desk) -> None:
    token = "/oauth/token" if desk.platform == "kick" else "/oauth2/token"
    desk.faults.next("POST", token, Answer(500))
    desk.meets(Answer(401), times=2)
    waits = [int((await desk.refused()).headers["Retry-After"]) for _ in range(2)]
    assert HOLD_S - 5 <= waits[1] <= waits[0] == HOLD_S


async def test_a_refused_renewal_is_no_connection_and_the_other_platform_is_left_alone(desk: Desk) -> None:
    fake = desk.platforms.kick if desk.platform == "kick" else desk.platforms.twitch
    fake.grants.revoke_person(desk.channel.person.id)
    for _ in range(2):
        problem = await desk.refused()
        assert (problem.status, problem.code) == (409, "no_connected_platform")
    assert sorted(desk.patches()) == [0, 1]
    assert len(await desk.told()) == 2, "the second is known to fail: no command"


async def test_nothing_is_sent_that_the_log_does_not_have(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise LogUnavailable("The log is away.")

    monkeypatch.setattr(desk.process.log, "append", away)
    with pytest.raises(LogUnavailable):
        await desk.change("T")
    assert desk.patches() == (0, 0)


async def test_a_key_is_answered_again_and_stands_for_one_request(desk: Desk) -> None:
    first, second = await asyncio.gather(desk.change("Once", key="k"), desk.change("Once", key="k"))
    assert first == second == await desk.change("Once", key="k")
    assert sorted(desk.patches()) == [0, 1]
    with pytest.raises(Problem, match="stands for another request"):
        await desk.change("Twice", key="k")
    assert (await desk.change("Twice", key="k2")).title == "Twice"


async def test_what_failed_may_be_sent_again_under_its_key(desk: Desk) -> None:
    desk.meets(Answer(500))
    with pytest.raises(Problem):
        await desk.change("Once", key="k")
    assert (await desk.change("Once", key="k")).title == "Once"


async def test_another_process_knows_the_key(desk: Desk, world: World, redis_url: str) -> None:
    from streamkit.redis import open_soft_state

    softs = [await open_soft_state(redis_url, world.log.log_id) for _ in range(2)]
    parts = Parts(desk.process.outgoing, desk.process.kick, desk.process.twitch, desk.process.tokens)
    both = [Changing(world.log, desk.process.directory, soft, parts) for soft in softs]
    change = StreamInfoChange(title="Once")
    try:
        answers = await asyncio.gather(*(one.change(who(desk.user_id), change, "k") for one in both))
        assert answers == [StreamInfo(True, "Once", None)] * 2
        assert sorted(desk.patches()) == [0, 1]
    finally:
        for soft in softs:
            await soft.close()
