"""How long a member of a group may act for what it owns: pure, time is an argument.

A proof is an answer of the broker that the member's generation is the newest; it counts from when it was asked for.
The broker gives a silent member's partitions away after the session timeout, so for a while less than that a proof
holds whatever happens, also when the process is stopped and goes on again. After that it depends on who was silent:

- the process itself was (it was stopped, or its machine was): others may own its partitions by now, so nothing holds
  until a proof that was asked for after it woke up;
- the broker was, while the process ran all along: nobody can have been given anything by a broker that is away. So it
  holds for answers. For what others are to build on (`holds_strictly`: snapshots) it does not.
"""

from __future__ import annotations

import time
from functools import partial

SESSION_TIMEOUT_S = 6.0
LEASE_S = 4.0
"""Less than the session timeout by the time a member may take to hear that the group is shared out anew."""
STOPPED_S = 2.0
"""A clock that nobody looked at for this long: the process did not run meanwhile."""

clock_s = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""A monotonic clock that goes on while the machine sleeps, where the system has one."""


class Lease:
    """What has been proven, and whether the process ran since. `tick` several times a second."""

    def __init__(self, now_s: float) -> None:
        """Nothing is proven yet."""
        self._proved_s: float | None = None
        self._ticked_s = now_s
        self._woke_s = now_s

    def tick(self, now_s: float) -> None:
        """The process runs."""
        if now_s - self._ticked_s > STOPPED_S:
            self._woke_s = now_s
        self._ticked_s = now_s

    def proved(self, asked_s: float) -> None:
        """The broker answered a question asked at `asked_s`: the generation is the newest."""
        self._proved_s = max(asked_s, self._proved_s or asked_s)

    def end(self) -> None:
        """The generation is over: nothing holds until the next one is proven."""
        self._proved_s = None

    def holds(self, now_s: float) -> bool:
        """Whether questions may be answered."""
        if self._proved_s is None:
            return False
        ran = now_s - self._ticked_s <= STOPPED_S and self._woke_s <= self._proved_s
        return ran or self.holds_strictly(now_s)

    def holds_strictly(self, now_s: float) -> bool:
        """Whether others may be told to build on it: proven a moment ago."""
        return self._proved_s is not None and now_s - self._proved_s <= LEASE_S
