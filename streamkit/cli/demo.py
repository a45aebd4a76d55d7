"""`streamkit demo`: the whole pipeline with a sandbox streamer, simulated traffic and the API's answers, live."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import click

from schemas.event import utc_now
from streamkit import telemetry
from streamkit.cli.common import json_option
from streamkit.cli.control import opened_accounts
from streamkit.cli.served import Output, run_served
from streamkit.cli.simulate import report
from streamkit.credentials import SCOPES
from streamkit.issuing import issue_client, issue_token
from streamkit.keys import keys_of
from streamkit.lifecycle import Start, Watch, run_until_signalled
from streamkit.settings import Settings, load_settings
from streamkit.simulation.delivery import Delivery
from streamkit.simulation.sandbox import register_sandbox
from streamkit.simulation.sender import Sent, send
from streamkit.simulation.traffic import traffic

if TYPE_CHECKING:
    from streamkit.cli.demo_platforms import DemoPlatforms
    from streamkit.cli.demo_view import Access, DemoView

HOST = "127.0.0.1"
DEFAULT_PORT = 8080
RATE = 40.0
REPEATED = 0.05
CHAPTER_S = 240
"""So long is one simulated stream; then the next begins, on the clock again (Twitch's deliveries age in 10 minutes)."""
REFRESH_S = 0.5

StartUp = Callable[[Settings, str, int, Watch], Start]


def demo_command(start_up: StartUp) -> click.Command:
    """The command; `start_up` starts all rooms."""

    @click.command("demo")
    @click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End by itself [default: at Ctrl-C].")
    @click.option(
        "--port", type=click.IntRange(0, 65535), help=f"[default: {DEFAULT_PORT}, or a free one when it is taken]"
    )
    @json_option
    def demo(seconds: float | None, port: int | None, as_json: bool) -> None:
        """Show the whole pipeline at work: nothing to set up, nothing kept.

        \b
        All rooms run in this process on a fresh data folder; simulated streams of Kick and Twitch arrive as signed
        webhooks over HTTP; a table shows what was sent beside what the API answers. With --json the table is on
        stderr, and the totals of both sides at the end are the document.
        Example:
          streamkit demo --seconds 30
        """
        chosen = port if port is not None else _free_or_default()
        with tempfile.TemporaryDirectory(prefix="streamkit-demo-") as folder:
            output = Output(as_json=as_json)
            run_served(lambda: _demo(start_up, Path(folder), chosen, seconds, output), output)

    return demo


async def _demo(start_up: StartUp, folder: Path, port: int, seconds: float | None, output: Output) -> None:
    from streamkit.cli.demo_platforms import demo_platforms
    from streamkit.cli.demo_view import DemoView

    telemetry.configure_logs("ERROR")
    sent = Sent()
    async with demo_platforms(sent.facts) as platforms:
        # The caller's environment and .env are left aside: the demo is the embedded default, whatever is set here.
        settings = load_settings({"STREAMKIT_DATA_DIR": str(folder), **platforms.settings}, folder)
        access = await _issue_access(settings, platforms)
        watch = Watch()
        up = start_up(settings, HOST, port, watch)
        view = DemoView(access, sys.stderr if output.as_json else sys.stdout, folder)

        async def start(stack: AsyncExitStack) -> str:
            url = await up(stack)
            platforms.deliver_to(url)
            stack.enter_context(view.showing(url))
            stop = asyncio.Event()
            sending = asyncio.create_task(send(url, _endless(stop, platforms), rate=RATE, connections=8, into=sent))
            stack.push_async_callback(_finish, view, sent, stop, sending)
            watch.start(stack, "view", _refresh(view, sent))
            return url

        await run_until_signalled(start, view.ready, watch=watch, for_s=seconds)
    if output.as_json and view.overview is not None:
        output.tell(report(sent) | {"overview": view.overview, "agrees": view.agrees}, "")


async def _issue_access(settings: Settings, platforms: DemoPlatforms) -> Access:
    from streamkit.cli.demo_view import Access

    keys = keys_of(settings, create=True)
    async with opened_accounts(settings, create=True) as accounts:
        user_id = await register_sandbox(accounts.log, accounts.directory)
        await platforms.connect(settings, accounts, user_id)
        client = issue_client(keys, user_id, SCOPES, at=utc_now())
        token = issue_token(
            keys,
            user_id=user_id,
            client_id=client.record.client_id,
            scopes=client.record.scopes,
            lifetime=timedelta(days=1),
            at=utc_now(),
        )
        await accounts.change(client.record, token.record)
    return Access(client.record.client_id, client.client_secret, token.jwt)


def _endless(stop: asyncio.Event, platforms: DemoPlatforms) -> Iterator[Delivery]:
    """One simulated stream after the other, some deliveries twice, until `stop`."""
    chance = random.Random()  # noqa: S311 - a story, no secret
    while True:
        interval = timedelta(seconds=1 / RATE)
        chapter = traffic(chance.randrange(1_000_000), start=utc_now(), interval=interval)
        for delivery in islice(chapter, int(RATE * CHAPTER_S)):
            platforms.mirror(delivery)
            for _ in range(2 if chance.random() < REPEATED else 1):
                if stop.is_set():
                    return
                yield delivery


async def _refresh(view: DemoView, sent: Sent) -> None:
    async with aiohttp.ClientSession() as http:
        while True:
            await view.refresh(http, sent)
            await asyncio.sleep(REFRESH_S)


async def _finish(view: DemoView, sent: Sent, stop: asyncio.Event, sending: asyncio.Task[Sent]) -> None:
    """Let the last deliveries be answered, and show the numbers once they are all in."""
    stop.set()
    await sending
    async with aiohttp.ClientSession() as http:
        for _ in range(20):
            await view.refresh(http, sent, last=True)
            if view.agrees:
                break
            await asyncio.sleep(0.1)


def _free_or_default() -> int:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, DEFAULT_PORT))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return 0
    return DEFAULT_PORT
