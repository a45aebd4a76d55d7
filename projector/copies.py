"""Copies of what is served now: asked of the projectors that run, or made of closed files when none does.

What may not live here: what the copies are for.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb

from projector.database import FileInUse, generation_of
from projector.folder import folder_held
from projector.session import Session
from projector.snapshots import Snapshot, SnapshotFailed, snapshots_of, write_snapshot
from schemas.control import SnapshotWanted
from schemas.errors import Stop
from schemas.event import utc_now
from streamkit.log.events import control_record
from streamkit.log.protocol import CONTROL, EventLog
from streamkit.transfer.exporting import Progress

STALLED_S = 60.0
"""So long nothing comes of a snapshot before it is given up."""
_LOOK_EVERY_S = 0.1


class NoCopy(Stop):
    """What is served cannot be had; the text says of which partitions, and what to do."""


async def ask_for_copies(
    log: EventLog, snapshot_dir: Path, partitions: Sequence[int], *, by: str, why: str, tell: Progress
) -> dict[int, Snapshot]:
    """Have every projector write a snapshot of what it serves, and wait for them; `tell` hears of how many bytes there are.
    Whoever asks deletes them.

    Raises NoCopy when some do not come, LogUnavailable.
    """
    wanted = secrets.token_hex(8)
    await log.append(CONTROL, [control_record(SnapshotWanted(at=utc_now(), by=by, why=why, snapshot=wanted))])
    folder, found = snapshot_dir / log.log_id, dict[int, Snapshot]()
    size, moved_at = 0, time.monotonic()
    while len(found) < len(partitions):
        found = await asyncio.to_thread(_found, folder, partitions, wanted)
        now = await asyncio.to_thread(_bytes, folder, wanted)
        if now != size:
            size, moved_at = now, time.monotonic()
            tell("snapshots", size, None)
        if time.monotonic() - moved_at > STALLED_S:
            missing = ", ".join(str(partition) for partition in partitions if partition not in found)
            raise NoCopy(
                f"No projector gave a snapshot of partition {missing}: `streamkit status` shows which run; their logs say"
                f" why, and all have to share STREAMKIT_SNAPSHOT_DIR with this command ({snapshot_dir})."
            )
        await asyncio.sleep(_LOOK_EVERY_S)
    return found


def copy_closed(data_dir: Path, files: dict[int, Path], into: Path) -> dict[int, Snapshot]:
    """Copy the files of a data folder in which no projector runs, and hold the folder until they are copied. Blocks.

    Raises FileInUse when one runs there, NoCopy for a file that is not there or cannot be read.
    """
    missing = ", ".join(str(partition) for partition, path in files.items() if not path.exists())
    if missing:
        raise NoCopy(
            f"No projector runs, and {data_dir} has no read models of partition {missing}: start `streamkit up` (or"
            " `streamkit projector`) first."
        )
    with folder_held(data_dir):
        return {partition: _copy(path, into / f"generation-{generation_of(path)}") for partition, path in files.items()}


def _copy(path: Path, into: Path) -> Snapshot:
    try:
        session = Session(duckdb.connect(str(path), read_only=True))
        try:
            session.execute("SET threads = 1")
            session.execute("SET memory_limit = '384MB'")
            return write_snapshot(session, into, wanted="closed")
        finally:
            session.close()
    except (duckdb.Error, SnapshotFailed) as error:
        if "lock" in str(error):
            raise FileInUse(f"{path} is held by another process; wait for it to end.") from error
        cause = error.__cause__ or error
        raise NoCopy(
            f"{path} cannot be copied ({type(cause).__name__}). If it is damaged, delete it while nothing runs: the next"
            " start folds it anew from the log."
        ) from error


def _found(folder: Path, partitions: Sequence[int], wanted: str) -> dict[int, Snapshot]:
    """Of several of one partition, from an owner and from the one before, that of the newest epoch."""
    found: dict[int, Snapshot] = {}
    for generation in folder.glob("generation-*"):
        for partition in partitions:
            for one in snapshots_of(generation, partition):
                other = found.get(partition)
                if one.wanted == wanted and (other is None or one.epoch > other.epoch):
                    found[partition] = one
    return found


def _bytes(folder: Path, wanted: str) -> int:
    """How much of the snapshots there is so far."""
    size = 0
    for path in folder.glob(f"generation-*/partition-*/*{wanted}*"):
        try:
            size += path.stat().st_size
        except FileNotFoundError:  # renamed in this moment
            continue
    return size
