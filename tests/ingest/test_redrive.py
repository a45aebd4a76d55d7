"""Parked deliveries looked at anew: each sample is the event it would have been had it not been parked."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ingest.codecs import kick
from ingest.redrive import look_anew
from streamkit.log.protocol import Record
from streamkit.redrive import StillDead
from tests.letters import parked
from tests.samples import KICK_BROADCASTER, MESSAGE_ID, TWITCH_BROADCASTER, USER_ID, Sample, all_samples, load

SAMPLES = [*all_samples("kick"), *all_samples("twitch")]
GIFT = load("kick", "kicks.gifted")


def broadcaster_of(platform: str, platform_id: str) -> int | None:
    return USER_ID if (platform, platform_id) in (("kick", KICK_BROADCASTER), ("twitch", TWITCH_BROADCASTER)) else None


def nobody(platform: str, platform_id: str) -> int | None:
    return None


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.platform}-{sample.name}")
def test_a_letter_becomes_the_very_event_it_would_have_been(sample: Sample) -> None:
    anew = look_anew(parked(sample), broadcaster_of)
    if sample.expected is None:  # ignored, or a challenge that nobody waits for any more
        assert anew is None
        return
    assert isinstance(anew, Record)
    assert (anew.key, anew.value + b"\n") == (str(USER_ID), sample.expected)
    assert dict(anew.headers)["event_id"] == f"{sample.platform}:{MESSAGE_ID}"


def test_what_is_no_event_still_says_why_now() -> None:
    assert look_anew(parked(GIFT, "malformed"), nobody) == StillDead(
        "unknown_broadcaster", "no account has this channel connected", KICK_BROADCASTER
    )
    anew = look_anew(parked(GIFT, "unknown_broadcaster", body=b"{}"), broadcaster_of)
    assert isinstance(anew, StillDead)
    assert anew.reason == "malformed"


@pytest.mark.parametrize("platform", ["trovo", None])
def test_a_letter_of_a_platform_that_this_build_does_not_know_is_dead_still(platform: str | None) -> None:
    anew = look_anew(replace(parked(GIFT), platform=platform), broadcaster_of)
    assert isinstance(anew, StillDead)
    assert anew.reason == "malformed"


def test_a_letter_without_a_header_that_its_codec_reads_is_dead_still() -> None:
    letter = parked(GIFT)
    for name in kick.REQUIRED:
        headers = {other: value for other, value in letter.headers.items() if other != name}
        assert isinstance(look_anew(replace(letter, headers=headers), broadcaster_of), StillDead)
