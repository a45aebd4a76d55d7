"""The sandbox streamer as a broadcaster of the deployment."""

from __future__ import annotations

from schemas.control import BroadcasterRegistered, ControlEvent, PlatformConnected
from schemas.event import utc_now
from streamkit.cli.control import Accounts
from streamkit.directory import Directory
from streamkit.log.protocol import EventLog
from streamkit.simulation.delivery import SANDBOX_STREAMER

SANDBOX_NAME = "Sandbox Streamer"


async def register_sandbox(log: EventLog, directory: Directory) -> int:
    """The sandbox streamer's user_id; registers and connects it where it is not.

    `directory` is read to the log's end, and nothing else follows the log with it yet. Raises LogUnavailable.
    """
    accounts = Accounts(log, directory)
    identities = {"kick": SANDBOX_STREAMER.kick, "twitch": SANDBOX_STREAMER.twitch}
    while True:
        known = [directory.broadcaster_of(platform, person.id) for platform, person in identities.items()]
        user_id = next((found for found in known if found is not None), None)
        if user_id is None:
            wanted = directory.highest_user_id + 1
            register = BroadcasterRegistered(at=utc_now(), user_id=wanted, name=SANDBOX_NAME, primary_platform="kick")
            if all(await accounts.change(register)):
                user_id = wanted
        if user_id is None:
            continue  # another process took this id meanwhile
        missing: list[ControlEvent] = [
            PlatformConnected(
                at=utc_now(), user_id=user_id, platform="kick", platform_id=person.id, username=person.name
            )
            if platform == "kick"
            else PlatformConnected(
                at=utc_now(), user_id=user_id, platform="twitch", platform_id=person.id, username=person.name.lower()
            )
            for (platform, person), found in zip(identities.items(), known, strict=True)
            if found is None
        ]
        if missing:
            await accounts.change(*missing)
        return user_id
