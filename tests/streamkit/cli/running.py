"""Run a command of the command line in a folder of its own: in this process, or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from msgspec import Struct

from schemas.errors import Problem
from streamkit.cli.credentials import credentials
from streamkit.credentials import Credentials
from streamkit.directory import Directory
from streamkit.keys import keys_of
from streamkit.log import open_log
from streamkit.settings import load_settings


class Ran(Struct):
    """What a command left behind."""

    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; fails the test when it is not exactly one."""
        return json.loads(self.out)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Nothing of StreamKit's but the given settings and a data folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
    return {**kept, "STREAMKIT_DATA_DIR": str(folder / "data"), **settings}


def invoke(command: click.Command, *arguments: str, folder: Path, **settings: str) -> Ran:
    """In this process. Log handlers that the command set up are taken down again: its stderr is gone by then."""
    handlers, level = logging.root.handlers[:], logging.root.level
    names = [name for name in os.environ if name.startswith("STREAMKIT_")]
    try:
        with contextlib.chdir(folder):
            result = CliRunner(env=dict.fromkeys(names) | environment(folder, **settings)).invoke(command, arguments)
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def start(command: str, *arguments: str, folder: Path, **settings: str) -> subprocess.Popen[str]:
    """As a process: `command` is a module's name in streamkit.cli, whose group has the same name."""
    code = f"from streamkit.cli.{command} import {command} as run; run()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment(folder, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Ran:
    """Wait for a started command."""
    out, err = process.communicate(timeout=30)
    return Ran(process.returncode, out, err)


def issue(folder: Path, *arguments: str) -> dict[str, Any]:
    """`credentials issue` for broadcaster 1."""
    ran = invoke(credentials, "issue", "--user-id", "1", *arguments, "--json", folder=folder)
    assert (ran.exit_code, ran.err) == (0, "")
    found: dict[str, Any] = ran.document
    return found


def answer(folder: Path, issued: dict[str, Any], scope: str = "read") -> str:
    """`ok`, or the code of the refusal, from a process that knows nothing but the folder."""

    async def ask() -> str:
        settings = load_settings(environment(folder), folder)
        log = await open_log(settings.log_url, data_dir=settings.data_dir)
        try:
            directory = Directory()
            await directory.catch_up(log)
            checker = Credentials(directory, keys_of(settings, create=False))
            await checker.check(issued["client_id"], issued["client_secret"], issued["jwt"], scope=scope)
        except Problem as problem:
            return problem.code
        finally:
            await log.close()
        return "ok"

    return asyncio.run(ask())
