"""Kick's codec: every sample to its exact event, every trap by name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.codecs import kick
from ingest.codecs.delivery import Delivery, Outcome, Parked
from ingest.kick_keys import parse_public_key
from schemas import kinds
from schemas.event import Event, encode_event
from tests.samples import (
    KICK_BROADCASTER,
    KICK_TYPES,
    MESSAGE_ID,
    RECEIVED_AT,
    SENT_AT,
    USER_ID,
    Sample,
    all_samples,
    load,
)
from tests.signing import KickSigner, ulid

SENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAMPLES = all_samples("kick")


def broadcaster_of(platform: str, platform_id: str) -> int | None:
    return USER_ID if (platform, platform_id) == ("kick", KICK_BROADCASTER) else None


def outcome(type_: str, body: bytes | dict[str, Any], **headers: str) -> Outcome:
    names = {"message_id": kick.MESSAGE_ID, "timestamp": kick.TIMESTAMP, "version": kick.VERSION}
    all_headers = {kick.MESSAGE_ID: MESSAGE_ID, kick.TIMESTAMP: SENT_AT, kick.TYPE: type_}
    all_headers.update({names[name]: value for name, value in headers.items()})
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return kick.decode(Delivery(all_headers, raw, RECEIVED_AT), broadcaster_of)


def event(type_: str, body: bytes | dict[str, Any], **headers: str) -> Event:
    result = outcome(type_, body, **headers)
    assert isinstance(result, Event), result
    return result


def reason(type_: str, body: bytes | dict[str, Any], **headers: str) -> str:
    result = outcome(type_, body, **headers)
    assert isinstance(result, Parked), result
    assert result.type == type_
    return result.reason


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_sample_becomes_its_event(sample: Sample) -> None:
    assert sample.expected is not None
    assert encode_event(event(sample.type, sample.body)) + b"\n" == sample.expected


def test_every_documented_type_has_a_sample() -> None:
    assert {sample.type for sample in SAMPLES} == set(KICK_TYPES) == set(kick.TYPES)


# Signatures


def signed(signer: KickSigner, sample: Sample) -> Delivery:
    headers = {name.lower(): value for name, value in signer.headers(sample.type, sample.body).items()}
    return Delivery(headers, sample.body, RECEIVED_AT)


def test_a_signature_holds_for_exactly_the_bytes_sent(kick_signer: KickSigner) -> None:
    key = parse_public_key(kick_signer.public_pem)
    delivery = signed(kick_signer, load("kick", "chat.message.sent"))
    assert kick.verify(delivery, key)
    # Go writes \u0026 for &: a body parsed and written again is another body.
    rewritten = json.dumps(json.loads(delivery.body), separators=(",", ":")).encode()
    assert rewritten != delivery.body
    assert not kick.verify(Delivery(delivery.headers, rewritten, RECEIVED_AT), key)


@pytest.mark.parametrize("header", [kick.MESSAGE_ID, kick.TIMESTAMP])
def test_id_and_timestamp_are_signed(kick_signer: KickSigner, header: str) -> None:
    delivery = signed(kick_signer, load("kick", "channel.followed"))
    altered = Delivery({**delivery.headers, header: delivery.headers[header] + "0"}, delivery.body, RECEIVED_AT)
    assert not kick.verify(altered, parse_public_key(kick_signer.public_pem))


@pytest.mark.parametrize("signature", ["", "AAAA", "not base64!", "A" * 344, "é", "sha256=00"])
def test_garbage_is_no_signature(kick_signer: KickSigner, signature: str) -> None:
    delivery = signed(kick_signer, load("kick", "channel.followed"))
    altered = Delivery({**delivery.headers, kick.SIGNATURE: signature}, delivery.body, RECEIVED_AT)
    assert not kick.verify(altered, parse_public_key(kick_signer.public_pem))


def test_the_documented_key_is_rsa_2048_and_refuses_what_another_key_signed(kick_signer: KickSigner) -> None:
    documented = parse_public_key(kick.DOCUMENTED_PUBLIC_KEY)
    assert documented.key_size == 2048
    assert documented.public_numbers().e == 65537
    assert not kick.verify(signed(kick_signer, load("kick", "kicks.gifted")), documented)


# The type header is not signed


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_replayed_as_another_type_a_delivery_is_malformed(sample: Sample) -> None:
    pair = {"channel.subscription.new", "channel.subscription.renewal"}
    for other in KICK_TYPES:
        if other != sample.type and {other, sample.type} != pair:
            assert reason(other, sample.body) == "malformed", other


def test_new_and_renewal_have_one_shape_and_so_one_natural_key() -> None:
    body = load("kick", "channel.subscription.new").body
    as_new, as_renewal = event("channel.subscription.new", body), event("channel.subscription.renewal", body)
    assert as_new.natural_key == as_renewal.natural_key
    assert as_new.natural_key == "kick:subscription:7001:9101:2026-03-01T11:59:57.5Z:2026-04-01T11:59:57.5Z:1"


def test_another_version_is_an_unknown_type_and_none_is_version_1() -> None:
    body = load("kick", "channel.followed").body
    assert reason("channel.followed", body, version="2") == "unknown_type"
    assert event("channel.followed", body, version="1") == event("channel.followed", body)


@pytest.mark.parametrize("type_", ["stream.online", "follow", "channel.moderation.user_banned", "", "Channel.Followed"])
def test_types_that_third_party_guides_invent_are_unknown(type_: str) -> None:
    assert reason(type_, load("kick", "channel.followed").body) == "unknown_type"


def test_reasons_come_in_order_type_then_body_then_broadcaster() -> None:
    foreign = load("kick", "channel.followed").document()
    foreign["broadcaster"]["user_id"] = 1
    assert reason("channel.nothing", b"{") == "unknown_type"
    del foreign["follower"]
    assert reason("channel.followed", foreign) == "malformed"


def test_a_broadcaster_nobody_registered_is_parked_with_its_id() -> None:
    body = load("kick", "kicks.gifted").document()
    body["broadcaster"]["user_id"] = 424242
    result = outcome("kicks.gifted", body)
    assert isinstance(result, Parked)
    assert (result.reason, result.broadcaster_id) == ("unknown_broadcaster", "424242")


# Who


def test_anonymous_gift_though_the_flag_says_otherwise() -> None:
    body = load("kick", "channel.subscription.gifts.anonymous").document()
    body["gifter"]["is_anonymous"] = False  # KickDevDocs issue 340
    assert event("channel.subscription.gifts", body).actor is None


def test_anonymous_gift_though_an_id_is_there() -> None:
    body = load("kick", "channel.subscription.gifts").document()
    body["gifter"]["is_anonymous"] = True
    gift = event("channel.subscription.gifts", body)
    assert gift.actor is None
    assert gift.natural_key is not None
    assert gift.natural_key.startswith("kick:channel.subscription.gifts:7001::2026")


def test_a_gift_without_gifter_is_anonymous() -> None:
    body = load("kick", "channel.subscription.gifts").document()
    body["gifter"] = None
    assert event("channel.subscription.gifts", body).actor is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("chat.message.sent", "sender"),
        ("channel.followed", "follower"),
        ("kicks.gifted", "sender"),
        ("channel.reward.redemption.updated", "redeemer"),
        ("channel.subscription.new", "subscriber"),
        ("moderation.banned", "moderator"),
    ],
)
def test_any_actor_may_be_null(name: str, key: str) -> None:
    body = load("kick", name).document()
    body[key] = None
    assert event(name, body).actor is None
    body[key] = {"user_id": None, "username": None}
    assert event(name, body).actor is None


def test_name_is_the_username_not_the_slug_and_never_missing() -> None:
    body = load("kick", "channel.followed").document()
    body["follower"]["username"], body["follower"]["channel_slug"] = "te_congalletas", "te-congalletas"
    assert event("channel.followed", body).actor == kinds.Viewer("9101", "te_congalletas")
    body["follower"]["username"] = None
    assert event("channel.followed", body).actor == kinds.Viewer("9101", "te-congalletas")
    body["follower"]["channel_slug"] = None
    assert event("channel.followed", body).actor == kinds.Viewer("9101", "9101")


def test_giftees_count_even_where_one_has_no_id_and_in_any_order_are_one_gift() -> None:
    body = load("kick", "channel.subscription.gifts").document()
    body["giftees"].append({"user_id": None, "username": None})
    gift = event("channel.subscription.gifts", body)
    assert isinstance(gift.data, kinds.SubscriptionGifts)
    assert gift.data.count == 4
    assert [giftee.id for giftee in gift.data.giftees] == ["9203", "9201", "9202"]
    body["giftees"].reverse()
    assert event("channel.subscription.gifts", body).natural_key == gift.natural_key
    body["giftees"].pop()
    assert event("channel.subscription.gifts", body).natural_key != gift.natural_key


def test_numeric_strings_are_ids_too() -> None:
    body = load("kick", "channel.followed").document()
    body["broadcaster"]["user_id"], body["follower"]["user_id"] = KICK_BROADCASTER, "9101"
    assert event("channel.followed", body) == event("channel.followed", load("kick", "channel.followed").body)


# When


def test_late_delivery_is_as_good_as_any() -> None:
    followed = event("channel.followed", load("kick", "channel.followed").body, timestamp="2026-02-27T12:00:00Z")
    assert followed.occurred_at == datetime(2026, 2, 27, 12, tzinfo=UTC)
    assert followed.received_at == RECEIVED_AT


def test_a_delivery_stamped_far_in_the_future_happened_when_it_came() -> None:
    body = load("kick", "channel.followed").body
    at = {
        days: event(
            "channel.followed", body, timestamp=f"{RECEIVED_AT + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
        ).occurred_at
        for days in (0.5, 1.5, 3650)
    }
    assert at[0.5] == (RECEIVED_AT + timedelta(days=0.5)).replace(microsecond=0)
    assert at[1.5] == at[3650] == RECEIVED_AT


def test_chat_without_created_at_happened_when_its_ulid_says() -> None:
    at = SENT - timedelta(seconds=3, milliseconds=137)
    body = load("kick", "chat.message.sent.early-2025").body
    assert event("chat.message.sent", body, message_id=ulid(at)).occurred_at == at
    assert event("chat.message.sent", body, message_id="no-ulid").occurred_at == SENT
    assert event("chat.message.sent", body, message_id=ulid(SENT + timedelta(hours=1))).occurred_at == SENT


@pytest.mark.parametrize(
    ("created_at", "occurred_at"),
    [
        ("2026-02-28T12:00:00Z", datetime(2026, 2, 28, 12, tzinfo=UTC)),
        ("2026-02-28T11:59:59.999999Z", SENT),
        ("2026-03-01T12:05:00Z", datetime(2026, 3, 1, 12, 5, tzinfo=UTC)),
        ("2026-03-01T12:05:00.000001Z", SENT),
        ("2025-01-14T16:08:06Z", SENT),
        ("0001-01-01T00:00:00Z", SENT),
        (None, SENT),
    ],
)
def test_new_subscriptions_own_time_stands_within_a_day(created_at: str | None, occurred_at: datetime) -> None:
    body = load("kick", "channel.subscription.new").document()
    body["created_at"] = created_at
    assert event("channel.subscription.new", body).occurred_at == occurred_at


def test_renewal_happened_now_though_its_created_at_is_months_ago() -> None:
    renewal = event("channel.subscription.renewal", load("kick", "channel.subscription.renewal").body)
    assert renewal.occurred_at == SENT
    assert isinstance(renewal.data, kinds.SubscriptionRenewal)
    assert renewal.data.started_at == datetime(2025, 10, 3, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("chat.message.sent", "created_at"),
        ("channel.subscription.gifts", "created_at"),
        ("kicks.gifted", "created_at"),
        ("channel.reward.redemption.updated", "redeemed_at"),
        ("livestream.status.updated.started", "started_at"),
        ("livestream.status.updated.ended", "ended_at"),
        ("moderation.banned", "metadata.created_at"),
    ],
)
def test_a_body_time_from_the_future_gives_way_to_the_header(name: str, path: str) -> None:
    sample = load("kick", name)
    body = sample.document()
    holder = body["metadata"] if path.startswith("metadata") else body
    holder[path.rpartition(".")[2]] = "2026-03-01T12:04:59Z"
    assert event(sample.type, body).occurred_at == SENT + timedelta(seconds=299)
    holder[path.rpartition(".")[2]] = "2026-03-01T12:05:01Z"
    assert event(sample.type, body).occurred_at == SENT


def test_redemption_pending_is_its_creation_and_a_change_is_now() -> None:
    pending = event("channel.reward.redemption.updated", load("kick", "channel.reward.redemption.updated").body)
    accepted = event(
        "channel.reward.redemption.updated", load("kick", "channel.reward.redemption.updated.accepted").body
    )
    assert pending.occurred_at == datetime(2026, 3, 1, 11, 59, 55, 323000, UTC)
    assert accepted.occurred_at == SENT
    assert pending.natural_key != accepted.natural_key


def test_start_and_end_name_one_stream_whatever_the_spelling_of_started_at() -> None:
    body = load("kick", "livestream.status.updated.ended").document()
    body["started_at"] = "2026-03-01T11:59:50.000Z"
    ended = event("livestream.status.updated", body)
    started = event("livestream.status.updated", load("kick", "livestream.status.updated.started").body)
    assert isinstance(ended.data, kinds.LivestreamStatus)
    assert isinstance(started.data, kinds.LivestreamStatus)
    assert ended.data.started_at == started.data.started_at


def test_a_stream_that_starts_without_started_at_has_no_name() -> None:
    body = load("kick", "livestream.status.updated.started").document()
    body["started_at"] = "0001-01-01T00:00:00Z"
    assert reason("livestream.status.updated", body) == "malformed"


def test_an_end_with_the_zero_time_is_an_end_now() -> None:
    body = load("kick", "livestream.status.updated.ended").document()
    body["ended_at"] = "0001-01-01T00:00:00Z"
    ended = event("livestream.status.updated", body)
    assert ended.occurred_at == SENT
    assert isinstance(ended.data, kinds.LivestreamStatus)
    assert ended.data.ended_at is None


def test_a_ban_without_end_is_permanent() -> None:
    banned = event("moderation.banned", load("kick", "moderation.banned.permanent").body).data
    assert isinstance(banned, kinds.Banned)
    assert banned.duration_s is None


def test_unreadable_header_time_is_malformed() -> None:
    assert reason("channel.followed", load("kick", "channel.followed").body, timestamp="yesterday") == "malformed"


# Natural keys


def test_one_fact_under_two_message_ids_has_one_natural_key() -> None:
    for sample in SAMPLES:  # KickDevDocs issues 193 and 246: duplicate subscriptions
        first = event(sample.type, sample.body)
        second = event(sample.type, sample.body, message_id=ulid(), timestamp="2026-03-01T12:00:03Z")
        assert first.event_id != second.event_id
        assert first.natural_key == second.natural_key


def test_two_gifts_a_nanosecond_apart_are_two() -> None:
    body = load("kick", "channel.subscription.gifts").document()
    first = event("channel.subscription.gifts", body)
    body["created_at"] = "2026-03-01T11:59:59.000000002Z"
    assert event("channel.subscription.gifts", body).natural_key != first.natural_key


@pytest.mark.parametrize("name", ["kicks.gifted", "channel.subscription.gifts", "channel.subscription.new"])
def test_without_a_time_there_is_no_natural_key(name: str) -> None:
    body = load("kick", name).document()
    body["created_at"] = None
    assert event(name, body).natural_key is None


def test_refollow_and_stream_states_have_no_natural_key() -> None:
    for name in ("channel.followed", "livestream.status.updated.started", "livestream.metadata.updated"):
        sample = load("kick", name)
        assert event(sample.type, sample.body).natural_key is None


# Shapes


def test_metadata_with_the_category_twice_or_in_capitals_alone() -> None:
    body = load("kick", "livestream.metadata.updated").document()
    assert {"category", "Category"} <= body["metadata"].keys()
    del body["metadata"]["category"]
    metadata = event("livestream.metadata.updated", body).data
    assert isinstance(metadata, kinds.LivestreamMetadata)
    assert (metadata.category_id, metadata.category_name) == ("15", "Just Chatting")


@pytest.mark.parametrize("category", [None, {}, {"id": 0, "name": ""}, {"id": None, "name": None}])
def test_metadata_without_category(category: dict[str, Any] | None) -> None:
    body = load("kick", "livestream.metadata.updated").document()
    body["metadata"]["category"] = body["metadata"]["Category"] = category
    metadata = event("livestream.metadata.updated", body).data
    assert isinstance(metadata, kinds.LivestreamMetadata)
    assert (metadata.category_id, metadata.category_name) == (None, None)
    del body["metadata"]["category"], body["metadata"]["Category"]
    assert event("livestream.metadata.updated", body).data == metadata


def test_an_unknown_status_of_a_redemption_is_pending_and_flagged() -> None:
    body = load("kick", "channel.reward.redemption.updated").document()
    body["status"] = "expired"
    redemption = event("channel.reward.redemption.updated", body).data
    assert isinstance(redemption, kinds.RedemptionUpdated)
    assert (redemption.status, redemption.status_known) == ("pending", False)


def test_unknown_keys_are_welcome_everywhere() -> None:
    def decorate(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: decorate(inner) for key, inner in value.items()} | {"new_key": [1, {"a": None}]}
        return [decorate(inner) for inner in value] if isinstance(value, list) else value

    for sample in SAMPLES:
        assert event(sample.type, decorate(sample.document())) == event(sample.type, sample.body)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("kicks.gifted", {"gift": {"amount": -5}}),
        ("kicks.gifted", {"gift": {"amount": 0}}),
        ("kicks.gifted", {"gift": {"amount": 2**53}}),
        ("kicks.gifted", {"gift": {"amount": 10**30}}),
        ("kicks.gifted", {"gift": {"amount": "500"}}),
        ("kicks.gifted", {"gift": {"amount": 500.5}}),
        ("kicks.gifted", {"gift": {"amount": True}}),
        ("kicks.gifted", {"gift": None}),
        ("kicks.gifted", {"created_at": 1736870886}),
        ("kicks.gifted", {"created_at": ""}),
        ("kicks.gifted", {"broadcaster": None}),
        ("kicks.gifted", {"broadcaster": {"user_id": None}}),
        ("kicks.gifted", {"sender": {"user_id": "someone"}}),
        ("kicks.gifted", {"sender": {"user_id": 2**64}}),
        ("chat.message.sent", {"content": None}),
        ("chat.message.sent", {"content": ["hi"]}),
        ("chat.message.sent", {"sender": "ana"}),
        ("channel.subscription.gifts", {"giftees": []}),
        ("channel.subscription.gifts", {"giftees": None}),
        ("channel.subscription.new", {"duration": None}),
        ("channel.subscription.new", {"expires_at": "soon"}),
        ("livestream.status.updated.started", {"is_live": "yes"}),
        ("livestream.metadata.updated", {"metadata": []}),
        ("moderation.banned", {"banned_user": {"user_id": None}}),
    ],
)
def test_what_does_not_fit_its_type_is_malformed(name: str, change: dict[str, Any]) -> None:
    sample = load("kick", name)
    assert reason(sample.type, sample.document() | change) == "malformed"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"kicks.gifted"',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"x":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"x":' + b"9" * 10_000 + b"}",
    ],
    ids=lambda body: repr(body[:8]),
)
def test_bytes_that_are_no_body_are_malformed(body: bytes) -> None:
    for type_ in KICK_TYPES:
        assert reason(type_, body) == "malformed"


@pytest.mark.parametrize("text", [rb"\ud800", rb"\udc00 x", rb"\ud83d x", b"\xff", b"\xed\xa0\x80", b"\x00", b"\n"])
def test_text_that_is_no_text_is_malformed(text: bytes) -> None:
    body = load("kick", "chat.message.sent").body.replace(b"!Join us", text)
    assert reason("chat.message.sent", body) == "malformed"


def test_an_escaped_nul_is_a_character_like_any_other() -> None:
    body = load("kick", "chat.message.sent").body.replace(b"!Join us", rb"a\u0000b")
    sent = event("chat.message.sent", body)
    assert isinstance(sent.data, kinds.ChatMessage)
    assert sent.data.message.startswith("a\0b")
    assert rb"a\u0000b" in encode_event(sent)


def test_details_of_dead_letters_hold_no_payload_text() -> None:
    for change in ({"content": 5}, {"created_at": "secret words"}, {"sender": {"user_id": "secret words"}}):
        result = outcome("chat.message.sent", load("kick", "chat.message.sent").document() | change)
        assert isinstance(result, Parked)
        assert "secret" not in result.detail
