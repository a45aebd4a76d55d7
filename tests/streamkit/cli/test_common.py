"""What every command shares: exit codes, the JSON document in every case, tables."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest

from schemas.errors import BadSettings, LogMisconfigured, LogUnavailable, StreamkitError
from streamkit.__main__ import cli
from streamkit.cli.common import Failure, emit, json_option, on_one_line, run, run_program, table
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
    plain = invoke(command_that_raises(KeyboardInterrupt()), folder=tmp_path)
    assert (plain.exit_code, plain.out, plain.err) == (130, "", "")
    told = invoke(command_that_raises(KeyboardInterrupt()), "--json", folder=tmp_path)
    assert (told.exit_code, told.document) == (130, {"error": "Interrupted."})


@click.command()
@click.option("--count", type=int, required=True)
@json_option
def counting(count: int, as_json: bool) -> None:
    """A command with something to get wrong."""
    if count < 0:
        raise KeyboardInterrupt
    emit({"count": count}, f"{count}", as_json=as_json)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "document"),
    [
        (["--count", "3"], 0, {"count": 3}),
        (["--count", "x"], 2, {"error": "Invalid value for '--count': 'x' is not a valid integer."}),
        ([], 2, {"error": "Missing option '--count'."}),
        (["--nope"], 2, {"error": "No such option '--nope'."}),
        (["--count", "-1"], 130, {"error": "Interrupted."}),
    ],
)
def test_whatever_happens_the_program_gives_one_document(
    arguments: list[str], exit_code: int, document: object, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra, told in (([], None), (["--json"], document)):
        with pytest.raises(SystemExit) as ended:
            run_program(counting, [*arguments, *extra])
        assert ended.value.code == exit_code
        out, err = capsys.readouterr()
        if told is None:
            assert out == ("3\n" if exit_code == 0 else "")
        else:
            assert json.loads(out) == told
        assert ("Error: " in err) == (exit_code == 2)


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(counting, ["--help"])
    assert (ended.value.code, capsys.readouterr().err) == (0, "")


def test_done(tmp_path: Path) -> None:
    done = invoke(command_that_raises(None), "--json", folder=tmp_path)
    assert (done.exit_code, done.document, done.err) == (0, {"log": "sqlite:"}, "")
    assert invoke(command_that_raises(None), folder=tmp_path).out == "done\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("river_fox hält 👨‍👩 für 'ñ\\'", "river_fox hält 👨‍👩 für 'ñ\\'"),
        ("a\r\nb\tc\u2028d", "a\\r\\nb\\tc\\u2028d"),
        ("\x1b]0;title\x07 \x9b31m \x7f", "\\x1b]0;title\\x07 \\x9b31m \\x7f"),
        ("exe\u202etxt", "exe\\u202etxt"),
    ],
)
def test_what_strangers_wrote_moves_no_terminal(text: str, shown: str) -> None:
    assert on_one_line(text) == shown
    assert table(("NAME",), [(text,)]) == f"NAME\n{shown}"


def test_table() -> None:
    assert table(("A", "LONGER"), [("x", None), ("wide", 12)]) == "A     LONGER\nx     -\nwide  12"


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("status",), 0),
        (("accounts", "list"), 0),
        (("credentials", "list"), 0),
        (("tokens", "list"), 0),
        (("log", "info"), 0),
        (("log", "tail"), 0),
        (("credentials", "issue", "--user-id", "1"), 1),
        (("accounts", "remove", "--user-id", "1"), 1),
        (("generations", "list"), 0),
        (("generations", "promote", "2"), 1),
        (("rebuild",), 1),
        (("verify",), 1),
    ],
)
def test_a_command_that_looks_makes_no_log_and_names_the_folder(
    tmp_path: Path, arguments: tuple[str, ...], exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)  # verify gives way: this process, and all it starts, would for good
    ran = invoke(cli, *arguments, folder=tmp_path)
    assert ran.exit_code == exit_code
    assert f"There is no log in {tmp_path / 'data'} yet" in ran.err
    assert "--user-id" not in arguments or f"There is no broadcaster 1 on the log in {tmp_path / 'data'}" in ran.err
    assert not list(tmp_path.iterdir())
