"""`streamkit sandbox`: a Kick and a Twitch on this machine, to try StreamKit on without any account."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import click

from schemas.errors import BadSettings
from streamkit import lifecycle, telemetry
from streamkit.cli.common import json_option
from streamkit.cli.served import Output, run_served
from streamkit.cli.simulate import base_url
from streamkit.lifecycle import run_until_signalled
from streamkit.setting_values import is_loopback

HOST = "127.0.0.1"
DEFAULT_PORT = 8090
STREAMKIT_URL = "http://127.0.0.1:8080"


@click.command("sandbox")
@click.option("--host", default=HOST, show_default=True, help="Where to listen; an address of this machine alone.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 picks one.")
@click.option(
    "--streamkit",
    "streamkit_url",
    default=STREAMKIT_URL,
    show_default=True,
    callback=base_url,
    metavar="URL",
    help="Where StreamKit (up, or ingest) takes Kick's webhooks.",
)
@json_option
def sandbox(host: str, port: int, streamkit_url: str, as_json: bool) -> None:
    """Serve a fake Kick and a fake Twitch, and print the settings that point StreamKit at them.

    \b
    Connect, subscriptions, events, tokens and stream-info work there as on the platforms; nothing is kept.
    Its page (the address printed) makes things happen: a stream starts, somebody follows, a title changes.
    Example:
      streamkit sandbox
      curl -s http://127.0.0.1:8090/sandbox.env >.env && streamkit up
    """
    output = Output(as_json=as_json)
    run_served(lambda: _serve(host, port, streamkit_url, output), output)


async def _serve(host: str, port: int, streamkit_url: str, output: Output) -> None:
    from streamkit.sandbox.app import Sandbox
    from streamkit.sandbox.postman import is_on_this_machine

    if not is_loopback(host):
        raise BadSettings(
            f"The sandbox believes everybody, so --host must be 127.0.0.1, ::1 or localhost, not {host!r}."
        )
    if not is_on_this_machine(streamkit_url):
        raise BadSettings(f"The sandbox delivers to this machine only, so --streamkit cannot be {streamkit_url!r}.")
    telemetry.configure_logs("ERROR")
    platforms = Sandbox(webhook_url=f"{streamkit_url}/webhooks/kick")

    async def start(stack: AsyncExitStack) -> str:
        server = await lifecycle.serve(platforms.build_app(), host, port, grace_s=2.0)
        stack.push_async_callback(server.close)
        return server.url

    def ready(url: str) -> None:
        settings = platforms.settings(url)
        document: dict[str, Any] = {"ready": url, "settings": settings}
        output.tell(document, f"ready {url}\n{_told(url, settings)}")

    await run_until_signalled(start, ready)


def _told(url: str, settings: dict[str, str]) -> str:
    lines = "\n".join(f"{name}={value}" for name, value in settings.items())
    return f"""
The settings for StreamKit, in the folder where it runs: curl -s {url}/sandbox.env >.env

{lines}

Make something happen on the platforms: open {url} in a browser."""
