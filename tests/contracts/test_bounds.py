"""What a codec lets through is acknowledged for good, so the fold must take it: both stand on one bound."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ingest.codecs import kick
from ingest.codecs.delivery import Delivery, Outcome, Parked
from projector.staging import BadRecord, read_heads
from schemas.bounds import MAX_MONTHS, MAX_QUANTITY
from schemas.event import Event, encode_event
from tests.samples import RECEIVED_AT, USER_ID, load
from tests.signing import KickSigner


def _outcome(name: str, change: dict[str, Any]) -> Outcome:
    sample = load("kick", name)
    document = sample.document()
    for key, value in change.items():
        document[key] = document[key] | value if isinstance(value, dict) else value
    body = msgspec.json.encode(document)
    headers = {key.lower(): value for key, value in KickSigner().headers(sample.type, body).items()}
    return kick.decode(Delivery(headers=headers, body=body, received_at=RECEIVED_AT), lambda platform, id: USER_ID)


@pytest.mark.parametrize(
    ("name", "largest", "beyond"),
    [
        ("kicks.gifted", {"gift": {"amount": MAX_QUANTITY}}, {"gift": {"amount": MAX_QUANTITY + 1}}),
        ("channel.subscription.renewal", {"duration": MAX_MONTHS}, {"duration": MAX_MONTHS + 1}),
    ],
)
def test_the_fold_takes_what_the_codec_lets_through(name: str, largest: Any, beyond: Any) -> None:
    event = _outcome(name, largest)
    assert isinstance(event, Event)
    assert len(read_heads([0], [encode_event(event)]).heads) == 1
    refused = _outcome(name, beyond)
    assert isinstance(refused, Parked)
    assert refused.reason == "malformed"


def test_the_fold_parks_an_amount_beyond_the_bound() -> None:
    event = _outcome("kicks.gifted", {})
    assert isinstance(event, Event)
    value = encode_event(event)
    assert value.count(b'"amount":500') == 1
    with pytest.raises(BadRecord):
        read_heads([7], [value.replace(b'"amount":500', b'"amount":%d' % (MAX_QUANTITY + 1))])
