"""`streamkit sandbox`: what it prints, and where it does not listen."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.program import Program, run


def test_it_says_where_it_is_and_serves_its_settings(tmp_path: Path) -> None:
    with Program(tmp_path, "sandbox") as sandbox:
        with urllib.request.urlopen(f"{sandbox.url}/sandbox.env") as answer:
            lines = answer.read().decode().splitlines()
        assert "STREAMKIT_SANDBOX=1" in lines
        assert f"STREAMKIT_KICK_API_URL={sandbox.url}" in lines


@pytest.mark.parametrize(
    "arguments", [("--host", "0.0.0.0"), ("--streamkit", "https://example.com"), ("--streamkit", "nowhere")]
)
def test_it_stays_on_this_machine(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = run(tmp_path, "sandbox", "--port", "0", "--json", *arguments)
    assert ran.returncode == 2
    assert json.loads(ran.stdout)["error"]
