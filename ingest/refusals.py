"""What is refused, told in the log: a line with counts, at most once a minute. Anybody can send what is refused."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from streamkit import telemetry

TELL_EVERY_S = 60.0


class Refusals:
    """Counts refused deliveries of one platform by reason. `now` gives seconds that never go back."""

    def __init__(self, platform: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._platform = platform
        self._now = now
        self._untold: Counter[str] = Counter()
        self._told_at: float | None = None

    def count(self, reason: str) -> None:
        """One more. The first is told at once, further ones with the first that comes a minute after the last line."""
        self._untold[reason] += 1
        if self._told_at is None or self._now() - self._told_at >= TELL_EVERY_S:
            self._told_at = self._now()
            self.tell()

    def tell(self) -> None:
        """The line, when there is anything to tell."""
        if self._untold:
            telemetry.warn("webhooks.refused", platform=self._platform, reasons=dict(self._untold))
            self._untold.clear()
