"""What every command shares: its settings, the log, one JSON document on stdout, exit codes.

Exit codes: 0 done; 1 the check found a difference or the thing does not exist (Failure); 2 usage and settings;
3 a part it needs is not reachable; 130 interrupted. Logs and complaints go to stderr, answers to stdout.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

import click
import msgspec

from schemas.errors import Retry, Stop, StreamkitError
from streamkit import telemetry
from streamkit.log import APPEND_TIMEOUT_S, SQLITE_FILE, open_log
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EventLog
from streamkit.settings import Settings, load_settings, unknown_names

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

EXIT_NOT_DONE = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_INTERRUPTED = 130


class Failure(StreamkitError):
    """The command could not do what was asked: the thing does not exist, is taken, or differs. Exit 1."""


def json_option(command: F) -> F:
    """`--json`, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(command)


def run(work: Callable[[Settings], Coroutine[Any, Any, T]], *, as_json: bool = False) -> T:
    """Load the settings, run `work(settings)` in an event loop of its own, and give back what it returns.

    Ends the process with the exit code of whatever went wrong, its one sentence on stderr; with `as_json`
    `{"error": "…"}` stands on stdout besides, so that there is a document in every case.
    """
    try:
        settings = command_settings()
        return asyncio.run(work(settings))
    except KeyboardInterrupt:
        interrupted(as_json=as_json)
    except StreamkitError as error:
        fail(str(error), exit_code_of(error), as_json=as_json)


def run_program(program: click.Command, arguments: Sequence[str]) -> NoReturn:
    """Run the command that `arguments` name, and end the process with its exit code.

    For a usage error click's own text stands on stderr; with `--json` the document of a failure is on stdout besides.
    """
    try:
        exit_code = program.main(arguments, prog_name="streamkit", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        if "--json" in arguments:
            emit_json({"error": error.format_message()})
        raise SystemExit(error.exit_code) from None
    except click.Abort:
        interrupted(as_json="--json" in arguments)
    raise SystemExit(exit_code or 0)  # what a command gives back is None, --help 0


def interrupted(*, as_json: bool) -> NoReturn:
    """End the process as one that Ctrl-C ended."""
    if as_json:
        emit_json({"error": "Interrupted."})
    raise SystemExit(EXIT_INTERRUPTED) from None


def exit_code_of(error: StreamkitError) -> int:
    """The process's exit code for an error raised on purpose."""
    if isinstance(error, Stop):
        return error.exit_code
    return EXIT_UNREACHABLE if isinstance(error, Retry) else EXIT_NOT_DONE


def fail(message: str, exit_code: int, *, as_json: bool) -> NoReturn:
    """End the process with one sentence on stderr."""
    click.echo(f"streamkit: {message}", err=True)
    if as_json:
        emit_json({"error": message})
    raise SystemExit(exit_code)


def command_settings() -> Settings:
    """The settings of this process, with a word on stderr about names that are none. Raises BadSettings."""
    settings = load_settings(os.environ)
    for sentence in unknown_names(os.environ):
        click.echo(f"streamkit: {sentence}", err=True)
    telemetry.configure_logs(settings.log_level)
    return settings


@asynccontextmanager
async def opened_log(
    settings: Settings, *, create: bool = True, append_timeout_s: float = APPEND_TIMEOUT_S
) -> AsyncIterator[EventLog]:
    """The deployment's log, closed at the end. Raises BadSettings, LogMisconfigured, LogUnavailable.

    Without `create`, for a command that only looks, where there is no file yet none is made: an empty log stands for
    it, with a word on stderr.
    """
    if not create and _is_absent(settings):
        click.echo(f"streamkit: {_no_log(settings)}", err=True)
        yield MemoryLog()
        return
    log = await open_log(
        settings.log_url,
        data_dir=settings.data_dir,
        partitions=settings.partitions,
        dead_letter_max_bytes=settings.dead_letter_max_bytes,
        append_timeout_s=append_timeout_s,
    )
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def existing_log(settings: Settings) -> AsyncIterator[EventLog]:
    """As `opened_log`, for a command that has nothing to do without one. Raises Failure besides where there is no file yet."""
    if _is_absent(settings):
        raise Failure(_no_log(settings))
    async with opened_log(settings) as log:
        yield log


def _no_log(settings: Settings) -> str:
    return (
        f"There is no log in {settings.data_dir.resolve()} yet; if it is elsewhere, go there or set STREAMKIT_DATA_DIR."
    )


def _is_absent(settings: Settings) -> bool:
    folder = settings.data_dir
    return (
        settings.log_url == "sqlite:"
        and not (folder / SQLITE_FILE).exists()
        and (folder.is_dir() or not folder.exists())
    )


def emit_json(document: Any) -> None:
    """The command's one JSON document. Structs and datetimes as msgspec has them; write times with isoformat()."""
    click.echo(msgspec.json.encode(document).decode())


def emit(document: Any, text: str, *, as_json: bool) -> None:
    """The answer: the document with `--json`, else the text for a person (nothing when it is empty)."""
    if as_json:
        emit_json(document)
    elif text:
        click.echo(text)


def on_one_line(text: str) -> str:
    """`text`, which a stranger may have written, as a terminal may be given it: what would break the line, move the cursor or
    turn the direction of writing is shown as `\\n`, `\\x1b`, `\\u202e`."""
    return _COMMANDS_OF_TERMINALS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


_COMMANDS_OF_TERMINALS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns for a person, a line each; None shows as `-`."""
    cells = [list(headers), *([("-" if cell is None else on_one_line(str(cell))) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
