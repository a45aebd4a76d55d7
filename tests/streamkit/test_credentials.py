"""The three credentials: every refusal in its order, forged tokens, rotation, what is remembered and for how long."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt as pyjwt
import pytest
from msgspec import Struct

from schemas.control import (
    BroadcasterRegistered,
    BroadcasterRemoved,
    ClientRevoked,
    ControlEvent,
    TokenRevoked,
    encode_control,
)
from schemas.errors import Problem
from streamkit import credentials as credentials_module
from streamkit.credentials import Credentials, Principal, read_jwt
from streamkit.directory import Directory
from streamkit.issuing import JWT_PREFIX, issue_client, issue_token, parse_scopes, rotate_secret, sign_jwt
from streamkit.keys import Keys
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, Record

KEYS = Keys.derive(b"k" * 32)
START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


class Triple(Struct):
    """What a caller sends."""

    client_id: str | None
    client_secret: str | None
    jwt: str | None


class World:
    """A directory with broadcasters 1 and 2, credentials over it, and a clock that only the test moves."""

    def __init__(self, keys: Keys = KEYS) -> None:
        self.now = START
        self.keys = keys
        self.directory = Directory()
        self.credentials = Credentials(self.directory, keys, now=lambda: self.now.timestamp())
        self.apply(*(BroadcasterRegistered(at=START, user_id=user_id, name="N") for user_id in (1, 2)))

    def apply(self, *events: ControlEvent) -> None:
        for event in events:
            self.directory.apply(encode_control(event))

    def issue(self, user_id: int = 1, *, scopes: tuple[str, ...] = ("read",), lifetime: timedelta = DAY) -> Triple:
        client = issue_client(self.keys, user_id, scopes, at=self.now)
        self.apply(client.record)
        return Triple(
            client.record.client_id,
            client.client_secret,
            self.token(client.record.client_id, user_id, scopes=scopes, lifetime=lifetime),
        )

    def token(
        self, client_id: str | None, user_id: int = 1, *, scopes: tuple[str, ...] = ("read",), lifetime: timedelta = DAY
    ) -> str:
        assert client_id
        token = issue_token(
            self.keys, user_id=user_id, client_id=client_id, scopes=scopes, lifetime=lifetime, at=self.now
        )
        self.apply(token.record)
        return token.jwt

    async def check(self, triple: Triple, scope: str = "read") -> Principal:
        return await self.credentials.check(triple.client_id, triple.client_secret, triple.jwt, scope=scope)

    async def refusal(self, triple: Triple, scope: str = "read") -> str:
        with pytest.raises(Problem) as caught:
            await self.check(triple, scope)
        assert caught.value.status == (403 if caught.value.code == "insufficient_scope" else 401)
        assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
        return caught.value.code

    def cached(self, triple: Triple, scope: str = "read") -> Principal | None:
        return self.credentials.check_cached(triple.client_id, triple.client_secret, triple.jwt, scope=scope)


@pytest.fixture
def world() -> World:
    return World()


def jti_of(triple: Triple) -> str:
    assert triple.jwt
    claims = read_jwt(triple.jwt, KEYS)
    assert claims is not None
    return claims.jti


async def test_a_good_triple(world: World) -> None:
    triple = world.issue(scopes=("read", "events:write"))
    principal = await world.check(triple)
    assert principal == Principal(1, str(triple.client_id), jti_of(triple), frozenset({"read", "events:write"}))
    assert await world.check(triple, "events:write") == principal


@pytest.mark.parametrize("missing", ["client_id", "client_secret", "jwt"])
@pytest.mark.parametrize("empty", [None, ""])
async def test_missing_in_the_words_of_the_contract(world: World, missing: str, empty: str | None) -> None:
    triple = world.issue()
    setattr(triple, missing, empty)
    with pytest.raises(Problem, match=r"^Missing client_id, client_secret, or JWT token\.$") as caught:
        await world.check(triple)
    assert (caught.value.status, caught.value.code) == (401, "missing_credentials")
    assert world.cached(triple) is None


async def test_one_answer_for_everything_wrong_with_the_client(world: World) -> None:
    texts = set()
    wrong_secret, unknown, removed, revoked = world.issue(), world.issue(), world.issue(2), world.issue()
    wrong_secret.client_secret = "sks_wrong"
    unknown.client_id = "skc_unknown"
    world.apply(BroadcasterRemoved(at=START, user_id=2), ClientRevoked(at=START, client_id=str(revoked.client_id)))
    for triple in (wrong_secret, unknown, removed, revoked):
        with pytest.raises(Problem) as caught:
            await world.check(triple)
        texts.add((caught.value.status, caught.value.code, str(caught.value)))
    assert len(texts) == 1
    assert next(iter(texts))[:2] == (401, "invalid_credentials")


async def test_the_secret_of_another_client_is_wrong(world: World) -> None:
    one, other = world.issue(), world.issue()
    one.client_secret = other.client_secret
    assert await world.refusal(one) == "invalid_credentials"


async def test_text_that_is_no_unicode_is_refused_like_any_other(world: World) -> None:
    triple = world.issue()
    assert await world.refusal(Triple("\udcff", triple.client_secret, triple.jwt)) == "invalid_credentials"
    assert await world.refusal(Triple(triple.client_id, "\udcff", triple.jwt)) == "invalid_credentials"
    assert await world.refusal(Triple(triple.client_id, triple.client_secret, "\udcff")) == "invalid_jwt"
    assert await world.refusal(Triple(triple.client_id, triple.client_secret, "é.é.é")) == "invalid_jwt"


async def test_expired_to_the_second(world: World) -> None:
    triple = world.issue(lifetime=timedelta(seconds=10))
    world.now += timedelta(seconds=9.999)
    await world.check(triple)
    world.now += timedelta(seconds=0.001)
    assert world.cached(triple) is None
    assert await world.refusal(triple) == "expired_jwt"


async def test_a_lifetime_of_nothing_is_expired_at_once(world: World) -> None:
    assert await world.refusal(world.issue(lifetime=timedelta(0))) == "expired_jwt"


async def test_revoked_in_the_words_of_the_contract(world: World) -> None:
    triple = world.issue()
    await world.check(triple)
    world.apply(TokenRevoked(at=START, jti=jti_of(triple)))
    assert world.cached(triple) is None
    with pytest.raises(Problem, match=r"^JWT token was revoked\. Generate a new one in the dashboard\.$") as caught:
        await world.check(triple)
    assert (caught.value.status, caught.value.code) == (401, "revoked_jwt")


async def test_the_token_of_another_client(world: World) -> None:
    one, same_user, other_user = world.issue(1), world.issue(1), world.issue(2)
    for other in (same_user, other_user):
        assert await world.refusal(Triple(one.client_id, one.client_secret, other.jwt)) == "credential_mismatch"


async def test_a_scope_the_token_lacks(world: World) -> None:
    triple = world.issue(scopes=("read",))
    await world.check(triple)
    for _ in range(2):
        with pytest.raises(Problem) as caught:
            await world.check(triple, "events:write")
        assert (caught.value.status, caught.value.code) == (403, "insufficient_scope")
        assert 'scope="events:write"' in caught.value.headers["WWW-Authenticate"]
    assert world.cached(triple, "events:write") is None
    assert world.cached(triple) is not None


async def test_the_order_of_refusals(world: World) -> None:
    """Everything is wrong at first; one thing after another is put right, and the next refusal shows."""
    own, other = world.issue(), world.issue(2, scopes=("stream-info:write",), lifetime=timedelta(0))
    world.apply(TokenRevoked(at=START, jti=jti_of(other)))
    triple = Triple(own.client_id, "sks_wrong", None)
    assert await world.refusal(triple) == "missing_credentials"
    triple.jwt = "not.a.token"
    assert await world.refusal(triple) == "invalid_credentials"
    triple.client_secret = own.client_secret
    assert await world.refusal(triple) == "invalid_jwt"
    triple.jwt = other.jwt
    assert await world.refusal(triple) == "expired_jwt"
    live = world.issue(2, scopes=("stream-info:write",))
    world.apply(TokenRevoked(at=START, jti=jti_of(live)))
    triple.jwt = live.jwt
    assert await world.refusal(triple) == "revoked_jwt"
    triple.jwt = world.issue(2, scopes=("stream-info:write",)).jwt
    assert await world.refusal(triple) == "credential_mismatch"
    triple.jwt = world.token(own.client_id, scopes=("stream-info:write",))
    assert await world.refusal(triple) == "insufficient_scope"
    triple.jwt = world.token(own.client_id)
    assert (await world.check(triple)).user_id == 1


# Forged tokens (RFC 8725)


def claims_of(world: World, triple: Triple) -> dict[str, Any]:
    assert triple.jwt
    found: dict[str, Any] = pyjwt.decode(triple.jwt, options={"verify_signature": False})
    return found


def signed(claims: dict[str, Any], header: dict[str, Any] | None = None, key: bytes | None = None) -> str:
    own = KEYS.jwt_key(KEYS.key_id)
    assert own is not None
    standard = {"alg": "HS256", "kid": KEYS.key_id, "typ": "at+jwt"} | (header or {})
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (standard, claims)]
    body = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(str(standard["alg"]), hashlib.sha256)
    signature = b"" if standard["alg"] == "none" else hmac.new(key or own, body, digest).digest()
    return (body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_the_forger_makes_good_tokens_too(world: World) -> None:
    """Else the cases below would show nothing."""
    assert read_jwt(signed(claims_of(world, world.issue())), KEYS) is not None


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS384"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": None},
        {"kid": "skk_other"},
        {"kid": None},
        {"kid": 1},
        {"kid": ["a"]},
        {"kid": "../../dev/null"},
        {"typ": "JWT"},
        {"typ": "AT+JWT"},
        {"typ": None},
        {"crit": ["exp"]},
        {"b64": False},
        {"zip": "DEF", "alg": "none"},
        {"jwk": {"kty": "oct", "k": "AAAA"}, "alg": "none"},
    ],
)
async def test_headers_that_are_not_ours(world: World, header: dict[str, Any]) -> None:
    triple = world.issue()
    triple.jwt = signed(claims_of(world, triple), header)
    assert await world.refusal(triple) == "invalid_jwt"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"iss": ["streamkit"]},
        {"aud": "streamkit-api-v1"},
        {"aud": ["streamkit-api-v2"]},
        {"sub": 1},
        {"client_id": 1},
        {"client_id": None},
        {"jti": 7},
        {"jti": "skt_unknown"},
        {"exp": "4000000000"},
        {"exp": 1e300},
        {"exp": True},
        {"exp": None},
        {"iat": None},
        {"iat": "x"},
        {"iat": int(START.timestamp()) + 5},
        {"nbf": 99_999_999_999},
        {"nbf": "x"},
    ],
)
async def test_claims_that_are_not_ours(world: World, changes: dict[str, Any]) -> None:
    triple = world.issue()
    triple.jwt = signed(claims_of(world, triple) | changes)
    assert await world.refusal(triple) == "invalid_jwt"


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "client_id", "jti", "iat", "exp"])
async def test_every_claim_is_required(world: World, claim: str) -> None:
    triple = world.issue()
    claims = claims_of(world, triple)
    del claims[claim]
    triple.jwt = signed(claims)
    assert await world.refusal(triple) == "invalid_jwt"


async def test_a_token_stretched_with_the_right_key_does_not_outlive_its_record(world: World) -> None:
    triple = world.issue(lifetime=timedelta(seconds=5))
    triple.jwt = signed(claims_of(world, triple) | {"exp": 4_000_000_000})
    world.now += timedelta(seconds=5)
    assert await world.refusal(triple) == "expired_jwt"


async def test_another_subject_under_the_same_client(world: World) -> None:
    triple = world.issue()
    triple.jwt = signed(claims_of(world, triple) | {"sub": "2"})
    assert await world.refusal(triple) == "credential_mismatch"


def tampered(jwt: str) -> Iterator[str]:
    header, claims, signature = jwt.split(".")
    wider = base64.urlsafe_b64encode(b'{"sub":"2"}').rstrip(b"=").decode()
    yield f"{header}.{wider}.{signature}"
    yield f"{header}.{claims}."
    yield f"{header}.{claims}"
    yield f"{header}.{claims}.{signature}.{signature}"
    yield f"{header}..{signature}"
    yield f"{header}.{claims}.{signature[::-1]}"
    yield f"Bearer {jwt}"
    yield jwt.replace("-", "+").replace("_", "/") + "!"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    yield from (jwt[:-1] + last for last in alphabet if last != jwt[-1])


async def test_any_other_text_is_another_token(world: World) -> None:
    triple = world.issue()
    assert triple.jwt
    for text in (*tampered(triple.jwt), "x", "..", "a.b.c", "{}", "e30.e30.e30", "." * 5000, "A" * 8000):
        assert await world.refusal(Triple(triple.client_id, triple.client_secret, text)) == "invalid_jwt"


async def test_a_token_of_another_deployment(world: World) -> None:
    triple = world.issue()
    elsewhere = Keys.derive(b"e" * 32)
    record = issue_token(
        elsewhere, user_id=1, client_id=str(triple.client_id), scopes=("read",), lifetime=DAY, at=START
    )
    world.apply(record.record)
    triple.jwt = record.jwt
    assert await world.refusal(triple) == "invalid_jwt"
    triple.jwt = signed(claims_of(world, triple), key=elsewhere.jwt_key(elsewhere.key_id))
    assert await world.refusal(triple) == "invalid_jwt"


# Rotation


async def test_a_rotated_secret_overlaps_and_ends(world: World) -> None:
    triple = world.issue()
    await world.check(triple)
    rotated = rotate_secret(KEYS, str(triple.client_id), overlap=timedelta(seconds=30), at=world.now)
    world.apply(rotated.record)
    new = Triple(triple.client_id, rotated.client_secret, triple.jwt)
    await world.check(new)
    world.now += timedelta(seconds=29)
    await world.check(triple)
    world.now += timedelta(seconds=1)
    assert world.cached(triple) is None
    assert await world.refusal(triple) == "invalid_credentials"
    await world.check(new)


async def test_without_overlap_the_secret_before_is_out_at_once(world: World) -> None:
    triple = world.issue()
    await world.check(triple)
    world.apply(rotate_secret(KEYS, str(triple.client_id), overlap=timedelta(0), at=world.now).record)
    assert await world.refusal(triple) == "invalid_credentials"


async def test_a_new_secret_key_with_the_previous_beside_it(world: World) -> None:
    triple = world.issue()
    for keys, works in ((Keys.derive(b"n" * 32, b"k" * 32), True), (Keys.derive(b"n" * 32), False)):
        credentials = Credentials(world.directory, keys, now=lambda: world.now.timestamp())
        checking = credentials.check(triple.client_id, triple.client_secret, triple.jwt, scope="read")
        if works:
            assert (await checking).user_id == 1
        else:
            with pytest.raises(Problem, match="Unknown client_id"):
                await checking


# What is remembered


async def test_a_verified_triple_is_remembered_for_a_minute(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    triple = world.issue()
    assert world.cached(triple) is None
    principal = await world.check(triple)
    monkeypatch.setattr(credentials_module, "read_jwt", lambda *_: pytest.fail("verified again"))
    assert world.cached(triple) == await world.check(triple) == principal
    world.now += timedelta(seconds=59)
    assert world.cached(triple) == principal
    world.now += timedelta(seconds=1)
    assert world.cached(triple) is None


async def test_any_change_of_the_directory_drops_what_is_remembered(world: World) -> None:
    triple = world.issue()
    await world.check(triple)
    world.apply(BroadcasterRegistered(at=START, user_id=3, name="N"))
    assert world.cached(triple) is None


async def test_triples_do_not_run_into_each_other(world: World) -> None:
    triple = world.issue()
    await world.check(triple)
    client_id, secret = str(triple.client_id), str(triple.client_secret)
    for other in (
        Triple(client_id + secret[:1], secret[1:], triple.jwt),
        Triple(client_id[:-1], client_id[-1] + secret, triple.jwt),
    ):
        assert world.cached(other) is None
        assert await world.refusal(other) == "invalid_credentials"


async def test_memory_is_bounded_and_refusals_are_not_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials_module, "CACHE_ENTRIES", 3)
    triple = world.issue()
    jwts = [world.token(triple.client_id) for _ in range(5)]
    for jwt in jwts:
        await world.check(Triple(triple.client_id, triple.client_secret, jwt))
    for number in range(20):
        await world.refusal(Triple(triple.client_id, f"wrong {number}", jwts[0]))
    known = [world.cached(Triple(triple.client_id, triple.client_secret, jwt)) is not None for jwt in jwts]
    assert known == [False, False, True, True, True]


# On a miss


class _Asked(Directory):
    """A directory that learns something when it is refreshed, or cannot."""

    def __init__(self, *events: ControlEvent, reachable: bool = True) -> None:
        super().__init__()
        self.refreshed = 0
        self._events = events
        self._reachable = reachable

    async def refresh(self) -> bool:
        self.refreshed += 1
        for event in self._events if self._reachable else ():
            self.apply(encode_control(event))
        return self._reachable


async def test_what_was_added_a_moment_ago_is_known() -> None:
    registered = BroadcasterRegistered(at=START, user_id=1, name="N")
    client = issue_client(KEYS, 1, ("read",), at=START)
    client_id = client.record.client_id
    token = issue_token(KEYS, user_id=1, client_id=client_id, scopes=("read",), lifetime=DAY, at=START)
    rotated = rotate_secret(KEYS, client_id, overlap=timedelta(0), at=START)
    for known, news, secret in (
        ((), (registered, client.record, token.record), client.client_secret),
        ((registered, client.record), (token.record,), client.client_secret),
        ((registered, client.record, token.record), (rotated.record,), rotated.client_secret),
    ):
        directory = _Asked(*news)
        for event in known:
            directory.apply(encode_control(event))
        credentials = Credentials(directory, KEYS, now=START.timestamp)
        assert (await credentials.check(client_id, secret, token.jwt, scope="read")).user_id == 1
        assert directory.refreshed == 1


async def test_unknown_while_the_log_is_away_is_not_a_refusal() -> None:
    credentials = Credentials(_Asked(reachable=False), KEYS)
    with pytest.raises(Problem) as caught:
        await credentials.check("skc_x", "sks_x", "x.y.z", scope="read")
    assert (caught.value.status, caught.value.code, caught.value.headers) == (503, "unavailable", {"Retry-After": "1"})


async def test_wrong_triples_cost_the_log_at_most_twenty_readings_a_second() -> None:
    class Counting(MemoryLog):
        asked = 0

        async def ends(self, topic: str) -> tuple[int, ...]:
            Counting.asked += 1
            return await super().ends(topic)

    log, directory, stop = Counting(), Directory(), asyncio.Event()
    await log.append(CONTROL, [Record("user:1", encode_control(BroadcasterRegistered(at=START, user_id=1, name="N")))])
    task = asyncio.create_task(directory.follow(log, stop=stop))
    await directory.ready()
    credentials = Credentials(directory, KEYS)
    before, loop = Counting.asked, asyncio.get_running_loop()
    started = loop.time()
    attempts = (credentials.check(f"skc_{n}", "sks_wrong", "x.y.z", scope="read") for n in range(500))
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    assert all(isinstance(answer, Problem) and answer.code == "invalid_credentials" for answer in answers)
    assert Counting.asked - before <= 1 + (loop.time() - started) * 20
    stop.set()
    await task
    await log.close()


# Issuing


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
