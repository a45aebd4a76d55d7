"""A deployment to measure: a data folder of its own, the sandbox streamer, credentials, signed deliveries."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from bench.processes import ROOT, request_bytes
from streamkit.simulation.delivery import SANDBOX_STREAMER
from streamkit.simulation.signing import SANDBOX_TWITCH_SECRET, sandbox_kick_public_key
from streamkit.simulation.traffic import traffic


class Deployment:
    """Settings of one data folder. Use `register` before the rooms are started."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.env = {
            "STREAMKIT_DATA_DIR": str(data_dir),
            "STREAMKIT_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            # not STREAMKIT_SANDBOX: with it, each Kick delivery is checked with Kick's own key first and then with this
            "STREAMKIT_KICK_PUBLIC_KEY": sandbox_kick_public_key(),
            "STREAMKIT_TWITCH_WEBHOOK_SECRET": SANDBOX_TWITCH_SECRET.decode(),
            "STREAMKIT_RATE_LIMIT": "0",
            "STREAMKIT_LOG_LEVEL": "ERROR",
        }

    def run(self, *command: str) -> Any:
        """What a `streamkit … --json` command prints."""
        done = subprocess.run(
            [sys.executable, "-m", "streamkit", *command, "--json"],
            cwd=ROOT,
            env={**_clean_environment(), **self.env},
            stdout=subprocess.PIPE,
            check=True,
        )
        return msgspec.json.decode(done.stdout)

    def register(self) -> Mapping[str, str]:
        """Add the sandbox streamer; the three credential headers of a client."""
        kick, twitch = SANDBOX_STREAMER.kick, SANDBOX_STREAMER.twitch
        self.run(
            "accounts",
            "add",
            "--name",
            "Bench",
            "--kick",
            f"{kick.name}:{kick.id}",
            "--twitch",
            f"{twitch.name}:{twitch.id}",
        )
        issued = self.run("credentials", "issue", "--user-id", "1")
        return {
            "X-Client-Id": issued["client_id"],
            "X-Client-Secret": issued["client_secret"],
            "Authorization": f"Bearer {issued['jwt']}",
        }


def signed_requests(count: int, seed: int = 1) -> list[bytes]:
    """`count` distinct signed deliveries of both platforms, as whole requests, from the last minutes."""
    interval = timedelta(seconds=240 / count)
    start = datetime.now(UTC) - timedelta(seconds=240)
    deliveries = islice(traffic(seed, start=start, interval=interval), count)
    return [request_bytes("POST", delivery.path, delivery.headers, delivery.body) for delivery in deliveries]


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
