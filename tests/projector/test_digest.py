from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from projector.digest import differences, digest
from projector.fold import fold as fold_batch
from schemas.read_models import READ_MODELS
from tests.harness import Folded, fold
from tests.projector.events import ANN, BOB, chat
from tests.strategies import seeded_log


@pytest.fixture
def often_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table has rows, and coins are in all levels."""
    monkeypatch.setattr("projector.fold.SETTLED_EVERY", 2)


def changed(path: Path, *statements: str) -> Path:
    """A copy of the closed file with some rows changed."""
    other = path.with_name("other.duckdb")
    shutil.copy(path, other)
    with duckdb.connect(str(other)) as connection:
        for statement in statements:
            connection.execute(statement)
    return other


@pytest.fixture
def file(tmp_path: Path, often_settled: None) -> Path:
    path = tmp_path / "a.duckdb"
    fold(seeded_log(5, 700), path=path).close()
    return path


def test_files_of_the_same_events_are_equal_whatever_their_batches(tmp_path: Path, often_settled: None) -> None:
    log = seeded_log(5, 300)
    with fold(log, path=tmp_path / "a.duckdb") as one, fold(log, path=tmp_path / "b.duckdb", batches=[7, 100]) as other:
        assert digest(one.session) == digest(other.session)
        assert digest(one.session).text == digest(other.session).text
        made = {part.into for model in READ_MODELS for part in model.fold}
        assert digest(one.session).tables.keys() >= made | {"seen", "recent", "coins_viewers", "coins_minutes"}
        other.more([chat("one more")])
        assert digest(one.session).text != digest(other.session).text
    assert differences(tmp_path / "a.duckdb", tmp_path / "a.duckdb", 10) == []


def test_where_a_viewers_coins_lie_is_no_difference(tmp_path: Path, often_settled: None) -> None:
    """Duplicates past a stretch's end move what was settled into the next level, and change no answer."""
    log = [chat(str(n), BOB if n % 3 else ANN) for n in range(5)]
    with fold(log, path=tmp_path / "a.duckdb") as once, fold(log, path=tmp_path / "b.duckdb") as again:
        once.more([])
        before = {
            table: folded.session.execute(f"SELECT count(*) FROM {table}").fetchall()
            for folded in (once,)
            for table in ("coins_viewers_1", "coins_viewers_2")
        }
        fold_batch(once.session, 5, [], [], 6)  # both stand where the last event is settled
        fold_batch(again.session, 5, [], [], 6)
        again.more([log[n % 5] for n in range(60)])
        moved = {table: again.session.execute(f"SELECT count(*) FROM {table}").fetchall() for table in before}
        assert moved != before
        assert digest(again.session) == digest(once.session)
    assert differences(tmp_path / "a.duckdb", tmp_path / "b.duckdb", 10) == []


def test_a_changed_row_is_named_with_both_sides(file: Path) -> None:
    other = changed(file, "UPDATE kicks SET amount = amount + 1000 WHERE position = (SELECT max(position) FROM kicks)")
    (difference,) = differences(file, other, 10)
    assert (difference.model, difference.table, difference.of) == ("kicks", "kicks", 1)
    assert difference.a is not None
    assert difference.b is not None
    assert difference.b["amount"] == difference.a["amount"] + 1000
    assert difference.key["position"] == difference.a["position"]
    assert differences(other, file, 10)[0].b == difference.a


def test_a_row_too_few_a_row_twice_and_a_changed_key(file: Path) -> None:
    other = changed(file, "DELETE FROM seen WHERE key = (SELECT min(key) FROM seen)")
    ((missing,)) = differences(file, other, 10)
    assert (missing.table, missing.b) == ("seen", None)
    other = changed(file, "INSERT INTO songs SELECT * FROM songs ORDER BY position LIMIT 1")
    (twice,) = differences(file, other, 10)
    assert (twice.model, twice.a) == ("songs", None)
    other = changed(
        file, "UPDATE events_chat SET user_id = 12345 WHERE position = (SELECT min(position) FROM events_chat)"
    )
    one, two = differences(file, other, 10)
    assert {one.a is None, two.a is None} == {True, False}


def test_coins_are_named_by_viewer(file: Path) -> None:
    other = changed(file, "UPDATE coins_viewers_3 SET coins = coins + 5 WHERE rowid = 0")
    (difference,) = differences(file, other, 10)
    assert (difference.model, difference.table) == ("coins", "coins_viewers")
    assert difference.key.keys() == {"user_id", "platform", "viewer_id"}


def test_of_many_no_more_than_the_limit_are_shown_and_all_are_counted(file: Path) -> None:
    other = changed(file, "UPDATE events_chat SET message = 'x' || coalesce(message, '')")
    found = differences(file, other, 3)
    with duckdb.connect(str(file)) as connection:
        (chats,) = connection.execute("SELECT count(*) FROM events_chat").fetchall()[0]
    assert (len(found), {one.of for one in found}) == (3, {chats})


def test_a_digest_leaves_the_file_as_it_is(file: Path) -> None:
    with Folded(file) as folded:
        assert digest(folded.session) == digest(folded.session.cursor())
        assert folded.more([chat("goes on")]).position == 701
