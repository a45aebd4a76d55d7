"""What every command shares: exit codes, the JSON document in every case, tables."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from schemas.errors import BadSettings, LogMisconfigured, LogUnavailable, StreamkitError
from streamkit.cli.common import Failure, emit, json_option, run, table
from streamkit.settings import Settings
from tests.streamkit.cli.running import invoke


def command_that_raises(error: BaseException | None) -> click.Command:
    @click.command()
    @json_option
    def command(as_json: bool) -> None:
        async def work(settings: Settings) -> str:
            if error is not None:
                raise error
            return settings.log_url

        emit({"log": run(work, as_json=as_json)}, "done", as_json=as_json)

    return command


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (Failure("it is not there"), 1),
        (BadSettings("it is set wrongly"), 2),
        (LogUnavailable("it is away"), 3),
        (LogMisconfigured("it is another"), 3),
    ],
)
def test_exit_codes_and_the_document_of_a_failure(tmp_path: Path, error: StreamkitError, exit_code: int) -> None:
    plain = invoke(command_that_raises(error), folder=tmp_path)
    assert (plain.exit_code, plain.out, plain.err) == (exit_code, "", f"streamkit: {error}\n")
    told = invoke(command_that_raises(error), "--json", folder=tmp_path)
    assert (told.exit_code, told.document, told.err) == (exit_code, {"error": str(error)}, f"streamkit: {error}\n")


def test_interrupted(tmp_path: Path) -> None:
    assert invoke(command_that_raises(KeyboardInterrupt()), folder=tmp_path).exit_code == 130


def test_done(tmp_path: Path) -> None:
    done = invoke(command_that_raises(None), "--json", folder=tmp_path)
    assert (done.exit_code, done.document, done.err) == (0, {"log": "sqlite:"}, "")
    assert invoke(command_that_raises(None), folder=tmp_path).out == "done\n"


def test_table() -> None:
    assert table(("A", "LONGER"), [("x", None), ("wide", 12)]) == "A     LONGER\nx     -\nwide  12"
