"""The rate limit: one token bucket for each client, each process its own, from which it takes what a client spends at
others too, as soon as it hears of it. No I/O and no clock here."""

from __future__ import annotations

import math
from collections.abc import Mapping

from schemas.errors import Problem

BURST_S = 2
"""A full bucket holds what `BURST_S` seconds refill."""


class Allowance:
    """Token buckets of `rate` requests a second and twice that at once; rate 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate * BURST_S)
        self._buckets: dict[str, tuple[float, float]] = {}
        self._spent: dict[str, int] = {}
        window_s = max(1, round(self._burst / rate)) if rate else 0
        self.policy = f'"client";q={int(self._burst)};w={window_s}' if rate else None
        """The `RateLimit-Policy` header; None when there is no limit."""

    def take(self, client_id: str, now_s: float) -> str | None:
        """Take a token at `now_s` (a monotonic clock); gives back the `RateLimit` header, None without a limit.

        Raises Problem 429 `rate_limited` with `Retry-After` when the bucket is empty. Clients are verified before,
        so there are no more buckets than clients.
        """
        if not self._rate:
            return None
        tokens = self._tokens(client_id, now_s)
        if tokens < 1.0:
            wait_s = max(1, math.ceil((1.0 - tokens) / self._rate))
            raise Problem(
                429,
                "rate_limited",
                f"Too many requests; try again in {wait_s} second{'s' if wait_s > 1 else ''}.",
                headers={"Retry-After": str(wait_s), **self.headers(self._header(tokens))},
            )
        tokens -= 1.0
        self._buckets[client_id] = (tokens, now_s)
        self._spent[client_id] = self._spent.get(client_id, 0) + 1
        return self._header(tokens)

    def spent(self) -> dict[str, int]:
        """How many tokens each client took here since this was asked last; only those that took one."""
        spent, self._spent = self._spent, {}
        return spent

    def charge(self, spent: Mapping[str, int], now_s: float) -> None:
        """Take what clients spent elsewhere. A bucket may go below empty, by what it holds at most: only so do several
        processes together give what one would."""
        for client_id, count in spent.items():
            tokens = max(-self._burst, self._tokens(client_id, now_s) - count)
            self._buckets[client_id] = (tokens, now_s)

    def headers(self, rate_limit: str | None) -> dict[str, str]:
        """Both headers for an answer, empty without a limit."""
        if self.policy is None or rate_limit is None:
            return {}
        return {"RateLimit-Policy": self.policy, "RateLimit": rate_limit}

    def _tokens(self, client_id: str, now_s: float) -> float:
        tokens, at_s = self._buckets.get(client_id, (self._burst, now_s))
        return min(self._burst, tokens + (now_s - at_s) * self._rate)

    def _header(self, tokens: float) -> str:
        return f'"client";r={max(0, int(tokens))};t={math.ceil((self._burst - tokens) / self._rate)}'
