"""The fake Twitch's OAuth against https://dev.twitch.tv/docs/authentication/."""

from __future__ import annotations

import aiohttp

from tests.fakes.platforms import TWITCH_STREAMER, Platforms, consent
from tests.streamkit.sandbox.asking import (
    CALLBACK,
    ask,
    parameters,
    twitch_authorize,
    twitch_token,
    twitch_user,
)


async def _validate(platforms: Platforms, token: str) -> tuple[int, dict[str, object]]:
    headers = {"Authorization": f"OAuth {token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{platforms.twitch_url}/oauth2/validate", headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def test_consent_leads_to_tokens_and_validate_tells_whose(platforms: Platforms) -> None:
    back = parameters(await consent(twitch_authorize(platforms, "bits:read channel:moderate"), TWITCH_STREAMER.id))
    assert back.keys() == {"code", "scope", "state"}
    form = {"code": back["code"], "redirect_uri": CALLBACK}
    answer = await twitch_token(platforms, grant_type="authorization_code", **form)
    assert answer.document.keys() == {"access_token", "refresh_token", "scope", "token_type", "expires_in"}
    assert answer.document["scope"] == ["bits:read", "channel:moderate"]
    assert answer.document["token_type"] == "bearer"
    assert answer.document["expires_in"] == 14_124
    status, told = await _validate(platforms, answer.document["access_token"])
    assert status == 200
    assert told == {
        "client_id": platforms.twitch.grants.client.id,
        "login": TWITCH_STREAMER.name.lower(),
        "scopes": ["bits:read", "channel:moderate"],
        "user_id": TWITCH_STREAMER.id,
        "expires_in": told["expires_in"],
    }


async def test_a_token_that_is_not_good_is_told_by_validate(platforms: Platforms) -> None:
    assert await _validate(platforms, "unknown") == (401, {"status": 401, "message": "invalid access token"})


async def test_a_refresh_keeps_the_refresh_token_until_the_rules_say_otherwise(platforms: Platforms) -> None:
    tokens = await twitch_user(platforms, TWITCH_STREAMER.id, "bits:read")
    kept = await twitch_token(platforms, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert kept.document["refresh_token"] == tokens["refresh_token"]
    platforms.twitch.grants.change_rules(rotates=True)
    new = await twitch_token(platforms, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert new.document["refresh_token"] != tokens["refresh_token"]


async def test_fifty_access_tokens_of_one_consent_are_good_at_once(platforms: Platforms) -> None:
    tokens = await twitch_user(platforms, TWITCH_STREAMER.id, "bits:read")
    platforms.twitch.grants.change_rules(live_per_refresh=2)
    newer = [
        (await twitch_token(platforms, grant_type="refresh_token", refresh_token=tokens["refresh_token"])).document
        for _ in range(2)
    ]
    alive = [(await _validate(platforms, one["access_token"]))[0] for one in (tokens, *newer)]
    assert alive == [401, 200, 200]


async def test_a_revoked_consent(platforms: Platforms) -> None:
    tokens = await twitch_user(platforms, TWITCH_STREAMER.id, "bits:read")
    platforms.twitch.grants.revoke_person(TWITCH_STREAMER.id)
    answer = await twitch_token(platforms, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert answer.status == 400
    assert answer.document == {"error": "Bad Request", "status": 400, "message": "Invalid refresh token"}


async def test_users_needs_a_token_and_the_client_it_belongs_to(platforms: Platforms) -> None:
    tokens = await twitch_user(platforms, TWITCH_STREAMER.id, "")
    url, client_id = f"{platforms.twitch_url}/helix/users", platforms.twitch.grants.client.id
    answer = await ask("GET", url, token=tokens["access_token"], client_id=client_id)
    assert answer.document["data"][0]["id"] == TWITCH_STREAMER.id
    assert answer.document["data"][0]["display_name"] == TWITCH_STREAMER.name
    wrong = await ask("GET", url, token="wrong", client_id=client_id)
    assert wrong.document == {"status": 401, "error": "Unauthorized", "message": "Invalid OAuth token"}
    assert (await ask("GET", url, token=tokens["access_token"], client_id="other")).status == 401


async def test_the_client_proves_itself(platforms: Platforms) -> None:
    assert (await twitch_token(platforms, grant_type="client_credentials", client_secret="no")).status == 403
    assert (await twitch_token(platforms, grant_type="client_credentials", client_id="no")).status == 400
    answer = await twitch_token(platforms, grant_type="client_credentials")
    assert answer.document.keys() == {"access_token", "expires_in", "token_type"}


async def test_revoke(platforms: Platforms) -> None:
    tokens = await twitch_user(platforms, TWITCH_STREAMER.id, "bits:read")
    url, client_id = f"{platforms.twitch_url}/oauth2/revoke", platforms.twitch.grants.client.id
    form = {"client_id": client_id, "token": tokens["access_token"]}
    assert [(await ask("POST", url, form=form)).status for _ in range(2)] == [200, 400]
    assert (await _validate(platforms, tokens["access_token"]))[0] == 401
