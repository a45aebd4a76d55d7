"""`streamkit rebuild`: a new generation of read models, folded beside the live one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import click

from streamkit.cli.common import emit_json, existing_log, json_option, run
from streamkit.cli.progress import progress_of
from streamkit.cli.who import Who, who_options
from streamkit.log.protocol import EventLog
from streamkit.rebuilding import Rebuilding, Stock
from streamkit.settings import Settings

LINE_EVERY_S = 0.5

Told = Callable[[Rebuilding], None]


class Rebuild(Protocol):
    """Folds a new generation; what it came to. Raises RebuildFailed, LogUnavailable."""

    async def __call__(
        self, log: EventLog, settings: Settings, who: Who, *, promote: bool, workers: int | None, told: Told
    ) -> Rebuilding:
        """`told` hears how far it is."""


class OpenStock(Protocol):
    """The generations of a log, and what a command does with them."""

    async def __call__(self, log: EventLog, settings: Settings, who: Who) -> Stock:
        """Raises LogUnavailable."""


def rebuild_command(rebuild: Rebuild, open_stock: OpenStock) -> click.Command:
    """The command; `rebuild` does it, `open_stock` tells when it has come to be answered from."""

    @click.command("rebuild")
    @click.option("--promote", is_flag=True, help="Answer from it when it is whole.")
    @click.option(
        "--workers",
        type=click.IntRange(1, 64),
        help="Partitions folded at a time [default: processors less one, at least 1].",
    )
    @who_options
    @json_option
    def rebuild_(promote: bool, workers: int | None, who: Who, as_json: bool) -> None:
        """Fold the log into a new generation of read models, while the live one is folded and answered on.

        \b
        It gives way to everything else on the machine. Ctrl-C or kill -9: the same command goes on where it was.
        With --json a line twice a second; the last has "done": true.
        Example:
          streamkit rebuild --promote
        """

        async def work(settings: Settings) -> tuple[Rebuilding, bool]:
            with _shown(as_json=as_json) as told:
                async with existing_log(settings) as log:
                    done = await rebuild(log, settings, who, promote=promote, workers=workers, told=told)
                    answered = promote and await (await open_stock(log, settings, who)).answered(done.generation)
            return done, answered

        done, answered = run(work, as_json=as_json)
        if as_json:
            emit_json(done)
            return
        click.echo(
            f"Generation {done.generation} holds {done.events:,} events: {done.folded:,} folded in {done.took_s:,.1f} s, "
            f"{done.events_per_s:,} a second."
        )
        click.echo(_next(done, promoted=promote, answered=answered))

    return rebuild_


def _next(done: Rebuilding, *, promoted: bool, answered: bool) -> str:
    if not promoted:
        return f"Next: streamkit generations promote {done.generation}"
    if answered:
        return "It is the live one."
    return "It was promoted, and not all partitions are answered from it yet: see `streamkit status`."


@contextmanager
def _shown(*, as_json: bool) -> Iterator[Told]:
    if as_json:
        yield _Lines().tell
        return
    with progress_of("events") as tell:

        def told(state: Rebuilding) -> None:
            for partition, share in state.partitions.items():
                tell(f"partition {partition}:", share.position, share.end)

        yield told


class _Lines:
    """JSON lines on stdout, not too many."""

    def __init__(self) -> None:
        self._told_at_s = float("-inf")

    def tell(self, state: Rebuilding) -> None:
        """One more, unless there was one a moment ago."""
        if time.monotonic() - self._told_at_s >= LINE_EVERY_S:
            self._told_at_s = time.monotonic()
            emit_json(state)
