"""The command line, and the one place that knows all rooms: it puts them together and starts them in order.

A room's modules are imported when its command runs, so that the small commands stay quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from aiohttp import web
from msgspec import Struct

from schemas.control import SnapshotWanted
from schemas.dead_letter import DeadLetter
from streamkit import addresses, lifecycle, telemetry
from streamkit.cli.accounts import accounts
from streamkit.cli.common import command_settings, json_option, run_program
from streamkit.cli.credentials import credentials
from streamkit.cli.dead_letters import dead_letters
from streamkit.cli.demo import demo_command
from streamkit.cli.drift import Reads, drift_command
from streamkit.cli.generations import generations_commands
from streamkit.cli.log import log
from streamkit.cli.rebuild import Told, rebuild_command
from streamkit.cli.redrive import redrive_command
from streamkit.cli.rooms import projector_ports
from streamkit.cli.sandbox import sandbox
from streamkit.cli.served import Output, run_served
from streamkit.cli.settings import settings as settings_command
from streamkit.cli.simulate import simulate
from streamkit.cli.status import status
from streamkit.cli.subscriptions import subscriptions
from streamkit.cli.tokens import tokens
from streamkit.cli.transfer import export_command, import_command
from streamkit.cli.verify import Check, verify_command
from streamkit.cli.who import Who
from streamkit.health import add_health_routes
from streamkit.keys import keys_of
from streamkit.lifecycle import Start, Watch, run_until_signalled
from streamkit.log.protocol import EVENTS, EventLog
from streamkit.log.shares import Sole, Tenure
from streamkit.parts import Parts, account_reasons, open_parts, soft_reasons
from streamkit.readiness import Health
from streamkit.rebuilding import Rebuilding, Stock
from streamkit.redrive import Anew
from streamkit.settings import Settings, check_listen
from streamkit.simulation.signing import SANDBOX_TWITCH_SECRET, sandbox_kick_public_key

if TYPE_CHECKING:
    from api.app import ApiRoom
    from ingest.app import IngestRoom
    from projector.run import Projector
    from streamkit.reads import ReadModels
    from streamkit.transfer.portable import Sink, Source


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="streamkit", message="streamkit %(version)s")
def cli() -> None:
    """StreamKit: every event of Kick and Twitch on one log, and the numbers folded from it over one API.

    \b
    Examples:
      streamkit up
      streamkit accounts add --name Streamer --kick streamer_name:84635624
      streamkit credentials issue --user-id 1
    """


class Place(Struct, frozen=True):
    """Where a process listens, and which rooms it serves."""

    rooms: tuple[str, ...]
    host: str
    port: int


async def _ingest(stack: AsyncExitStack, parts: Parts, watch: Watch) -> IngestRoom:
    from ingest.app import IngestRoom
    from ingest.connect import Connect
    from ingest.kick_keys import KickKeys
    from ingest.outreach import start_outreach

    settings = parts.settings
    secrets = [settings.twitch_webhook_secret, settings.twitch_webhook_secret_previous]
    trusted: tuple[str, ...] = ()
    if settings.sandbox:
        secrets.append(SANDBOX_TWITCH_SECRET)
        trusted = (sandbox_kick_public_key(),)
    room = IngestRoom(
        parts.log,
        parts.directory,
        parts.soft,
        parts.front,
        timezone=settings.timezone,
        twitch_secrets=tuple(secret for secret in secrets if secret is not None),
        kick_keys=KickKeys(
            settings.kick_public_key,
            f"{settings.kick_api_url}/public/v1/public-key",
            kept=settings.data_dir / "kick-public-key.json",
            also_trusted=trusted,
        ),
        kick_webhook_token=settings.kick_webhook_token,
        dead_letter_max_bytes=settings.dead_letter_max_bytes,
        standby=parts.standby,
        spool_max_bytes=settings.spool_max_bytes,
        connect=Connect(settings, parts.keys, parts.log, parts.directory, parts.platforms),
    )
    await room.start()
    stack.push_async_callback(room.close)
    watch.start(stack, "drain of the spool", room.drain())
    watch.start(stack, "count of dead letters", room.letters.count())
    start_outreach(stack, watch, parts, room)
    return room


async def _projector(
    stack: AsyncExitStack, parts: Parts, watch: Watch, *, shares: bool = False
) -> tuple[Projector, Tenure, Callable[[], list[str]]]:
    """The projector, by what right it answers, and what is not as it should be. `shares`: with others over Kafka."""
    from projector.commands import Commands
    from projector.folder import folder_held
    from projector.sharing import share_partitions
    from projector.succeeding import keep_current, projector_of
    from projector.wanted import Wanted

    name = stack.enter_context(folder_held(parts.settings.data_dir))
    commands = Commands(parts.log, parts.copy)
    projector, succession = projector_of(commands, parts.log, parts.settings, () if shares else None)
    stack.push_async_callback(projector.close)
    projector.on_change(parts.soft.publish)
    tenure: Tenure = Sole()
    reasons: Callable[[], list[str]] = list
    if shares:
        tenure, reasons = share_partitions(stack, watch, projector, parts.settings, name, commands.ready)
    wanted = Wanted(projector, parts.settings.snapshot_dir, tenure)
    stack.push_async_callback(wanted.close)
    commands.on(SnapshotWanted, wanted.on_wanted)
    watch.start(stack, "commands", commands.follow())
    await projector.start()
    behind = await keep_current(stack, watch, parts.log, projector, succession, parts.settings)
    return projector, tenure, lambda: [*reasons(), *behind()]


async def _api(stack: AsyncExitStack, parts: Parts, reads: ReadModels) -> ApiRoom:
    from api.app import ApiRoom
    from api.changing import Changing

    changing = Changing(parts.log, parts.directory, parts.soft, parts.platforms)
    timezone = parts.settings.timezone
    room = ApiRoom(reads, parts.directory, parts.soft, parts.front, timezone=timezone, changing=changing)
    await room.start()
    stack.push_async_callback(room.close)
    return room


async def _serve(stack: AsyncExitStack, parts: Parts, app: web.Application, place: Place, health: Health) -> str:
    add_health_routes(app, ready=health.readiness, token=parts.token, rooms=place.rooms, log_id=parts.log.log_id)
    server = await lifecycle.serve(app, place.host, place.port)
    stack.push_async_callback(server.close)
    stack.callback(health.drain)
    process = addresses.Process(place.rooms, server.url, parts.keys.key_ids)
    stack.enter_context(addresses.announced(parts.settings.data_dir, process))
    lifecycle.spare_what_stands()
    log_url, log_id, data_dir = parts.settings.log_url, parts.log.log_id, str(parts.settings.data_dir)
    where = {"url": server.url, "log": log_url, "log_id": log_id, "data_dir": data_dir}
    telemetry.info("started", rooms=place.rooms, **where, version=version("streamkit"))
    return server.url


def start_up(settings: Settings, place: Place, watch: Watch) -> Start:
    """All rooms in one process, on one port."""
    keys = keys_of(settings, create=True)

    async def start(stack: AsyncExitStack) -> str:
        from projector.read_port import add_routes

        parts = await open_parts(stack, settings, keys, watch, takes_deliveries=True)
        projector, _, behind = await _projector(stack, parts, watch)
        api = await _api(stack, parts, projector.reads)
        ingest = await _ingest(stack, parts, watch)
        app = web.Application()
        api.add_routes(app)
        ingest.add_routes(app)
        add_routes(app, projector, parts.token)
        reasons = (account_reasons(parts), soft_reasons(parts.soft), ingest.readiness, api.readiness, behind)
        health = Health(*reasons, ingest=ingest, projector=projector)
        return await _serve(stack, parts, app, place, health)

    return start


def _start_ingest(settings: Settings, place: Place, watch: Watch) -> Start:
    keys = keys_of(settings, create=False)

    async def start(stack: AsyncExitStack) -> str:
        parts = await open_parts(stack, settings, keys, watch, takes_deliveries=True)
        room = await _ingest(stack, parts, watch)
        app = web.Application()
        room.add_routes(app)
        health = Health(account_reasons(parts), soft_reasons(parts.soft), room.readiness, ingest=room)
        return await _serve(stack, parts, app, place, health)

    return start


def _start_projector(settings: Settings, place: Place, watch: Watch) -> Start:
    keys = keys_of(settings, create=False)

    async def start(stack: AsyncExitStack) -> str:
        from projector.read_port import add_routes

        parts = await open_parts(stack, settings, keys, watch)
        shares = settings.log_url.startswith("kafka://")
        projector, tenure, reasons = await _projector(stack, parts, watch, shares=shares)
        app = web.Application(client_max_size=1 << 20)
        add_routes(app, projector, parts.token, tenure)
        return await _serve(stack, parts, app, place, Health(soft_reasons(parts.soft), reasons, projector=projector))

    return start


def _start_api(settings: Settings, place: Place, watch: Watch) -> Start:
    keys = keys_of(settings, create=False)

    async def start(stack: AsyncExitStack) -> str:
        from api.remote import RemoteReadModels

        parts = await open_parts(stack, settings, keys, watch)
        urls = settings.projector_urls or (addresses.DEFAULT_PROJECTOR_URL,)
        reads = RemoteReadModels(urls, parts.token, partitions=parts.log.partitions(EVENTS), log_id=parts.log.log_id)
        stack.push_async_callback(reads.close)
        await reads.start()
        room = await _api(stack, parts, reads)
        app = web.Application()
        room.add_routes(app)
        return await _serve(stack, parts, app, place, Health(account_reasons(parts), room.readiness))

    return start


Room = Callable[[Settings, Place, Watch], Start]

ROOMS: tuple[tuple[str, tuple[str, ...], Room, int, str], ...] = (
    ("up", ("ingest", "projector", "api"), start_up, 8080, "All rooms in one process: the whole of StreamKit."),
    ("ingest", ("ingest",), _start_ingest, 8081, "The ingest room alone: webhooks in, events onto the log."),
    ("projector", ("projector",), _start_projector, 8082, "The projector alone: the log folded; its read port."),
    ("api", ("api",), _start_api, 8080, "The api room alone; it asks the projectors of STREAMKIT_PROJECTOR_URLS."),
)


def _room_command(name: str, rooms: tuple[str, ...], room: Room, default_port: int, what: str) -> click.Command:
    def command(host: str | None, port: int | None, as_json: bool) -> None:
        _run_room(rooms, room, default_port, host, port, Output(as_json=as_json))

    options = [
        click.Option(["--host"], help="Where to listen [default: STREAMKIT_HOST, 127.0.0.1]."),
        click.Option(
            ["--port"],
            type=click.IntRange(0, 65535),
            help=f"0 picks a free one [default: STREAMKIT_PORT, {default_port}].",
        ),
    ]
    example = f"\b\nExample:\n  streamkit {name} --port {default_port}"
    told = f"{what} Prints `ready URL` on stdout when it serves; SIGTERM and Ctrl-C drain and stop it.\n\n{example}"
    return json_option(click.Command(name, callback=command, params=list(options), help=told, short_help=what))


def _run_room(
    rooms: tuple[str, ...], room: Room, default_port: int, host: str | None, port: int | None, output: Output
) -> None:
    async def work() -> None:
        settings = command_settings()
        chosen = host or settings.host
        check_listen(settings, chosen)
        place = Place(rooms, chosen, next(p for p in (port, settings.port, default_port) if p is not None))
        watch = Watch()
        await run_until_signalled(room(settings, place, watch), output.ready, watch=watch)
        telemetry.info("stopped", rooms=rooms)

    run_served(work, output)


def _start_demo(settings: Settings, host: str, port: int, watch: Watch) -> Start:
    return start_up(settings, Place(ROOMS[0][1], host, port), watch)


def _look_anew(letter: DeadLetter, broadcaster_of: Callable[[str, str], int | None]) -> Anew:
    if letter.reason == "fold_failed":
        from projector import redrive as folding

        return folding.look_anew(letter)
    from ingest import redrive as decoding

    return decoding.look_anew(letter, broadcaster_of)


dead_letters.add_command(redrive_command(_look_anew))


def _parquet_sink(folder: Path) -> Sink:
    from projector.parquet import ParquetSink

    return ParquetSink(folder)


def _parquet_source(folder: Path) -> Source:
    from projector.parquet import ParquetSource

    return ParquetSource(folder)


async def _rebuild(
    log: EventLog, settings: Settings, who: Who, *, promote: bool, workers: int | None, told: Told
) -> Rebuilding:
    from projector.rebuild import rebuild
    from projector.succeeding import plan_of

    plan = plan_of(settings, by=who.by, why=who.why, workers=workers)
    return await rebuild(log, plan, promote=promote, told=told)


async def _stock(log: EventLog, settings: Settings, who: Who) -> Stock:
    from projector.stock import files_of
    from projector.succeeding import plan_of

    return await files_of(log, plan_of(settings, by=who.by, why=who.why), *projector_ports(settings))


def _verification() -> Check:
    from projector.verify import check

    return check


def _reads(urls: Sequence[str], token: str, log: EventLog) -> Reads:
    from api.remote import RemoteReadModels

    return RemoteReadModels(urls, token, partitions=log.partitions(EVENTS), log_id=log.log_id)


log.add_command(export_command(_parquet_sink))
log.add_command(import_command(_parquet_source))
cli.add_command(rebuild_command(_rebuild, _stock))
cli.add_command(generations_commands(_stock))
for _entry in ROOMS:
    cli.add_command(_room_command(*_entry))
for _command in (
    demo_command(_start_demo),
    accounts,
    credentials,
    tokens,
    log,
    dead_letters,
    status,
    verify_command(_verification),
    drift_command(_reads),
    simulate,
    subscriptions,
    sandbox,
    settings_command,
):
    cli.add_command(_command)


def main() -> NoReturn:
    """The `streamkit` program."""
    run_program(cli, sys.argv[1:])


if __name__ == "__main__":
    main()
