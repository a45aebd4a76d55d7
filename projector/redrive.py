"""An event that could not be folded looked at anew: whether this build can take it, tried in memory.

Appended once more, the record is an event like any other. It was never folded, so the fold has not seen its id, and it
counts once: also when it was appended twice, or when the log is folded from its beginning by a build that can take the first
of its copies. One that cannot be folded still would be parked again, and ten of them stop a partition: hence the trial.
"""

from __future__ import annotations

import duckdb

from projector import staging
from projector.session import Session
from schemas.dead_letter import DeadLetter
from schemas.event import decode_event_head
from streamkit.log.events import headers_of
from streamkit.log.protocol import Record
from streamkit.redrive import StillDead


def look_anew(letter: DeadLetter) -> Record | StillDead:
    """The record, verbatim, as it is to be appended again. Blocks for some 20 ms; never raises."""
    try:
        read = staging.read_heads([0], [letter.body])
        _stage(read.texts)
    except staging.BadRecord as error:
        return StillDead("fold_failed", error.detail)
    except duckdb.Error as error:
        return StillDead("fold_failed", f"the fold failed: {type(error).__name__}")
    (head,) = read.heads
    return Record(str(head.user_id), letter.body, headers_of(decode_event_head(letter.body)))


def _stage(texts: list[str]) -> None:
    session = Session(duckdb.connect())
    try:
        session.execute("SET TimeZone = 'UTC'")
        session.execute_once(staging.TABLES)
        staging.append_recent(session, [0], texts)
    finally:
        session.close()
