"""Whether a host may be called now: a circuit breaker and a budget of retries, fed with times. No clock, no I/O here."""

from __future__ import annotations

FAILURES = 5
"""So many failures in a row open the breaker."""

OPEN_FIRST_S = 2.0
OPEN_LAST_S = 60.0

_RETRIES_FULL = 10.0
_RETRIES_PER_CALL = 0.2


class Breaker:
    """One host's. Ask `admits` before each call, and tell `succeeded`, `failed` or `abandoned` after it.

    Open, it admits nothing for 2 s, then one probe at a time; a probe that fails opens it for twice as long, 60 s at
    most. Retries spend a budget that ordinary calls fill: a host in trouble is not sent many times what it got before.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._open_s = OPEN_FIRST_S
        self._open_until: float | None = None
        self._probing = False
        self._retries = _RETRIES_FULL

    @property
    def is_open(self) -> bool:
        """Whether calls are held back (a probe may be under way)."""
        return self._open_until is not None

    def retry_after_s(self, now_s: float) -> float:
        """How long to leave the host alone; 0 when it may be called."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now_s)

    def admits(self, now_s: float) -> bool:
        """Whether to call now. A True while open is the probe."""
        if self._open_until is None:
            return True
        if self._probing or now_s < self._open_until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The host answered."""
        self._failures = 0
        self._open_s = OPEN_FIRST_S
        self._open_until = None
        self._probing = False
        self._retries = min(_RETRIES_FULL, self._retries + _RETRIES_PER_CALL)

    def failed(self, now_s: float) -> None:
        """It was not reached, did not answer in time, or answered 5xx."""
        self._failures += 1
        if self._probing:
            self._open_s = min(OPEN_LAST_S, self._open_s * 2)
        elif self._failures < FAILURES or self.is_open:  # calls that began before it opened say nothing new
            return
        self._probing = False
        self._open_until = now_s + self._open_s

    def abandoned(self) -> None:
        """The caller gave up before there was an outcome: another probe may follow."""
        self._probing = False

    def spend_retry(self) -> bool:
        """Take one retry from the budget; False when it is spent."""
        if self._retries < 1:
            return False
        self._retries -= 1
        return True
