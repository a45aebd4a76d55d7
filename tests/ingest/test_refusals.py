"""Refused deliveries in the log: one line a minute, and no refusal untold."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.refusals import TELL_EVERY_S, Refusals


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["fields"] for record in caplog.records if record.getMessage() == "webhooks.refused"]


def test_one_line_a_minute_tells_them_all(caplog: pytest.LogCaptureFixture) -> None:
    clock = 0.0
    refusals = Refusals("kick", now=lambda: clock)
    refusals.count("bad_signature")
    assert told(caplog) == [{"platform": "kick", "reasons": {"bad_signature": 1}}]
    for _ in range(3):
        refusals.count("bad_signature")
    refusals.count("not_found")
    assert len(told(caplog)) == 1
    clock = TELL_EVERY_S
    refusals.count("bad_signature")
    assert told(caplog)[1:] == [{"platform": "kick", "reasons": {"bad_signature": 4, "not_found": 1}}]
    refusals.count("stale")
    refusals.tell()
    refusals.tell()
    assert told(caplog)[2:] == [{"platform": "kick", "reasons": {"stale": 1}}]
