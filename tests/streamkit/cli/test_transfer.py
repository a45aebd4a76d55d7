"""`streamkit log export` and `log import` as commands: formats, documents, exit codes, sentences."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamkit import addresses
from streamkit.__main__ import cli
from streamkit.cli import progress
from streamkit.cli.progress import progress_of
from streamkit.log import open_log
from streamkit.log.protocol import TOPICS, VAULT
from streamkit.transfer.unfinished import Unfinished, taken
from tests.program import run as run_program
from tests.streamkit.cli.running import Ran, invoke
from tests.streamkit.transfer.rows import fill, rows

FORMATS = pytest.mark.parametrize("name", ["log.ndjson", "log.ndjson.zst", "log"])


def run(folder: Path, *arguments: str) -> Ran:
    return invoke(cli, "log", *arguments, folder=folder)


@pytest.fixture
async def source(tmp_path: Path) -> Path:
    """A folder whose log has records of every sort."""
    folder = tmp_path / "source"
    folder.mkdir()
    log = await open_log("sqlite:", data_dir=folder / "data")
    try:
        await fill(log)
    finally:
        await log.close()
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder with nothing in it."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    """The folder's log, exported once more; the vault without its positions, of which compaction leaves some out."""
    assert run(folder, "export", "--to", "again.ndjson").exit_code == 0
    found = [json.loads(line) for line in (folder / "again.ndjson").read_bytes().splitlines()]
    return [record | {"position": None} if record["topic"] == VAULT else record for record in found]


@FORMATS
def test_out_and_in_again(source: Path, target: Path, name: str) -> None:
    ran = run(source, "export", "--to", name, "--json")
    assert (ran.exit_code, ran.err) == (0, "")
    told = ran.document
    assert (told["to"], told["records"]) == (name, sum(told["topics"].values()))
    assert set(told["topics"]) == set(TOPICS)
    files = [file for file in (source / name, *(source / name).rglob("*")) if file.is_file()]
    assert told["bytes"] == sum(file.stat().st_size for file in files) > 0
    assert told.keys() >= {"log_id", "took_s", "records_per_s"}

    ran = run(target, "import", "--from", str(source / name), "--json")
    assert (ran.exit_code, ran.err) == (0, "")
    assert (ran.document["records"], ran.document["appended"]) == (told["records"], told["records"])
    assert ran.document["topics"] == told["topics"]
    assert ran.document["log_id"] != told["log_id"]
    assert records(target) == records(source)


def test_the_files_are_for_their_owner_alone(source: Path) -> None:
    run(source, "export", "--to", "log.ndjson")
    run(source, "export", "--to", "log")
    assert (source / "log.ndjson").stat().st_mode & 0o077 == 0
    assert (source / "log").stat().st_mode & 0o077 == 0


def test_what_a_person_is_told(source: Path, target: Path) -> None:
    out = run(source, "export", "--to", "log.ndjson").out
    assert out.splitlines()[0].split() == ["TOPIC", "RECORDS"]
    assert "log.ndjson holds " in out
    assert "imported in" in run(target, "import", "--from", str(source / "log.ndjson")).out


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("export", "--to", "taken.ndjson"), 1, "taken.ndjson exists already"),
        (("export", "--to", "no/such/folder.ndjson"), 1, "no/such/folder.ndjson.partial: No such file or directory."),
        (("export", "--to", "log.json"), 2, "none of NAME.ndjson, NAME.ndjson.zst and a folder"),
        (("export", "--to", "log.ndjson.gz"), 2, "none of NAME.ndjson"),
        (("export",), 2, "--to"),
        (("import", "--from", "nothing.ndjson"), 1, "There is nothing at nothing.ndjson."),
        (("import", "--from", "nothing"), 1, "There is nothing at nothing."),
        (("import", "--from", "taken.ndjson"), 1, "The log holds records already"),
    ],
)
def test_what_is_refused(source: Path, arguments: tuple[str, ...], exit_code: int, said: str) -> None:
    (source / "taken.ndjson").write_text("")
    ran = run(source, *arguments, "--json")
    assert ran.exit_code == exit_code
    assert said in ran.err
    assert not list(source.glob("*.partial"))
    assert [*(source / "data").glob("import*")] == []


def test_a_backup_of_nothing_is_none(target: Path) -> None:
    ran = run(target, "export", "--to", "log.ndjson", "--json")
    assert (ran.exit_code, "holds no record" in ran.document["error"]) == (1, True)
    assert not list(target.iterdir())


def test_a_mistake_of_the_file_leaves_the_log_empty(target: Path) -> None:
    good = '{"topic":"streamkit.events","partition":0,"position":0,"key":"1","value":{}}\n'
    (target / "bad.ndjson").write_text(good + "bad\n")
    ran = run(target, "import", "--from", "bad.ndjson", "--json")
    assert (ran.exit_code, "line 2" in ran.document["error"]) == (1, True)
    (target / "bad.ndjson").write_text(good)
    assert run(target, "import", "--from", "bad.ndjson").exit_code == 0


def test_an_import_is_alone_on_its_log(source: Path, target: Path) -> None:
    run(source, "export", "--to", "log.ndjson")
    with addresses.announced(target / "data", addresses.Process(("ingest",), "http://127.0.0.1:8081", ())):
        ran = run(target, "import", "--from", str(source / "log.ndjson"))
    assert (ran.exit_code, ran.out) == (1, "")
    assert "at http://127.0.0.1:8081, and an import is alone on its log: stop it first." in ran.err


async def test_no_room_starts_on_half_a_log(target: Path) -> None:
    log = await open_log("sqlite:", data_dir=target / "data")
    log_id = log.log_id
    await log.close()
    with taken(target / "data") as note:
        note.begin(Unfinished(log_id, "/backup.ndjson", {}))
    ran = run_program(target, "up", "--port", "0", "--json")
    assert ran.returncode == 3
    assert "run `streamkit log import --from /backup.ndjson` until it is" in json.loads(ran.stdout)["error"]


async def test_an_export_reads_a_log_that_others_write_to(source: Path) -> None:
    log = await open_log("sqlite:", data_dir=source / "data")
    try:
        before = await rows(log)
        ran = run_program(source, "log", "export", "--to", "log.ndjson", "--json")
        assert json.loads(ran.stdout)["records"] == len(before)
    finally:
        await log.close()


def test_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_of("records") as tell:
        tell("Checked", 10, None)
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(progress, "LINE_EVERY_S", 0)
        tell("Checked", 20, None)
        tell("Imported", 1_000, 20_000)
        tell("Imported", 2_000, 20_000)
    checked, begun, imported = capsys.readouterr().err.splitlines()
    assert checked.startswith("streamkit: Checked 20 records, ")
    assert begun == "streamkit: Imported 1,000 of 20,000 records, 0/s"
    assert imported.startswith("streamkit: Imported 2,000 of 20,000 records, ")
    assert imported.endswith(" s left")


def test_progress_of_several_at_a_time_has_a_pace_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0)
    with progress_of("events") as tell:
        for done in (700, 800, 900):  # 700 of them by the run before
            for what in ("partition 0:", "partition 1:"):
                tell(what, done, 1_000)
            now_s += 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "streamkit: partition 1: 900 of 1,000 events, 100/s, 1 s left"


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_of("records") as tell:
        tell("Exported", 0, 10)
        tell("Exported", 10, 10)
    told = capsys.readouterr()
    assert "Exported" in told.err
    assert "10/10" in told.err
    assert told.out == ""
