"""What a partition begins with where it was not folded before: the file that lies here, or a snapshot that is further.

What may not live here: who owns the partition.
"""

from __future__ import annotations

from pathlib import Path

from projector.database import identity_of, open_file
from projector.fold import read_position
from projector.snapshots import BrokenSnapshot, Snapshot, restore, snapshots_of
from streamkit import telemetry

AHEAD = 50_000
"""Events. A file that is no further behind a snapshot catches up from the log sooner than a copy is made."""


def restore_newest(folder: Path, log_id: str, partition: int, to: Path) -> Snapshot | None:
    """Put the furthest sound snapshot of the generation's `folder` at `to`, unless what lies there is nearly as far.

    A broken one is passed over for the one before it. None: nothing was restored, and the log is read on from what lies
    at `to`, from its beginning when nothing does. Blocks. Raises FileInUse, and OSError for `to` itself.
    """
    # A snapshot is a function of the log up to its position, whoever made it: the furthest is the best.
    snapshots = sorted(snapshots_of(folder, partition), key=lambda one: one.position, reverse=True)
    if not snapshots:
        return None
    here, wanted = position_of(to, log_id, partition), identity_of(log_id, partition)
    for snapshot in snapshots:
        if snapshot.position <= here + (AHEAD if here else 0):
            break
        if snapshot.identity != wanted:  # of another build: it would be folded anew
            continue
        try:
            restore(snapshot, to)
        except BrokenSnapshot as broken:
            telemetry.error("snapshot_broken", partition=partition, file=snapshot.path.name, reason=str(broken))
            continue
        telemetry.info("snapshot_restored", partition=partition, position=snapshot.position, bytes=snapshot.bytes)
        return snapshot
    return None


def position_of(path: Path, log_id: str, partition: int) -> int:
    """Where the file stands that lies there; 0 when none does. Blocks. Raises FileInUse."""
    if not path.exists():
        return 0
    session = open_file(path, log_id=log_id, partition=partition)
    try:
        return read_position(session)
    finally:
        session.close()
