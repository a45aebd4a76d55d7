"""A folder to run commands in."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamkit.cli.accounts import accounts
from tests.streamkit.cli.running import invoke


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With broadcaster 1."""
    assert invoke(accounts, "add", "--name", "N", folder=tmp_path).exit_code == 0
    return tmp_path
