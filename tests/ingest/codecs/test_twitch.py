"""Twitch's codec: every sample to its exact outcome, every trap by name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.codecs import twitch
from ingest.codecs.delivery import Challenge, Delivery, Ignored, Outcome, Parked
from ingest.codecs.twitch_facts import IGNORED_TYPES, TYPES
from schemas import kinds
from schemas.errors import Refuse
from schemas.event import Event, encode_event
from tests.samples import MESSAGE_ID, RECEIVED_AT, SENT_AT, TWITCH_BROADCASTER, USER_ID, Sample, all_samples, load
from tests.signing import TWITCH_SECRET, TwitchSigner

SENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAMPLES = all_samples("twitch")
EVENT_SAMPLES = [sample for sample in SAMPLES if sample.expected is not None]
IGNORED_SAMPLES = {
    "channel.bits.use.v1.cheer": "cheer_counts_from_channel_cheer",
    "channel.channel_points_automatic_reward_redemption.add.v1": "automatic_reward",
    "channel.channel_points_automatic_reward_redemption.add.v2": "automatic_reward",
    "channel.chat.message.v1.shared-copy": "shared_chat_copy",
    "channel.chat.notification.v1": "chat_notification_repeats_others",
    "channel.raid.v1.outgoing": "outgoing_raid",
}


def broadcaster_of(platform: str, platform_id: str) -> int | None:
    return USER_ID if (platform, platform_id) == ("twitch", TWITCH_BROADCASTER) else None


def message_type(name: str) -> str:
    if name.endswith(".revocation"):
        return "revocation"
    return "webhook_callback_verification" if name.endswith(".verification") else "notification"


def outcome(
    body: bytes | dict[str, Any], kind: str = "notification", *, message_id: str = MESSAGE_ID, at: str = SENT_AT
) -> Outcome:
    headers = {twitch.MESSAGE_ID: message_id, twitch.TIMESTAMP: at, twitch.MESSAGE_TYPE: kind}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return twitch.decode(Delivery(headers, raw, RECEIVED_AT), broadcaster_of)


def event(body: bytes | dict[str, Any], kind: str = "notification", **headers: str) -> Event:
    result = outcome(body, kind, **headers)
    assert isinstance(result, Event), result
    return result


def reason(body: bytes | dict[str, Any], kind: str = "notification") -> str:
    result = outcome(body, kind)
    assert isinstance(result, Parked), result
    return result.reason


def changed(name: str, **event_keys: Any) -> dict[str, Any]:
    body = load("twitch", name).document()
    body["event"].update(event_keys)
    return body


@pytest.mark.parametrize("sample", EVENT_SAMPLES, ids=lambda sample: sample.name)
def test_sample_becomes_its_event(sample: Sample) -> None:
    assert sample.expected is not None
    assert encode_event(event(sample.body, message_type(sample.name))) + b"\n" == sample.expected


@pytest.mark.parametrize(("name", "why"), IGNORED_SAMPLES.items())
def test_what_would_count_twice_is_ignored(name: str, why: str) -> None:
    result = outcome(load("twitch", name).body)
    assert isinstance(result, Ignored)
    assert result.why == why


def test_every_known_type_has_a_sample() -> None:
    assert {(sample.type, sample.version) for sample in SAMPLES} == set(TYPES) | set(IGNORED_TYPES)


# Signatures and age


def signed(sample: Sample, secret: bytes = TWITCH_SECRET, **signing: str) -> Delivery:
    headers = TwitchSigner(secret).headers(sample.type, sample.body, **signing)
    return Delivery({name.lower(): value for name, value in headers.items()}, sample.body, RECEIVED_AT)


def test_a_signature_holds_for_exactly_the_bytes_sent() -> None:
    delivery = signed(load("twitch", "channel.cheer.v1"))
    assert twitch.verify(delivery, [TWITCH_SECRET])
    assert not twitch.verify(Delivery(delivery.headers, delivery.body + b" ", RECEIVED_AT), [TWITCH_SECRET])
    for header in (twitch.MESSAGE_ID, twitch.TIMESTAMP):
        altered = {**delivery.headers, header: delivery.headers[header] + "0"}
        assert not twitch.verify(Delivery(altered, delivery.body, RECEIVED_AT), [TWITCH_SECRET])


def test_the_previous_secret_is_good_beside_the_present_one() -> None:
    delivery = signed(load("twitch", "channel.cheer.v1"), b"the-previous-secret")
    assert twitch.verify(delivery, [TWITCH_SECRET, b"the-previous-secret"])
    assert not twitch.verify(delivery, [TWITCH_SECRET])
    assert not twitch.verify(delivery, [])


@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=zz", "sha1=00", "é"])
def test_garbage_is_no_signature(signature: str) -> None:
    delivery = signed(load("twitch", "channel.cheer.v1"))
    altered = Delivery({**delivery.headers, twitch.SIGNATURE: signature}, delivery.body, RECEIVED_AT)
    assert not twitch.verify(altered, [TWITCH_SECRET])


@pytest.mark.parametrize("seconds", [-600, 0, 600])
def test_ten_minutes_either_way_are_in_time(seconds: int) -> None:
    at = (RECEIVED_AT + timedelta(seconds=seconds)).isoformat()
    twitch.check_age(signed(load("twitch", "channel.cheer.v1"), timestamp=at))


@pytest.mark.parametrize("seconds", [-600.000001, 600.000001, 86400])
def test_more_than_ten_minutes_either_way_is_stale(seconds: float) -> None:
    at = (RECEIVED_AT + timedelta(seconds=seconds)).isoformat()
    with pytest.raises(Refuse) as refusal:
        twitch.check_age(signed(load("twitch", "channel.cheer.v1"), timestamp=at))
    assert (refusal.value.status, refusal.value.reason) == (403, "stale")


def test_a_timestamp_that_is_none_is_stale() -> None:
    with pytest.raises(Refuse):
        twitch.check_age(signed(load("twitch", "channel.cheer.v1"), timestamp="now"))


# The message type is not signed


@pytest.mark.parametrize("kind", ["notification", "revocation", "webhook_callback_verification"])
def test_a_message_passes_only_for_what_its_body_is(kind: str) -> None:
    for name in ("channel.cheer.v1", "channel.cheer.v1.revocation", "channel.cheer.v1.verification"):
        if kind != message_type(name):
            assert reason(load("twitch", name).body, kind) == "malformed", name


def test_an_unknown_message_type_is_an_unknown_type() -> None:
    assert reason(load("twitch", "channel.cheer.v1").body, "session_welcome") == "unknown_type"


def test_challenge_is_given_back_verbatim_for_any_type() -> None:
    body = load("twitch", "channel.cheer.v1.verification").document()
    body["subscription"]["type"] = "channel.brand.new"
    body["challenge"] = 'q"uo\\te ü'
    assert outcome(body, "webhook_callback_verification") == Challenge('q"uo\\te ü')


@pytest.mark.parametrize("challenge", [None, 5, {}, ["x"]])
def test_a_challenge_that_is_no_text_is_malformed(challenge: Any) -> None:
    body = load("twitch", "channel.cheer.v1.verification").document() | {"challenge": challenge}
    assert reason(body, "webhook_callback_verification") == "malformed"


def test_the_signed_body_names_the_type_whatever_the_headers_say() -> None:
    sample = load("twitch", "channel.cheer.v1")
    headers = {name.lower(): value for name, value in TwitchSigner().headers("channel.follow", sample.body).items()}
    headers[twitch.TIMESTAMP] = SENT_AT
    result = twitch.decode(Delivery(headers, sample.body, RECEIVED_AT), broadcaster_of)
    assert isinstance(result, Event)
    assert result.type == "channel.cheered"


@pytest.mark.parametrize(
    ("type_", "version"),
    [
        ("channel.follow", "1"),
        ("channel.update", "1"),
        ("channel.hype_train.begin", "2"),
        ("user.authorization.grant", "1"),
    ],
)
def test_types_and_versions_without_meaning_here_are_unknown(type_: str, version: str) -> None:
    body = load("twitch", "channel.follow.v2").document()
    body["subscription"] |= {"type": type_, "version": version}
    assert reason(body) == "unknown_type"


def test_extension_bits_are_no_cheer() -> None:
    body = changed("channel.cheer.v1", product={"name": "p", "bits": 1234, "sku": "s", "in_development": False})
    body["subscription"]["type"] = "extension.bits_transaction.create"
    assert reason(body) == "unknown_type"


def test_reasons_come_in_order_type_then_body_then_broadcaster() -> None:
    body = changed("channel.cheer.v1", broadcaster_user_id="1", bits=None)
    assert reason(body) == "malformed"
    body["subscription"]["version"] = "9"
    assert reason(body) == "unknown_type"
    result = outcome(changed("channel.cheer.v1", broadcaster_user_id="1"))
    assert isinstance(result, Parked)
    assert (result.reason, result.broadcaster_id, result.type) == ("unknown_broadcaster", "1", "channel.cheer")


# The double-counting traps


def test_trap_a_a_gift_of_five_is_counted_by_the_gift_alone() -> None:
    gift = event(load("twitch", "channel.subscription.gift.v1").body)
    received = event(load("twitch", "channel.subscribe.v1.gift-received").body)
    assert isinstance(gift.data, kinds.SubscriptionGifts)
    assert (gift.type, gift.data.count) == ("channel.subscription.gifts", 5)
    assert received.type == "channel.subscription.gift_received"


def test_trap_b_a_shared_resubscription_is_a_renewal_beside_the_new() -> None:
    new = event(load("twitch", "channel.subscribe.v1").body)
    shared = event(load("twitch", "channel.subscription.message.v1").body)
    assert (new.type, shared.type) == ("channel.subscription.new", "channel.subscription.renewal")
    assert new.actor == shared.actor


def test_trap_c_one_cheer_three_messages_one_count() -> None:
    assert event(load("twitch", "channel.cheer.v1").body).type == "channel.cheered"
    assert isinstance(outcome(load("twitch", "channel.bits.use.v1.cheer").body), Ignored)
    in_chat = event(changed("channel.chat.message.v1", cheer={"bits": 100}))
    assert in_chat.type == "chat.message.sent"
    assert b"100" not in encode_event(in_chat).replace(b'"1000"', b"")


def test_trap_d_chat_notifications_repeat_what_others_tell() -> None:
    assert isinstance(outcome(load("twitch", "channel.chat.notification.v1").body), Ignored)


def test_trap_e_shared_chat_copies_are_ignored_and_the_source_is_not() -> None:
    assert isinstance(outcome(load("twitch", "channel.chat.message.v1.shared-copy").body), Ignored)
    at_home = changed("channel.chat.message.v1", source_broadcaster_user_id=TWITCH_BROADCASTER, is_source_only=False)
    assert event(at_home) == event(load("twitch", "channel.chat.message.v1").body)


def test_trap_f_a_raid_belongs_to_the_conditions_broadcaster() -> None:
    incoming = load("twitch", "channel.raid.v1").document()
    assert event(incoming).actor == kinds.Viewer("9501", "Raider", "raider")
    incoming["subscription"]["condition"] = {"to_broadcaster_user_id": "8001"}
    assert event(incoming).user_id == USER_ID
    incoming["subscription"]["condition"] = {"from_broadcaster_user_id": "9501"}
    assert outcome(incoming) == Ignored("outgoing_raid")


def test_trap_g_power_ups_are_bits_used_and_no_cheer() -> None:
    for name in ("channel.bits.use.v1", "channel.bits.use.v1.custom"):
        assert event(load("twitch", name).body).type == "channel.bits.used"
    assert event(changed("channel.bits.use.v1", type="combo", power_up=None)).type == "channel.bits.used"


# Who


def test_the_command_line_clients_anonymous_gifter_is_anonymous() -> None:
    body = changed(
        "channel.subscription.gift.v1",
        user_id="274598607",
        user_login="ananonymousgifter",
        user_name="AnAnonymousGifter",
    )
    gift = event(body)
    assert gift.actor is None
    assert gift.natural_key is None


def test_a_flagged_gifter_is_anonymous_whoever_is_named() -> None:
    gift = event(changed("channel.subscription.gift.v1", is_anonymous=True))
    assert gift.actor is None
    assert isinstance(gift.data, kinds.SubscriptionGifts)
    assert (gift.natural_key, gift.data.cumulative_total) == (None, None)


@pytest.mark.parametrize("cumulative_total", [None, 0])
def test_a_hidden_cumulative_total_makes_no_natural_key(cumulative_total: int | None) -> None:
    gift = event(changed("channel.subscription.gift.v1", cumulative_total=cumulative_total))
    assert gift.actor == kinds.Viewer("9401", "アナ", "ana_l")
    assert gift.natural_key is None


@pytest.mark.parametrize("months", [None, 0])
def test_a_renewal_without_months_makes_no_natural_key(months: int | None) -> None:
    assert event(changed("channel.subscription.message.v1", cumulative_months=months)).natural_key is None


@pytest.mark.parametrize("user_id", [None, ""])
def test_a_cheer_without_user_is_anonymous(user_id: str | None) -> None:
    assert event(changed("channel.cheer.v1", user_id=user_id)).actor is None


def test_name_falls_back_to_login_and_id() -> None:
    assert event(changed("channel.cheer.v1", user_name=None)).actor == kinds.Viewer("9401", "ana_l", "ana_l")
    assert event(changed("channel.cheer.v1", user_name="", user_login=None)).actor == kinds.Viewer("9401", "9401")


# When


def test_bodies_without_time_happened_when_the_message_was_sent() -> None:
    for name in ("channel.cheer.v1", "channel.subscribe.v1", "channel.subscription.gift.v1", "stream.offline.v1"):
        sent = event(load("twitch", name).body, at="2026-03-01T11:58:00.123456789Z")
        assert sent.occurred_at == datetime(2026, 3, 1, 11, 58, 0, 123456, UTC)


def test_a_retriggered_message_keeps_both_keys_though_its_time_changes() -> None:
    for sample in EVENT_SAMPLES:
        kind = message_type(sample.name)
        first, second = event(sample.body, kind), event(sample.body, kind, at="2026-03-01T12:03:00Z")
        assert (first.event_id, first.natural_key) == (second.event_id, second.natural_key)


def test_two_transports_tell_one_fact_under_two_ids_with_one_natural_key() -> None:
    for name in ("channel.chat.message.v1", "channel.follow.v2", "channel.subscription.message.v1", "channel.ban.v1"):
        body = load("twitch", name).body  # twitchdev issue 918
        first, second = event(body), event(body, message_id="another")
        assert first.event_id != second.event_id
        assert first.natural_key is not None
        assert first.natural_key == second.natural_key


def test_two_equal_cheers_are_two() -> None:
    assert event(load("twitch", "channel.cheer.v1").body).natural_key is None


def test_a_follow_from_the_future_happened_now() -> None:
    assert event(changed("channel.follow.v2", followed_at="2026-03-01T12:05:01Z")).occurred_at == SENT


def test_redemption_added_is_its_time_and_updated_is_now() -> None:
    name = "channel.channel_points_custom_reward_redemption"
    added, skipped, updated = (
        event(load("twitch", f"{name}.{rest}").body) for rest in ("add.v1", "add.v1.queue-skipped", "update.v1")
    )
    redeemed_at = datetime(2026, 3, 1, 11, 59, 50, 123456, UTC)
    assert (added.occurred_at, skipped.occurred_at, updated.occurred_at) == (redeemed_at, redeemed_at, SENT)


# Shapes


def test_stream_flapping_online_twice_under_one_id_has_no_natural_key() -> None:
    online = event(load("twitch", "stream.online.v1").body)  # twitchdev issue 230
    assert online.natural_key is None
    assert isinstance(online.data, kinds.LivestreamStatus)
    assert online.data.stream_id == "12111455614691086753"


@pytest.mark.parametrize(
    "category", [{"category_id": "", "category_name": ""}, {"category_id": "0"}, {"category_id": None}]
)
def test_update_without_category(category: dict[str, Any]) -> None:
    metadata = event(changed("channel.update.v2", **category)).data
    assert isinstance(metadata, kinds.LivestreamMetadata)
    assert (metadata.category_id, metadata.category_name) == (None, None)


def test_an_unheard_of_tier_is_kept_as_spelt() -> None:
    new = event(changed("channel.subscribe.v1", tier="Prime")).data
    assert isinstance(new, kinds.SubscriptionNew)
    assert (new.tier, new.tier_id) == (None, "Prime")


def test_a_revocation_of_any_type_is_kept() -> None:
    body = load("twitch", "channel.cheer.v1.revocation").document()
    body["subscription"] |= {
        "type": "channel.raid",
        "status": "version_removed",
        "condition": {"to_broadcaster_user_id": "", "from_broadcaster_user_id": "8001"},
    }
    revoked = event(body, "revocation").data
    assert isinstance(revoked, kinds.PlatformSubscriptionRevoked)
    assert (revoked.status, revoked.subscribed_type) == ("version_removed", "channel.raid")


def test_a_revocation_that_names_nobody_belongs_to_nobody() -> None:
    body = load("twitch", "channel.cheer.v1.revocation").document()
    body["subscription"]["condition"] = {"client_id": "app"}
    assert reason(body, "revocation") == "unknown_broadcaster"


def test_unknown_keys_are_welcome_everywhere() -> None:
    def decorate(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: decorate(inner) for key, inner in value.items()} | {"new_key": [1, {"a": None}]}
        return [decorate(inner) for inner in value] if isinstance(value, list) else value

    for sample in EVENT_SAMPLES:
        kind = message_type(sample.name)
        assert event(decorate(sample.document()), kind) == event(sample.body, kind)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("channel.cheer.v1", {"bits": 0}),
        ("channel.cheer.v1", {"bits": -1}),
        ("channel.cheer.v1", {"bits": 2**70}),
        ("channel.cheer.v1", {"bits": "100"}),
        ("channel.cheer.v1", {"broadcaster_user_id": None}),
        ("channel.cheer.v1", {"broadcaster_user_id": "riverfox"}),
        ("channel.cheer.v1", {"user_id": "ana"}),
        ("channel.subscription.gift.v1", {"total": 0}),
        ("channel.subscription.gift.v1", {"tier": None}),
        ("channel.follow.v2", {"followed_at": "yesterday"}),
        ("channel.chat.message.v1", {"message": "hi"}),
        ("channel.raid.v1", {"viewers": -1}),
        ("channel.ban.v1", {"user_id": None}),
        ("channel.ban.v1", {"banned_at": None}),
        ("stream.online.v1", {"id": None}),
    ],
)
def test_what_does_not_fit_its_type_is_malformed(name: str, change: dict[str, Any]) -> None:
    assert reason(changed(name, **change)) == "malformed"


@pytest.mark.parametrize("event_body", [None, [], "x", 5, {}])
def test_a_notification_needs_an_event(event_body: Any) -> None:
    assert reason(load("twitch", "channel.cheer.v1").document() | {"event": event_body}) == "malformed"


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"subscription":' * 50_000])
def test_bytes_that_are_no_message_are_malformed(body: bytes) -> None:
    for kind in ("notification", "revocation", "webhook_callback_verification"):
        assert reason(body, kind) == "malformed"
