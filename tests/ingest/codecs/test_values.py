"""Times, ids and ULIDs as the platforms spell them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codecs.values import Unfit, id_text, instant, instant_or_none, not_ahead, ulid_at
from tests.signing import ulid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-14T16:08:06Z", datetime(2025, 1, 14, 16, 8, 6, tzinfo=UTC)),
        ("2025-10-20T04:00:08.634Z", datetime(2025, 10, 20, 4, 0, 8, 634000, UTC)),
        ("2025-10-20T04:00:08.634234Z", datetime(2025, 10, 20, 4, 0, 8, 634234, UTC)),
        ("2020-07-15T18:16:11.17106713Z", datetime(2020, 7, 15, 18, 16, 11, 171067, UTC)),
        ("2025-01-01T11:00:00+11:00", datetime(2025, 1, 1, tzinfo=UTC)),
        ("2025-01-01t00:00:00.5z", datetime(2025, 1, 1, 0, 0, 0, 500000, UTC)),
        ("2024-12-31T19:00:00-05:00", datetime(2025, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_rfc3339_times_become_utc(text: str, expected: datetime) -> None:
    assert instant(text) == expected
    assert instant(text).tzinfo is UTC


def test_nine_fraction_digits_are_cut_not_rounded() -> None:
    assert instant("2025-01-01T00:00:00.999999999Z").microsecond == 999999
    assert instant("2025-01-01T00:00:00.9999999999999Z").second == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2025-01-14",
        "20250114T160806Z",
        "2025-01-14T16:08:06",  # no offset: which instant it is cannot be told
        "2025-W03-2T00:00:00Z",
        "2025-02-30T00:00:00Z",
        "2025-01-14T25:00:00Z",
        "2025-01-14T16:08:06,5Z",
        "2025-01-14T16:08:06+24:00",
        "٢٠٢٥-01-14T16:08:06Z",
        "9999-12-31T23:59:59-05:00",
        "1736870886",
    ],
)
def test_what_is_no_time_is_unfit(text: str) -> None:
    with pytest.raises(Unfit):
        instant(text)


@pytest.mark.parametrize("text", [None, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+05:00"])
def test_kicks_zero_time_is_no_time(text: str | None) -> None:
    assert instant_or_none(text) is None


def test_a_body_time_stands_up_to_five_minutes_ahead_of_the_header() -> None:
    sent_at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    ahead = timedelta(minutes=5)
    assert not_ahead(sent_at + ahead, sent_at) == sent_at + ahead
    assert not_ahead(sent_at + ahead + timedelta(microseconds=1), sent_at) == sent_at
    assert not_ahead(None, sent_at) == sent_at
    assert not_ahead(sent_at - timedelta(days=900), sent_at) == sent_at - timedelta(days=900)


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (123456789, "123456789"), (2**63 - 1, str(2**63 - 1))])
def test_number_ids_become_text(value: int, text: str) -> None:
    assert id_text(value) == text


def test_a_twitch_id_larger_than_int64_stays_exact() -> None:
    assert id_text("12111455614691086753") == "12111455614691086753"


@pytest.mark.parametrize("value", [-1, 2**63, "", "abc", "-5", "1.5", "１２", " 1", "9" * 21])
def test_what_is_no_id_is_unfit(value: int | str) -> None:
    with pytest.raises(Unfit):
        id_text(value)


def test_a_ulid_of_kick_says_when_it_was_sent() -> None:
    assert ulid_at("01JQR5KV0QC94HMETWYNBWRW4Z") == datetime(2025, 4, 1, 7, 56, 19, 863000, UTC)


@pytest.mark.parametrize(
    "text", ["", "81JQR5KV0QC94HMETWYNBWRW4Z", "01JQR5KV0QC94HMETWYNBWRW4U", "x" * 26, "7" + "Z" * 25]
)
def test_what_is_no_ulid_has_no_time(text: str) -> None:
    assert ulid_at(text) is None


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1)))
def test_the_tests_own_ulids_carry_their_time(at: datetime) -> None:
    aware = at.replace(microsecond=0, tzinfo=UTC)
    assert ulid_at(ulid(aware)) == aware
