"""The fake Kick's OAuth against https://docs.kick.com/getting-started/generating-tokens-oauth2-flow."""

from __future__ import annotations

import pytest

from tests.fakes.platforms import KICK_STREAMER, Platforms, consent
from tests.streamkit.sandbox.asking import (
    CALLBACK,
    VERIFIER,
    ask,
    kick_authorize,
    kick_token,
    kick_user,
    parameters,
)


async def test_consent_leads_to_tokens_and_to_who_consented(platforms: Platforms) -> None:
    back = await consent(kick_authorize(platforms, "user:read channel:write"), KICK_STREAMER.id)
    assert back.startswith(f"{CALLBACK}?")
    assert parameters(back)["state"] == "s t&ate"
    answer = await kick_token(
        platforms,
        grant_type="authorization_code",
        code=parameters(back)["code"],
        redirect_uri=CALLBACK,
        code_verifier=VERIFIER,
    )
    assert answer.status == 200
    assert answer.document.keys() == {"access_token", "token_type", "refresh_token", "expires_in", "scope"}
    assert answer.document["token_type"] == "Bearer"
    assert answer.document["expires_in"] == 7200
    assert answer.document["scope"] == "user:read channel:write"
    users = await ask("GET", f"{platforms.kick_url}/public/v1/users", token=answer.document["access_token"])
    assert users.document["message"] == "OK"
    assert users.document["data"][0]["user_id"] == int(KICK_STREAMER.id)
    assert users.document["data"][0]["name"] == KICK_STREAMER.name


@pytest.mark.parametrize(
    "missing", ["state", "code_challenge", "code_challenge_method", "redirect_uri", "client_id", "scope"]
)
async def test_every_parameter_is_needed_pkce_too(platforms: Platforms, missing: str) -> None:
    answer = await ask("GET", kick_authorize(platforms, "user:read", **{missing: ""}))
    assert (answer.status, answer.document) == (400, {"error": "Invalid request"})


async def test_a_redirect_beyond_this_machine_is_refused(platforms: Platforms) -> None:
    answer = await ask("GET", kick_authorize(platforms, "user:read", redirect_uri="https://example.com/back"))
    assert answer.status == 400


async def test_the_first_127_0_0_1_of_the_address_becomes_localhost(platforms: Platforms) -> None:
    back = await consent(kick_authorize(platforms, "user:read", redirect=""), KICK_STREAMER.id)
    assert back.startswith("http://localhost:9/connect/callback?")


async def test_denied(platforms: Platforms) -> None:
    back = parameters(await consent(kick_authorize(platforms, "user:read"), KICK_STREAMER.id, deny=True))
    assert (back["error"], back["state"]) == ("access_denied", "s t&ate")
    assert "code" not in back


@pytest.mark.parametrize(
    "wrong",
    [{"code_verifier": "another"}, {"code_verifier": ""}, {"redirect_uri": "http://localhost:9/"}, {"code": "unknown"}],
)
async def test_a_code_needs_its_verifier_and_its_redirect(platforms: Platforms, wrong: dict[str, str]) -> None:
    code = parameters(await consent(kick_authorize(platforms, "user:read"), KICK_STREAMER.id))["code"]
    form = {"code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER, **wrong}
    answer = await kick_token(platforms, grant_type="authorization_code", **form)
    assert answer.status == 400
    assert answer.document["error"] == "invalid_grant"


async def test_a_code_is_good_once(platforms: Platforms) -> None:
    code = parameters(await consent(kick_authorize(platforms, "user:read"), KICK_STREAMER.id))["code"]
    form = {"code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    statuses = [(await kick_token(platforms, grant_type="authorization_code", **form)).status for _ in range(2)]
    assert statuses == [200, 400]


async def test_every_refresh_gives_a_new_refresh_token_and_the_old_one_works_for_a_while(platforms: Platforms) -> None:
    first = await kick_user(platforms, KICK_STREAMER.id, "user:read")
    second = await kick_token(platforms, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert second.status == 200
    assert second.document["refresh_token"] != first["refresh_token"]
    assert second.document["access_token"] != first["access_token"]
    assert second.document["scope"] == "user:read"
    again = await kick_token(platforms, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert again.status == 200
    platforms.clock.advance(minutes=10)
    late = await kick_token(platforms, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert (late.status, late.document["error"]) == (400, "invalid_grant")
    newest = await kick_token(platforms, grant_type="refresh_token", refresh_token=again.document["refresh_token"])
    assert newest.status == 200


async def test_access_tokens_run_out_and_so_do_refresh_tokens_unused_for_a_month(platforms: Platforms) -> None:
    tokens = await kick_user(platforms, KICK_STREAMER.id, "user:read")
    users = f"{platforms.kick_url}/public/v1/users"
    platforms.clock.advance(seconds=7201)
    answer = await ask("GET", users, token=tokens["access_token"])
    assert (answer.status, answer.document) == (401, {"data": {}, "message": "Unauthorized"})
    platforms.clock.advance(days=31)
    late = await kick_token(platforms, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert late.document["error"] == "invalid_grant"


async def test_levers_expire_access_and_revoke_everything(platforms: Platforms) -> None:
    tokens = await kick_user(platforms, KICK_STREAMER.id, "user:read")
    users = f"{platforms.kick_url}/public/v1/users"
    platforms.kick.grants.expire_access(KICK_STREAMER.id)
    assert (await ask("GET", users, token=tokens["access_token"])).status == 401
    again = await kick_token(platforms, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert (await ask("GET", users, token=again.document["access_token"])).status == 200
    platforms.kick.grants.revoke_person(KICK_STREAMER.id)
    assert (await ask("GET", users, token=again.document["access_token"])).status == 401
    refused = await kick_token(platforms, grant_type="refresh_token", refresh_token=again.document["refresh_token"])
    assert refused.document["error"] == "invalid_grant"


async def test_an_app_token_lasts_60_days_and_has_no_refresh_token(platforms: Platforms) -> None:
    answer = await kick_token(platforms, grant_type="client_credentials")
    assert answer.document.keys() == {"access_token", "token_type", "expires_in"}
    assert answer.document["expires_in"] == 5_184_000


async def test_revoking_a_refresh_token_ends_the_consent(platforms: Platforms) -> None:
    tokens = await kick_user(platforms, KICK_STREAMER.id, "user:read")
    asked = [("token", tokens["refresh_token"]), ("token_hint_type", "refresh_token")]
    assert (await ask("POST", f"{platforms.kick_url}/oauth/revoke", params=asked)).status == 200
    answer = await ask("GET", f"{platforms.kick_url}/public/v1/users", token=tokens["access_token"])
    assert answer.status == 401


async def test_the_client_proves_itself(platforms: Platforms) -> None:
    answer = await kick_token(platforms, grant_type="client_credentials", client_secret="wrong")
    assert (answer.status, answer.document["error"]) == (401, "invalid_client")


async def test_the_public_key_needs_no_token(platforms: Platforms) -> None:
    answer = await ask("GET", f"{platforms.kick_url}/public/v1/public-key")
    assert answer.document["data"]["public_key"].startswith("-----BEGIN PUBLIC KEY-----\n")
