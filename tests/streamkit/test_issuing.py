"""What is issued: recognisable, random, and never kept in the clear."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import jwt as pyjwt
import pytest

from schemas.control import encode_control
from streamkit.issuing import JWT_PREFIX, issue_client, issue_token, parse_scopes, rotate_secret, sign_jwt
from streamkit.keys import Keys
from tests.streamkit.credential_world import DAY, KEYS, START, World, claims_of, jti_of


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_issued_is_recognisable_and_random(world: World) -> None:
    one, other = world.issue(), world.issue()
    assert one != other
    assert str(one.client_id).startswith("skc_")
    assert str(one.client_secret).startswith("sks_")
    assert len(base64.urlsafe_b64decode(str(one.client_secret)[4:] + "=")) == 32
    assert jti_of(one).startswith("skt_")
    for keys in (KEYS, *(Keys.derive(bytes([n]) * 32) for n in range(20))):
        record = issue_token(keys, user_id=1, client_id="c", scopes=("read",), lifetime=DAY, at=START).record
        assert sign_jwt(record, START, keys).startswith(JWT_PREFIX)


def test_the_claims_and_the_header_of_a_token(world: World) -> None:
    triple = world.issue(scopes=("read", "stream-info:write"))
    assert triple.jwt
    assert pyjwt.get_unverified_header(triple.jwt) == {"alg": "HS256", "kid": KEYS.key_id, "typ": "at+jwt"}
    assert claims_of(world, triple) == {
        "iss": "streamkit",
        "aud": "streamkit-api-v2",
        "sub": "1",
        "client_id": triple.client_id,
        "jti": jti_of(triple),
        "iat": int(START.timestamp()),
        "exp": int(START.timestamp()) + 86400,
        "scope": "read stream-info:write",
    }


def test_no_record_holds_a_clear_secret() -> None:
    client = issue_client(KEYS, 1, ("read",), at=START)
    rotated = rotate_secret(KEYS, client.record.client_id, overlap=DAY, at=START)
    for made in (client, rotated):
        assert made.client_secret.encode() not in encode_control(made.record)
        assert made.record.secret_hash == KEYS.hash_secret(made.client_secret)
        assert made.record.key_id == KEYS.key_id


def test_scopes() -> None:
    assert parse_scopes("events:write  read read") == ("read", "events:write")
    assert parse_scopes("read,stream-info:write") == ("read", "stream-info:write")
    for text in ("", "  ", "read write", "READ"):
        with pytest.raises(ValueError, match="read, stream-info:write, events:write"):
            parse_scopes(text)


def test_the_page_tells_scanners_what_to_look_for(world: World) -> None:
    page = (Path(__file__).parents[2] / "docs" / "accounts.md").read_text()
    assert f"`{JWT_PREFIX}`" in page
    triple = world.issue()
    for found in (str(triple.client_secret), str(triple.jwt)):
        patterns = re.findall(r"`((?:sks_|eyJ)[^`]*\[[^`]+)`", page)
        assert len(patterns) == 2
        assert any(re.fullmatch(pattern, found) for pattern in patterns)
