from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from projector import snapshots
from projector.database import open_file
from projector.session import Session
from projector.snapshots import (
    BrokenSnapshot,
    Snapshot,
    SnapshotFailed,
    folder_of,
    prune,
    restore,
    snapshots_of,
    write_snapshot,
)
from tests.harness import LOG_ID, Folded, fold
from tests.projector.events import USER, chat
from tests.strategies import seeded_log


def everything(session: Session) -> dict[str, Any]:
    """The rows of every table in their order, and the columns of every table and view."""
    tables = session.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND NOT temporary"
    ).fetchall()
    found: dict[str, Any] = {
        table: session.execute(f"SELECT hash(t) FROM {table} AS t").fetchall() for (table,) in tables
    }
    found["columns"] = session.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns()"
        " WHERE database_name = current_database() ORDER BY table_name, column_index"
    ).fetchall()
    found["views"] = session.execute(
        "SELECT view_name, sql FROM duckdb_views() WHERE database_name = current_database() AND NOT internal ORDER BY 1"
    ).fetchall()
    return found


def snapshot_at(position: int, folder: Path, *, epoch: int = 0, wanted: str | None = None) -> Snapshot:
    """A snapshot of a file that stands there."""
    path = folder / f"live-{position}-{epoch}.duckdb"
    session = open_file(path, log_id=LOG_ID, partition=0)
    session.execute("UPDATE fold_position SET position = $1", [position])
    try:
        return write_snapshot(session.cursor(), folder, epoch=epoch, wanted=wanted)
    finally:
        session.close()


def test_a_snapshot_has_every_row_in_its_place_every_column_and_every_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = seeded_log(3, 2000)
    monkeypatch.setattr("projector.fold.SETTLED_EVERY", 400)
    folder = folder_of(tmp_path / "snapshots", LOG_ID, 1)
    with fold(log, path=tmp_path / "live.duckdb") as live:
        served = everything(live.session)
        snapshot = write_snapshot(live.session.cursor(), folder, epoch=7)
        assert (snapshot.position, snapshot.epoch, snapshot.partition) == (2000, 7, 0)
        assert snapshot.path == folder / "partition-0" / f"{2000:020d}-{7:010d}.duckdb"
        live.more([chat("later")])
    assert snapshots_of(folder, 0) == [snapshot]
    assert sorted(path.suffix for path in snapshot.path.parent.iterdir()) == [".duckdb", ".json"]
    restore(snapshot, tmp_path / "restored" / "partition-0.duckdb")
    with Folded(tmp_path / "restored" / "partition-0.duckdb") as restored:
        assert everything(restored.session) == served
        restored.more([chat("goes on")])
        assert restored.position == 2001


def test_folding_and_answering_go_on_beside_it(tmp_path: Path) -> None:
    """MVCC: what is committed while the copy is made is not in it, neither as rows nor in the position."""
    with fold(seeded_log(1, 300), path=tmp_path / "live.duckdb") as live:
        done = threading.Event()
        made: list[Snapshot] = []

        def write() -> None:
            try:
                made.extend(write_snapshot(session, tmp_path / "s", epoch=epoch) for epoch in range(3))
            finally:
                done.set()

        session = live.session.cursor()
        writer = threading.Thread(target=write)
        writer.start()
        messages = 0
        while not done.is_set() and messages < 5000:
            live.more([chat("hello")])
            messages += 1
            live.ask(USER, "events_total")
        writer.join()
    for snapshot in made:
        restore(snapshot, tmp_path / "restored.duckdb")
        with Folded(tmp_path / "restored.duckdb") as restored:
            (chats,) = restored.session.execute(
                "SELECT count(*) FROM events_chat_now WHERE position >= 300"
            ).fetchall()[0]
            assert 300 + chats == restored.position == snapshot.position
    assert len(made) == 3
    assert messages > 0


def test_the_newest_comes_first_by_epoch_then_by_position(tmp_path: Path) -> None:
    for position, epoch in ((5, 1), (9, 0), (7, 1), (8, 0)):
        snapshot_at(position, tmp_path, epoch=epoch)
    assert [(one.epoch, one.position) for one in snapshots_of(tmp_path, 0)] == [(1, 7), (1, 5), (0, 9), (0, 8)]
    assert snapshots_of(tmp_path, 1) == []


def test_where_there_is_one_already_none_is_written_but_for_one_that_is_wanted(tmp_path: Path) -> None:
    first = snapshot_at(5, tmp_path)
    assert snapshot_at(5, tmp_path) == first
    wanted = snapshot_at(5, tmp_path, wanted="abc")
    assert (wanted.path.name, wanted.wanted) == (f"{5:020d}-{0:010d}-abc.duckdb", "abc")
    assert len(snapshots_of(tmp_path, 0)) == 2


def test_without_its_description_it_is_none(tmp_path: Path) -> None:
    snapshot = snapshot_at(5, tmp_path)
    snapshot.path.with_suffix(".json").write_bytes(b'{"torn')
    assert snapshots_of(tmp_path, 0) == []
    snapshot.path.with_suffix(".json").unlink()
    assert snapshots_of(tmp_path, 0) == []


@pytest.mark.parametrize("harm", ["flipped", "short", "gone"])
def test_a_broken_one_is_found_out_and_what_was_there_stays(tmp_path: Path, harm: str) -> None:
    snapshot = snapshot_at(5, tmp_path)
    content = bytearray(snapshot.path.read_bytes())
    content[len(content) // 2] ^= 1
    match harm:
        case "flipped":
            snapshot.path.write_bytes(content)
        case "short":
            snapshot.path.write_bytes(content[:-1])
        case _:
            snapshot.path.unlink()
    to = tmp_path / "there.duckdb"
    to.write_bytes(b"before")
    with pytest.raises(BrokenSnapshot, match=f"{snapshot.position}"):
        restore(snapshot, to)
    assert to.read_bytes() == b"before"
    assert list(tmp_path.glob("*.part")) == []


def test_restoring_leaves_nothing_of_the_file_before(tmp_path: Path) -> None:
    snapshot = snapshot_at(5, tmp_path)
    to = tmp_path / "there.duckdb"
    to.write_bytes(b"before")
    (tmp_path / "there.duckdb.wal").write_bytes(b"would be replayed")
    restore(snapshot, to)
    with Folded(to) as restored:
        assert restored.position == 5


def test_a_copy_that_fails_harms_nothing_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fold([chat("hello")], path=tmp_path / "live.duckdb") as live:
        in_the_way = tmp_path / "s"
        in_the_way.write_bytes(b"a file where the folder should be")
        with pytest.raises(SnapshotFailed, match="is there room"):
            write_snapshot(live.session.cursor(), in_the_way)

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(SnapshotFailed):
                write_snapshot(live.session.cursor(), tmp_path / "full")
        assert list((tmp_path / "full" / "partition-0").iterdir()) == []
        live.more([chat("goes on")])
        assert write_snapshot(live.session.cursor(), tmp_path / "full").position == 2
        files = live.session.execute("SELECT path FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
        assert len(files) == 1


def test_pruning_keeps_those_made_last_and_removes_what_was_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for position in (5, 6, 7):
        snapshot_at(position, tmp_path)
    wanted = snapshot_at(7, tmp_path, wanted="abc")
    into = wanted.path.parent
    (into / "0123.part").write_bytes(b"a writer was killed")
    (into / "4.duckdb").write_bytes(b"and one a moment later")
    prune(tmp_path, 0, keep=2)
    assert {one.position for one in snapshots_of(tmp_path, 0)} == {6, 7}
    assert (into / "0123.part").exists()
    assert wanted.path.exists()
    monkeypatch.setattr(snapshots, "LEFT_BEHIND_S", -1.0)
    prune(tmp_path, 0, keep=2)
    assert sorted(path.suffix for path in into.iterdir()) == [".duckdb", ".duckdb", ".json", ".json"]
    assert wanted not in snapshots_of(tmp_path, 0)
