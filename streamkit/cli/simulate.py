"""`streamkit simulate`: signed deliveries over real HTTP, and the totals that the API must show for them."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from schemas.event import utc_now
from streamkit.cli.common import EXIT_NOT_DONE, emit, fail, json_option, run
from streamkit.settings import Settings
from streamkit.simulation.delivery import SANDBOX_STREAMER, Delivery
from streamkit.simulation.sender import Sent, check_reachable, send
from streamkit.simulation.totals import totals
from streamkit.simulation.traffic import disturb, traffic


def base_url(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    """The address of an option, without a slash at its end. Raises BadParameter."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter(f"{text!r} is no address; give one like http://127.0.0.1:8080.")
    return text.rstrip("/")


@click.command()
@click.option(
    "--to", "url", required=True, callback=base_url, metavar="URL", help="Where StreamKit (up, or ingest) listens."
)
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Deliveries a second [default: as fast as it takes]."
)
@click.option(
    "--count", type=click.IntRange(1), default=1000, show_default=True, help="Deliveries to send, repeats included."
)
@click.option(
    "--seed", type=int, help="The same seed tells the same story, each run about new people [default: random]."
)
@click.option("--duplicates", type=click.FloatRange(0, 0.9), default=0.0, help="Share of repeats, 0 to 0.9.")
@click.option("--shuffle", type=click.FloatRange(0, 1), default=0.0, help="Share that comes late and out of order.")
@json_option
def simulate(
    url: str, rate: float | None, count: int, seed: int | None, duplicates: float, shuffle: float, as_json: bool
) -> None:
    """Send signed Kick and Twitch deliveries to a StreamKit that runs with STREAMKIT_SANDBOX=1.

    \b
    They are about the sandbox streamer, whom such a StreamKit registers when it starts. A run on an empty log
    gives the API exactly the totals printed; further runs add theirs.
    Example:
      streamkit simulate --to http://127.0.0.1:8080 --count 2000 --rate 200 --seed 7 --duplicates 0.1
    """
    chosen = random.randrange(1_000_000) if seed is None else seed  # noqa: S311 - a story, no secret

    async def work(_settings: Settings) -> Sent:
        await check_reachable(url)
        deliveries = await asyncio.to_thread(story, chosen, count, rate, duplicates, shuffle)
        return await send(url, deliveries, rate=rate)

    sent = run(work, as_json=as_json)
    document = report(sent) | {"seed": chosen, "broadcaster": _broadcaster()}
    emit(document, _text(document), as_json=as_json)
    if not sent.accepted:
        fail(_why_none(sent), EXIT_NOT_DONE, as_json=False)
    if sent.parked:
        click.echo(
            f"streamkit: {sent.parked} deliveries were taken and are not on the log: they wait in the spool while Kafka is "
            "away (`streamkit status`), or as dead letters until the sandbox streamer is registered (`streamkit accounts "
            "list`), which STREAMKIT_SANDBOX=1 does.",
            err=True,
        )


def story(seed: int, count: int, rate: float | None, duplicates: float, shuffle: float) -> list[Delivery]:
    """`count` deliveries from now on, repeats included."""
    again = min(round(count * duplicates), count - 1)
    fresh = count - again
    interval = timedelta(seconds=1 / rate) if rate and rate < 1000 else timedelta(milliseconds=1)
    deliveries = list(islice(traffic(seed, start=utc_now(), interval=interval), fresh))
    return disturb(deliveries, seed, repeated=again, shuffle=shuffle)


def report(sent: Sent) -> dict[str, Any]:
    """What was sent and how it was answered, and the totals that the API must show for it."""
    answered = len(sent.latencies_s)
    return {
        "sent": answered + sent.failed,
        "2xx": sent.accepted,
        "rejected": sent.rejected.total(),
        "rejected_by_status": {str(status): count for status, count in sorted(sent.rejected.items())},
        "failed": sent.failed,
        "parked": sent.parked,
        "rate": round(answered / sent.elapsed_s, 1) if sent.elapsed_s else 0.0,
        "p50_ms": round(sent.percentile_ms(0.50), 2),
        "p99_ms": round(sent.percentile_ms(0.99), 2),
        "totals": msgspec.to_builtins(totals(sent.facts)),
    }


def _broadcaster() -> dict[str, Any]:
    return {
        platform: {"username": person.name, "id": person.id}
        for platform, person in (("kick", SANDBOX_STREAMER.kick), ("twitch", SANDBOX_STREAMER.twitch))
    }


def _text(report: dict[str, Any]) -> str:
    totals = report["totals"]
    return "\n".join(
        (
            f"sent {report['sent']}   2xx {report['2xx']}   rejected {report['rejected']}   failed {report['failed']}",
            f"{report['rate']} a second   p50 {report['p50_ms']} ms   p99 {report['p99_ms']} ms   seed {report['seed']}",
            "",
            "What the API must show for them:",
            *(
                f"  {group}: " + "  ".join(f"{name} {value}" for name, value in numbers.items())
                for group, numbers in totals.items()
            ),
        )
    )


def _why_none(sent: Sent) -> str:
    if sent.failed and not sent.rejected:
        return "No delivery was answered; is it a StreamKit that listens there?"
    return (
        "No delivery was accepted: the sandbox's signatures are trusted only by a StreamKit that runs with "
        "STREAMKIT_SANDBOX=1."
    )
