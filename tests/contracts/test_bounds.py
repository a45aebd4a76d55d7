"""What a codec lets through is acknowledged for good, so the fold must take it: both stand on one bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingest.codecs import first_party, kick
from ingest.codecs.delivery import Delivery, Outcome, Parked
from projector.fold import fold
from projector.staging import BadRecord, read_heads
from schemas.bounds import MAX_MONTHS, MAX_QUANTITY
from schemas.event import Event, encode_event
from schemas.read_models.model import SETTLED_EVERY
from tests.first_party import AT_THE_BOUNDS
from tests.harness import Folded
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


@pytest.mark.parametrize("body", AT_THE_BOUNDS, ids=lambda body: str(body)[:60])
def test_the_fold_takes_and_settles_every_first_party_event_that_is_let_through(tmp_path: Path, body: Any) -> None:
    events = first_party.decode(msgspec.json.encode(body), USER_ID, RECEIVED_AT)
    with Folded(tmp_path / "file.duckdb") as folded:
        fold(folded.session, 0, [0], [encode_event(events[0])], SETTLED_EVERY)
        assert folded.position == SETTLED_EVERY
        (row,) = folded.ask(USER_ID, "events_total")
        assert row.total == 1
