"""The envelope, and the way up from every older version of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.event import SCHEMA_VERSION, UPCASTERS, Event, decode_event, encode_event, first_word, upcast
from schemas.kinds import KIND_STRUCTS, KINDS, UNSTORED_KINDS, ChatMessage, Viewer, is_stored
from tests.strategies import logs

# A record as version 1 wrote it, verbatim: a chat message did not keep its first word yet.
V1_RECORD = (
    b'{"schema_version":1,"event_id":"kick:01JQR5KV0QC94HMETWYNBWRW4Z",'
    b'"natural_key":"kick:chat.message.sent:84635624:4b1c8a52-0f6e-4a53-9c1e-5f8f6f1f2a11",'
    b'"type":"chat.message.sent","platform":"kick","user_id":1,'
    b'"actor":{"id":"4377088","name":"Te_Congalletas"},'
    b'"occurred_at":"2025-04-01T07:56:19.863000Z","received_at":"2025-04-01T07:56:20.104211Z",'
    b'"data":{"message_id":"4b1c8a52-0f6e-4a53-9c1e-5f8f6f1f2a11","message":"  !JOIN me [emote:37226:KEKW]",'
    b'"emotes":[{"id":"37226","begin":11,"end":30}]}}'
)


def _record(**changes: Any) -> bytes:
    return json.dumps({**json.loads(V1_RECORD), "schema_version": SCHEMA_VERSION, **changes}).encode()


def test_every_older_version_has_its_step_and_none_leads_past_the_present() -> None:
    assert sorted(UPCASTERS) == list(range(1, SCHEMA_VERSION))


def test_a_version_1_record_is_read_as_the_present_version() -> None:
    event = decode_event(V1_RECORD)
    assert event == Event(
        event_id="kick:01JQR5KV0QC94HMETWYNBWRW4Z",
        natural_key="kick:chat.message.sent:84635624:4b1c8a52-0f6e-4a53-9c1e-5f8f6f1f2a11",
        type="chat.message.sent",
        platform="kick",
        user_id=1,
        actor=Viewer("4377088", "Te_Congalletas"),
        occurred_at=datetime(2025, 4, 1, 7, 56, 19, 863_000, tzinfo=UTC),
        received_at=datetime(2025, 4, 1, 7, 56, 20, 104_211, tzinfo=UTC),
        data=event.data,
    )
    assert isinstance(event.data, ChatMessage)
    assert event.data.first_word == "!join"
    assert event.data.message == "  !JOIN me [emote:37226:KEKW]"
    assert [(e.id, e.begin, e.end) for e in event.data.emotes] == [("37226", 11, 30)]


def test_the_raised_record_is_a_record_of_the_present_and_stays_as_it_is() -> None:
    raised = upcast(V1_RECORD)
    assert json.loads(raised)["schema_version"] == SCHEMA_VERSION
    assert json.loads(raised)["data"]["first_word"] == "!join"
    assert upcast(raised) is raised
    assert encode_event(decode_event(raised)) == encode_event(decode_event(V1_RECORD))


def test_other_kinds_of_version_1_only_change_their_version() -> None:
    followed = json.loads(V1_RECORD) | {"type": "channel.followed", "data": {}}
    assert json.loads(upcast(json.dumps(followed).encode())) == followed | {"schema_version": SCHEMA_VERSION}


@pytest.mark.parametrize("version", [0, -1, SCHEMA_VERSION + 1])
def test_a_version_nobody_knows_is_refused_with_what_is_known(version: int) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"this build knows 1 to {SCHEMA_VERSION}"):
        decode_event(_record(schema_version=version))


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{}",
        b"[]",
        b'{"schema_version":"2"}',
        _record(type="channel.exploded"),
        _record(occurred_at="yesterday"),
        _record(platform="youtube"),
        _record(data={"message": "no id"}),
        _record(user_id="1"),
    ],
)
def test_what_is_no_event_is_refused(record: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_event(record)


@given(logs(max_size=6))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_an_event_comes_back_as_it_was_written(log: list[Event]) -> None:
    for event in log:
        assert decode_event(encode_event(event)) == event
        assert event.schema_version == SCHEMA_VERSION


def test_a_lone_surrogate_is_refused_at_writing() -> None:
    event = decode_event(V1_RECORD)
    with pytest.raises(UnicodeEncodeError):
        encode_event(msgspec.structs.replace(event, actor=Viewer("1", "\ud800")))


def test_unknown_fields_of_a_newer_writer_are_left_alone() -> None:
    assert decode_event(_record(later_field=1)).event_id == "kick:01JQR5KV0QC94HMETWYNBWRW4Z"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", None),
        (" \t\u2003\n", None),
        ("!JOIN now", "!join"),
        ("\u00a0!Join\u2028x", "!join"),
        ("Straße", "strasse"),
        ("x" * 200, "x" * 200),
        ("x" * 201, None),
        ("ß" * 101, None),  # 202 once casefolded
    ],
)
def test_the_first_word(text: str, word: str | None) -> None:
    assert first_word(text) == word


def test_every_kind_is_frozen_and_leaves_defaults_out() -> None:
    for kind, struct in KIND_STRUCTS.items():
        assert struct.__struct_config__.frozen, kind
        assert struct.__struct_config__.omit_defaults, kind


def test_what_is_stored() -> None:
    assert set(KINDS) >= UNSTORED_KINDS
    assert [kind for kind in KINDS if not is_stored(kind)] == [
        "channel.subscription.gift_received",
        "channel.subscription.snapshot",
        "livestream.snapshot",
        "platform.subscription.revoked",
        "stream_info.requested",
        "stream_info.applied",
        "stream_info.failed",
    ]


@given(st.binary(max_size=64))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_garbage_is_refused_and_never_crashes_otherwise(record: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        decode_event(record)
