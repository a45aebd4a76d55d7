"""What a partition begins with: what lies here, or the furthest snapshot that is sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from projector import restoring
from projector.database import open_file
from projector.fold import read_position
from projector.restoring import restore_newest
from projector.snapshots import Snapshot, write_snapshot

LOG_ID = "a-log"


def file_at(position: int, path: Path, log_id: str = LOG_ID) -> Path:
    """A file that stands there."""
    session = open_file(path, log_id=log_id, partition=0)
    session.execute("UPDATE fold_position SET position = $1", [position])
    session.close()
    return path


def position_of(path: Path) -> int:
    session = open_file(path, log_id=LOG_ID, partition=0)
    try:
        return read_position(session)
    finally:
        session.close()


def snapshot_at(position: int, folder: Path, *, epoch: int = 1, log_id: str = LOG_ID) -> Snapshot:
    path = file_at(position, folder / f"of-{position}-{epoch}.duckdb", log_id)
    session = open_file(path, log_id=log_id, partition=0)
    try:
        return write_snapshot(session.cursor(), folder, epoch=epoch)
    finally:
        session.close()


def test_nothing_anywhere_means_from_the_log(tmp_path: Path) -> None:
    assert restore_newest(tmp_path / "s", LOG_ID, 0, tmp_path / "live.duckdb") is None
    assert not (tmp_path / "live.duckdb").exists()


def test_the_furthest_is_restored_whatever_its_epoch(tmp_path: Path) -> None:
    """A group that was forgotten by Kafka begins again at epoch 1."""
    snapshot_at(100, tmp_path / "s", epoch=57)
    newest = snapshot_at(200, tmp_path / "s", epoch=1)
    assert restore_newest(tmp_path / "s", LOG_ID, 0, tmp_path / "live.duckdb") == newest
    assert position_of(tmp_path / "live.duckdb") == 200


def test_a_broken_one_is_passed_over_for_the_one_before_it_and_then_for_the_log(tmp_path: Path) -> None:
    older, newer = snapshot_at(100, tmp_path / "s"), snapshot_at(200, tmp_path / "s")
    _break(newer)
    live = tmp_path / "live.duckdb"
    assert restore_newest(tmp_path / "s", LOG_ID, 0, live) == older
    assert position_of(live) == 100
    live.unlink()
    _break(older)
    assert restore_newest(tmp_path / "s", LOG_ID, 0, live) is None
    assert not live.exists()


def test_a_file_that_is_nearly_as_far_is_gone_on_with(tmp_path: Path) -> None:
    live = file_at(100, tmp_path / "live.duckdb")
    snapshot_at(100 + restoring.AHEAD, tmp_path / "s")
    assert restore_newest(tmp_path / "s", LOG_ID, 0, live) is None
    assert position_of(live) == 100
    snapshot = snapshot_at(101 + restoring.AHEAD, tmp_path / "s")
    assert restore_newest(tmp_path / "s", LOG_ID, 0, live) == snapshot
    assert position_of(live) == 101 + restoring.AHEAD


def test_a_file_of_another_log_is_no_reason_not_to_restore(tmp_path: Path) -> None:
    live = file_at(900, tmp_path / "live.duckdb", "another")
    snapshot = snapshot_at(100, tmp_path / "s")
    assert restore_newest(tmp_path / "s", LOG_ID, 0, live) == snapshot


@pytest.mark.parametrize("local", [0, 5])
def test_a_snapshot_of_another_build_is_not_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: int
) -> None:
    snapshot_at(500_000, tmp_path / "s")
    monkeypatch.setattr("projector.database.FOLD_VERSION", 99)
    live = tmp_path / "live.duckdb"
    if local:
        file_at(local, live)
    assert restore_newest(tmp_path / "s", LOG_ID, 0, live) is None
    assert position_of(live) == local


def _break(snapshot: Snapshot) -> None:
    with snapshot.path.open("r+b") as file:
        file.seek(5000)
        file.write(b"no longer what it was")
