"""Tokens: renewed in time and once, durable before they are used, given up only when the platform itself refuses them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web
from msgspec.structs import replace

from schemas.control import PlatformDisconnected, PlatformName, encode_control
from schemas.errors import LogUnavailable, NeedsReconnect, NotConnected, PlatformAway, PlatformRefused, PlatformTimeout
from schemas.event import utc_now
from streamkit.keys import Keys
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, VAULT, Appended, Record
from streamkit.platforms import tokens as module
from streamkit.platforms.adopt import IdentityTaken, adopt, forget
from streamkit.platforms.http import Answer
from streamkit.platforms.scopes import TWITCH_SCOPES
from streamkit.platforms.vault import unseal
from streamkit.redis import open_soft_state
from streamkit.sandbox.grants import Issued
from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER, Platforms
from tests.streamkit.platforms.world import KEYS, USER_ID, Process, World

BOTH: tuple[PlatformName, ...] = ("kick", "twitch")


class Refreshes:
    """Counts what the fake Kick is asked to refresh, and can hold the answers back."""

    def __init__(self, platforms: Platforms, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        refresh = platforms.kick.grants.refresh

        def counted(token: str) -> Issued:
            self.asked.append(token)
            return refresh(token)

        monkeypatch.setattr(platforms.kick.grants, "refresh", counted)


@pytest.fixture
def refreshes(platforms: Platforms, monkeypatch: pytest.MonkeyPatch) -> Refreshes:
    return Refreshes(platforms, monkeypatch)


class Gated(MemoryLog):
    """A log whose vault can be made to take nothing: away, or hanging."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.hangs: asyncio.Event | None = None

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        if topic == VAULT and self.hangs is not None:
            self.hangs.set()
            await asyncio.Event().wait()
        if topic == VAULT and self.is_away:
            raise LogUnavailable("The log is away.")
        return await super().append(topic, records)


@pytest.mark.parametrize("platform", BOTH)
async def test_a_token_is_used_until_its_last_minute(
    process: Process, platforms: Platforms, platform: PlatformName
) -> None:
    fake = platforms.kick if platform == "kick" else platforms.twitch
    first = await process.tokens.user_token(USER_ID, platform)
    platforms.clock.advance(seconds=fake.grants.rules.user_s - 90)
    assert await process.tokens.user_token(USER_ID, platform) == first
    platforms.clock.advance(seconds=40)
    second = await process.tokens.user_token(USER_ID, platform)
    assert second != first
    assert fake.grants.access(second) is not None
    assert await process.tokens.user_token(USER_ID, platform) == second


async def test_a_hundred_callers_are_one_renewal(process: Process, platforms: Platforms, refreshes: Refreshes) -> None:
    platforms.clock.advance(hours=3)
    found = await asyncio.gather(*(process.tokens.user_token(USER_ID, "kick") for _ in range(100)))
    assert len(set(found)) == 1
    assert len(refreshes.asked) == 1


async def test_after_a_401_there_is_another_token_once(process: Process, refreshes: Refreshes) -> None:
    first = await process.tokens.user_token(USER_ID, "kick")
    second = await process.tokens.refreshed(USER_ID, "kick", refused=first)
    assert second != first
    assert await process.tokens.refreshed(USER_ID, "kick", refused=first) == second
    assert len(refreshes.asked) == 1


async def test_every_renewal_goes_on_from_the_newest_refresh_token(
    world: World, process: Process, platforms: Platforms, refreshes: Refreshes
) -> None:
    for _ in range(3):
        platforms.clock.advance(hours=3)
        await process.tokens.user_token(USER_ID, "kick")
    assert len(set(refreshes.asked)) == 3
    held = unseal(KEYS, (USER_ID, "kick"), (await world.vault())[USER_ID, "kick"])
    assert held is not None
    assert held.refresh_token not in refreshes.asked


async def test_two_processes_refresh_at_once_without_redis(
    world: World, process: Process, platforms: Platforms
) -> None:
    """Even where a platform takes a refresh token once only: who is refused finds what the other got."""
    platforms.kick.grants.change_rules(rotated_good_s=0)
    other = await world.process()
    platforms.clock.advance(hours=3)
    both = await asyncio.gather(*(each.tokens.user_token(USER_ID, "kick") for each in (process, other)))
    assert platforms.kick.grants.access(both[0]) is not None
    assert platforms.kick.grants.access(both[1]) is not None
    assert (await world.vault())[USER_ID, "kick"].state == "connected"


async def test_two_processes_with_redis_are_one_renewal(
    world: World, platforms: Platforms, refreshes: Refreshes, redis_url: str
) -> None:
    softs = [await open_soft_state(redis_url, world.log.log_id) for _ in range(2)]
    one, other = [await world.process(soft=soft) for soft in softs]
    await one.connect("kick")
    await other.vault.catch_up()
    await other.directory.catch_up(world.log)
    platforms.clock.advance(hours=3)
    found = await asyncio.gather(*(each.tokens.user_token(USER_ID, "kick") for each in (one, other)))
    assert len(set(found)) == 1
    assert len(refreshes.asked) == 1
    for soft in softs:
        await soft.close()


async def test_killed_between_the_answer_and_the_vault_the_old_token_is_tried(
    platforms: Platforms, tmp_path: Path, refreshes: Refreshes
) -> None:
    log = Gated()
    world = World(platforms, tmp_path, log)
    await world.register(USER_ID)
    first = await world.process()
    await first.connect("kick")
    platforms.clock.advance(hours=3)
    log.hangs = asyncio.Event()
    waiting = asyncio.create_task(first.tokens.user_token(USER_ID, "kick"))
    await log.hangs.wait()
    assert not waiting.done()  # what the log does not have is not used
    await first.kill()
    await asyncio.gather(waiting, return_exceptions=True)
    log.hangs = None
    second = await world.process()
    token = await second.tokens.user_token(USER_ID, "kick")
    assert platforms.kick.grants.access(token) is not None
    assert refreshes.asked[0] == refreshes.asked[1]
    assert second.tokens.connections()[USER_ID, "kick"].state == "connected"
    await world.close()


async def test_what_the_log_does_not_take_is_kept_for_the_next_caller(
    platforms: Platforms, tmp_path: Path, refreshes: Refreshes
) -> None:
    platforms.kick.grants.change_rules(rotated_good_s=0)
    log = Gated()
    world = World(platforms, tmp_path, log)
    await world.register(USER_ID)
    process = await world.process()
    await process.connect("kick")
    platforms.clock.advance(hours=3)
    log.is_away = True
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            await process.tokens.user_token(USER_ID, "kick")
    log.is_away = False
    token = await process.tokens.user_token(USER_ID, "kick")
    assert platforms.kick.grants.access(token) is not None
    assert len(refreshes.asked) == 1
    await world.close()


async def test_a_caller_that_goes_away_leaves_the_renewal_to_its_end(
    process: Process, platforms: Platforms, refreshes: Refreshes
) -> None:
    platforms.clock.advance(hours=3)
    caller = asyncio.create_task(process.tokens.user_token(USER_ID, "kick"))
    while not refreshes.asked:
        await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await process.tokens.close()
    await process.tokens.user_token(USER_ID, "kick")
    assert len(refreshes.asked) == 1


async def test_a_renewal_that_is_refused_when_nobody_waits_any_more_is_no_defect(
    process: Process, platforms: Platforms
) -> None:
    loop, defects = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: defects.append(context))
    platforms.clock.advance(hours=3)
    platforms.kick.grants.revoke_person(KICK_STREAMER.id)
    refused = asyncio.create_task(process.tokens.user_token(USER_ID, "kick"))
    while not (renewals := [task for task in asyncio.all_tasks() if task.get_name().startswith("renew ")]):
        await asyncio.sleep(0)
    refused.cancel()
    await asyncio.wait([refused, *renewals])
    del refused, renewals
    gc.collect()
    assert defects == []


@pytest.mark.parametrize("platform", BOTH)
async def test_a_revoked_grant_needs_reconnect_and_nobody_asks_again(
    world: World,
    process: Process,
    platforms: Platforms,
    platform: PlatformName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REFUSED_LOOK_S", 0.05)
    fake = platforms.kick if platform == "kick" else platforms.twitch
    other = await world.process()
    news: list[str] = []
    other.tokens.on_change(lambda: news.append(other.tokens.connections()[USER_ID, platform].state))
    platforms.clock.advance(hours=5)
    fake.grants.revoke_person(KICK_STREAMER.id if platform == "kick" else TWITCH_STREAMER.id)
    with pytest.raises(NeedsReconnect, match=f"accounts connect --user-id 1 --platform {platform}"):
        await process.tokens.user_token(USER_ID, platform)
    monkeypatch.setattr(fake.grants, "refresh", lambda _: pytest.fail("it hammers"))
    for each in (process, other):
        while each.tokens.connections()[USER_ID, platform].state == "connected":
            await asyncio.sleep(0.001)
        with pytest.raises(NeedsReconnect):
            await each.tokens.user_token(USER_ID, platform)
        with pytest.raises(NeedsReconnect):
            await each.tokens.refreshed(USER_ID, platform, refused="anything")
    assert news == ["needs_reconnect"]
    monkeypatch.undo()
    await process.connect(platform)
    assert fake.grants.access(await process.tokens.user_token(USER_ID, platform)) is not None
    assert process.tokens.connections()[USER_ID, platform].state == "connected"


async def test_an_access_token_alone_is_used_until_it_ends(
    process: Process, platforms: Platforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await process.granted("twitch")
    grant = await process.twitch.as_it_is(given.access_token)
    assert (grant.scopes, grant.refresh_token) == (given.scopes, None)
    await adopt(
        (USER_ID, "twitch"), grant, process.twitch, scopes=(), keys=process.keys, log=process.log,
        directory=process.directory, vault=process.vault,
    )  # fmt: skip
    monkeypatch.setattr(platforms.twitch.grants, "refresh", lambda _: pytest.fail("there is nothing to renew it with"))
    assert await process.tokens.user_token(USER_ID, "twitch") == given.access_token
    platforms.clock.advance(hours=5)
    with pytest.raises(NeedsReconnect):
        await process.tokens.user_token(USER_ID, "twitch")


@pytest.mark.parametrize("trouble", ["500", "429", "html", "client", "away", "silent"])
async def test_a_platform_in_trouble_marks_nothing(
    process: Process, platforms: Platforms, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    platforms.clock.advance(hours=3)
    answers = {
        "500": web.Response(status=500),
        "429": web.json_response({"message": "slow down"}, status=429, headers={"Retry-After": "9"}),
        "html": web.Response(status=400, text="<h1>Bad request</h1>"),
        "client": web.json_response({"error": "invalid_client"}, status=401),
    }

    async def call(*_args: object, **_kwargs: object) -> object:
        if trouble == "away":
            raise PlatformAway("away")
        if trouble == "silent":
            raise PlatformTimeout("silent")
        response = answers[trouble]
        body = response.body if isinstance(response.body, bytes) else b""
        return Answer(response.status, body, dict(response.headers))

    calls = 0
    ask = process.outgoing.call

    async def counted(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        return await call(*args, **kwargs)

    monkeypatch.setattr(process.outgoing, "call", counted)
    for _ in range(3):
        with pytest.raises((PlatformAway, PlatformTimeout, PlatformRefused)):
            await process.tokens.user_token(USER_ID, "kick")
    assert calls == (3 if trouble in ("away", "silent") else 1)  # else left alone for a while
    assert process.tokens.connections()[USER_ID, "kick"].state == "connected"
    monkeypatch.setattr(process.outgoing, "call", ask)
    process.tokens._held_off.clear()
    assert await process.tokens.user_token(USER_ID, "kick")


async def test_who_granted_nothing_is_not_taken_to_have_granted_all(world: World, process: Process) -> None:
    grant = replace(await process.granted("twitch"), scopes=())
    await adopt(
        (USER_ID, "twitch"), grant, process.twitch, scopes=TWITCH_SCOPES, keys=process.keys, log=process.log,
        directory=process.directory, vault=process.vault,
    )  # fmt: skip
    assert (await world.vault())[USER_ID, "twitch"].scopes == ()


async def test_who_is_not_connected_is_told_how(process: Process) -> None:
    with pytest.raises(NotConnected, match="accounts connect --user-id 2 --platform twitch"):
        await process.tokens.user_token(2, "twitch")


async def test_without_an_app_nothing_is_asked(world: World) -> None:
    process = await world.process({"STREAMKIT_KICK_CLIENT_SECRET": ""})
    assert not process.tokens.configured("kick")
    assert process.tokens.configured("twitch")
    for asked in (process.tokens.user_token(USER_ID, "kick"), process.tokens.app_token("kick")):
        with pytest.raises(NotConnected, match="STREAMKIT_KICK_CLIENT_ID"):
            await asked


async def test_an_account_has_one_broadcaster(process: Process) -> None:
    with pytest.raises(IdentityTaken, match=r"another broadcaster \(1\)"):
        await process.connect("kick", user_id=2)
    assert set(process.tokens.connections()) == {(1, "kick"), (1, "twitch")}


async def test_disconnected_the_tokens_are_revoked_and_erased(
    world: World, process: Process, platforms: Platforms
) -> None:
    places: list[tuple[int, PlatformName]] = [(1, "kick"), (1, "twitch")]
    held = {place: await process.tokens.user_token(*place) for place in places}
    for place in places:
        await forget(place, process.kick if place[1] == "kick" else process.twitch, keys=KEYS, vault=process.vault)
        gone = PlatformDisconnected(at=utc_now(), user_id=1, platform=place[1])
        await world.log.append(CONTROL, [Record("user:1", encode_control(gone))])
    await process.directory.catch_up(world.log)
    assert platforms.kick.grants.access(held[1, "kick"]) is None
    assert platforms.twitch.grants.access(held[1, "twitch"]) is None
    assert process.tokens.connections() == {}
    assert [record.sealed for record in (await world.vault()).values()] == [b"", b""]
    await process.connect("kick", user_id=2)
    assert process.tokens.connections()[2, "kick"].state == "connected"


async def test_erased_while_it_is_renewed_it_stays_erased(
    world: World, process: Process, platforms: Platforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    platforms.clock.advance(hours=3)
    refresh = process.kick.refresh

    async def slow(token: str) -> object:
        grant = await refresh(token)
        await forget((1, "kick"), None, keys=None, vault=process.vault)
        return grant

    monkeypatch.setattr(process.kick, "refresh", slow)
    with pytest.raises(NotConnected):
        await process.tokens.user_token(1, "kick")
    assert (await world.vault())[1, "kick"].state == "erased"


async def test_app_tokens_are_kept_and_renewed(process: Process, platforms: Platforms) -> None:
    for platform in BOTH:
        first = await asyncio.gather(*(process.tokens.app_token(platform) for _ in range(10)))
        assert len(set(first)) == 1
        second = await process.tokens.app_token(platform, refused=first[0])
        assert second != first[0]
        assert await process.tokens.app_token(platform, refused=first[0]) == second
        platforms.clock.advance(days=61)
        assert await process.tokens.app_token(platform) != second


async def test_a_new_secret_key_seals_anew_what_the_previous_one_sealed(world: World, process: Process) -> None:
    old = await process.tokens.user_token(1, "kick")
    both = await world.process(keys=Keys.derive(bytes(range(1, 33)), bytes(range(32))))
    assert await both.tokens.user_token(1, "kick") == old
    await both.tokens.reseal()
    length = len(await world.vault_bytes())
    await both.tokens.reseal()
    assert len(await world.vault_bytes()) == length
    new = await world.process(keys=Keys.derive(bytes(range(1, 33))))
    assert await new.tokens.user_token(1, "kick") == old
    assert {record.key_id for record in (await world.vault()).values()} == {new.keys.key_id}


async def test_what_no_key_opens_needs_reconnect_and_is_left_as_it_is(world: World, process: Process) -> None:
    stranger = await world.process(keys=Keys.derive(bytes(range(2, 34))))
    assert stranger.tokens.connections()[1, "kick"].state == "needs_reconnect"
    with pytest.raises(NeedsReconnect):
        await stranger.tokens.user_token(1, "kick")
    await stranger.tokens.reseal()
    assert await process.tokens.user_token(1, "kick")


async def test_no_token_is_in_the_clear_anywhere(
    world: World, process: Process, platforms: Platforms, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secret = [await process.tokens.user_token(1, platform) for platform in BOTH]
    platforms.clock.advance(hours=5)
    secret += [await process.tokens.user_token(1, platform) for platform in BOTH]
    for record in (await world.vault()).values():
        held = unseal(KEYS, (1, "kick"), record) or unseal(KEYS, (1, "twitch"), record)
        assert held is not None
        secret.append(held.refresh_token)
    told = caplog.text + repr(process.tokens.connections()) + "".join(str(r.__dict__) for r in caplog.records)
    kept = (await world.vault_bytes()).decode()
    assert not [token for token in secret if token in told or token in kept]
    assert "tokens.renewed" in told
