"""`streamkit status`: the truth about every room, the log, the lag and what was lost or parked."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import click

from schemas.errors import UNREADABLE, LogUnavailable
from schemas.event import decode_event, utc_now
from schemas.kinds import OWN_KINDS
from streamkit.cli.common import EXIT_UNREACHABLE, emit, fail, json_option, opened_log, run, table
from streamkit.cli.letters import Closures, read_letters
from streamkit.cli.records import read_to_end, say_unreadable
from streamkit.cli.rooms import look_for_rooms
from streamkit.directory import Directory
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import DEAD_LETTERS, EVENTS, EventLog
from streamkit.platforms.connections import connections_of
from streamkit.platforms.vault import Vault
from streamkit.settings import Settings
from streamkit.standby import count_left_behind

LOOK_BACK = 1000
"""Records at the end of each partition in which the last event of a platform is looked for."""


@click.command()
@click.option("--at", "urls", multiple=True, metavar="URL", help="Look for rooms at this address too.")
@json_option
def status(urls: tuple[str, ...], as_json: bool) -> None:
    """Every room: up or not; log ends, positions, lag, spool, dead letters, the last event of each platform.

    Duplicates, and what the settling of each read model took, are counted from each process's start on.

    \b
    Rooms are looked for at the addresses that processes left in the data folder, at STREAMKIT_PROJECTOR_URLS,
    at the default ports of this machine, and at each --at. Exit 3 when the log does not answer.
    Example:
      streamkit status
    """

    async def work(settings: Settings) -> dict[str, Any]:
        log_id = None
        try:
            async with opened_log(settings, create=False) as log:
                told = await _log(log)
                log_id = None if isinstance(log, MemoryLog) else log.log_id  # where there is none, any may be meant
        except LogUnavailable as away:
            told = {"log": {"error": str(away)}}
        rooms = await look_for_rooms(settings, [url.rstrip("/") for url in urls], log_id=log_id)
        return rooms | {"spool_left_behind": await count_left_behind(settings.data_dir)} | told

    document = run(work, as_json=as_json)
    emit(document, _text(document), as_json=as_json)
    if "error" in document["log"]:
        fail(document["log"]["error"], EXIT_UNREACHABLE, as_json=False)


async def _log(log: EventLog) -> dict[str, Any]:
    info = await log.info()
    ends: dict[str, dict[str, int]] = {}
    for partition in info:
        ends.setdefault(partition.topic, {})[str(partition.partition)] = partition.end
    (letters,) = [partition for partition in info if partition.topic == DEAD_LETTERS]
    by_reason = await _open_letters(log)
    return {
        "log": {"log_id": log.log_id, "ends": ends},
        "dead_letters": {
            "open": by_reason.total(),
            "by_reason": dict(by_reason),
            "count": letters.end - letters.start,
            "bytes": letters.size_bytes,
        },
        "last_event_at": await _last_events(log),
        "connections": await _connections(log),
    }


async def _connections(log: EventLog) -> list[dict[str, Any]]:
    """Who is connected by tokens; with `needs_reconnect`, since when."""
    directory, vault = Directory(), Vault(log)
    await directory.catch_up(log)
    await vault.catch_up()
    return [
        {
            "user_id": one.user_id,
            "platform": one.platform,
            "state": one.state,
            "since": (one.granted_at if one.state == "connected" else one.changed_at).isoformat(timespec="seconds"),
        }
        for one in connections_of(vault.records, directory).values()
    ]


async def _open_letters(log: EventLog) -> Counter[str]:
    """How many by reason. `dead-letters list` names the records that are none; here they are passed over."""
    closures = Closures()
    await closures.catch_up(log)
    letters = read_letters(log, closures, lambda entry: None)
    return Counter([letter.head.reason async for letter in letters if letter.closed is None])


async def _last_events(log: EventLog) -> dict[str, str | None]:
    """When the last event was delivered by each platform, and (`streamkit`) from a bot or a dashboard, as far as
    LOOK_BACK reaches. By the id: what a bot tells of a Kick viewer came from no webhook."""
    last: dict[str, str | None] = {"kick": None, "twitch": None}
    for partition, end in enumerate(await log.ends(EVENTS)):
        async for entry in read_to_end(log, EVENTS, partition, max(0, end - LOOK_BACK)):
            try:
                event = decode_event(entry.value)
            except UNREADABLE:
                say_unreadable(EVENTS, entry)
                continue
            if event.type in OWN_KINDS:
                continue  # a poll goes on while no delivery comes
            at = event.received_at.isoformat()
            source = event.event_id.partition(":")[0]
            last[source] = max(last.get(source) or "", at)
    return last


def _folded(partition: dict[str, Any] | None) -> tuple[Any, ...]:
    """What a projector tells of a partition: where it is, how far behind, what its file and its newest snapshot are, and
    which projector that is."""
    if partition is None:
        return (None,) * 7
    made_at = partition["snapshot_made_at"]
    age_s = None if made_at is None else (utc_now() - datetime.fromisoformat(made_at)).total_seconds()
    return (
        partition["position"],
        partition["lag_events"],
        f"{partition['lag_s']:.1f} s",
        partition["generation"],
        partition["file_bytes"],
        None if age_s is None else f"{age_s:.0f} s ago",
        partition["owner"],
    )


def _text(document: dict[str, Any]) -> str:
    words = {False: "down", None: "unknown"}
    rows = [
        (one["room"], one["status"] or words[one["up"]], one["url"], "; ".join(one["reasons"]))
        for one in document["rooms"]
    ]
    lines = [table(("ROOM", "STATUS", "ADDRESS", "WHY"), rows), ""]
    if spool := document["spool"]:
        waiting = f" ({spool['bytes']} bytes), the oldest for {spool['oldest_s']:.0f} s" if spool["events"] else ""
        lines.append(f"spool           {spool['events']} events{waiting}")
    if left := document["spool_left_behind"]:
        lines.append(
            f"spool           {left} events here that no process sees to: start `ingest` or `up` over their log"
        )
    if "error" not in document["log"]:
        ends = document["log"]["ends"][EVENTS]
        partitions = document["partitions"] or {}
        rows = [(p, end, *_folded(partitions.get(p))) for p, end in ends.items()]
        headers = ("PARTITION", "LOG END", "FOLDED TO", "BEHIND", "OLDEST", "GENERATION", "BYTES", "SNAPSHOT", "OWNER")
        lines += [table(headers, rows), ""]
        if document["lag_events"] is not None:
            lines.append(f"lag             {document['lag_events']} events, {document['lag_s']:.1f} s")
        if since := document["since_start"]:
            lines.append("duplicates      {at_intake} at intake, {in_fold} in the fold".format(**since["duplicates"]))
            spent = [f"{model} {seconds:.1f} s" for model, seconds in since["settling_s"].items() if seconds >= 0.05]
            lines.append(f"settling took   {', '.join(spent) or '-'}")
        letters = document["dead_letters"]
        why = "".join(f", {number} {reason}" for reason, number in letters["by_reason"].items())
        size = "" if letters["bytes"] is None else f" ({letters['bytes']} bytes)"
        lines.append(f"dead letters    {letters['open']} open{why}; {letters['count']} kept{size}")
        lines += [f"{f'last {name}':14}  {at or '-'}" for name, at in document["last_event_at"].items()]
        connections = document["connections"]
        again = [one for one in connections if one["state"] == "needs_reconnect"]
        lines.append(f"connections     {len(connections) - len(again)} connected, {len(again)} need reconnect")
        lines += [
            f"needs reconnect {one['platform']} of user {one['user_id']} since {one['since']}: "
            f"streamkit accounts connect --user-id {one['user_id']} --platform {one['platform']}"
            for one in again
        ]
    return "\n".join(lines)
