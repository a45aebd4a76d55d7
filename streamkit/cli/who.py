"""Who acts and why: told by every command whose effect is an operator's event on the control topic."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from msgspec import Struct

_LONGEST = 500


class Who(Struct, frozen=True):
    """Who acts, and why (None: not told)."""

    by: str
    why: str | None


def who_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--by` (the user of this machine unless given) and `--why`, as the one argument `who`."""

    @click.option("--by", default=os_user, callback=_text, metavar="NAME", help="Who does it [default: the OS user].")
    @click.option("--why", callback=_text, metavar="TEXT", help="Why, for those who read it later.")
    @wraps(command)
    def told(*, by: str | None, why: str | None, **rest: Any) -> None:
        if by is None:
            raise click.UsageError("--by needs a name.")
        command(who=Who(by, why), **rest)

    return told


def os_user() -> str:
    """The name of the user that this process runs as; its number where it has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _text(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    text = (value or "").strip()
    if len(text) > _LONGEST:
        raise click.BadParameter(f"It has {len(text)} characters and may have {_LONGEST}.", ctx, param)
    return text or None
