from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from projector.database import file_of, open_file
from projector.shelf import Shelf
from schemas.kinds import KicksGifted
from streamkit.__main__ import cli
from streamkit.log.sqlite import SqliteLog
from tests.projector.events import event
from tests.projector.generations import made, put
from tests.streamkit.cli.running import Ran, invoke


def streamkit(folder: Path, *arguments: str) -> Ran:
    return invoke(cli, *arguments, folder=folder)


def on_log(folder: Path, work: Callable[[SqliteLog], Coroutine[Any, Any, Any]]) -> Any:
    """Do something with the log of the folder."""

    async def run() -> Any:
        log = await SqliteLog.open(folder / "data" / "log.sqlite")
        try:
            return await work(log)
        finally:
            await log.close()

    return asyncio.run(run())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose log has five gifts, all of them in generation 1."""

    async def fill(log: SqliteLog) -> None:
        await put(log, [event(KicksGifted(amount=1)) for _ in range(5)])
        await made(log, tmp_path / "data", 1)

    on_log(tmp_path, fill)
    return tmp_path


@pytest.fixture
def two(folder: Path) -> Path:
    """And in generation 2, too."""
    assert streamkit(folder, "rebuild", "--json").exit_code == 0
    return folder


def test_rebuild_tells_json_lines_and_then_what_is_there(folder: Path) -> None:
    ran = streamkit(folder, "rebuild", "--json", "--why", "in doubt")
    assert ran.exit_code == 0
    lines = [json.loads(line) for line in ran.out.splitlines()]
    last = lines[-1]
    assert {line["generation"] for line in lines} == {2}
    assert (last["events"], last["folded"], last["done"], last["promoted"]) == (5, 5, True, False)
    assert last["partitions"] == {"0": {"position": 5, "end": 5}}
    listed = streamkit(folder, "generations", "list", "--json").document
    assert [(one["id"], one["live"], one["state"], one["positions"]) for one in listed] == [
        (1, True, "whole", {"0": 5}),
        (2, False, "whole", {"0": 5}),
    ]
    assert listed[0]["digests"] == listed[1]["digests"]
    assert listed[0]["digests"]["0"]
    assert listed[0]["versions"] == listed[1]["versions"]
    assert listed[1]["versions"]["coins"] >= 4
    assert listed[1]["bytes"] > 100_000
    assert listed[0]["created_at"] is None
    assert listed[1]["created_at"]


def test_for_a_person(two: Path) -> None:
    ran = streamkit(two, "generations", "list", "--no-digests")
    assert ran.exit_code == 0
    assert ran.out.splitlines()[1].split()[:4] == ["1", "live", "whole", "0:5"]
    assert streamkit(two, "generations", "compare", "1", "2").out == "Generations 1 and 2 are equal at 0:5.\n"
    promoted = streamkit(two, "generations", "promote", "2")
    assert promoted.out == "Generation 2 is live; before it was 1.\n"
    ran = streamkit(two, "rebuild", "--promote")
    assert "Generation 3 holds 5 events: 5 folded" in ran.out
    assert "It is the live one." in ran.out


def test_compare_names_the_rows_that_differ(two: Path) -> None:
    log_id = on_log(two, _log_id)
    session = open_file(file_of(two / "data", 2, 0), log_id=log_id, partition=0)
    session.execute("UPDATE recent SET amount = 1000 WHERE position = 3")
    session.close()
    ran = streamkit(two, "generations", "compare", "1", "2", "--json")
    assert ran.exit_code == 1
    found = ran.document
    assert (found["equal"], found["rows"], found["positions"]) == (False, 1, {"0": 5})
    (row,) = found["differences"]
    assert (row["partition"], row["table"], row["a"]["amount"], row["b"]["amount"]) == (0, "recent", 1, 1000)
    ran = streamkit(two, "generations", "compare", "1", "2")
    assert ran.exit_code == 1
    assert "differ in 1 row." in ran.err
    assert list((two / "data").glob("comparing-*")) == []


def test_what_lies_behind_is_folded_up_before_it_is_compared(two: Path) -> None:
    async def more(log: SqliteLog) -> None:
        await put(log, [event(KicksGifted(amount=7))])

    on_log(two, more)
    assert streamkit(two, "rebuild").exit_code == 0
    ran = streamkit(two, "generations", "compare", "1", "3", "--json")
    assert (ran.exit_code, ran.document["positions"]) == (0, {"0": 6})


def test_promote_rollback_and_drop_without_a_projector(two: Path) -> None:
    assert streamkit(two, "generations", "promote", "2", "--json").document == {
        "live": 2,
        "before": 1,
        "dropped": [],
        "answered": True,
    }
    assert streamkit(two, "generations", "rollback", "--json").document["live"] == 1
    assert streamkit(two, "generations", "drop", "2", "--json").document["dropped"] == 2
    assert not file_of(two / "data", 2, 0).exists()
    assert [one["id"] for one in streamkit(two, "generations", "list", "--json").document] == [1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("promote", "7"), "There is no generation 7"),
        (("drop", "7"), "There is no generation 7"),
        (("drop", "1"), "Generation 1 is the live one"),
        (("rollback",), "nothing to go back to"),
        (("compare", "1", "7"), "There is no generation 7"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    ran = streamkit(folder, "generations", *arguments, "--json")
    assert ran.exit_code == 1
    assert said in ran.document["error"]


def test_what_is_not_whole_is_not_promoted(two: Path) -> None:
    log_id = on_log(two, _log_id)
    shelf = Shelf(two / "data", two / "data" / "snapshots", log_id)
    with pytest.raises(ZeroDivisionError), shelf.built(2, {}):  # noqa: PT012
        ran = streamkit(two, "generations", "drop", "2")
        assert (ran.exit_code, "is being built" in ran.err) == (1, True)
        raise ZeroDivisionError
    ran = streamkit(two, "generations", "promote", "2")
    assert (ran.exit_code, "is not whole yet" in ran.err) == (1, True)
    assert streamkit(two, "generations", "list", "--json").document[1]["state"] == "interrupted"


def test_without_a_log_there_is_nothing_to_list(tmp_path: Path) -> None:
    ran = streamkit(tmp_path, "generations", "list", "--json")
    assert ran.exit_code == 0
    assert [one["state"] for one in ran.document] == ["elsewhere"]
    assert not (tmp_path / "data").exists()


async def _log_id(log: SqliteLog) -> str:
    return log.log_id
