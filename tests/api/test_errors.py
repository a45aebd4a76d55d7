"""Every failure the API promises, and the order in which it looks for one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import jwt as pyjwt
import pytest

from api.app import ApiRoom
from schemas.control import BroadcasterRegistered, BroadcasterRemoved, ClientRevoked, TokenRevoked
from schemas.problems import PROBLEMS
from tests.api.house import AT, KEYS, USER, House, Reply, serving

OTHER = 456


def check(reply: Reply, code: str, path: str = "/api/public/v2/kicks") -> None:
    """The envelope of a failure, whole: ok, error, message and the members of RFC 9457."""
    kind = PROBLEMS[code]
    assert (reply.status, reply.json["error"]) == (kind.status, code), reply.body
    message = reply.json["message"]
    assert message.endswith(".")
    errors = {"errors": reply.json["errors"]} if code == "invalid_body" else {}
    assert reply.json == errors | {
        "ok": False,
        "error": code,
        "message": message,
        "type": f"urn:streamkit:problem:{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": message,
        "instance": path,
    }
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in reply.headers) == (kind.status == 401 or code == "insufficient_scope")


@pytest.mark.parametrize("missing", ["X-Client-Id", "X-Client-Secret", "Authorization"])
@pytest.mark.parametrize("how", ["absent", "empty"])
async def test_missing_credentials(house: House, missing: str, how: str) -> None:
    headers = house.triple.headers()
    if how == "absent":
        del headers[missing]
    else:
        headers[missing] = ""
    reply = await house.get("kicks", bare=True, headers=headers)
    check(reply, "missing_credentials")
    assert reply.json["message"] == "Missing client_id, client_secret, or JWT token."


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Basic abc", "abc"])
async def test_authorization_without_a_bearer_token_is_missing(house: House, value: str) -> None:
    check(await house.get("kicks", headers={"Authorization": value}), "missing_credentials")


async def test_the_bearer_scheme_has_no_case(house: House) -> None:
    assert (await house.get("kicks", headers={"Authorization": f"bearer  {house.triple.jwt}"})).status == 200


async def test_invalid_credentials_is_one_answer_for_all(house: House) -> None:
    house.apply(BroadcasterRegistered(at=AT, user_id=OTHER, name="Other"))
    removed, revoked = house.issue(OTHER), house.issue()
    house.apply(BroadcasterRemoved(at=AT, user_id=OTHER), ClientRevoked(at=AT, client_id=revoked.client_id))
    replies = [
        await house.get("kicks", headers={"X-Client-Id": "skc_nobody"}),
        await house.get("kicks", headers={"X-Client-Secret": "sks_wrong"}),
        await house.get("kicks", headers=removed.headers()),
        await house.get("kicks", headers=revoked.headers()),
        # and they come before whatever is wrong with the token
        await house.get("kicks", headers={"X-Client-Secret": "sks_wrong", "Authorization": "Bearer nonsense"}),
    ]
    for reply in replies:
        check(reply, "invalid_credentials")
    assert len({reply.json["message"] for reply in replies}) == 1


async def test_invalid_jwt(house: House) -> None:
    check(await house.get("kicks", headers={"Authorization": "Bearer nonsense"}), "invalid_jwt")


async def test_expired_jwt_before_revoked(house: House) -> None:
    expired = house.issue(lifetime=timedelta(0))
    house.apply(TokenRevoked(at=AT, jti=expired.jti))
    check(await house.get("kicks", headers=expired.headers()), "expired_jwt")


async def test_revoked_jwt(house: House) -> None:
    assert (await house.get("kicks")).status == 200
    house.apply(TokenRevoked(at=AT, jti=house.triple.jti))
    reply = await house.get("kicks")
    check(reply, "revoked_jwt")
    assert reply.json["message"] == "JWT token was revoked. Generate a new one in the dashboard."


async def test_credential_mismatch(house: House) -> None:
    other = house.issue()
    check(await house.get("kicks", headers={"Authorization": f"Bearer {other.jwt}"}), "credential_mismatch")


async def test_insufficient_scope(house: House) -> None:
    writer, reader = house.issue(scopes=["stream-info:write"]), house.issue(scopes=["read"])
    check(await house.get("kicks?limit=0", headers=writer.headers()), "insufficient_scope")
    reply = await house.get("stream-info", "POST", headers=reader.headers(), data=b"{")
    check(reply, "insufficient_scope", "/api/public/v2/stream-info")


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b'{"title":"\xff"}', b'{"\xff":1}', b'{"title":"\xed\xa0\x80"}'])
async def test_a_body_that_is_not_json_in_utf8(house: House, body: bytes) -> None:
    reply = await house.get("stream-info", "POST", headers={"Content-Type": "application/json"}, data=body)
    check(reply, "malformed_body", "/api/public/v2/stream-info")


async def test_rate_comes_after_scope_and_before_parameters() -> None:
    async with serving(House(), rate_limit=0.5) as house:
        writer = house.issue(scopes=["stream-info:write"])
        assert (await house.get("kicks")).status == 200
        reply = await house.get("kicks?limit=x")
        check(reply, "rate_limited")
        assert reply.headers["Retry-After"] in ("1", "2")
        for _ in range(3):
            check(await house.get("kicks", headers=writer.headers()), "insufficient_scope")


@pytest.mark.parametrize("limit", ["0", "101", "-1", "+5", "05", "5.0", "1e1", "", " 5", "５", "٥", "5 ", "0x5", "5_0"])
async def test_a_limit_that_is_no_canonical_integer(house: House, limit: str) -> None:
    reply = await house.get("kicks", params={"limit": limit})
    check(reply, "invalid_parameter")
    assert reply.json["message"] == "Parameter limit must be an integer from 1 to 100."


async def test_a_repeated_parameter(house: House) -> None:
    check(await house.get("kicks?limit=5&limit=5"), "invalid_parameter")
    reply = await house.get("events-history?type=a&type=b")
    check(reply, "invalid_parameter", "/api/public/v2/events-history")


async def test_unknown_parameters_are_ignored(house: House) -> None:
    assert (await house.get("overview?limit=x&limit=y&type=1&whatever")).status == 200


@pytest.mark.parametrize("value", ["", "0", "0:", ":1", "a:b", "0:1,", ",0:1", "0:-1", "0:1;1:2", "0:1 1:2", "٠:1"])
async def test_a_malformed_min_position(house: House, value: str) -> None:
    check(await house.get("kicks", headers={"Streamkit-Min-Position": value}), "invalid_parameter")


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/public/v2", "/api/public/v2/kicks/", "/api/public/v1/overview", "/api/%FF/%00?jwt=s"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_not_found_needs_no_credentials(house: House, path: str, method: str) -> None:
    check(await house.get(path, method, bare=True), "not_found", path.partition("?")[0])


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        ("/api/public/v2/kicks", "POST", "GET, HEAD, OPTIONS"),
        ("/api/public/v2/kicks", "TRACE", "GET, HEAD, OPTIONS"),
        ("/api/public/v2/stream-info", "GET", "POST, OPTIONS"),
        ("/api/public/openapi", "DELETE", "GET, HEAD, OPTIONS"),
    ],
)
async def test_method_not_allowed_needs_no_credentials(house: House, path: str, method: str, allow: str) -> None:
    reply = await house.get(path, method, bare=True)
    check(reply, "method_not_allowed", path)
    assert reply.headers["Allow"] == allow


async def test_a_defect_shows_no_trace(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(ApiRoom, "_build", broken)
    reply = await house.get("kicks")
    check(reply, "internal_error")
    assert b"secret detail" not in reply.body


async def test_unavailable(house: House) -> None:
    house.reads.away = True
    reply = await house.get("kicks")
    check(reply, "unavailable")
    assert int(reply.headers["Retry-After"]) >= 1


# Credentials in the query


async def test_credentials_in_the_query(house: House) -> None:
    reply = await house.get("kicks?limit=3", bare=True, params=house.triple.query())
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("present", ["X-Client-Id", "X-Client-Secret", "Authorization"])
@pytest.mark.parametrize("empty", [False, True])
async def test_any_header_shuts_the_query_out(house: House, present: str, empty: bool) -> None:
    value = "" if empty else house.triple.headers()[present]
    reply = await house.get("kicks", bare=True, params=house.triple.query(), headers={present: value})
    check(reply, "missing_credentials")


async def test_headers_win_over_a_wrong_query(house: House) -> None:
    assert (await house.get("kicks?client_id=x&client_id=y&jwt=z")).status == 200


async def test_failures_of_query_credentials_name_no_credential(house: House) -> None:
    query = house.triple.query() | {"client_secret": "sks_wrong"}
    reply = await house.get("kicks", bare=True, params=query)
    check(reply, "invalid_credentials")
    assert b"sks_wrong" not in reply.body


@pytest.mark.parametrize("name", ["client_id", "client_secret", "jwt"])
async def test_a_credential_twice(house: House, name: str) -> None:
    pairs = [*house.triple.query().items(), (name, house.triple.query()[name])]
    check(await house.get("kicks", bare=True, params=pairs), "invalid_parameter")


async def test_a_credential_header_twice(house: House) -> None:
    from multidict import CIMultiDict

    headers = CIMultiDict(house.triple.headers())
    headers.add("X-Client-Id", house.triple.client_id)
    async with house.session.get("/api/public/v2/kicks", headers=headers) as response:
        assert response.status == 400
        assert (await response.json())["error"] == "invalid_parameter"


async def test_no_credential_is_ever_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    house.reads.rows["kicks_summary"] = []  # a defect: the row is missing
    reply = await house.get("kicks", bare=True, params=house.triple.query())
    check(reply, "internal_error")
    assert caplog.records
    for record in caplog.records:
        text = record.getMessage() + json.dumps(getattr(record, "fields", {})) + str(record.exc_text)
        assert house.triple.client_secret not in text
        assert house.triple.jwt not in text


# Tokens made by others


async def test_a_token_without_our_claims(house: House) -> None:
    key = KEYS.jwt_key(KEYS.key_id)
    assert key is not None
    forged = pyjwt.encode({"sub": str(USER), "exp": datetime.now(UTC) + timedelta(days=1)}, key, algorithm="HS256")
    check(await house.get("kicks", headers={"Authorization": f"Bearer {forged}"}), "invalid_jwt")
