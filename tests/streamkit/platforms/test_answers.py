"""What an answer means: whose fault it is, when to come back, and that no word of it is more than words."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from schemas.errors import PlatformRefused
from streamkit.platforms.answers import GrantRefused, grant_of, refusal
from streamkit.platforms.http import Answer, Outgoing
from streamkit.platforms.kick import KickApi
from streamkit.platforms.twitch import TwitchApi
from streamkit.settings import load_settings


def answer(status: int, body: bytes, **headers: str) -> Answer:
    return Answer(status, body, CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}))


@pytest.mark.parametrize(
    ("body", "scopes"),
    [
        (b'{"access_token": "a", "refresh_token": "r", "expires_in": 7200, "scope": "b a"}', ("a", "b")),
        (b'{"access_token": "a", "refresh_token": "r", "expires_in": 14124, "scope": ["c"]}', ("c",)),
        (b'{"access_token": "a", "expires_in": 5184000, "token_type": "bearer", "scope": null}', None),
        (b'{"access_token": "a", "refresh_token": "", "expires_in": 86399, "scope": ["b", "", "a"]}', ("a", "b")),
    ],
)
def test_tokens_of_both_platforms(body: bytes, scopes: tuple[str, ...] | None) -> None:
    grant = grant_of("kick", answer(200, body))
    assert (grant.access_token, grant.refresh_token or None, grant.scopes) == ("a", grant.refresh_token, scopes)
    assert "'a'" not in repr(grant).split("scopes")[0]


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"{}", b'{"access_token": ""}', b'{"access_token": "a\\nb"}'])
def test_what_is_no_token_is_refused(body: bytes) -> None:
    with pytest.raises(PlatformRefused):
        grant_of("kick", answer(200, body))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"data": "event subscription limit reached", "message": "Bad request"}', "event subscription limit reached"),
        (b'{"data": {}, "message": "Unauthorized"}', "Unauthorized"),
        (b'{"error": "invalid_grant", "error_description": "no good"}', "no good"),
        (b'{"status": 401, "error": "Unauthorized", "message": "Invalid OAuth token"}', "Invalid OAuth token"),
        (b"<h1>502</h1>", "no reason given"),
        (b'{"message": "a\\u0000\\nb"}', "ab"),
        (b'{"message": "' + b"x" * 999 + b'"}', "x" * 300),
    ],
)
def test_the_platforms_words(body: bytes, words: str) -> None:
    assert refusal("twitch", answer(400, body)).message == words


def test_when_to_come_back() -> None:
    assert refusal("kick", answer(429, b"", Retry_After="7")).retry_after_s == 7
    assert refusal("kick", answer(429, b"", Retry_After="999999")).retry_after_s == 3600
    assert refusal("kick", answer(429, b"", Retry_After="-1")).retry_after_s == 1
    assert refusal("kick", answer(429, b"", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")).retry_after_s is None
    reset = refusal("twitch", answer(429, b"", Ratelimit_Reset=str(int(time.time()) + 20))).retry_after_s
    assert reset in (19, 20, 21)
    assert refusal("twitch", answer(400, b"", Ratelimit_Reset="9")).retry_after_s is None


class Said(Outgoing):
    """Answers what it is told to; remembers where it was sent."""

    def __init__(self, given: Answer) -> None:
        super().__init__(())
        self._given = given
        self.urls: list[str] = []

    async def call(self, method: str, url: str, **_: Any) -> Answer:
        self.urls.append(url)
        return self._given


@pytest.mark.parametrize(
    ("platform", "status", "body", "is_grant"),
    [
        ("kick", 400, b'{"error": "invalid_grant", "error_description": "x"}', True),
        ("kick", 401, b'{"error": "invalid_grant"}', True),
        ("kick", 401, b'{"error": "invalid_client"}', False),
        ("kick", 400, b"<html>", False),
        ("kick", 403, b'{"error": "invalid_grant"}', False),
        ("twitch", 400, b'{"error": "Bad Request", "status": 400, "message": "Invalid refresh token"}', True),
        ("twitch", 401, b'{"error": "Unauthorized", "status": 401, "message": "Invalid refresh token"}', True),
        ("twitch", 400, b'{"status": 400, "message": "invalid client"}', False),
        ("twitch", 403, b'{"status": 403, "message": "invalid client secret"}', False),
        ("twitch", 400, b"", False),
    ],
)
async def test_only_a_refused_grant_is_the_streamers(
    tmp_path: Path, platform: str, status: int, body: bytes, is_grant: bool
) -> None:
    settings = load_settings({}, tmp_path)
    said = Said(answer(status, body))
    api = KickApi(said, settings) if platform == "kick" else TwitchApi(said, settings)
    with pytest.raises(PlatformRefused) as refused:
        await api.refresh("r")
    assert isinstance(refused.value, GrantRefused) == is_grant


async def test_an_address_of_twitch_with_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    environ = {
        "STREAMKIT_TWITCH_API_URL": "http://localhost:8080/mock",
        "STREAMKIT_TWITCH_AUTH_URL": "http://localhost:8080/auth/",
        "STREAMKIT_TWITCH_EVENTSUB_URL": "http://localhost:8081/eventsub/subscriptions",
    }
    said = Said(answer(200, b'{"data": [{"id": "1", "login": "l"}], "access_token": "a"}'))
    for settings in (load_settings(environ, tmp_path), load_settings({}, tmp_path)):
        api = TwitchApi(said, settings)
        await api.own_user("t")
        await api.app_token()
        await api.eventsub_unsubscribe("t", "1")
    assert said.urls == [
        "http://localhost:8080/mock/users",
        "http://localhost:8080/auth/token",
        "http://localhost:8081/eventsub/subscriptions",
        "https://api.twitch.tv/helix/users",
        "https://id.twitch.tv/oauth2/token",
        "https://api.twitch.tv/helix/eventsub/subscriptions",
    ]
