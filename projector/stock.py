"""Generations as a command sees them: the files here, what projectors answer from, and two of them compared.

A file that a projector has open is never opened here: its projector tells of it, or writes a snapshot of it. What may not
live here: how it is shown.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import duckdb
import msgspec

from projector.answering import PATH, Answering, Told
from projector.bulk import fold_until
from projector.copies import NoCopy, ask_for_copies
from projector.database import FileInUse, open_file
from projector.digest import differences, digest
from projector.fold import read_position
from projector.folder import folder_held
from projector.rebuild import Plan, promote_generation
from projector.recipes import read_models, versions_of
from projector.restoring import position_of
from projector.session import Session
from projector.shelf import Shelf
from projector.snapshots import BrokenSnapshot, Snapshot, SnapshotFailed, delete, restore, write_snapshot
from schemas.control import GenerationDropped
from schemas.errors import UNREADABLE
from schemas.event import utc_now
from streamkit.generations import Generations, tell
from streamkit.log.protocol import EVENTS, EventLog
from streamkit.rebuilding import Comparison, NotComparable, Stored

ASKED_S = 60.0
ANSWERED_S = 60.0
_LOOK_S = 0.1


class Files:
    """Satisfies `streamkit.rebuilding.Stock`. `ports` are where projectors may be, `token` the internal one (None: not
    known, and no projector is asked)."""

    def __init__(
        self, log: EventLog, generations: Generations, plan: Plan, ports: tuple[str, ...], token: str | None
    ) -> None:
        self.generations = generations
        self._log = log
        self._plan = plan
        self._ports = ports
        self._token = token
        self._shelf = Shelf(plan.data_dir, plan.snapshot_dir, log.log_id)

    async def look(self, *, digests: bool) -> dict[int, Stored]:
        """What there is of each generation that stands."""
        answered = await self._answered(digests=digests)
        opens = bool(answered) or not await asyncio.to_thread(self._is_held)
        return {
            one.id: await asyncio.to_thread(self._look, one.id, answered, opens, digests)
            for one in self.generations.standing
        }

    def _is_held(self) -> bool:
        """Whether a projector runs in the data folder. One that tells nothing is starting: no file is taken from it."""
        if not self._plan.data_dir.exists():
            return False
        try:
            with folder_held(self._plan.data_dir):
                return False
        except FileInUse:
            return True

    def _look(self, generation: int, answered: dict[int, Answering], opens: bool, digests: bool) -> Stored:
        here = self._shelf.partitions(generation)
        own = {p: one for p, one in answered.items() if one.generation == generation}
        positions, texts = {str(p): one.position for p, one in own.items()}, {}
        texts.update({str(p): one.digest for p, one in own.items() if one.digest is not None})
        started = self.generations.find(generation)
        versions = next((one.versions for one in own.values()), started.versions if started else None)
        state = "whole" if here else "elsewhere"
        if self._shelf.building(generation) is not None and not self.generations.was_promoted(generation):
            state = "building" if self._shelf.is_held(generation) else "interrupted"
        for partition in here if opens and state != "building" else ():
            if partition in own:
                continue
            session = self._open(generation, partition)
            if session is None:
                continue
            try:
                positions[str(partition)] = read_position(session)
                versions = versions or versions_of(read_models(session))
                if digests:
                    texts[str(partition)] = digest(session).text
            finally:
                session.close()
        return Stored(
            state=state,  # type: ignore[arg-type]
            positions=dict(sorted(positions.items())),
            versions=versions,
            bytes=self._shelf.size_bytes(generation),
            digests=dict(sorted(texts.items())),
            answers=tuple(sorted(own)),
        )

    def _open(self, generation: int, partition: int) -> Session | None:
        """To be read. None: a process has it open, or it cannot be read."""
        path = self._shelf.path(generation, partition)
        if not path.exists():
            return None
        try:
            session = Session(duckdb.connect(str(path), read_only=True))
            session.execute("SET TimeZone = 'UTC'")
        except duckdb.Error:
            return None
        return session

    async def promote(self, generation: int) -> list[int]:
        """Make it the live one."""
        return await promote_generation(self._log, self.generations, generation, self._plan)

    async def drop(self, generation: int) -> None:
        """Say that it goes, and delete it here when no projector does."""
        event = GenerationDropped(at=utc_now(), by=self._plan.by, why=self._plan.why, generation=generation)
        await tell(self._log, self.generations, event)
        if generation in self.generations.dropped:
            await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        try:
            with folder_held(self._plan.data_dir):
                for generation in self.generations.dropped:
                    self._shelf.delete(generation)
        except FileInUse:
            return  # the projector that runs here has read the event, too

    async def answered(self, generation: int) -> bool:
        """Whether every partition that is told of is answered from it; waits a while. True when nobody tells."""
        deadline = time.monotonic() + ANSWERED_S
        while any(one.generation != generation for one in (await self._answered(digests=False)).values()):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    async def _answered(self, *, digests: bool) -> dict[int, Answering]:
        """From what projectors answer, by partition."""
        if self._token is None:
            return {}
        timeout = aiohttp.ClientTimeout(total=ASKED_S, connect=1.0)
        headers = {"Authorization": f"Bearer {self._token}"}
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as http:
            told = await asyncio.gather(*(self._ask(http, port, digests=digests) for port in self._ports))
        return {int(p): one for each in told if each is not None for p, one in each.partitions.items()}

    async def _ask(self, http: aiohttp.ClientSession, port: str, *, digests: bool) -> Told | None:
        """None: no projector of this log answers there."""
        try:
            async with http.get(port + PATH, params={"digests": "1"} if digests else {}) as answer:
                if answer.status != 200:
                    return None
                told = msgspec.json.decode(await answer.read(), type=Told)
        except (aiohttp.ClientError, OSError, TimeoutError, *UNREADABLE):
            return None
        return told if told.log_id == self._log.log_id else None

    async def compare(self, a: int, b: int, limit: int) -> Comparison:
        """Bring copies of both to one position, and compare them."""
        scratch = self._plan.data_dir / f"comparing-{secrets.token_hex(4)}"
        scratch.mkdir(parents=True)
        try:
            return await self._compare(a, b, limit, scratch)
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

    async def _compare(self, a: int, b: int, limit: int, scratch: Path) -> Comparison:
        answered = await self._answered(digests=False)
        served = await self._served([p for p, one in answered.items() if one.generation in (a, b)])
        positions, found, rows = {}, [], {}
        try:
            for partition in range(self._log.partitions(EVENTS)):
                paths = [
                    await self._copy(one, partition, served.get(partition), scratch / f"{one}-{partition}.duckdb")
                    for one in (a, b)
                ]
                positions[str(partition)] = await self._level(partition, *paths)
                differing = await asyncio.to_thread(differences, paths[0], paths[1], limit)
                rows.update({(partition, one.table): one.of for one in differing})
                found += [{"partition": partition, **msgspec.to_builtins(one)} for one in differing]
        finally:
            for snapshot in served.values():
                await asyncio.to_thread(delete, snapshot)
        return Comparison(a, b, positions, equal=not rows, rows=sum(rows.values()), differences=found)

    async def _served(self, partitions: Sequence[int]) -> dict[int, Snapshot]:
        """Snapshots of what these partitions are answered from."""
        if not partitions:
            return {}
        log, folder, by = self._log, self._plan.snapshot_dir, self._plan.by
        try:
            return await ask_for_copies(log, folder, partitions, by=by, why="compare generations", tell=lambda *_: None)
        except NoCopy as error:
            raise NotComparable(str(error)) from error

    async def _copy(self, generation: int, partition: int, served: Snapshot | None, to: Path) -> Path:
        """A copy of the file, which nobody else has open."""
        if served is not None and served.generation == generation:
            try:
                await asyncio.to_thread(restore, served, to)
            except BrokenSnapshot as error:
                raise NotComparable(str(error)) from error
            return to
        session = await asyncio.to_thread(self._open, generation, partition)
        if session is None:
            raise NotComparable(
                f"There is no file of generation {generation}, partition {partition} in {self._plan.data_dir}, or a "
                "process holds it; `streamkit generations list` shows what there is."
            )
        try:
            copy = await asyncio.to_thread(write_snapshot, session, to.with_suffix(""), wanted="compare")
            await asyncio.to_thread(copy.path.rename, to)
        except SnapshotFailed as error:
            raise NotComparable(str(error)) from error
        finally:
            await asyncio.to_thread(session.close)
        return to

    async def _level(self, partition: int, a: Path, b: Path) -> int:
        """Fold the one that is behind to where the other is."""
        at = {path: await asyncio.to_thread(position_of, path, self._log.log_id, partition) for path in (a, b)}
        until = max(at.values())
        for path, position in at.items():
            if position < until:
                await self._fold(path, partition, until)
        return until

    async def _fold(self, path: Path, partition: int, until: int) -> None:
        session = await asyncio.to_thread(open_file, path, log_id=self._log.log_id, partition=partition)
        try:
            stop = asyncio.Event()
            await fold_until(self._log, session, partition, until=until, progress=lambda _: None, stop=stop)
        finally:
            await asyncio.to_thread(session.close)


async def files_of(log: EventLog, plan: Plan, ports: tuple[str, ...], token: str | None) -> Files:
    """The generations of the log as it is now. Raises LogUnavailable."""
    generations = Generations()
    await generations.catch_up(log)
    return Files(log, generations, plan, ports, token)
