"""What is wanted and what makes it so: by hand for each rule, and by hypothesis for what always holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codecs import kick
from ingest.codecs.twitch_facts import IGNORED_TYPES, TYPES
from schemas.control import PlatformName
from streamkit.platforms.scopes import TWITCH_SCOPES, TWITCH_WEBHOOK_SCOPES
from streamkit.platforms.subscriptions import (
    KICK_TYPES,
    PENDING,
    PENDING_FOR,
    TWITCH_TYPES,
    Listed,
    Wanted,
    by_webhook,
    by_websocket,
    condition_of,
    not_granted,
    plan,
    time_of,
    wanted_on_kick,
    wanted_on_twitch,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HERE = "https://here.example/webhooks/twitch"
FOLLOW = Wanted("twitch", "7", "channel.follow", "2", (("broadcaster_user_id", "7"), ("moderator_user_id", "7")))


def listed(
    wanted: Wanted,
    id_: str = "a",
    *,
    status: str = "enabled",
    place: str = HERE,
    method: Literal["webhook", "websocket"] = "webhook",
    age_s: float = 3600.0,
) -> Listed:
    return Listed(wanted, id_, status, method, place, NOW - timedelta(seconds=age_s))


def test_every_type_that_is_wanted_is_decoded_and_every_type_that_is_decoded_is_wanted() -> None:
    assert set(KICK_TYPES) == set(kick.TYPES)
    asked = {(each.type, each.version) for each in TWITCH_TYPES}
    assert asked == TYPES.keys() - {("user.authorization.revoke", "1")}
    assert not asked & IGNORED_TYPES.keys()


def test_the_scopes_that_are_asked_for_are_those_that_the_types_need() -> None:
    needed = {each.scope for each in TWITCH_TYPES if each.scope}
    assert needed | {"channel:manage:broadcast"} == set(TWITCH_SCOPES)
    assert len(wanted_on_twitch("7", TWITCH_SCOPES, webhooks=False)) == len(TWITCH_TYPES)
    assert len(wanted_on_twitch("7", (*TWITCH_SCOPES, *TWITCH_WEBHOOK_SCOPES), webhooks=True)) == len(TWITCH_TYPES)


def test_what_was_not_granted_is_not_asked_for_and_named() -> None:
    free = [each.type for each in wanted_on_twitch("7", (), webhooks=False)]
    assert free == ["stream.online", "stream.offline", "channel.update", "channel.raid"]
    missing = not_granted("7", TWITCH_SCOPES, webhooks=True)
    assert {wanted.type: scopes for wanted, scopes in missing.items()} == {
        "channel.chat.message": ["user:bot", "channel:bot"]
    }


def test_nothing_there_everything_is_made() -> None:
    wanted = wanted_on_kick("7")
    assert plan(wanted, [], "", NOW).create == tuple(wanted)


def test_of_duplicates_the_oldest_that_works_stays() -> None:
    old, new = listed(FOLLOW, "old", age_s=900), listed(FOLLOW, "new", age_s=60)
    failed = listed(FOLLOW, "failed", status="webhook_callback_verification_failed", age_s=7200)
    pending = listed(FOLLOW, "pending", status=PENDING, age_s=7300)
    done = plan([FOLLOW], [new, failed, pending, old], HERE, NOW)
    assert done.keep == {FOLLOW: old}
    assert {one.id for one in done.delete} == {"new", "failed", "pending"}
    assert done.create == ()


@pytest.mark.parametrize(
    "status", ["notification_failures_exceeded", "authorization_revoked", "webhook_callback_verification_failed"]
)
def test_what_was_revoked_is_made_anew(status: str) -> None:
    revoked = listed(FOLLOW, status=status)
    done = plan([FOLLOW], [revoked], HERE, NOW)
    assert (done.delete, done.create) == ((revoked,), (FOLLOW,))


def test_a_verification_has_ten_minutes() -> None:
    limit = PENDING_FOR.total_seconds()
    assert plan([FOLLOW], [listed(FOLLOW, status=PENDING, age_s=limit - 1)], HERE, NOW).create == ()
    assert plan([FOLLOW], [listed(FOLLOW, status=PENDING, age_s=limit)], HERE, NOW).create == (FOLLOW,)


def test_what_leads_elsewhere_is_made_anew_here() -> None:
    elsewhere = listed(FOLLOW, place="https://old.example/webhooks/twitch")
    done = plan([FOLLOW], [elsewhere], HERE, NOW)
    assert (done.delete, done.create) == ((elsewhere,), (FOLLOW,))


def test_of_sessions_only_those_that_deliver_are_deleted() -> None:
    live = listed(FOLLOW, "live", place="other-session", method="websocket")
    dead = listed(FOLLOW, "dead", place="old-session", method="websocket", status="websocket_disconnected")
    assert plan([FOLLOW], [live, dead], "session", NOW).delete == (live,)


def test_what_was_revoked_in_the_session_that_stands_is_deleted_before_it_is_made_anew() -> None:
    revoked = listed(FOLLOW, place="session", method="websocket", status="authorization_revoked")
    done = plan([FOLLOW], [revoked], "session", NOW)
    assert (done.delete, done.create) == ((revoked,), (FOLLOW,))


def test_of_a_list_with_everybodys_each_takes_its_own() -> None:
    hook = listed(FOLLOW, "hook")
    mine = listed(FOLLOW, "mine", place="s", method="websocket")
    others = listed(Wanted("twitch", "8", "channel.raid", "1"), "others", place="t", method="websocket")
    assert by_webhook([hook, mine, others]) == [hook]
    assert by_websocket([hook, mine, others], "7") == [mine]


def test_who_is_gone_is_unsubscribed_and_what_is_not_ours_is_left_alone() -> None:
    foreign = listed(Wanted("twitch", "7", "channel.poll.begin", "1", (("broadcaster_user_id", "7"),)))
    mine = listed(FOLLOW)
    assert plan([], [foreign, mine], HERE, NOW).delete == (mine,)


def test_another_version_or_condition_is_another_subscription() -> None:
    other = listed(Wanted("twitch", "7", "channel.follow", "2", (("broadcaster_user_id", "7"),)))
    done = plan([FOLLOW], [other], HERE, NOW)
    assert (done.delete, done.create) == ((other,), (FOLLOW,))


def test_a_raid_condition_with_an_empty_side_is_the_same() -> None:
    assert condition_of({"to_broadcaster_user_id": "7", "from_broadcaster_user_id": ""}) == (
        ("to_broadcaster_user_id", "7"),
    )


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-24T12:00:00Z", NOW),
        ("2026-11-24T12:00:00.000000999Z", NOW),
        ("2026-11-24T12:00:00", None),
        ("soon", None),
        (None, None),
    ],
)
def test_times(text: str | None, at: datetime | None) -> None:
    assert time_of(text) == at


PLATFORMS: tuple[PlatformName, ...] = ("kick", "twitch")
some_wanted = st.builds(
    Wanted,
    platform=st.just("twitch"),
    broadcaster_id=st.sampled_from(["7", "8"]),
    type=st.sampled_from(["channel.follow", "stream.online", "unknown.type"]),
    version=st.sampled_from(["1", "2"]),
)
some_listed = st.builds(
    listed,
    some_wanted,
    st.uuids().map(str),
    status=st.sampled_from(["enabled", PENDING, "authorization_revoked"]),
    place=st.sampled_from([HERE, "elsewhere"]),
    age_s=st.sampled_from([0.0, 500.0, 700.0]),
)


@given(wanted=st.sets(some_wanted.filter(lambda each: each.type != "unknown.type")), there=st.lists(some_listed))
def test_carried_out_once_there_is_nothing_left_to_do(wanted: set[Wanted], there: list[Listed]) -> None:
    first = plan(wanted, there, HERE, NOW)
    gone = {one.id for one in first.delete}
    after = [one for one in there if one.id not in gone] + [
        listed(each, f"made-{index}") for index, each in enumerate(first.create)
    ]
    second = plan(wanted, after, HERE, NOW)
    assert (second.delete, second.create) == ((), ())
    assert second.keep.keys() == wanted
    assert all(one.wanted.type != "unknown.type" for one in first.delete)
