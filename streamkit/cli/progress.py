"""How far a long command is: a bar on a terminal, else a line on stderr every five seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from streamkit.transfer.exporting import Progress

LINE_EVERY_S = 5.0


@contextmanager
def progress_of(unit: str) -> Iterator[Progress]:
    """What is to be told (what is done, how many `unit` so far, how many in all or None), as often as one likes."""
    if not sys.stderr.isatty():
        yield _Lines(unit).tell
        return
    from rich.console import Console  # 50 ms that no other command needs
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}")
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True), auto_refresh=False) as bars:
        tasks = {}
        pace = _Pace()

        def tell(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, rate="")
            bars.update(tasks[what], completed=done, rate=f"{pace.rate(what, done):,.0f} {unit}/s", refresh=True)

        yield tell


class _Pace:
    """How fast each kind of doing goes; several go on at a time."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, float]] = {}

    def rate(self, what: str, done: int) -> float:
        """A second, since the first word of `what`: what was done before, by an interrupted run for one, counts not."""
        done_before, begun_at = self._first.setdefault(what, (done, time.monotonic()))
        return (done - done_before) / max(time.monotonic() - begun_at, 0.001)


class _Lines:
    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._pace = _Pace()
        self._told_at = time.monotonic()

    def tell(self, what: str, done: int, total: int | None) -> None:
        rate = self._pace.rate(what, done)
        if time.monotonic() - self._told_at < LINE_EVERY_S:
            return
        self._told_at = time.monotonic()
        of_all = "" if total is None else f" of {total:,}"
        left = "" if total is None else f", {(total - done) / rate:,.0f} s left" if rate else ""
        click.echo(f"streamkit: {what} {done:,}{of_all} {self._unit}, {rate:,.0f}/s{left}", err=True)
