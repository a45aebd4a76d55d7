"""How a command changes the directory: append its control records, read them back, and see whether they stand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct

from schemas.control import ControlEvent
from streamkit.cli.common import Failure, opened_log
from streamkit.directory import Broadcaster, Client, Directory
from streamkit.log.events import control_record
from streamkit.log.protocol import CONTROL, EventLog
from streamkit.settings import Settings


class Accounts(Struct, frozen=True):
    """The log of this command and the directory as it stood when it began, or at its last change."""

    log: EventLog
    directory: Directory
    where: str = "this log"
    """The log, as a complaint names it."""

    async def change(self, *events: ControlEvent) -> list[bool]:
        """Append, then read back to behind the last record: which of them took effect.

        False means that an earlier record of another process stands against it. Raises LogUnavailable, after which
        some may have been appended.
        """
        appended = await self.log.append(CONTROL, [control_record(event) for event in events])
        own = {place.position - 1: index for index, place in enumerate(appended)}
        effects = [False] * len(events)
        while self.directory.position <= max(own):
            batch = await self.log.read(CONTROL, 0, self.directory.position, wait_s=5.0)
            for position, effect in zip(batch.positions, self.directory.apply_batch(batch), strict=True):
                if position in own:
                    effects[own[position]] = effect
        return effects

    def broadcaster(self, user_id: int) -> Broadcaster:
        """Raises Failure when there is none."""
        found = self.directory.broadcaster(user_id)
        if found is None:
            raise Failure(
                f"There is no broadcaster {user_id} on {self.where}; `streamkit accounts list` shows who there is."
            )
        return found

    def client(self, client_id: str) -> Client:
        """A client that was issued, revoked or not. Raises Failure when there is none."""
        found = self.directory.client(client_id)
        if found is None:
            raise Failure(f"There is no client {client_id} on {self.where}; `streamkit credentials list` shows them.")
        return found

    def live_client(self, client_id: str) -> Client:
        """Raises Failure when there is none or it was revoked."""
        found = self.client(client_id)
        if found.revoked:
            raise Failure(f"Client {client_id} was revoked; `streamkit credentials issue` makes a new one.")
        return found


@asynccontextmanager
async def opened_accounts(settings: Settings, *, create: bool = False) -> AsyncIterator[Accounts]:
    """The log and the directory, read to its present end. `create` and what is raised: as `opened_log`."""
    async with opened_log(settings, create=create) as log:
        directory = Directory()
        await directory.catch_up(log)
        folder = settings.log_url == "sqlite:"
        yield Accounts(log, directory, f"the log {f'in {settings.data_dir.resolve()}' if folder else settings.log_url}")


def scope_list(scopes: Sequence[str]) -> str:
    """Scopes as a person reads and types them."""
    return " ".join(scopes)
