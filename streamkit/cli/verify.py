"""`streamkit verify`: is what is served what the log says?"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import click

from schemas.dead_letter import LetterHead
from streamkit.cli.common import EXIT_NOT_DONE, emit, existing_log, fail, json_option, run
from streamkit.cli.letters import Closures, read_letters
from streamkit.cli.progress import progress_of
from streamkit.cli.rooms import look_for_rooms
from streamkit.cli.who import os_user
from streamkit.log.protocol import EventLog
from streamkit.settings import Settings
from streamkit.transfer.exporting import Progress

Failed = tuple[LetterHead, bool]
"""A dead letter `fold_failed`, and whether it was redriven."""

Check = Callable[[EventLog, Settings, Sequence[Failed], bool, str, Progress], Coroutine[Any, Any, list[dict[str, Any]]]]
"""(log, settings, failed, whether a projector was seen, who asks, progress): the verdicts on the partitions."""

NICENESS = 10


def verify_command(verification: Callable[[], Check]) -> click.Command:
    """The command; `verification` gives what folds and compares."""

    @click.command("verify")
    @json_option
    def verify(as_json: bool) -> None:
        """Fold the log anew and compare with what is served: exit 1 and the rows that differ when they do.

        \b
        The projectors that run write a copy of what they serve, meanwhile they go on; where none runs, the closed files are
        compared. What was folded anew lies in the data folder until the command ends. Exit 3 when a part is missing.
        Example:
          streamkit verify
        """
        os.nice(NICENESS)

        async def work(settings: Settings) -> list[dict[str, Any]]:
            async with existing_log(settings) as log:
                rooms = (await look_for_rooms(settings, [], log_id=log.log_id))["rooms"]
                runs = any(room["room"] == "projector" and room["up"] for room in rooms)
                with progress_of("events") as progress:
                    return await verification()(log, settings, await _failed(log), runs, os_user(), progress)

        verdicts = run(work, as_json=as_json)
        rows = [
            {"partition": verdict["partition"]} | difference
            for verdict in verdicts
            for difference in verdict.pop("differences")
        ]
        equal = all(verdict["equal"] for verdict in verdicts)
        document = {"equal": equal, "partitions": verdicts, "differences": rows}
        emit(document, _text(verdicts, rows), as_json=as_json)
        if not equal:
            fail("What is served is not what the log says.", EXIT_NOT_DONE, as_json=False)

    return verify


async def _failed(log: EventLog) -> list[Failed]:
    closures = Closures()
    await closures.catch_up(log)
    letters = read_letters(log, closures, lambda entry: None)
    return [(one.head, one.state == "redriven") async for one in letters if one.head.reason == "fold_failed"]


def _text(verdicts: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    lines = []
    for verdict in verdicts:
        where = (
            f"partition {verdict['partition']}, generation {verdict['generation']}, position {verdict['position']:,}"
        )
        what = "as the log says" if verdict["equal"] else f"{verdict['different_rows']:,} rows differ"
        lines.append(f"{where}: {what}")
        if verdict["passed_over"]:
            lines.append(
                f"  {len(verdict['passed_over'])} events are not in it: they could not be folded when they came (dead"
                " letters fold_failed), and this build can fold them. `streamkit dead-letters redrive` or `streamkit"
                " rebuild --promote` counts them."
            )
    for row in rows:
        key = " ".join(f"{name}={value}" for name, value in row["key"].items())
        lines.append(f"\n{row['table']} (partition {row['partition']}, read model {row['model']}): {key}")
        lines += [f"  {side:6}  {_side(row, side)}" for side in ("served", "log")]
    if len(rows) < sum(verdict["different_rows"] for verdict in verdicts):
        lines.append("\nOf each table the first hundred rows are told.")
    return "\n".join(lines)


def _side(row: dict[str, Any], side: str) -> str:
    """What is told of the row there: the columns that differ, or all where the other side has none."""
    one, other = row[side], row["log" if side == "served" else "served"]
    if one is None:
        return "no such row"
    return ", ".join(f"{name}={value}" for name, value in one.items() if other is None or other[name] != value)
