"""A log that comes late: unavailable until it answers, refused when it is another one."""

from __future__ import annotations

import pytest

from schemas.errors import LogClosed, LogMisconfigured, LogUnavailable
from streamkit.log import late as late_module
from streamkit.log.late import LateLog
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, EVENTS, EventLog, Record


async def test_it_is_away_until_it_answers_and_itself_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_module, "_RETRY_FIRST_S", 0.001)
    log, attempts = MemoryLog(partitions=4), 0

    async def opened() -> EventLog:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise LogUnavailable("away")
        return log

    late = LateLog(log.log_id, 4, opened)
    assert (late.log_id, late.partitions(EVENTS), late.partitions(CONTROL)) == (log.log_id, 4, 1)
    for asked in (late.append(EVENTS, [Record("1", b"x")]), late.read(EVENTS, 0, 0), late.ends(EVENTS), late.info()):
        with pytest.raises(LogUnavailable):
            await asked
    assert len(late.reasons()) == 1
    await late.run()
    assert (attempts, late.reasons()) == (3, [])
    (place,) = await late.append(EVENTS, [Record("1", b"x")])
    assert (await late.read(EVENTS, place.partition, 0)).values == [b"x"]
    assert sum(await late.ends(EVENTS)) == sum(info.end for info in await late.info()) == 1
    await late.close()
    with pytest.raises(LogClosed):
        await late.ends(EVENTS)
    with pytest.raises(LogClosed):
        await log.ends(EVENTS)


@pytest.mark.parametrize("partitions", [4, 1])
async def test_another_log_is_refused(partitions: int) -> None:
    other = MemoryLog(partitions=4)

    async def opened() -> EventLog:
        return other

    late = LateLog("0123" if partitions == 4 else other.log_id, partitions, opened)
    with pytest.raises(LogMisconfigured, match="another one"):
        await late.run()
    with pytest.raises(LogClosed):
        await other.ends(EVENTS)
    await late.close()
