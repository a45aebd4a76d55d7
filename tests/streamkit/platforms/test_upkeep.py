"""What tokens need while nobody uses them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.errors import PlatformAway
from streamkit.platforms.twitch import Validated
from streamkit.platforms.upkeep import RENEW_AFTER, Upkeep
from streamkit.sandbox.kick_oauth import KICK_TOKENS
from tests.fakes.platforms import TWITCH_STREAMER, Platforms
from tests.streamkit.platforms.world import Process


class Validations:
    """Counts them, and lets them through or not."""

    def __init__(self, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tokens: list[str] = []
        self.is_away = False
        validate = process.twitch.validate

        async def counted(token: str) -> Validated:
            self.tokens.append(token)
            if self.is_away:
                raise PlatformAway("away")
            return await validate(token)

        monkeypatch.setattr(process.twitch, "validate", counted)


@pytest.fixture
def validations(process: Process, monkeypatch: pytest.MonkeyPatch) -> Validations:
    return Validations(process, monkeypatch)


@pytest.fixture
def upkeep(process: Process, platforms: Platforms) -> Upkeep:
    return Upkeep(process.tokens, process.twitch, process.soft, now=platforms.clock)


async def test_twitch_is_asked_at_start_and_hourly(
    upkeep: Upkeep, validations: Validations, platforms: Platforms
) -> None:
    for minutes in (0, 1, 50):
        platforms.clock.advance(minutes=minutes)
        await upkeep.round()
    assert len(validations.tokens) == 1
    platforms.clock.advance(minutes=9)
    await upkeep.round()
    assert len(validations.tokens) == 2


async def test_a_token_that_is_good_no_more_is_renewed(
    upkeep: Upkeep, validations: Validations, process: Process, platforms: Platforms
) -> None:
    platforms.twitch.grants.expire_access(TWITCH_STREAMER.id)
    await upkeep.round()
    token = await process.tokens.user_token(1, "twitch")
    assert token not in validations.tokens
    assert platforms.twitch.grants.access(token) is not None


async def test_while_twitch_is_away_it_is_asked_again_next_time(upkeep: Upkeep, validations: Validations) -> None:
    validations.is_away = True
    await upkeep.round()
    validations.is_away = False
    await upkeep.round()
    await upkeep.round()
    assert len(validations.tokens) == 2


async def test_no_refresh_token_lies_until_it_dies(upkeep: Upkeep, process: Process, platforms: Platforms) -> None:
    first = await process.tokens.user_token(1, "kick")
    for _ in range(10):
        platforms.clock.advance(seconds=(RENEW_AFTER + timedelta(hours=1)).total_seconds())
        await upkeep.round()
    assert timedelta(seconds=KICK_TOKENS.refresh_unused_s) < 10 * RENEW_AFTER
    assert await process.tokens.user_token(1, "kick") != first
    assert process.tokens.connections()[1, "kick"].state == "connected"
