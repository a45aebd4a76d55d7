"""A build whose read models have risen: it serves the files it finds by their own SQL, makes the new generation by itself
and promotes it. Once: a generation that an operator has gone back from is not forced on them again.

What may not live here: how a generation is made (rebuild.py).
"""

from __future__ import annotations

import asyncio

from projector.database import generation_of
from projector.generations import Succession
from projector.rebuild import Plan, rebuild
from projector.recipes import has_risen, versions_of
from projector.run import Projector
from schemas.errors import StreamkitError
from schemas.read_models import READ_MODELS
from streamkit import telemetry
from streamkit.log.protocol import EventLog

LOOK_S = 1.0
AGAIN_S = 10.0
BUILDER = 0
"""The owner of this partition builds for all projectors."""


class Upgrade:
    """Looks every second whether a new generation is due. `automatic` False: it only says so."""

    def __init__(
        self, log: EventLog, projector: Projector, succession: Succession, plan: Plan, *, automatic: bool
    ) -> None:
        self._log = log
        self._projector = projector
        self._succession = succession
        self._plan = plan
        self._automatic = automatic
        self._failed: str | None = None

    def readiness(self) -> list[str]:
        """What is answered by older read models, in a sentence."""
        older = sorted(partition for partition, file in self._projector.served().items() if not file.is_current)
        if not older:
            return []
        if self._failed is not None:
            what = f"the new ones could not be folded ({self._failed})"
        elif not self._due(older[0]):
            what = "an operator went back to them, or they are newer than this build, so it stays so"
        elif self._automatic:
            what = "the new ones are being folded"
        else:
            what = "run `streamkit rebuild --promote`"
        return [f"Partition {', '.join(map(str, older))} is answered from read models of another version: {what}."]

    async def run(self) -> None:
        """Look, and build, until cancelled. Does not raise."""
        while True:
            if self._automatic and self._due(BUILDER):
                await self._build()
            await asyncio.sleep(LOOK_S)

    def _due(self, partition: int) -> bool:
        file = self._projector.served().get(partition)
        if file is None or file.is_current:
            return False
        own, generations = versions_of(READ_MODELS), self._succession.generations
        is_live = generation_of(file.path) == generations.live
        return is_live and has_risen(own, versions_of(file.models)) and not generations.was_live(own)

    async def _build(self) -> None:
        telemetry.info("rebuild_began", versions=versions_of(READ_MODELS))
        try:
            done = await rebuild(self._log, self._plan, promote=True, told=lambda _: None)
        except (StreamkitError, OSError) as error:
            self._failed = str(error)
            telemetry.error("rebuild_failed", reason=self._failed)
            await asyncio.sleep(AGAIN_S)
        else:
            self._failed = None
            telemetry.info("rebuild_done", generation=done.generation, events=done.events, took_s=done.took_s)
