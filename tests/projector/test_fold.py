from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from projector.copies import NoCopy, copy_closed
from projector.database import FileInUse, open_file
from projector.fold import PositionMoved, SettlingFailed
from projector.fold import fold as fold_batch
from projector.recipes import read_models
from projector.session import Session
from projector.staging import BadRecord
from schemas.event import Event, encode_event
from schemas.kinds import (
    ChatMessage,
    Cheered,
    KicksGifted,
    KindData,
    LivestreamStatus,
    SubscriptionGifts,
    SubscriptionRenewal,
    Viewer,
)
from schemas.read_models import READ_MODELS, ReadModel
from tests.harness import Folded, fold
from tests.projector.events import ANN, USER, event


def total(folded: Folded) -> int:
    kicks: int = folded.ask(USER, "kicks_summary")[0].total_kicks
    return kicks


def gift(amount: int) -> Event:
    return event(KicksGifted(amount=amount), ANN)


def test_a_fold_that_fails_changes_nothing(tmp_path: Path) -> None:
    with fold([gift(1)], path=tmp_path / "a.duckdb") as folded:
        before = folded.digest()
        broken = ReadModel(name="broken", version=1, tables="", settle=("SELECT error('no')",))
        values = [encode_event(gift(2))]
        with pytest.raises(SettlingFailed):
            fold_batch(folded.session, 1, [1], values, 20_000, models=(*READ_MODELS, broken))
        assert (folded.digest(), folded.position) == (before, 1)
        folded.more([gift(2)])
        assert total(folded) == 3


def test_the_position_moves_by_compare_and_set(tmp_path: Path) -> None:
    with fold([gift(1)], path=tmp_path / "a.duckdb") as folded:
        with pytest.raises(PositionMoved):
            fold_batch(folded.session, 0, [0], [encode_event(gift(2))], 1)
        assert (total(folded), folded.position) == (1, 1)


def test_a_fold_that_was_killed_before_the_commit_is_done_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with fold([gift(1)], path=path) as folded:
        folded.session.execute("BEGIN")
        folded.session.execute("INSERT INTO seen VALUES (1, 0, 1, 'x')")
        folded.session.execute("UPDATE fold_position SET position = 2")
    with Folded(path) as again:
        assert again.position == 1
        again.more([gift(2)])
        assert total(again) == 3


def test_positions_may_have_gaps_and_settle_where_the_log_says(tmp_path: Path) -> None:
    with fold([], path=tmp_path / "a.duckdb") as folded:
        values = [encode_event(gift(amount)) for amount in (1, 2, 4)]
        fold_batch(folded.session, 0, [7, 16_383, 16_384], values, 40_000)
        assert (total(folded), folded.position) == (7, 40_000)
        assert folded.session.execute("SELECT count(*) FROM kicks").fetchall() == [(3,)]
        fold_batch(folded.session, 40_000, [40_001], [encode_event(gift(8))], 40_002)
        assert folded.session.execute("SELECT count(*) FROM kicks").fetchall() == [(3,)]
        assert total(folded) == 15


def test_an_event_of_version_1_is_folded_as_of_today(tmp_path: Path) -> None:
    fields = msgspec.json.decode(encode_event(event(ChatMessage(message_id="m", message="Hi there"), ANN)))
    fields["schema_version"] = 1
    with fold([msgspec.json.encode(fields), gift(5)], path=tmp_path / "a.duckdb") as folded:
        history = folded.ask(USER, "events_history", limit=2, type=None)
        assert [row.message for row in history if row.type == "chat.message.sent"] == ["Hi there"]
        assert folded.ask(USER, "coins_summary")[0].total_coins == 6


def change(kind: KindData, data: dict[str, object] | None = None, **fields: object) -> bytes:
    """The record of such an event with other fields."""
    whole = msgspec.json.decode(encode_event(event(kind)))
    return msgspec.json.encode({**whole, **fields, "data": {**whole["data"], **(data or {})}})


CHAT = ChatMessage(message_id="m", message="hi")
BAD = {
    "data that is a list": encode_event(event(CHAT)).replace(b'"data":{', b'"data":[{', 1)[:-1] + b"]}",
    "no JSON": b"nope",
    "no object": b"[1]",
    "not UTF-8": b"\xff\xfe",
    "a version to come": change(CHAT, schema_version=99),
    "an unknown type": change(CHAT, type="chat.message.unsent"),
    "an unknown platform": change(CHAT, platform="myspace"),
    "a user id of text": change(CHAT, user_id="7"),
    "a user id too large": change(CHAT, user_id=2**63),
    "no time": change(CHAT, occurred_at=None),
    "a time that is none": change(CHAT, received_at="yesterday"),
    "an actor without id": change(CHAT, actor={"name": "Ann"}),
    "kicks without amount": change(KicksGifted(amount=1), data={"amount": None}),
    "an amount of text": change(Cheered(amount=1), data={"amount": "many"}),
    "an amount too large": change(Cheered(amount=1), data={"amount": 10**30}),
    "gifts without count": change(SubscriptionGifts(count=1), data={"count": None}),
    "a giftee without id": change(SubscriptionGifts(count=1), data={"giftees": [{"name": "Ann"}]}),
    "a hundred thousand months": change(SubscriptionRenewal(), data={"months": 100_000}),
    "a start that is no time": change(LivestreamStatus(is_live=True), data={"started_at": "now"}),
    "neither live nor not": change(LivestreamStatus(is_live=True), data={"is_live": None}),
}


@pytest.mark.parametrize("record", BAD, ids=str)
def test_a_record_that_is_no_event_is_refused_by_its_position(tmp_path: Path, record: str) -> None:
    with fold([gift(1)], path=tmp_path / "a.duckdb") as folded:
        with pytest.raises(BadRecord) as refused:
            folded.more([gift(2), BAD[record], gift(4)])
        assert refused.value.position == 2
        assert total(folded) == 1


@pytest.mark.parametrize("text", ["\x00", "'; DROP TABLE seen; --", "😀" * 400, "\u202e", "a" * 100_000, "{}", "\\"])
def test_any_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    log = [event(ChatMessage(message_id="m", message=text), Viewer("1", text))]
    with fold(log, path=tmp_path / "a.duckdb") as folded:
        (row,) = folded.ask(USER, "events_history", limit=1, type=None)
        assert (row.actor, row.message) == (text, text)


# ---------------------------------------------------------------------- files


def marked(path: Path, **identity: object) -> Session:
    return open_file(path, **{"log_id": "log", "partition": 0, **identity})  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [{"log_id": "another"}, {"partition": 1}], ids=str)
def test_a_file_of_another_log_or_partition_is_begun_anew(tmp_path: Path, other: dict[str, object]) -> None:
    path = tmp_path / "a.duckdb"
    session = marked(path)
    session.execute("UPDATE fold_position SET position = 9")
    session.close()
    same = marked(path)
    assert same.execute("SELECT position FROM fold_position").fetchall() == [(9,)]
    same.close()
    anew = marked(path, **other)
    assert anew.execute("SELECT position FROM fold_position").fetchall() == [(0,)]
    anew.close()


def test_a_file_keeps_the_models_that_it_was_made_with(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    older = tuple(structs.replace(model, version=0, queries=()) for model in READ_MODELS[:-1])
    marked(path, models=older).close()
    session = marked(path)
    assert read_models(session) == older
    session.close()


@pytest.mark.parametrize("cut", [0, 1, 100, 4096, 8192, 12_288, 20_000, 262_144])
def test_a_file_that_was_cut_is_begun_anew(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.duckdb"
    with fold([gift(amount) for amount in range(100)], path=path) as folded:
        folded.session.execute("CHECKPOINT")
    path.write_bytes(path.read_bytes()[:cut])
    session = marked(path)
    assert session.execute("SELECT position FROM fold_position").fetchall() == [(0,)]
    session.close()


@pytest.mark.parametrize("content", [b"not a database", b"\x00" * 20_000])
def test_a_file_that_is_no_database_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.duckdb"
    path.write_bytes(content)
    session = marked(path)
    assert session.execute("SELECT position FROM fold_position").fetchall() == [(0,)]
    session.close()


@pytest.mark.parametrize("how", ["DELETE FROM fold_position", "DROP TABLE fold_position"])
def test_a_file_that_does_not_say_how_far_it_is_is_begun_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "generations" / "1" / "partition-0.duckdb"
    session = marked(path)
    session.execute_once(how)
    session.close()
    with pytest.raises(NoCopy, match="delete it while nothing runs"):
        copy_closed(tmp_path, {0: path}, tmp_path / "copy")
    session = marked(path)
    assert session.execute("SELECT position FROM fold_position").fetchall() == [(0,)]
    session.close()


def test_a_file_in_use_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    session = marked(path)
    child = (
        "import sys, pathlib; from projector.database import open_file;"
        "open_file(pathlib.Path(sys.argv[1]), log_id='log', partition=0)"
    )
    ran = subprocess.run([sys.executable, "-c", child, str(path)], capture_output=True, text=True, check=False)
    session.close()
    assert FileInUse.__name__ in ran.stderr
    assert "held by another process" in ran.stderr
