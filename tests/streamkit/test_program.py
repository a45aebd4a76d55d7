"""Ctrl-C while the program is still being imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.streamkit.cli.running import environment

INTERRUPTED_IN_ITS_IMPORTS = """
import os, signal, sys

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
signal.signal(signal.SIGINT, getattr(signal, sys.argv.pop(1)))
from streamkit.program import main
main()
"""


@pytest.mark.parametrize(
    ("handler", "options", "exit_code", "out"),
    [
        ("default_int_handler", ("--json",), 130, '{"error":"Interrupted."}\n'),
        ("default_int_handler", (), 130, ""),
        ("SIG_IGN", ("--json",), 0, "[]\n"),
    ],
    ids=["one document", "for a person", "a background job goes on"],
)
def test_interrupted_in_its_imports(
    tmp_path: Path, handler: str, options: tuple[str, ...], exit_code: int, out: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_ITS_IMPORTS, handler, "tokens", "list", *options],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (exit_code, out), ended.stderr
    assert "Traceback" not in ended.stderr
