"""`streamkit generations`: the sets of read models folded from the log, and which of them answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import click
import msgspec

from streamkit.cli.common import EXIT_NOT_DONE, Failure, emit, existing_log, fail, json_option, opened_log, run, table
from streamkit.cli.rebuild import OpenStock
from streamkit.cli.who import Who, os_user, who_options
from streamkit.generations import Generation
from streamkit.rebuilding import Comparison, Stock, Stored
from streamkit.settings import Settings

_generation = click.argument("generation", type=click.IntRange(1))


def generations_commands(open_stock: OpenStock) -> click.Group:
    """The commands; `open_stock` gives what they look at and change."""

    @click.group("generations")
    def generations() -> None:
        """Generations of read models: the live one, those before it, and those that were not promoted yet.

        \b
        Example:
          streamkit generations list
        """

    for command in (
        _list_command(open_stock),
        _compare_command(open_stock),
        _promote_command(open_stock),
        _rollback_command(open_stock),
        _drop_command(open_stock),
    ):
        generations.add_command(command)
    return generations


@asynccontextmanager
async def _opened(open_stock: OpenStock, settings: Settings, who: Who) -> AsyncIterator[Stock]:
    async with existing_log(settings) as log:
        yield await open_stock(log, settings, who)


def _found(stock: Stock, generation: int) -> Generation:
    found = stock.generations.find(generation)
    if found is None:
        raise Failure(f"There is no generation {generation}; `streamkit generations list` shows what there is.")
    return found


def _list_command(open_stock: OpenStock) -> click.Command:
    @click.command("list")
    @click.option("--no-digests", is_flag=True, help="Without digests, which take a second by the million events.")
    @json_option
    def list_(no_digests: bool, as_json: bool) -> None:
        """What there is: positions, versions, size and digest of each.

        \b
        Example:
          streamkit generations list --json
        """

        async def work(settings: Settings) -> list[dict[str, Any]]:
            async with opened_log(settings, create=False) as log:
                stock = await open_stock(log, settings, Who(os_user(), None))
                looked = await stock.look(digests=not no_digests)
                live = stock.generations.live
                return [_document(one, looked[one.id], live) for one in stock.generations.standing]

        rows = run(work, as_json=as_json)
        emit(rows, table(_HEADERS, [_row(row) for row in rows]), as_json=as_json)

    return list_


_HEADERS = ("ID", "LIVE", "STATE", "POSITIONS", "BYTES", "DIGESTS", "CREATED AT", "VERSIONS")


def _document(one: Generation, stored: Stored, live: int) -> dict[str, Any]:
    return {
        "id": one.id,
        "live": one.id == live,
        "state": stored.state,
        "positions": stored.positions,
        "versions": stored.versions or {},
        "bytes": stored.bytes,
        "digests": stored.digests,
        "answers": list(stored.answers),
        "created_at": None if one.started_at is None else one.started_at.isoformat(),
        "created_by": one.by,
    }


def _row(row: dict[str, Any]) -> tuple[object, ...]:
    positions = " ".join(f"{p}:{position}" for p, position in row["positions"].items())
    digests = " ".join(f"{p}:{text}" for p, text in row["digests"].items())
    versions = " ".join(f"{name}:{version}" for name, version in row["versions"].items())
    created = None if row["created_at"] is None else row["created_at"][:19]
    return (
        row["id"],
        "live" if row["live"] else None,
        row["state"],
        positions or None,
        f"{row['bytes']:,}",
        digests or None,
        created,
        versions or None,
    )


def _compare_command(open_stock: OpenStock) -> click.Command:
    @click.command("compare")
    @click.argument("a", type=click.IntRange(1))
    @click.argument("b", type=click.IntRange(1))
    @click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Rows told of each table.")
    @json_option
    def compare(a: int, b: int, limit: int, as_json: bool) -> None:
        """The rows in which two generations differ, at one position: copies of both are folded to it.

        \b
        Exit 1 when they differ.
        Example:
          streamkit generations compare 1 2
        """

        async def work(settings: Settings) -> Comparison:
            async with _opened(open_stock, settings, Who(os_user(), "compare")) as stock:
                _found(stock, a)
                _found(stock, b)
                return await stock.compare(a, b, limit)

        found = run(work, as_json=as_json)
        emit(msgspec.to_builtins(found), _told(found), as_json=as_json)
        if not found.equal:
            fail(
                f"Generations {a} and {b} differ in {found.rows} row{'' if found.rows == 1 else 's'}.",
                EXIT_NOT_DONE,
                as_json=False,
            )

    return compare


def _told(found: Comparison) -> str:
    at = ", ".join(f"{partition}:{position}" for partition, position in found.positions.items())
    if found.equal:
        return f"Generations {found.a} and {found.b} are equal at {at}."
    headers = ("PARTITION", "TABLE", "KEY", f"IN {found.a}", f"IN {found.b}")
    rows = [
        (one["partition"], one["table"], _short(one["key"]), _short(one["a"]), _short(one["b"]))
        for one in found.differences
    ]
    return f"At {at}:\n{table(headers, rows)}"


def _short(row: dict[str, Any] | None) -> str | None:
    if row is None:
        return None
    text = msgspec.json.encode(row).decode()
    return text if len(text) <= 200 else text[:199] + "…"


def _promote_command(open_stock: OpenStock) -> click.Command:
    @click.command("promote")
    @_generation
    @who_options
    @json_option
    def promote(generation: int, who: Who, as_json: bool) -> None:
        """Answer from a generation: partition by partition, when its files have reached the live position.

        \b
        Example:
          streamkit generations promote 2
        """
        _run_promotion(open_stock, generation, who, as_json=as_json)

    return promote


def _rollback_command(open_stock: OpenStock) -> click.Command:
    @click.command("rollback")
    @who_options
    @json_option
    def rollback(who: Who, as_json: bool) -> None:
        """Answer from the generation again that was live before this one.

        \b
        Example:
          streamkit generations rollback --why "wrong totals"
        """
        _run_promotion(open_stock, None, who, as_json=as_json)

    return rollback


def _run_promotion(open_stock: OpenStock, generation: int | None, who: Who, *, as_json: bool) -> None:
    """Promote a generation; None: the one that was live before."""

    async def work(settings: Settings) -> dict[str, Any]:
        async with _opened(open_stock, settings, who) as stock:
            before = stock.generations.live
            chosen = stock.generations.before if generation is None else generation
            if chosen is None:
                raise Failure("No other generation that was live still stands: there is nothing to go back to.")
            _found(stock, chosen)
            await _refuse_unfinished(stock, chosen)
            dropped = await stock.promote(chosen)
            if stock.generations.live != chosen:
                raise Failure(f"Another command promoted generation {stock.generations.live} meanwhile.")
            answered = await stock.answered(chosen)
            return {"live": chosen, "before": before, "dropped": dropped, "answered": answered}

    done = run(work, as_json=as_json)
    lines = [f"Generation {done['live']} is live; before it was {done['before']}."]
    if done["dropped"]:
        lines.append(f"Dropped: {', '.join(map(str, done['dropped']))}.")
    if not done["answered"]:
        lines.append("Not all partitions are answered from it yet: see `streamkit status`.")
    emit(done, "\n".join(lines), as_json=as_json)


async def _refuse_unfinished(stock: Stock, generation: int) -> None:
    state = (await stock.look(digests=False))[generation].state
    if state in ("building", "interrupted"):
        raise Failure(f"Generation {generation} is not whole yet; `streamkit rebuild` goes on with it.")


def _drop_command(open_stock: OpenStock) -> click.Command:
    @click.command("drop")
    @_generation
    @who_options
    @json_option
    def drop(generation: int, who: Who, as_json: bool) -> None:
        """Delete a generation that does not answer, its files and its snapshots; the space is free at once.

        \b
        Example:
          streamkit generations drop 1
        """

        async def work(settings: Settings) -> dict[str, Any]:
            async with _opened(open_stock, settings, who) as stock:
                _found(stock, generation)
                if generation == stock.generations.live:
                    raise Failure(f"Generation {generation} is the live one: promote another one first.")
                stored = (await stock.look(digests=False))[generation]
                if stored.state == "building":
                    raise Failure(f"Generation {generation} is being built: stop that rebuild first.")
                await stock.drop(generation)
                if stock.generations.find(generation) is not None:
                    raise Failure(f"Generation {generation} was promoted meanwhile, and stays.")
                return {"dropped": generation, "bytes": stored.bytes}

        done = run(work, as_json=as_json)
        emit(done, f"Generation {done['dropped']} is dropped; {done['bytes']:,} bytes are free.", as_json=as_json)

    return drop
