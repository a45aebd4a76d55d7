"""Both platforms behind one address, and the page that makes things happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from msgspec import Struct

from streamkit.lifecycle import serve
from streamkit.sandbox.app import Sandbox
from streamkit.settings import load_settings
from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER
from tests.streamkit.sandbox.asking import Answer, ask


class Running(Struct, frozen=True):
    """A sandbox that serves at `url`."""

    platforms: Sandbox
    url: str

    async def post(self, path: str, **form: str) -> Answer:
        """Something happens."""
        return await ask("POST", self.url + path, form=form)


@pytest.fixture
async def sandbox() -> AsyncIterator[Running]:
    platforms = Sandbox(webhook_url=None)
    server = await serve(platforms.build_app(), "127.0.0.1", 0, grace_s=0.2)
    yield Running(platforms, server.url)
    await server.close()


async def test_the_env_file_is_settings_that_point_here(sandbox: Running, tmp_path: Path) -> None:
    answer = await ask("GET", f"{sandbox.url}/sandbox.env")
    (tmp_path / ".env").write_bytes(answer.document)
    settings = load_settings({}, tmp_path)
    assert settings.sandbox
    assert settings.kick_api_url == settings.twitch_auth_url == sandbox.url
    assert settings.twitch_eventsub_ws_url == f"ws{sandbox.url.removeprefix('http')}/ws"
    assert settings.kick_client_secret
    assert settings.twitch_client_id
    assert (await ask("GET", f"{sandbox.url}/public/v1/public-key")).status == 200
    assert (await ask("GET", f"{sandbox.url}/helix/streams")).status == 401


async def test_what_the_page_does_shows_on_the_channels(sandbox: Running) -> None:
    kick = sandbox.platforms.kick.channels[KICK_STREAMER.id]
    twitch = sandbox.platforms.twitch.channels[TWITCH_STREAMER.id]
    for at in (f"/kick/{KICK_STREAMER.id}", f"/twitch/{TWITCH_STREAMER.id}"):
        assert (await sandbox.post(f"{at}/live")).status == 303
        await sandbox.post(f"{at}/viewers", viewers="70")
        await sandbox.post(f"{at}/change", title="<New> & good", category="Music")
        await sandbox.post(f"{at}/subscribe")
        await sandbox.post(f"{at}/gift", count="2")
        for rest in ("chat", "follow", "spend", "expire", "revoke"):
            assert (await sandbox.post(f"{at}/{rest}")).status == 303
    for channel in (kick, twitch):
        assert channel.live is not None
        assert (channel.viewers, channel.title) == (70, "<New> & good")
        assert channel.category is not None
        assert channel.category.name == "Music"
        assert len(channel.subscribers) == 3
    page = (await ask("GET", f"{sandbox.url}/")).document.decode()
    assert page.count("&lt;New&gt; &amp; good") == 4
    await sandbox.post(f"/kick/{KICK_STREAMER.id}/offline")
    assert kick.live is None


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("/kick/1/live", {}, 404),
        ("/kick/900100/explode", {}, 404),
        ("/kick/900100/viewers", {"viewers": "many"}, 400),
        ("/kick/900100/change", {"category": "No such thing"}, 400),
        ("/youtube/900100/live", {}, 404),
    ],
)
async def test_what_cannot_happen(sandbox: Running, path: str, form: dict[str, str], status: int) -> None:
    assert (await sandbox.post(path, **form)).status == status


async def test_other_web_pages_cannot_press_its_buttons(sandbox: Running) -> None:
    url = f"{sandbox.url}/kick/{KICK_STREAMER.id}/live"
    async with aiohttp.ClientSession() as http:
        async with http.post(url, headers={"Origin": "https://example.com"}) as answer:
            assert answer.status == 403
        async with http.post(url, headers={"Origin": sandbox.url}) as answer:
            assert answer.status == 200
