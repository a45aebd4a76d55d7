"""Who acts: the name on the command line, else that of the user whose process it is."""

from __future__ import annotations

import getpass
import os

import pytest

from streamkit.cli.who import os_user


def test_the_user_of_the_process() -> None:
    assert os_user() == getpass.getuser()


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("no user name")])
def test_a_user_without_a_name_is_its_number(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert os_user() == f"uid {os.getuid()}"
