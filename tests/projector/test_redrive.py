"""Events that could not be folded, looked at anew: what this build can take, and what would be parked again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from projector import staging
from projector.redrive import look_anew
from projector.run import Projector
from schemas.dead_letter import DeadLetter, decode_dead_letter
from schemas.event import encode_event
from schemas.kinds import KicksGifted
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import DEAD_LETTERS, EVENTS, Record
from streamkit.reads import Question
from streamkit.redrive import StillDead
from tests.letters import unfolded
from tests.projector.events import USER, chat, event
from tests.unreadable import UNREADABLE

DEADLINE_S = 10.0


def test_what_this_build_can_fold_is_appended_verbatim() -> None:
    gift = event(KicksGifted(amount=5))
    headers = (("platform", "kick"), ("type", "kicks.gifted"), ("event_id", gift.event_id))
    assert look_anew(unfolded(gift)) == Record(str(USER), encode_event(gift), headers)
    old: dict[str, Any] = msgspec.json.decode(encode_event(chat("hi")))
    del old["data"]["first_word"]
    value = msgspec.json.encode(old | {"schema_version": 1})
    anew = look_anew(unfolded(value))
    assert isinstance(anew, Record)
    assert anew.value == value


@pytest.mark.parametrize(
    "value",
    [
        *UNREADABLE,
        encode_event(event(KicksGifted(amount=5))).replace(b'"Ann"', b'"\\ud800"'),  # SQL refuses it, and nobody before
        encode_event(event(KicksGifted(amount=5))).replace(b'"amount":5', b'"amount":null'),
    ],
    ids=range(len(UNREADABLE) + 2),
)
def test_what_it_cannot_is_dead_still(value: bytes) -> None:
    anew = look_anew(unfolded(value))
    assert isinstance(anew, StillDead)
    assert anew.reason == "fold_failed"


async def test_after_an_upgrade_the_event_counts_once_live_and_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redriven twice, too: and a fold of the whole log by the mended build takes the first of the three copies."""
    log = MemoryLog()
    projector = Projector(log, tmp_path / "live")
    await projector.start()
    before, bad = event(KicksGifted(amount=1)), event(KicksGifted(amount=20))
    real = staging.read_heads
    with monkeypatch.context() as patch:
        patch.setattr(staging, "read_heads", _refuses(bad.event_id, real))
        await log.append(EVENTS, [Record(str(USER), encode_event(one)) for one in (before, bad)])
        assert await _kicks(projector, 2) == (1, 1)
        letter = await _only_letter(log)
        assert isinstance(look_anew(letter), StillDead)
    anew = look_anew(letter)
    assert isinstance(anew, Record)
    await log.append(EVENTS, [anew])
    await log.append(EVENTS, [anew])
    assert await _kicks(projector, 4) == (21, 2)
    await projector.close()
    afresh = Projector(log, tmp_path / "afresh")
    await afresh.start()
    assert await _kicks(afresh, 4) == (21, 2)
    await afresh.close()
    await log.close()


def _refuses(event_id: str, real: Any) -> Any:
    def read_heads(positions: Any, values: Any) -> Any:
        for position, value in zip(positions, values, strict=True):
            if event_id.encode() in value:
                raise staging.BadRecord(position, "this build has a defect")
        return real(positions, values)

    return read_heads


async def _kicks(projector: Projector, position: int) -> tuple[int, int]:
    answer = await projector.reads.ask(USER, [Question(name="kicks_summary")], min_position=position, wait_s=DEADLINE_S)
    row = answer.rows[0][0]
    return row.total_kicks, row.gift_events


async def _only_letter(log: MemoryLog) -> DeadLetter:
    async with asyncio.timeout(DEADLINE_S):
        batch = await log.read(DEAD_LETTERS, 0, 0, wait_s=DEADLINE_S)
    (value,) = batch.values
    return decode_dead_letter(value)
