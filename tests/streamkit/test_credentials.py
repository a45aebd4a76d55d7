"""The three credentials: every refusal in its order, rotation, what is remembered and for how long, and a miss."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

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
from streamkit.credentials import Credentials, Principal
from streamkit.directory import Directory
from streamkit.issuing import issue_client, issue_token, rotate_secret
from streamkit.keys import Keys
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, Record
from tests.streamkit.credential_world import DAY, KEYS, START, Triple, World, jti_of


@pytest.fixture
def world() -> World:
    return World()


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

    log, directory = Counting(), Directory()
    await log.append(CONTROL, [Record("user:1", encode_control(BroadcasterRegistered(at=START, user_id=1, name="N")))])
    task = asyncio.create_task(directory.follow(log))
    await directory.ready()
    credentials = Credentials(directory, KEYS)
    before, loop = Counting.asked, asyncio.get_running_loop()
    started = loop.time()
    attempts = (credentials.check(f"skc_{n}", "sks_wrong", "x.y.z", scope="read") for n in range(500))
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    assert all(isinstance(answer, Problem) and answer.code == "invalid_credentials" for answer in answers)
    assert Counting.asked - before <= 1 + (loop.time() - started) * 20
    task.cancel()
    await asyncio.wait({task})
    await log.close()
