"""Snapshots: the engine's own copy of a partition's file, made while folding and answering go on.

A snapshot is `<position>-<epoch>.duckdb` and, written last, a `.json` beside it: where there is no `.json` there is no
snapshot. Several projectors on several machines share the folder, so every file appears complete, by a rename. What may
not live here: which snapshots are made when, and who restores them. A live file is never opened here: closing it
would drop DuckDB's lock on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from projector.fold import read_position
from projector.session import Session
from schemas.errors import UNREADABLE
from schemas.event import utc_now
from streamkit import telemetry
from streamkit.transfer.appear import sync_folder

LEFT_BEHIND_S = 3600.0
"""After so long, what a writer left that was killed is deleted, and a snapshot that somebody wanted and has seen."""

_CHUNK_BYTES = 1 << 20


class BrokenSnapshot(Exception):
    """The file is not what was written, or is gone: take the snapshot before it, or fold from the log."""


class SnapshotFailed(Exception):
    """No snapshot could be made; what was copied from goes on as before. The text says why and what to do."""


class Described(Struct, frozen=True, kw_only=True):
    """What the `.json` says. `epoch`: the Kafka group generation that its writer owned the partition in (0: the embedded
    log). `identity`: what the file itself says that it is, its log and its partition among it. `wanted`: the id of the
    `snapshot.wanted` event that it was made for (None: to restore from)."""

    identity: dict[str, str]
    position: int
    epoch: int
    sha256: str
    bytes: int
    made_at: datetime
    wanted: str | None = None

    @property
    def partition(self) -> int:
        """Whose partition's file it is a copy of."""
        return int(self.identity["partition"])


class Snapshot(Described, frozen=True, kw_only=True):
    """A complete snapshot, whose copy lies at `path`."""

    path: Path

    @property
    def generation(self) -> int:
        """Of which generation the file is."""
        return int(self.path.parent.parent.name.removeprefix("generation-"))


_described = msgspec.json.Decoder(Described)


def folder_of(snapshot_dir: Path, log_id: str, generation: int) -> Path:
    """Where the snapshots of a generation lie, each partition's in a folder of its own."""
    return snapshot_dir / log_id / f"generation-{generation}"


def write_snapshot(
    session: Session,
    folder: Path,
    *,
    epoch: int = 0,
    wanted: str | None = None,
    may_publish: Callable[[], bool] = lambda: True,
) -> Snapshot:
    """Copy the file of `session`, as of now, into the generation's `folder`, durably. Blocks, some seconds by the million
    events: `session` is a cursor of its own, beside which others fold and answer.

    When there is one already of this position and epoch, that one is given back; for `wanted` (a file name's part) a new
    one is made in any case. `may_publish` is asked when the copy is complete, on this thread: whether the partition is
    still owned. Raises SnapshotFailed.
    """
    identity = dict(session.execute("SELECT name, value FROM file_identity").fetchall())
    into = folder / f"partition-{identity['partition']}"
    part = into / f"{wanted or 'copy'}.{secrets.token_hex(8)}.part"
    try:
        if wanted is None:
            there = read_description(_path(into, read_position(session), epoch, None))
            if there is not None:
                return there
        into.mkdir(parents=True, exist_ok=True)
        position = _copy(session, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        described = Described(
            identity=identity,
            position=position,
            epoch=epoch,
            sha256=sha256,
            bytes=part.stat().st_size,
            made_at=utc_now(),
            wanted=wanted,
        )
        path = _path(into, position, epoch, wanted)
        if not may_publish():
            raise SnapshotFailed(f"Partition {described.partition} is not surely owned here any more: not published.")
        part.rename(path)
        _describe(path, described)
    except (OSError, duckdb.Error) as error:
        raise SnapshotFailed(
            f"No snapshot could be written into {into} ({type(error).__name__}): is there room, and may it be written?"
        ) from error
    finally:
        for left in (part, _wal(part)):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)
    return Snapshot(path=path, **asdict(described))


def snapshots_of(folder: Path, partition: int) -> list[Snapshot]:
    """The partition's snapshots in the generation's `folder`, the one to restore first: by epoch, then by position,
    newest first. Of other read model versions too; only `restore` finds out which are broken."""
    found = [read_description(path) for path in (folder / f"partition-{partition}").glob("*.duckdb")]
    return sorted((one for one in found if one is not None), key=lambda one: (one.epoch, one.position), reverse=True)


def read_description(path: Path) -> Snapshot | None:
    """The snapshot whose copy lies at `path`; None when there is none (yet, or any more)."""
    try:
        described = _described.decode(path.with_suffix(".json").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE) as error:
        telemetry.warn("snapshot_unreadable", file=path.name, reason=type(error).__name__)
        return None
    return Snapshot(path=path, **asdict(described))


def restore(snapshot: Snapshot, to: Path) -> None:
    """Put a copy of it at `to`, which no process has open, durably, in place of what lies there. Blocks.

    Raises BrokenSnapshot, `to` then being as it was; OSError for `to` itself.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f"{to.name}.part")
    try:
        with part.open("wb") as copy:
            for block in _blocks(snapshot):
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
        _wal(to).unlink(missing_ok=True)  # of the file before: DuckDB would replay it into this one
        part.rename(to)
        sync_folder(to.parent)
    finally:
        part.unlink(missing_ok=True)


def delete(snapshot: Snapshot) -> None:
    """Remove it, its description first; idempotent. Raises OSError."""
    snapshot.path.with_suffix(".json").unlink(missing_ok=True)
    snapshot.path.unlink(missing_ok=True)


def prune(folder: Path, partition: int, *, keep: int) -> None:
    """Delete the partition's snapshots but the `keep` that were made last, and what has been left behind. Raises OSError."""
    now = utc_now()
    to_restore = [one for one in snapshots_of(folder, partition) if one.wanted is None]
    for one in sorted(to_restore, key=lambda one: one.made_at)[: -keep or None]:
        delete(one)
    for one in snapshots_of(folder, partition):
        if one.wanted is not None and (now - one.made_at).total_seconds() > LEFT_BEHIND_S:
            delete(one)
    for path in (folder / f"partition-{partition}").glob("*"):
        incomplete = path.suffix in (".part", ".wal") or not path.with_suffix(".json").exists()
        with contextlib.suppress(FileNotFoundError):  # its writer has finished meanwhile
            if incomplete and time.time() - path.stat().st_mtime > LEFT_BEHIND_S:
                path.unlink()


def _path(into: Path, position: int, epoch: int, wanted: str | None) -> Path:
    return into / f"{position:020d}-{epoch:010d}{'' if wanted is None else f'-{wanted}'}.duckdb"


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _copy(session: Session, part: Path) -> int:
    """Copy everything into a new file at `part`; the position that it stands at."""
    source, copy = session.execute("SELECT current_database()").fetchone(), f"copy_{secrets.token_hex(4)}"
    assert source is not None
    quoted = str(part).replace("'", "''")
    session.execute_once(f"ATTACH '{quoted}' AS {copy} (READ_WRITE)")
    try:
        session.execute("BEGIN")  # the position and all rows are of one moment
        try:
            position = read_position(session)
            session.execute_once(f'COPY FROM DATABASE "{source[0]}" TO {copy}')
            session.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # a commit that failed has ended the transaction
                session.execute("ROLLBACK")
            raise
    finally:
        session.execute_once(f"DETACH {copy}")
    if _wal(part).exists():
        raise OSError("the copy could not be completed")  # detaching does not say so
    return position


def _blocks(snapshot: Snapshot) -> Iterator[bytes]:
    """What lies in it, whole. Raises BrokenSnapshot, at the end when it is not what was written."""
    checksum = hashlib.sha256()
    try:
        with snapshot.path.open("rb") as file:
            while block := file.read(_CHUNK_BYTES):
                checksum.update(block)
                yield block
    except OSError as error:
        raise BrokenSnapshot(f"{snapshot.path} cannot be read ({type(error).__name__}).") from error
    if checksum.hexdigest() != snapshot.sha256:
        raise BrokenSnapshot(f"{snapshot.path} is not what was written: its checksum differs.")


def _describe(path: Path, described: Described) -> None:
    """Make the snapshot at `path` one that is found."""
    sync_folder(path.parent)  # the copy is there before its description is
    part = path.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as file:
            file.write(msgspec.json.encode(described))
            file.flush()
            os.fsync(file.fileno())
        part.rename(path.with_suffix(".json"))
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)
