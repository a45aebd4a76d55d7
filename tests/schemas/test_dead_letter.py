"""A dead letter's record: what it holds, what makes it this letter, what its head tells without the body."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import asdict, replace

from schemas.dead_letter import DeadLetter, LetterHead, decode_dead_letter, decode_head, encode_dead_letter, letter_key
from schemas.errors import UNREADABLE
from tests.unreadable import UNREADABLE as VALUES

LETTER = DeadLetter(
    reason="malformed",
    platform="kick",
    type="kicks.gifted",
    event_id="kick:1",
    user_id=None,
    received_at=datetime(2026, 3, 1, 12, 0, 1, 250000, UTC),
    detail="a test",
    headers={"kick-event-type": "kicks.gifted"},
    body=bytes(range(256)),
)


def test_it_comes_back_as_it_was() -> None:
    assert decode_dead_letter(encode_dead_letter(LETTER)) == LETTER


def test_a_record_of_the_first_build_is_read() -> None:
    first = (
        b'{"reason":"malformed","platform":"kick","type":"kicks.gifted","event_id":"kick:1","user_id":null,'
        b'"received_at":"2026-03-01T12:00:01.250000Z","detail":"a test","headers":{"kick-event-type":"kicks.gifted"},'
        b'"body":"e30=","broadcaster_id":null,"partition":null,"position":null}'
    )
    assert decode_dead_letter(first) == replace(LETTER, body=b"{}")


def test_the_head_is_the_letter_without_what_it_is_about() -> None:
    head = decode_head(encode_dead_letter(LETTER))
    assert type(head) is LetterHead
    assert asdict(head).items() <= asdict(LETTER).items()


def test_the_key_is_of_the_reason_and_of_the_delivery_or_the_place_on_the_events_log() -> None:
    assert letter_key(LETTER) == "malformed kick:1"
    failed = replace(LETTER, reason="fold_failed", partition=3, position=17)
    assert letter_key(failed) == "fold_failed 3:17"
    assert letter_key(replace(failed, event_id="another")) == "fold_failed 3:17"


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_what_is_no_letter_has_no_head(value: bytes) -> None:
    with pytest.raises(UNREADABLE):
        decode_head(value)
    with pytest.raises(UNREADABLE):
        decode_dead_letter(value)
